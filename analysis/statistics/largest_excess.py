"""Compute the largest excess loss of a class that the noise of the test images alone is expected to cause."""

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import quotient

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_REACH = 9.0  # standard deviations beyond which the normal tail is negligible


def largest_excess_floor(
    recall_before: ArrayLike, recall_after: ArrayLike, both_right: ArrayLike, support: ArrayLike
) -> np.ndarray:
    """Compute the expected largest excess loss if every class's true recall falls by as much as the accuracy.

    The change of a class's recall is then the change of the accuracy plus noise of its test images. The noise is
    modelled as normal. Its variance is the variance of a mean over the class's images, in which a lost image counts as
    -1, a won image as 1, and any other image as 0. The noise of the accuracy is common to all excess losses and has
    mean 0, so the floor is the expected maximum of independent normal variables.

    Parameters
    ----------
    recall_before, recall_after, both_right : (..., classes)
        Shares of each class's test images that are classified correctly before, after, and both before and after.
    support : (..., classes)
        Number of test images of each class; a class without images is ignored.

    Returns
    -------
    (...)
        The expected loss, as a share; NaN if a share of a class with images is NaN.

    Examples
    --------
    Each of two classes of 101 images loses a tenth of its images and wins as many, so its change has variance .2 / 100.
    The expected maximum of two normal variables is the root of v / (2 pi), where v is the sum of their variances:

    >>> round(float(largest_excess_floor([0.8, 0.6], [0.8, 0.6], [0.7, 0.5], [101, 101])), 5)
    0.02523
    >>> round((0.4 / 100 / (2 * np.pi)) ** 0.5, 5)
    0.02523
    """
    before, after, right_both, images = np.broadcast_arrays(
        *(np.asarray(each, dtype=float) for each in (recall_before, recall_after, both_right, support))
    )
    share_moved, change = before + after - 2 * right_both, after - before
    variance = np.maximum(share_moved - np.square(change), 0)
    deviation = np.sqrt(np.where(images > 1, quotient(variance, images - 1), share_moved))
    return _expected_maximum(np.where(images > 0, deviation, 0), images > 0)


def _expected_maximum(deviation: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """Compute the expected maximum of independent centred normals, (...), from deviations (..., classes).

    It is the integral over x > 0 of 1 - P(all <= x) - P(all <= -x). The integral ends at `_REACH` times the largest
    deviation, or at 1, the largest possible change of a recall, if this is less.
    """
    from scipy.special import ndtr  # training imports this package and must not wait for scipy

    reach = np.minimum(_REACH * deviation.max(-1, keepdims=True, initial=0)[..., np.newaxis], 1)
    points = reach * (_NODES + 1) / 2
    least = np.maximum(1e-9 * reach[..., 0], np.finfo(float).tiny)  # avoids division by 0 for a class without changes
    below = ndtr(points / np.maximum(deviation, least)[..., np.newaxis])
    above = np.where(exists[..., np.newaxis], 1 - below, 1)
    outside = 1 - below.prod(-2) - above.prod(-2)
    return np.asarray(np.where(exists.any(-1), (outside * _WEIGHTS).sum(-1) * reach[..., 0, 0] / 2, np.nan))
