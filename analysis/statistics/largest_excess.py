"""What the largest excess loss of a class is on average if nothing but the test images moves classes."""

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import quotient

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_REACH = 9.0  # standard deviations, beyond which a normal variable adds nothing


def largest_excess_floor(
    recall_before: ArrayLike, recall_after: ArrayLike, both_right: ArrayLike, support: ArrayLike
) -> np.ndarray:
    """Return the expected largest excess loss of networks in which every class loses what the accuracy loses.

    The change of a class's recall is then the change of the accuracy and the noise of its test images. The noise is
    normal with the variance that the class's images show, within what a class can lose: an image counts -1 where it is
    lost, 1 where it is won, and 0 otherwise. The excess losses share the noise of the accuracy, whose mean is 0. So the
    floor is the expected maximum of independent normal variables.

    Parameters
    ----------
    recall_before, recall_after, both_right : (..., classes)
        Shares of each class's test images that are right before, after, and both times.
    support : (..., classes)
        Number of test images of each class; a class without any is left out.

    Returns
    -------
    (...)
        In the unit of recall. NaN where a share of a class with images is.

    Examples
    --------
    Two classes of 101 images lose a tenth of them and win as many. Each variance is .2 / 100. The expected maximum of
    two normal variables is the root of the sum of their variances over 2 pi:

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
    """Return the mean of the largest of independent normal variables around 0, (...), from deviations (..., classes).

    It is the integral over x > 0 of 1 - P(all <= x) - P(all <= -x), up to 1, since no recall changes by more.
    """
    from scipy.special import ndtr  # training imports this package and must not wait for scipy

    reach = np.minimum(_REACH * deviation.max(-1, keepdims=True, initial=0)[..., np.newaxis], 1)
    points = reach * (_NODES + 1) / 2
    least = np.maximum(1e-9 * reach[..., 0], np.finfo(float).tiny)  # of a class that does not move
    below = ndtr(points / np.maximum(deviation, least)[..., np.newaxis])
    above = np.where(exists[..., np.newaxis], 1 - below, 1)
    outside = 1 - below.prod(-2) - above.prod(-2)
    return np.asarray(np.where(exists.any(-1), (outside * _WEIGHTS).sum(-1) * reach[..., 0, 0] / 2, np.nan))
