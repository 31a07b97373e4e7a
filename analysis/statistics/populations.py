"""Two populations of networks, dense and compressed: what most of each predict, and which classes they differ in.

Definitions are those of Hooker et al., "What Do Compressed Deep Neural Networks Forget?", Sections 2.2 and 2.3.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from analysis.statistics import class_losses
from analysis.statistics.arithmetic import variance
from analysis.statistics.class_sums import each_class
from analysis.statistics.halves import SPLITS, halves
from analysis.statistics.hypothesis_tests import LEVEL, benjamini_hochberg, corrected
from analysis.statistics.modal_labels import Modes, modes

Measure = Literal["difference", "ratio"]

# So many votes, one for each image and class, are counted at a time.
_VOTES = 2**20
# A t-test of classes takes so many a side.
FEWEST_TESTED = 2


class Exemplars(NamedTuple):
    """Pruning identified exemplars: the images whose modal label is another in the compressed population.

    Attributes
    ----------
    dense, compressed : Modes
        Of every image.
    identified : (images,), bool
        Whether the modal labels differ.
    """

    dense: Modes
    compressed: Modes
    identified: np.ndarray

    @property
    def ties(self) -> int:
        """Number of images whose modal label is tied in either population."""
        return int(self._tied.sum())

    @property
    def untied(self) -> int:
        """Number of exemplars for which neither modal label is a tie."""
        return int((self.identified & ~self._tied).sum())

    @property
    def _tied(self) -> np.ndarray:
        return np.asarray(self.dense.tied | self.compressed.tied)


def exemplars(dense: np.ndarray, compressed: np.ndarray) -> Exemplars:
    """Return the pruning identified exemplars of two populations (PIEs, Section 2.3).

    Parameters
    ----------
    dense, compressed : (networks, images), integers
        What the networks of each population predict. The populations may differ in size.

    Examples
    --------
    >>> found = exemplars(np.array([[0, 1], [0, 1], [1, 1]]), np.array([[1, 1], [1, 1], [0, 0]]))
    >>> found.identified.tolist()
    [True, False]
    """
    return exemplars_between(modes(dense), modes(compressed))


def exemplars_between(dense: Modes, compressed: Modes) -> Exemplars:
    """Return the exemplars by the prediction of most networks of each population, as `exemplars` does."""
    return Exemplars(dense, compressed, dense.label != compressed.label)


def disagreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how often a network of one population and one of another predict different classes.

    Unlike a modal label, the share uses every vote.

    Parameters
    ----------
    first, second : (networks, images), integers

    Returns
    -------
    (images,)
        Share of all pairs of a network of the first and one of the second.

    Examples
    --------
    >>> disagreement(np.array([[0], [1]]), np.array([[0], [0]])).tolist()
    [0.5]
    """
    contested = np.flatnonzero((first != first[0]).any(0) | (second != first[0]).any(0))
    differ = np.zeros(first.shape[1])
    classes = 1 + max(int(first.max(initial=0)), int(second.max(initial=0)))
    block = max(_VOTES // classes, 1)
    for start in range(0, len(contested), block):
        images = contested[start : start + block]
        differ[images] = _disagreement(first[:, images], second[:, images], classes)
    return differ


def _disagreement(first: np.ndarray, second: np.ndarray, classes: int) -> np.ndarray:
    images = classes * np.arange(first.shape[1])
    votes = np.bincount((second + images).ravel(), minlength=classes * first.shape[1])
    return np.asarray(sum((len(second) - votes[row + images]) / len(second) for row in first) / len(first))


def disagreement_within(predicted: np.ndarray) -> np.ndarray:
    """Return how often two different networks of one population predict different classes.

    Parameters
    ----------
    predicted : (networks, images), integers

    Returns
    -------
    (images,)
        Share of all pairs of two networks; NaN with one network.

    Examples
    --------
    >>> disagreement_within(np.array([[0], [0], [1]])).round(3).tolist()
    [0.667]
    """
    n = len(predicted)
    return disagreement(predicted, predicted) * n / (n - 1) if n > 1 else np.full(predicted.shape[1], np.nan)


def matched_share(right: np.ndarray, share: np.ndarray, identified: np.ndarray) -> float:
    """Return the accuracy on images that are no PIEs, if their vote shares were distributed as those of the PIEs.

    At most one of two modal labels is right, so that dense networks are less often right on PIEs by construction.
    Images on which as many dense networks agree are the fair comparison.

    Parameters
    ----------
    right : (images,)
        Share of the networks that are right about an image.
    share : (images,)
        Vote share of the dense modal label.
    identified : (images,), bool
        Whether an image is a PIE.

    Returns
    -------
    float
        Mean over PIEs; a PIE without another image of its vote share is left out. NaN if none is left.

    Examples
    --------
    The PIE has the vote share .6, as one other image has:

    >>> matched_share(np.array([0.4, 0.6, 1.0]), np.array([0.6, 0.6, 1.0]), np.array([True, False, False]))
    0.6
    """
    _, stratum = np.unique(np.round(share, 9), return_inverse=True)
    pies, other_images = np.bincount(stratum, identified), np.bincount(stratum, ~identified)
    total = np.bincount(stratum, np.where(identified, 0, right))
    weight = np.where(other_images > 0, pies, 0)
    if not weight.sum():
        return np.nan
    return float((weight * total / np.maximum(other_images, 1)).sum() / weight.sum())


class ClassSignificance(NamedTuple):
    """A test per class of whether compression changed it otherwise than the accuracy.

    Attributes
    ----------
    difference : (classes,)
        Mean recall of the compressed networks minus that of the dense ones.
    normalised_difference : (classes,)
        The difference over the mean dense recall; NaN where that is 0.
    shift : (classes,)
        How much the compared quantity (recall minus accuracy, or recall over accuracy) grew.
    statistic, dof, p : (classes,)
        Welch's two-sided t-test; NaN if neither population varies.
    p_holm, p_bh : (classes,)
        The same corrected over the classes by Holm, and by Benjamini and Hochberg.
    p_paired, p_paired_holm : (classes,)
        Two-sided paired t-test, and the same corrected by Holm; NaN if the populations are not pairs. Networks of the
        same seeds share most of what they get wrong, which Welch's test takes for noise.
    p_moderated, p_moderated_holm : (classes,)
        The paired test of pairs, or Welch's of others, with variances moderated as those of an audit
        (`class_losses.moderated`), and the same corrected by Holm. It decides. With fewer than ten classes the
        variances are the plain ones.
    """

    difference: np.ndarray
    normalised_difference: np.ndarray
    shift: np.ndarray
    statistic: np.ndarray
    dof: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray
    p_bh: np.ndarray
    p_paired: np.ndarray
    p_paired_holm: np.ndarray
    p_moderated: np.ndarray
    p_moderated_holm: np.ndarray

    @property
    def significant(self) -> np.ndarray:
        """Whether the paper calls a class significant: p at most .05, not corrected; (classes,), bool."""
        return self.p <= LEVEL

    @property
    def significant_paired(self) -> np.ndarray:
        """Whether a class is significant by the paired test, not corrected; (classes,), bool."""
        return self.p_paired <= LEVEL

    @property
    def significant_moderated(self) -> np.ndarray:
        """Whether a class is significant by the moderated test, not corrected; (classes,), bool."""
        return self.p_moderated <= LEVEL


def class_significance(
    dense: np.ndarray,
    compressed: np.ndarray,
    dense_accuracy: np.ndarray,
    compressed_accuracy: np.ndarray,
    *,
    paired: bool = False,
    measure: Measure = "difference",
) -> ClassSignificance:
    """Test each class for a change of its recall that differs from the change of the accuracy (Section 2.2).

    Parameters
    ----------
    dense, compressed : (networks, classes)
        Recalls.
    dense_accuracy, compressed_accuracy : (networks,)
    paired : bool
        Whether row i of both belongs to the same dense network.
    measure : {"difference", "ratio"}
        What is compared: recall minus accuracy, as in the text and the released code, or recall over accuracy, as
        equations 1 and 2 have it.

    Examples
    --------
    The first class falls by .2 in both networks and the accuracy by .1. A constant sample has no t-test:

    >>> dense, compressed = np.array([[0.8, 0.8], [0.9, 0.9]]), np.array([[0.6, 0.8], [0.7, 0.9]])
    >>> found = class_significance(dense, compressed, dense.mean(1), compressed.mean(1))
    >>> found.shift.round(3).tolist(), found.difference.round(3).tolist()
    ([-0.1, 0.1], [-0.2, 0.0])
    """
    shift: Callable[..., np.ndarray] = np.subtract if measure == "difference" else np.divide
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = shift(dense, dense_accuracy[:, None]), shift(compressed, compressed_accuracy[:, None])
        change = compressed.mean(0) - dense.mean(0)
        normalised = np.where(dense.mean(0) > 0, change / dense.mean(0), np.nan)
    statistic, dof, p = welch(before, after)
    p_paired = _paired_p(before, after) if paired else np.full(len(p), np.nan)
    p_moderated = _moderated_p(before, after, (dense.mean(0) + compressed.mean(0)) / 2, paired)
    has_p = np.isfinite(p)
    p_bh = np.full(len(p), np.nan)
    if has_p.any():
        p_bh[has_p] = benjamini_hochberg(p[has_p])
    return ClassSignificance(
        change,
        normalised,
        after.mean(0) - before.mean(0),
        statistic,
        dof,
        p,
        corrected(p, len(p))[1],
        p_bh,
        p_paired,
        corrected(p_paired, len(p))[1],
        p_moderated,
        corrected(p_moderated, len(p))[1],
    )


def significance_counts(test: str, shift: np.ndarray, p: np.ndarray, p_holm: np.ndarray) -> dict[str, float]:
    """Return how many classes a test calls significant, and how much the most changed of them changed.

    Parameters
    ----------
    test : str
        `paired` or `moderated`.
    shift, p, p_holm : (classes,)
        As `ClassSignificance` has shift, and p and p_holm of the test.

    Returns
    -------
    dict
        Of the test `paired`: `significant_paired` and `significant_paired_holm`, NaN where no class has a p;
        `largest_shift_paired`, the largest absolute shift of a class that is significant without correction, NaN where
        none is.

    Examples
    --------
    >>> shift, p, p_holm = np.array([-0.3, 0.2, 0.5]), np.array([0.01, 0.04, 0.2]), np.array([0.03, 0.08, 0.2])
    >>> significance_counts("paired", shift, p, p_holm)
    {'significant_paired': 2.0, 'significant_paired_holm': 1.0, 'largest_shift_paired': 0.3}
    """
    has_p, is_significant = not np.isnan(p).all(), p <= LEVEL
    return {
        f"significant_{test}": float(is_significant.sum()) if has_p else np.nan,
        f"significant_{test}_holm": float((p_holm <= LEVEL).sum()) if has_p else np.nan,
        f"largest_shift_{test}": float(np.abs(shift[is_significant]).max()) if is_significant.any() else np.nan,
    }


def welch(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return statistic, degrees of freedom and two-sided p of Welch's t-test along the axis before the last.

    Parameters
    ----------
    before, after : (..., networks, columns)

    Returns
    -------
    statistic, dof, p : (..., columns)
        The statistic is positive where `after` is larger. NaN with fewer than two networks on a side, or where both
        sides are constant.
    """
    sizes = before.shape[-2], after.shape[-2]
    if min(sizes) < 2:
        missing = np.full(before.shape[:-2] + before.shape[-1:], np.nan)
        return missing, missing, missing
    parts = [variance(side, axis=-2) / size for side, size in zip((before, after), sizes, strict=True)]
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = (after.mean(-2) - before.mean(-2)) / np.sqrt(parts[0] + parts[1])
        dof = (parts[0] + parts[1]) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
        statistic = np.where(parts[0] + parts[1] > 0, statistic, np.nan)
    return statistic, dof, np.asarray(2 * special.stdtr(dof, -np.abs(statistic)))


def _paired_p(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    n, change = len(before), after - before
    if n < 2:
        return np.full(before.shape[1], np.nan)
    error = np.sqrt(variance(change, axis=0) / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(error > 0, change.mean(0) / error, np.nan)
    return np.asarray(2 * special.stdtr(n - 1, -np.abs(statistic)))


def _moderated_p(before: np.ndarray, after: np.ndarray, recall: np.ndarray, paired: bool) -> np.ndarray:
    """Return two-sided p with moderated variances, about these very test images, as the other tests are."""
    if min(len(before), len(after)) < FEWEST_TESTED:
        return np.full(len(recall), np.nan)
    changes = class_losses.moderated(class_losses.from_recalls(before, after, paired=paired), recall)
    return class_losses.estimates(changes, each_class(len(recall)))["p"]


def placebo_significance(recall: np.ndarray, accuracy: np.ndarray, splits: int = SPLITS) -> np.ndarray:
    """Return how often each class is significant between two halves of one population, which nothing tells apart.

    Parameters
    ----------
    recall : (networks, classes)
    accuracy : (networks,)
    splits : int
        Number of random splits into halves; the same ones each time.

    Returns
    -------
    (classes,)
        Share of the splits with p at most .05; NaN with fewer than four networks.
    """
    return np.asarray(placebo_tests(recall, accuracy, splits).mean(axis=0))


def placebo_tests(recall: np.ndarray, accuracy: np.ndarray, splits: int = SPLITS) -> np.ndarray:
    """Find the significant classes in each of the splits of `placebo_significance`.

    Returns
    -------
    (splits, classes)
        1 where p is at most .05, else 0; NaN with fewer than four networks.
    """
    if len(recall) < 4:
        return np.full((splits, recall.shape[1]), np.nan)
    deviations = recall - accuracy[:, np.newaxis]
    first, second = halves(len(recall), splits)
    _, _, p = welch(deviations[first], deviations[second])
    return np.asarray(p <= LEVEL, dtype=float)
