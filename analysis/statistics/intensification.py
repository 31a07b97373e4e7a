"""Measure recall distortion by slopes of the recall balance (alpha and others), with their intervals.

Sections refer to Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning Algorithm".
The last axis of arrays is the classes, and results keep the axes before it (seeds, cells).
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import quotient
from analysis.statistics.recalls import Recalls, recall_balance
from analysis.statistics.resampling import Interval, jackknife_interval

# A balance whose root mean square is below this is a rounding error of recalls logged as float32. A real balance
# changes in steps of at least 1 / (number of test images).
_NO_BALANCE = 1e-7
CHANCE_LEVEL = 0.01


def mean_balance(values: ArrayLike) -> np.ndarray:
    """Compute the normalised balance of a metric centred on its mean, for precision or F1.

    Parameters
    ----------
    values : (..., classes)
        The metric of each class.

    Returns
    -------
    (..., classes)
        Deviation from the mean over the classes, divided by that mean; NaN if the mean is 0.

    Examples
    --------
    >>> mean_balance([0.9, 0.6, 0.0]).round(3).tolist()
    [0.8, 0.2, -1.0]
    """
    return recall_balance(values, np.asarray(values).mean(-1))


def alpha(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Compute the slope, without intercept, of recall balance after pruning on the balance before (Section 5).

    A slope above 1 means that pruning intensifies the differences between classes, a slope below 1 that it
    de-intensifies them. If `before` is the balance of the control, the slope is the effect of pruning alone,
    without the effect of fine-tuning.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance (`Recalls.balance`).

    Returns
    -------
    (...)
        NaN if `before` is 0 for every class, or if either has a NaN.

    Examples
    --------
    The accuracy falls from .8 to .6, and each recall by .2:

    >>> before = Recalls([0.9, 0.7], accuracy=0.8)  # balance 1/8, -1/8
    >>> after = Recalls([0.7, 0.5], accuracy=0.6)  # balance 1/6, -1/6
    >>> round(float(alpha(before.balance, after.balance)), 3)
    1.333
    """
    before, after = np.asarray(before), np.asarray(after)
    return quotient((before * after).sum(-1), square(before).sum(-1))


def weighted_alpha(before: ArrayLike, after: ArrayLike, support: ArrayLike) -> np.ndarray:
    """Compute the slope with classes weighted by their shares of the images.

    The weighted balances average 0 even if classes differ in size, so the best line goes through the origin.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.
    support : (..., classes)
        Number of test images of each class.

    Returns
    -------
    (...)
        NaN if `alpha` is NaN.

    Examples
    --------
    (3 * .1 * .2 + 1 * .3 * .3) / (3 * .1 * .1 + 1 * .3 * .3) = .15 / .12:

    >>> round(float(weighted_alpha([0.1, -0.3], [0.2, -0.3], support=[300, 100])), 3)
    1.25
    """
    weight = np.sqrt(quotient(support, np.asarray(support).mean(-1, keepdims=True)))
    return alpha(weight * before, weight * after)


def unbalanced(support: ArrayLike) -> np.ndarray:
    """Test whether supports differ by more than 1 %, so that `weighted_alpha` is needed.

    Parameters
    ----------
    support : (..., classes)
        Number of test images of each class.

    Returns
    -------
    (...), bool

    Examples
    --------
    >>> unbalanced([[100, 101], [100, 102]]).tolist()
    [False, True]
    """
    return np.asarray(np.max(support, axis=-1) > 1.01 * np.min(support, axis=-1))


def intensification_ratios(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Compute the intensification ratio I of every class: balance after over balance before (Section 5).

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (..., classes)
        NaN if the class's balance before is 0.

    Examples
    --------
    >>> intensification_ratios([0.1, -0.2], [0.2, 0.1]).tolist()
    [2.0, -0.5]
    """
    return quotient(after, before)


def correlation(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Compute the uncentred correlation r of the balances, near 1 if the same classes stay weak.

    `alpha` is the product of `correlation` and `spread_ratio`.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (...)
        Between -1 and 1; NaN if either balance is 0 for every class.

    Examples
    --------
    The weak class changes places with the strong one:

    >>> round(float(correlation([0.1, -0.1], [-0.2, 0.2])), 3)
    -1.0
    """
    before, after = np.asarray(before), np.asarray(after)
    return quotient((before * after).sum(-1), np.sqrt(square(before).sum(-1) * square(after).sum(-1)))


def spread_ratio(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Compute the ratio of the balances' root mean squares, after over before: above 1 if the spread grew.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (...)
        NaN if `before` is 0 for every class.

    Examples
    --------
    >>> round(float(spread_ratio([0.1, -0.1], [-0.2, 0.2])), 3)
    2.0
    """
    return np.asarray(np.sqrt(quotient(square(np.asarray(after)).sum(-1), square(np.asarray(before)).sum(-1))))


def worst_class_change(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Compute the lowest recall after minus the lowest recall before; the two may be of different classes.

    Parameters
    ----------
    before, after : (..., classes)
        Recall of each class.

    Returns
    -------
    (...)
        Negative if the lowest recall fell.

    Examples
    --------
    >>> round(float(worst_class_change([0.9, 0.7], [0.6, 0.8])), 3)
    -0.1
    """
    return np.asarray(np.min(after, axis=-1) - np.min(before, axis=-1))


def raw_slope(before: Recalls, after: Recalls) -> np.ndarray:
    """Compute the slope as `alpha` does, but from recall balances that are not divided by the accuracies.

    If the raw slope is above 1, classes that were weak before fell further behind; if it is below 1, they caught up.
    The raw slope is the product of `correlation` and `raw_spread_ratio`, so it may be below 1 although the differences
    between recalls have grown, if other classes are weak after pruning. `alpha` is the raw slope times accuracy before
    over accuracy after, so it exceeds a positive raw slope whenever accuracy falls.

    Parameters
    ----------
    before, after : Recalls

    Returns
    -------
    (...)
        NaN if, before pruning, the recall of every class equals the accuracy.

    Examples
    --------
    Both classes lose 20 points. Their difference stays the same, although alpha is 4/3:

    >>> round(float(raw_slope(Recalls([0.9, 0.7], accuracy=0.8), Recalls([0.7, 0.5], accuracy=0.6))), 6)
    1.0
    """
    return alpha(before.raw_balance, after.raw_balance)


def raw_spread_ratio(before: Recalls, after: Recalls) -> np.ndarray:
    """Compute the `spread_ratio` of balances that are not divided by the accuracies.

    Parameters
    ----------
    before, after : Recalls

    Returns
    -------
    (...)
        Above 1 if the differences between recalls grew, whichever classes are weak. NaN if, before pruning, the
        recall of every class equals the accuracy.

    Examples
    --------
    The two classes swap. Their difference stays the same in size, although the raw slope is -1:

    >>> round(float(raw_spread_ratio(Recalls([0.9, 0.7], accuracy=0.8), Recalls([0.5, 0.7], accuracy=0.6))), 6)
    1.0
    """
    return spread_ratio(before.raw_balance, after.raw_balance)


def excess_loss(before: Recalls, after: Recalls) -> np.ndarray:
    """Compute each class's loss of recall minus the network's loss of accuracy.

    Parameters
    ----------
    before, after : Recalls

    Returns
    -------
    (..., classes)
        Above 0 if the class lost more than the accuracy did. Noise biases the maximum over classes upwards.

    Examples
    --------
    Accuracy falls by .1, and one recall by .2:

    >>> excess_loss(Recalls([0.9, 0.7], accuracy=0.8), Recalls([0.9, 0.5], accuracy=0.7)).round(6).tolist()
    [-0.1, 0.1]
    """
    return np.asarray(before.raw_balance - after.raw_balance)


def at_chance(recalls: Recalls, support: ArrayLike | None = None, classes: int | None = None) -> np.ndarray:
    """Test whether networks are at chance, so that their alpha is meaningless.

    Parameters
    ----------
    recalls : Recalls
    support : (classes,), optional
        Number of test images of each class.
    classes : int, optional
        Number of classes that the networks tell apart, if some of them have no test images.

    Returns
    -------
    (...), bool
        True if the mean recall over classes is not above 1 / classes by a one-sided test at 1 %. Under the null
        hypothesis the network predicts each class with a fixed probability, proportional to the class's recall, so the
        number of images of each class that it classifies correctly is binomial. For balanced classes, the accuracy is
        tested against the share of the largest class by a binomial bound. Without supports, True if the accuracy is
        below 1.5 / classes. Always False for a single class.

    Examples
    --------
    A detector that finds 90 % of a rare class is above chance, although always naming the large class is about as
    accurate. A network that always names the large class is at chance:

    >>> at_chance(Recalls([[0.955, 0.9], [1, 0]], accuracy=[0.952, 0.95]), support=[950, 50]).tolist()
    [False, True]

    Guessing gets 1,000 of 10,000 images of ten equally large classes right on average, and more than 1,070 in one case
    of a hundred:

    >>> balanced = Recalls(np.full((2, 10), [[0.106], [0.108]]), accuracy=[0.106, 0.108])
    >>> at_chance(balanced, support=np.full(10, 1000)).tolist()
    [True, False]
    """
    recall, accuracy = recalls.recall, recalls.accuracy
    tested = recall.shape[-1]
    classes = classes or tested
    if classes == 1:  # a single class cannot be guessed wrongly
        return np.zeros(accuracy.shape, dtype=bool)
    if support is None:
        return np.asarray(accuracy < 1.5 / classes)
    support = np.asarray(support)
    if not unbalanced(support):
        return _guesses_balanced(accuracy, support, tested / classes)
    total = recall.sum(-1, keepdims=True)
    answered = recall / np.where(total > 0, total, 1) * tested / classes
    error = np.sqrt((answered * (1 - answered) / support).sum(-1)) / tested
    return np.asarray(recall.mean(-1) <= 1 / classes + NormalDist().inv_cdf(1 - CHANCE_LEVEL) * error)


def _guesses_balanced(accuracy: np.ndarray, support: np.ndarray, share_tested: float) -> np.ndarray:
    from scipy.special import bdtrik  # training imports this module and must not wait for scipy

    images = int(support.sum())
    most_by_chance = np.ceil(bdtrik(1 - CHANCE_LEVEL, images, share_tested * support.max() / images))
    return np.asarray(np.rint(accuracy * images) <= most_by_chance)


def networks_at_chance(label: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Test whether networks are at chance, as `at_chance` does, from their answers to test images.

    Parameters
    ----------
    label : (images,), integers
        Class of each image. Classes without images are ignored.
    right : (networks, images), bool
        Whether each network is right about each image.

    Returns
    -------
    (networks,), bool
    """
    present = np.unique(label, return_inverse=True)[1]
    return at_chance(Recalls.from_answers(present, right), np.bincount(present))


def alpha_shared(before: np.ndarray, after: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """Estimate the slope on the part of the balance shared by all seeds, with an interval over seeds.

    If further training undoes the chance deviations of a single network, `alpha` counts that as de-intensification. To
    avoid this, the balances of each network are compared with the mean balance of the other seeds.

    Parameters
    ----------
    before, after : (seeds, classes)
        Normalised recall balance.
    confidence : float
        Confidence of the jackknife interval.

    Returns
    -------
    Interval
        NaN with fewer than two seeds. With two, its ends are NaN.

    Examples
    --------
    The first network is compared with the balance of the second, and vice versa. The numerator is 2 * (2 * 1 + 1 * 3) =
    10, and the denominator 2 * (2 * 1 + 1 * 2) = 8:

    >>> before = np.array([[1.0, -1.0], [2.0, -2.0]])
    >>> after = np.array([[1.0, -1.0], [3.0, -3.0]])
    >>> alpha_shared(before, after).estimate
    1.25
    """
    means, without_one = shared_means(before, after)
    mean_square = float(quotient(square(before).sum(), len(before)))
    return jackknife_interval([*means.tolist(), mean_square], without_one, confidence)


def shared_means(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute numerator and denominator of `alpha_shared`: means of balance products over pairs of different seeds.

    Parameters
    ----------
    before, after : (seeds, classes)
        Recall balances, or gaps (recall minus accuracy).

    Returns
    -------
    means : (2,)
        NaN with fewer than two seeds.
    without_one : (2, seeds)
        The same with each seed left out in turn; NaN with fewer than three.

    Examples
    --------
    >>> before = np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]])
    >>> means, without_one = shared_means(before, 2 * before)
    >>> without_one[1].tolist()  # 2 * 3, 1 * 3 and 1 * 2 for each of two classes
    [12.0, 6.0, 4.0]
    >>> means.round(3).tolist()
    [14.667, 7.333]
    """
    # Omitting a seed removes the ordered pairs in which it is first, and those in which it is second.
    as_first = np.array([(before * (other.sum(0) - other)).sum(1) for other in (after, before)])
    as_second = np.array([((before.sum(0) - before) * other).sum(1) for other in (after, before)])
    totals, seeds = as_first.sum(1), len(before)
    left = totals[:, np.newaxis] - as_first - as_second
    return quotient(totals, seeds * (seeds - 1)), quotient(left, (seeds - 1) * (seeds - 2))


def other_seed(balance: np.ndarray) -> np.ndarray:
    """Compute the slope of the mean balance of other seeds' dense networks on the balance of each dense network.

    This slope is a reference that needs no training. It is the alpha of pruning that retains nothing of the network.

    Parameters
    ----------
    balance : (seeds, classes)
        Normalised recall balance of dense networks.

    Returns
    -------
    (seeds,)
        NaN with fewer than two seeds.

    Examples
    --------
    >>> other_seed(np.array([[1.0, -1.0], [2.0, -2.0]])).tolist()
    [2.0, 0.5]
    """
    mean_of_others = quotient(balance.sum(0) - balance, len(balance) - 1)
    return alpha(balance, mean_of_others)


def square(balance: np.ndarray) -> np.ndarray:
    """Square balances; the squares are 0 if all balances are 0 up to rounding."""
    squares = np.square(balance)
    return np.where(squares.mean(-1, keepdims=True) < _NO_BALANCE**2, 0.0, squares)


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
