"""Compute scores of dense networks that may predict, before pruning, the classes and images that pruning harms.

Iofinova et al., "Bias in Pruned Vision Models" (CVPR 2023, abstract), propose criteria that use only the uncompressed
network. Hooker et al., "What Do Compressed Deep Neural Networks Forget?" (Sections 1 and 3.1), find that compression
more often changes the predictions for harder images.
"""

from collections.abc import Mapping

import numpy as np
from of_analysis import votes
from scipy import stats

RECALL, SHARE, CONFIDENCE, MARGIN = "recall", "share", "confidence", "margin"
ENTROPY, DISAGREEMENT = "entropy", "disagreement"
SCORES = (RECALL, SHARE, CONFIDENCE, MARGIN, ENTROPY, DISAGREEMENT)
_LOW_IS_RISKY = (RECALL, SHARE, CONFIDENCE, MARGIN)
_DIGITS = 12  # of ranked values, so that rounding errors break no ties


def image_scores(
    label: np.ndarray, predicted: np.ndarray, uncertainties: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Compute the scores of each image.

    Parameters
    ----------
    label : (images,), integers
    predicted : (networks, images), integers
        Predictions of the dense networks.
    uncertainties : mapping of str to (networks, images)
        The known scores among confidence, margin and entropy.

    Returns
    -------
    dict of str to (images,)
        - recall: share of the networks that are right.
        - each name in `uncertainties`: mean over the networks.
        - disagreement: how often two of the networks predict different classes. Only with at least two networks.

    Examples
    --------
    >>> found = image_scores(np.array([0, 1]), np.array([[0, 1], [0, 0]]), {})
    >>> {name: values.tolist() for name, values in found.items()}
    {'recall': [1.0, 0.5], 'disagreement': [0.0, 1.0]}
    """
    means = {name: values.mean(0) for name, values in uncertainties.items()}
    scores = {RECALL: (predicted == label).mean(0), **means}
    if len(predicted) > 1:
        scores[DISAGREEMENT] = votes.disagreement_within(predicted)
    return {name: scores[name] for name in SCORES if name in scores}


def class_scores(
    scores: Mapping[str, np.ndarray], label: np.ndarray, classes: int, shares: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Compute the scores of each class as means over its test images.

    Parameters
    ----------
    scores : mapping of str to (images,)
        As `image_scores` returns them.
    label : (images,), integers from 0
    classes : int
    shares : (classes,), optional
        Each class's share of the training images. If given, the result also has `share`.

    Returns
    -------
    dict of str to (classes,)
        All scores except `share` are NaN for a class without test images.

    Examples
    --------
    Class 1 has no test image:

    >>> found = class_scores({"recall": np.array([1.0, 0.5, 0.2])}, np.array([0, 0, 2]), 3, np.array([0.5, 0.25, 0.25]))
    >>> {name: values.tolist() for name, values in found.items()}
    {'recall': [0.75, nan, 0.2], 'share': [0.5, 0.25, 0.25]}
    """
    means = {name: class_means(values, label, classes) for name, values in scores.items()}
    if shares is not None:
        means[SHARE] = shares
    return {name: means[name] for name in SCORES if name in means}


def class_means(values: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """Average values over each class's images, (classes,), NaN for a class without images.

    Parameters
    ----------
    values : (images,)
    label : (images,), integers from 0
    classes : int

    Examples
    --------
    >>> class_means(np.array([1.0, 0.0, 1.0]), np.array([0, 0, 2]), 3).tolist()
    [0.5, nan, 1.0]
    """
    with np.errstate(invalid="ignore"):
        means = np.bincount(label, values, minlength=classes) / np.bincount(label, minlength=classes)
    return np.asarray(means)


def as_risk(name: str, values: np.ndarray) -> np.ndarray:
    """Flip the sign of a score if its low values mean a high risk; other scores are returned unchanged.

    Examples
    --------
    >>> as_risk("recall", np.array([0.9, 0.8])).tolist(), as_risk("entropy", np.array([0.9, 0.8])).tolist()
    ([-0.9, -0.8], [0.9, 0.8])
    """
    return -values if name in _LOW_IS_RISKY else values


def combined(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Average the ranks of images or classes over all scores. Ranks are scaled to 0 to 1, and higher ones are riskier.

    Parameters
    ----------
    scores : mapping of str to (items,)
        Scores by the names in `SCORES`. A constant score is ignored.

    Returns
    -------
    (items,)
        NaN for an item with a score of NaN.

    Examples
    --------
    >>> combined({"recall": np.array([0.9, 0.8, 0.7]), "entropy": np.array([1.0, 3.0, 2.0])}).tolist()
    [0.0, 0.75, 0.75]
    """
    of_scores = [ranks(as_risk(name, values)) for name, values in scores.items()]
    varying = np.array([each for each in of_scores if np.nanmin(each) < np.nanmax(each)])
    if not len(varying):
        return np.zeros(len(of_scores[0]))
    return np.asarray(((varying - 1) / (np.nanmax(varying) - 1)).mean(0).round(_DIGITS))


def ranks(values: np.ndarray) -> np.ndarray:
    """Rank the last axis, with mean ranks for ties; values that differ only by rounding errors are tied.

    Examples
    --------
    >>> ranks(np.array([0.3, 0.1 + 0.2, np.nan, 0.5])).tolist()
    [1.5, 1.5, nan, 3.0]
    """
    return np.asarray(stats.rankdata(np.round(values, _DIGITS), axis=-1, nan_policy="omit"))
