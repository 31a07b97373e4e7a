"""Measure how well scores predict the costs of compression in networks that were not used for the scores.

The cost of a class is its loss of recall minus the loss of accuracy, relative to the control if there is one. Costly
images are those that are lost, or whose modal label changes (PIEs, Hooker et al., "What Do Compressed Deep Neural
Networks Forget?", Section 2.3).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from of_analysis import (
    FEWEST,
    Recalls,
    excess_loss,
    group_of,
    jackknife_estimate,
    jackknife_groups,
    mean_interval,
    proportion,
    quotient,
    votes,
)
from risk_scores import RECALL, as_risk, class_means, combined, ranks

CLASSES, SIZES = "class losses", "sizes of class losses"
LOST, LOST_BY_CONTROL, EXEMPLARS = "lost images", "lost by the control", "PIEs"
# Further scores: all scores combined and, as a ceiling, the costs in compressed networks of other seeds.
COMBINED, CEILING = "combined", "ceiling"
# The expected cost of each class, given the loss of accuracy, if errors are proportional.
PROPORTION = "in proportion"
_RESAMPLES, _PERMUTATIONS = 2000, 9999


class Networks(NamedTuple):
    """Predictions, each (networks, images) of integers from 0; row i of each array belongs to the same network.

    `control` is None if no network was retrained without compression.
    """

    before: np.ndarray
    after: np.ndarray
    control: np.ndarray | None = None

    @property
    def start(self) -> np.ndarray:
        """The reference of losses: the control or, without a control, the networks before compression."""
        return self.before if self.control is None else self.control


class Estimate(NamedTuple):
    """A value, the ends of its 95 % interval, and the number of classes, networks or images that it is based on."""

    value: float
    low: float
    high: float
    n: int


def judge(
    class_scores: Mapping[str, np.ndarray],
    image_scores: Mapping[str, np.ndarray],
    label: np.ndarray,
    judges: Networks,
    others: Networks,
) -> pd.DataFrame:
    """Compare scores with the costs of compression in networks that were not used for the scores.

    Parameters
    ----------
    class_scores : mapping of str to (classes,)
        As `risk_scores.class_scores` returns them.
    image_scores : mapping of str to (images,)
        As `risk_scores.image_scores` returns them.
    label : (images,), integers from 0
    judges : Networks
        The networks whose costs the scores should predict.
    others : Networks
        Compressed networks of other seeds, for the ceiling.

    Returns
    -------
    DataFrame, one row per outcome and score
        - outcome: `class losses`, `sizes of class losses`, `lost images`, `lost by the control` if there is a control,
          and `PIEs` if judges and others have at least five networks each.
        - score: the name of a score, `combined`, `in proportion` (for sizes only), or `ceiling`.
        - value: for class losses a rank correlation, for their sizes the explained share (`foresight_of_sizes`), else
          an AUC.
        - low, high: 95 % interval of value.
        - n: number of classes, networks, or PIEs.
        - p: p of the rank correlation, over permutations of the classes.
    """
    risks = [
        {name: as_risk(name, values) for name, values in scores.items()} | {COMBINED: combined(scores)}
        for scores in (class_scores, image_scores)
    ]
    rows = [
        *_judged_classes(risks[0], label, judges, others),
        *_judged_sizes(class_scores[RECALL], label, judges, others),
        *_judged_images(risks[1], label, judges, others),
    ]
    return pd.DataFrame(rows)


def _judged_classes(
    scores: dict[str, np.ndarray], label: np.ndarray, judges: Networks, others: Networks
) -> Iterator[dict[str, object]]:
    classes = len(scores[COMBINED])
    losses = class_losses(label, classes, judges)
    ceiling = class_losses(label, classes, others).mean(0)
    for name, score in (scores | {CEILING: ceiling}).items():
        row = foresight_of_classes([(score, losses)])._asdict()
        yield {"outcome": CLASSES, "score": name, **row, "p": permutation_p([(score, losses.mean(0))])}


def _judged_sizes(
    recall: np.ndarray, label: np.ndarray, judges: Networks, others: Networks
) -> Iterator[dict[str, object]]:
    losses = class_losses(label, len(recall), judges)
    support = np.bincount(label, minlength=len(recall))
    accuracy = float(np.nansum(support * recall) / support.sum())
    accuracy_losses = (judges.start == label).mean(1) - (judges.after == label).mean(1)
    in_proportion = np.outer(accuracy_losses, proportion.expected_losses(recall, accuracy, 1.0) - 1)
    ceiling = np.tile(class_losses(label, len(recall), others).mean(0), (len(losses), 1))
    for name, expected in ((PROPORTION, in_proportion), (CEILING, ceiling)):
        yield {"outcome": SIZES, "score": name, **foresight_of_sizes(expected, losses)._asdict()}


def _judged_images(
    scores: dict[str, np.ndarray], label: np.ndarray, judges: Networks, others: Networks
) -> Iterator[dict[str, object]]:
    for outcome, after, others_after in (
        (LOST, judges.after, others.after),
        (LOST_BY_CONTROL, judges.control, others.control),
    ):
        if after is not None and others_after is not None:
            for name, score in (scores | {CEILING: known_of_losses(label, others_after)}).items():
                estimate = mean_estimate(foresight_of_losses(score, label, judges.before, after))
                yield {"outcome": outcome, "score": name, **_of_auc(estimate)}
    if min(len(judges.after), len(others.after)) >= FEWEST:
        for name, score in (scores | {CEILING: known_of_exemplars(others.before, others.after)}).items():
            estimate = foresight_of_exemplars(score, judges.before, judges.after)
            yield {"outcome": EXEMPLARS, "score": name, **_of_auc(estimate)}


def _of_auc(estimate: Estimate) -> dict[str, float]:
    """Return the fields of an estimated AUC, with the ends of its interval between 0 and 1."""
    low, high = (float(np.clip(end, 0, 1)) for end in (estimate.low, estimate.high))
    return estimate._replace(low=low, high=high)._asdict()


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Compute how often a positive image has a higher score than a negative one, where a tie counts half.

    This is the area under the ROC curve, computed from the ranks of the positive images (Hanley and McNeil 1982, "The
    meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology 143, Section "The
    Wilcoxon statistic").

    Parameters
    ----------
    score : (images,)
    positive : (images,), bool

    Returns
    -------
    float
        NaN if all images are positive, or if none is, or if a score is NaN.

    Examples
    --------
    There are four pairs of a positive and a negative image. The positive image has the higher score in three of them,
    and one is tied. In the second example it has the higher score in one, and one is tied:

    >>> auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True]))
    0.875
    >>> auc(np.array([1.0, 2.0, 1.0, 3.0]), np.array([True, True, False, False]))
    0.375
    """
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(positive) - n_positive)
    if not n_pairs or np.isnan(score).any():
        return np.nan
    rank_sum = ranks(score)[positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / n_pairs)


def rank_correlation(score: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Compute Spearman's rank correlation, with mean ranks for ties.

    Parameters
    ----------
    score : (classes,)
    outcome : (..., classes)
        Classes that are NaN in the score or in any outcome are left out.

    Returns
    -------
    (...)
        NaN with fewer than three classes, or if all scores or all values of an outcome are equal.

    Examples
    --------
    >>> rank_correlation(np.array([1, 2, 3, 4]), np.array([[10, 20, 30, 40], [2, 1, 4, 3]])).round(6).tolist()
    [1.0, 0.6]
    """
    has_values = _has_values(score, outcome)
    if has_values.sum() < 3:
        return np.full(outcome.shape[:-1], np.nan)
    first, second = (_centred_ranks(values[..., has_values]) for values in (score, outcome))
    with np.errstate(invalid="ignore"):
        return np.asarray((first * second).sum(-1) / np.sqrt((first**2).sum() * (second**2).sum(-1)))


def permutation_p(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Compute the two-sided p of a mean rank correlation by permutation of the classes.

    Parameters
    ----------
    pairs : sequence of (score, outcome), each (classes,)
        One pair for each data set. Classes are permuted within a data set.

    Returns
    -------
    float
        p from 9,999 permutations, which are the same in every call; NaN if a correlation is NaN.

    Examples
    --------
    Two of the 24 orders of four classes have a correlation of 1 or -1, so p is about .083:

    >>> score = np.array([1, 2, 3, 4])
    >>> round(permutation_p([(score, score)]), 2)
    0.08
    """
    observed = sum(float(rank_correlation(*pair)) for pair in pairs)
    if np.isnan(observed):
        return np.nan
    random, permuted = np.random.default_rng(0), np.zeros(_PERMUTATIONS)
    for score, outcome in pairs:
        has_values = _has_values(score, outcome)
        first, second = (_centred_ranks(values[has_values]) for values in (score, outcome))
        orders = random.permuted(np.tile(second, (_PERMUTATIONS, 1)), axis=1)
        permuted += orders @ first / np.sqrt((first**2).sum() * (second**2).sum())
    return float((1 + (np.abs(permuted) >= abs(observed) - 1e-12).sum()) / (1 + _PERMUTATIONS))


def class_losses(label: np.ndarray, classes: int, networks: Networks) -> np.ndarray:
    """Compute each class's loss beyond the loss of accuracy, with `networks.start` as the reference.

    Parameters
    ----------
    label : (images,), integers from 0
    classes : int
    networks : Networks

    Returns
    -------
    (networks, classes)
        Shares; NaN for a class without images.

    Examples
    --------
    The accuracy falls by a quarter, and the recall of class 1 by a half:

    >>> label = np.array([0, 0, 1, 1])
    >>> class_losses(label, 2, Networks(before=label[None], after=np.array([[0, 0, 1, 0]]))).tolist()
    [[-0.25, 0.25]]
    """
    sides = networks.start == label, networks.after == label
    recall = (np.array([class_means(right, label, classes) for right in side]) for side in sides)
    return excess_loss(*(Recalls(each, right.mean(1)) for each, right in zip(recall, sides, strict=True)))


def foresight_of_classes(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Estimate:
    """Compute the rank correlation of a score with the mean losses of classes, averaged over data sets.

    Parameters
    ----------
    pairs : sequence of (score, losses), (classes,) and (networks, classes)
        One pair for each data set; a higher score is riskier.

    Returns
    -------
    Estimate
        `n` is the number of classes. The interval is the middle 95 % over 2,000 bootstrap samples of the networks of
        each data set, so it is for other networks with the same classes, not for other classes.

    Examples
    --------
    >>> foresight_of_classes([(np.array([1.0, 2.0, 3.0]), np.array([[0.0, 0.1, 0.2], [0.0, 0.2, 0.3]]))])
    Estimate(value=1.0, low=1.0, high=1.0, n=3)
    """
    random = np.random.default_rng(0)
    values, drawn_values, n = [], [], 0
    for score, losses in pairs:
        drawn = random.integers(len(losses), size=(_RESAMPLES, len(losses)))
        values.append(float(rank_correlation(score, losses.mean(0))))
        drawn_values.append(rank_correlation(score, losses[drawn].mean(1)))
        n += int(_has_values(score, losses).sum())
    value, low, high = float(np.mean(values)), np.nan, np.nan
    if not np.isnan(value) and min(len(losses) for _, losses in pairs) > 1:
        low, high = np.nanquantile(np.mean(drawn_values, axis=0), [0.025, 0.975])
    return Estimate(round(value, 12), float(low), float(high), n)


def foresight_of_sizes(expected: np.ndarray, losses: np.ndarray) -> Estimate:
    """Compute the share of the differences between class losses that an expectation explains.

    Parameters
    ----------
    expected, losses : (networks, classes)
        Losses beyond the loss of accuracy. Expected losses may differ between networks, because networks differ in
        their loss of accuracy.

    Returns
    -------
    Estimate
        The value is 1 - D / S, from means over networks: D is the sum of squared deviations from the expected losses,
        and S is the sum of squared losses, that is, of squared deviations from 0, which is expected if all classes lose
        the same. The value is 1 for a perfect expectation, 0 if it is as good as expecting equal losses, and below 0 if
        it is worse. `n` is the number of classes. The interval is the middle 95 % over 2,000 bootstrap samples of the
        networks.

    Examples
    --------
    The losses are 2 and -2 points, but 1 and -1 were expected:

    >>> foresight_of_sizes(np.array([[0.01, -0.01]]), np.array([[0.02, -0.02]]))
    Estimate(value=0.75, low=nan, high=nan, n=2)
    """
    known = _has_values(expected.mean(0), losses)
    expected, losses = expected[:, known], losses[:, known]
    value = float(_explained(expected.mean(0), losses.mean(0)))
    low, high = np.nan, np.nan
    if not np.isnan(value) and len(losses) > 1:
        drawn = np.random.default_rng(0).integers(len(losses), size=(_RESAMPLES, len(losses)))
        low, high = np.nanquantile(_explained(expected[drawn].mean(1), losses[drawn].mean(1)), [0.025, 0.975])
    return Estimate(round(value, 12), float(low), float(high), int(known.sum()))


def _explained(expected: np.ndarray, losses: np.ndarray) -> np.ndarray:
    return 1 - quotient(np.square(losses - expected).sum(-1), np.square(losses).sum(-1))


def foresight_of_losses(score: np.ndarray, label: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Compute the AUC of a score for each network's lost images, among the images that it classified correctly before.

    Parameters
    ----------
    score : (images,)
        Higher is riskier.
    label : (images,), integers
    before, after : (networks, images), integers

    Returns
    -------
    (networks,)
        NaN for a network that loses none or all of these images.

    Examples
    --------
    The network loses the second image. The third image is already misclassified before, so it is ignored:

    >>> label, before, after = np.array([0, 0, 1]), np.array([[0, 0, 0]]), np.array([[0, 1, 0]])
    >>> foresight_of_losses(np.array([0.1, 0.2, 0.9]), label, before, after).tolist()
    [1.0]
    """
    return np.array(
        [auc(score[right], is_lost[right]) for right, is_lost in zip(before == label, after != label, strict=True)]
    )


def mean_estimate(values: np.ndarray) -> Estimate:
    """Average values over networks, with the t-interval; NaN are left out.

    Examples
    --------
    >>> mean_estimate(np.array([0.5, 0.5, np.nan]))
    Estimate(value=0.5, low=0.5, high=0.5, n=2)
    """
    numbers = values[~np.isnan(values)]
    return Estimate(float(numbers.mean()) if len(numbers) else np.nan, *mean_interval(numbers), len(numbers))


def foresight_of_exemplars(score: np.ndarray, before: np.ndarray, after: np.ndarray) -> Estimate:
    """Compute the AUC of a score for the PIEs of networks.

    Parameters
    ----------
    score : (images,)
        Higher is riskier.
    before, after : (networks, images), integers from 0

    Returns
    -------
    Estimate
        `n` is the number of PIEs. The interval is by the jackknife over at most ten groups of networks.

    Examples
    --------
    >>> before, after = np.zeros((6, 3), int), np.array([[0, 0, 1]] * 6)
    >>> foresight_of_exemplars(np.array([0.1, 0.2, 0.3]), before, after)
    Estimate(value=1.0, low=1.0, high=1.0, n=1)
    """
    group = group_of(len(before)) if jackknife_groups(len(before)) else np.zeros(len(before))
    samples = [np.ones(len(before), bool), *(group != left_out for left_out in range(jackknife_groups(len(before))))]
    identified = [votes.exemplars(before[members], after[members]).identified for members in samples]
    values = np.array([auc(score, each) for each in identified])
    return Estimate(*jackknife_estimate(values), int(identified[0].sum()))


def known_of_losses(label: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Compute the share of networks that are wrong about each image, (images,), as the ceiling for lost images.

    Examples
    --------
    >>> known_of_losses(np.array([0, 1]), np.array([[0, 0], [0, 1]])).tolist()
    [0.0, 0.5]
    """
    return np.asarray((after != label).mean(0))


def known_of_exemplars(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Compute how often networks before and after compression disagree, (images,), as the ceiling for PIEs.

    Examples
    --------
    >>> known_of_exemplars(np.array([[0, 1]]), np.array([[0, 0]])).tolist()
    [0.0, 1.0]
    """
    return votes.disagreement(before, after)


def _has_values(score: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Return a mask, (classes,), of the classes that are NaN neither in the score nor in any outcome."""
    unknown = np.isnan(np.asarray(outcome, dtype=float)).reshape(-1, len(score)).any(0)
    return np.asarray(~np.isnan(np.asarray(score, dtype=float)) & ~unknown)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    ranked = ranks(values)
    return np.asarray(ranked - ranked.mean(-1, keepdims=True))
