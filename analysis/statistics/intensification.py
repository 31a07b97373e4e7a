"""Recall distortion: recall balance, its slopes (alpha and others), and how surely each is known.

Sections are those of Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning
Algorithm". Arrays have the classes last; dimensions before them (seeds, cells) are carried along.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import quotient
from analysis.statistics.resampling import Interval, jackknife_interval

# Recalls are logged as float32, whose rounding makes a root mean square below this; the smallest step of a real balance
# is 1 / test images.
_NO_BALANCE = 1e-7
CHANCE_LEVEL = 0.01


def recall_balance(recall: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Return the normalised recall balance b = (R - A) / A (Section 4).

    Parameters
    ----------
    recall : (..., classes)
        Recall R of each class.
    accuracy : (...)
        Accuracy A of the same networks.

    Returns
    -------
    (..., classes)
        NaN where the accuracy is 0.

    Examples
    --------
    >>> recall_balance([0.9, 0.7], accuracy=0.8).round(3).tolist()
    [0.125, -0.125]
    """
    accuracy = np.asarray(accuracy, dtype=float)[..., np.newaxis]
    return quotient(np.asarray(recall) - accuracy, accuracy)


def mean_balance(values: ArrayLike) -> np.ndarray:
    """Return the normalised balance of a metric that has no accuracy to be centred on: precision or F1.

    Parameters
    ----------
    values : (..., classes)
        The metric of each class.

    Returns
    -------
    (..., classes)
        Distance from the mean over the classes, divided by that mean; NaN where the mean is 0.

    Examples
    --------
    >>> mean_balance([0.9, 0.6, 0.0]).round(3).tolist()
    [0.8, 0.2, -1.0]
    """
    return recall_balance(values, np.asarray(values).mean(-1))


def alpha(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the slope, without intercept, of recall balance after pruning on before (Section 5).

    Above 1 pruning intensifies the differences between classes, below 1 it de-intensifies them. If `before` is the
    balance of the control `none`, the slope is the effect of pruning alone, without that of fine-tuning.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance, as `recall_balance` returns it.

    Returns
    -------
    (...)
        NaN where `before` is 0 for every class, or either holds a NaN.

    Examples
    --------
    The accuracy falls from .8 to .6, and each recall by .2:

    >>> before = recall_balance([0.9, 0.7], accuracy=0.8)  # 1/8, -1/8
    >>> after = recall_balance([0.7, 0.5], accuracy=0.6)  # 1/6, -1/6
    >>> round(float(alpha(before, after)), 3)
    1.333
    """
    before, after = np.asarray(before), np.asarray(after)
    return quotient((before * after).sum(-1), square(before).sum(-1))


def weighted_alpha(before: ArrayLike, after: ArrayLike, support: ArrayLike) -> np.ndarray:
    """Return the slope with every class weighted by its share of the images.

    Unlike `alpha` this slope needs no intercept where the classes differ in size.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.
    support : (..., classes)
        Number of test images of each class.

    Returns
    -------
    (...)
        NaN where `alpha` is.

    Examples
    --------
    (3 * .1 * .2 + 1 * .3 * .3) / (3 * .1 * .1 + 1 * .3 * .3) = .15 / .12:

    >>> round(float(weighted_alpha([0.1, -0.3], [0.2, -0.3], support=[300, 100])), 3)
    1.25
    """
    weight = np.sqrt(quotient(support, np.asarray(support).mean(-1, keepdims=True)))
    return alpha(weight * before, weight * after)


def unbalanced(support: ArrayLike) -> np.ndarray:
    """Return whether supports differ by more than 1 %, so that `weighted_alpha` is needed.

    Parameters
    ----------
    support : (..., classes)
        Number of test images of each class.

    Returns
    -------
    (...), bool
        True where they differ.

    Examples
    --------
    >>> unbalanced([[100, 101], [100, 102]]).tolist()
    [False, True]
    """
    return np.asarray(np.max(support, axis=-1) > 1.01 * np.min(support, axis=-1))


def intensification_ratios(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the intensification ratio I of every class: balance after over balance before (Section 5).

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (..., classes)
        NaN where the class was balanced before.

    Examples
    --------
    >>> intensification_ratios([0.1, -0.2], [0.2, 0.1]).tolist()
    [2.0, -0.5]
    """
    return quotient(after, before)


def correlation(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the uncentred correlation r of the balances, which says whether the same classes stay behind.

    `alpha` is the product of `correlation` and `spread_ratio`.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (...)
        Between -1 and 1; NaN where either balance is 0 for every class.

    Examples
    --------
    The weak class changes places with the strong one:

    >>> round(float(correlation([0.1, -0.1], [-0.2, 0.2])), 3)
    -1.0
    """
    before, after = np.asarray(before), np.asarray(after)
    return quotient((before * after).sum(-1), np.sqrt(square(before).sum(-1) * square(after).sum(-1)))


def spread_ratio(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the root mean square of the balance after over that before: above 1 the spread grew.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (...)
        NaN where `before` is 0 for every class.

    Examples
    --------
    >>> round(float(spread_ratio([0.1, -0.1], [-0.2, 0.2])), 3)
    2.0
    """
    return np.asarray(np.sqrt(quotient(square(np.asarray(after)).sum(-1), square(np.asarray(before)).sum(-1))))


def worst_class_change(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the lowest recall after minus the lowest recall before, which need not be of the same class.

    Parameters
    ----------
    before, after : (..., classes)
        Recall of each class.

    Returns
    -------
    (...)
        Negative where the worst class fares worse after pruning.

    Examples
    --------
    >>> round(float(worst_class_change([0.9, 0.7], [0.6, 0.8])), 3)
    -0.1
    """
    return np.asarray(np.min(after, axis=-1) - np.min(before, axis=-1))


def raw_slope(
    recall_before: ArrayLike, recall_after: ArrayLike, accuracy_before: ArrayLike, accuracy_after: ArrayLike
) -> np.ndarray:
    """Return the slope of the recall balance after pruning on that before, neither divided by its accuracy.

    `alpha` is `raw_slope` times accuracy before over accuracy after, so that it rises whenever accuracy falls. The raw
    slope says whether classes that were weak before fell further behind (above 1) or caught up (below 1). It is the
    product of `correlation` and `raw_spread_ratio`: if other classes are weak after pruning than before, it is below 1
    although the differences between recalls may have grown.

    Parameters
    ----------
    recall_before, recall_after : (..., classes)
        Recall of each class.
    accuracy_before, accuracy_after : (...)
        Accuracy of the same networks.

    Returns
    -------
    (...)
        NaN where every class has the accuracy as its recall.

    Examples
    --------
    Both classes lose 20 points. Their difference is the same as before, although alpha is 4/3:

    >>> round(float(raw_slope([0.9, 0.7], [0.7, 0.5], accuracy_before=0.8, accuracy_after=0.6)), 6)
    1.0
    """
    return alpha(_difference(recall_before, accuracy_before), _difference(recall_after, accuracy_after))


def raw_spread_ratio(
    recall_before: ArrayLike, recall_after: ArrayLike, accuracy_before: ArrayLike, accuracy_after: ArrayLike
) -> np.ndarray:
    """Return the `spread_ratio` of balances that are not divided by the accuracies.

    Parameters
    ----------
    recall_before, recall_after : (..., classes)
        Recall of each class.
    accuracy_before, accuracy_after : (...)
        Accuracy of the same networks.

    Returns
    -------
    (...)
        Above 1 where the differences between recalls grew, be it between the same classes or others. NaN where every
        class has the accuracy as its recall before pruning.

    Examples
    --------
    The two classes change places. Their difference is the same as before, although the raw slope is -1:

    >>> round(float(raw_spread_ratio([0.9, 0.7], [0.5, 0.7], accuracy_before=0.8, accuracy_after=0.6)), 6)
    1.0
    """
    return spread_ratio(_difference(recall_before, accuracy_before), _difference(recall_after, accuracy_after))


def excess_loss(
    recall_before: ArrayLike, recall_after: ArrayLike, accuracy_before: ArrayLike, accuracy_after: ArrayLike
) -> np.ndarray:
    """Return how much more recall each class lost than the network lost accuracy.

    Parameters
    ----------
    recall_before, recall_after : (..., classes)
        Recall of each class.
    accuracy_before, accuracy_after : (...)
        Accuracy of the same networks.

    Returns
    -------
    (..., classes)
        Above 0 where the class lost more than the accuracy did. Its maximum over classes is biased upwards by noise.

    Examples
    --------
    Accuracy falls by .1, one recall by .2:

    >>> excess_loss([0.9, 0.7], [0.9, 0.5], accuracy_before=0.8, accuracy_after=0.7).round(6).tolist()
    [-0.1, 0.1]
    """
    return np.asarray(_difference(recall_before, accuracy_before) - _difference(recall_after, accuracy_after))


def at_chance(recall: ArrayLike, accuracy: ArrayLike, support: ArrayLike | None = None) -> np.ndarray:
    """Return whether a network guesses, so that its alpha may be any number.

    Parameters
    ----------
    recall : (..., classes)
        Recall of each class.
    accuracy : (...)
        Accuracy of each network.
    support : (classes,), optional
        Number of test images of each class.

    Returns
    -------
    (...), bool
        True where the mean recall over classes is not above 1 / classes by a one-sided test at 1 %. Images of a class
        are right independently (binomials of the classes), with the shares that a network without knowledge would
        answer, which are proportional to its recalls. Of balanced classes the test is that of the accuracy against the
        share of the largest class, by a binomial bound. Without supports, True where the accuracy is below
        1.5 / classes.

    Examples
    --------
    A detector that finds 90 % of a rare class knows something, though who always names the large class is right as
    often. One that always names the large class knows nothing:

    >>> at_chance([[0.955, 0.9], [1, 0]], [0.952, 0.95], support=[950, 50]).tolist()
    [False, True]

    Of 10,000 balanced images a guess is right about 1,000, and in one case of a hundred about more than 1,070:

    >>> at_chance(np.full((2, 10), [[0.106], [0.108]]), [0.106, 0.108], support=np.full(10, 1000)).tolist()
    [True, False]
    """
    recall, accuracy = np.asarray(recall, dtype=float), np.asarray(accuracy, dtype=float)
    classes = recall.shape[-1]
    if classes == 1:  # of which nobody can guess wrongly
        return np.zeros(accuracy.shape, dtype=bool)
    if support is None:
        return np.asarray(accuracy < 1.5 / classes)
    support = np.asarray(support)
    if not unbalanced(support):
        return _guesses_balanced(accuracy, support)
    total = recall.sum(-1, keepdims=True)
    answered = recall / np.where(total > 0, total, 1)
    error = np.sqrt((answered * (1 - answered) / support).sum(-1)) / classes
    return np.asarray(recall.mean(-1) <= 1 / classes + NormalDist().inv_cdf(1 - CHANCE_LEVEL) * error)


def _guesses_balanced(accuracy: np.ndarray, support: np.ndarray) -> np.ndarray:
    from scipy.special import bdtrik  # training imports this module and must not wait for scipy

    images = int(support.sum())
    most_by_chance = np.ceil(bdtrik(1 - CHANCE_LEVEL, images, support.max() / images))
    return np.asarray(np.rint(accuracy * images) <= most_by_chance)


def networks_at_chance(label: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return whether networks guess, as `at_chance` says.

    Parameters
    ----------
    label : (images,), integers
        Class of each image. Numbers without an image are no classes.
    right : (networks, images), bool
        Whether each network is right.

    Returns
    -------
    (networks,), bool
    """
    support = np.bincount(label)
    recall = np.array([np.bincount(label, network, len(support)) for network in right])[:, support > 0]
    return at_chance(recall / support[support > 0], right.mean(1), support[support > 0])


def alpha_shared(before: np.ndarray, after: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """Estimate the slope on the part of the balance that all seeds have in common, with an interval over seeds.

    In `alpha`, accidents of a single network, which any further training undoes, count as de-intensification. Here the
    balances of each network are compared with the mean balance of the other seeds.

    Parameters
    ----------
    before, after : (seeds, classes)
        Normalised recall balance.
    confidence : float
        Confidence of the jackknife interval.

    Returns
    -------
    Interval
        NaN with fewer than two seeds; its ends are NaN with two.

    Examples
    --------
    The first network is held against the balance of the second, and the second against that of the first. The numerator
    is 2 * (2 * 1 + 1 * 3) = 10, the denominator 2 * (2 * 1 + 1 * 2) = 8:

    >>> before = np.array([[1.0, -1.0], [2.0, -2.0]])
    >>> after = np.array([[1.0, -1.0], [3.0, -3.0]])
    >>> alpha_shared(before, after).estimate
    1.25
    """
    totals, without_one = shared_sums(before, after)
    square = (len(before) - 1) * np.square(before).sum()
    return jackknife_interval([*totals.tolist(), square], without_one, confidence)


def shared_sums(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return numerator and denominator of `alpha_shared`: products of balances of different seeds, summed over pairs.

    Parameters
    ----------
    before, after : (seeds, classes)
        Recall balance, normalised or not.

    Returns
    -------
    totals : (2,)
    without_one : (2, seeds)
        The same with each seed left out.

    Examples
    --------
    >>> before = np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]])
    >>> totals, without_one = shared_sums(before, 2 * before)
    >>> totals.tolist(), without_one[1].tolist()  # 2 * (2 * 3), 2 * (1 * 3) and 2 * (1 * 2) for each of two classes
    ([88.0, 44.0], [24.0, 12.0, 8.0])
    """
    # The sums are over all pairs of different seeds. Without a seed they lack its pairs, as the first and as the
    # second.
    as_first = np.array([(before * (other.sum(0) - other)).sum(1) for other in (after, before)])
    as_second = np.array([((before.sum(0) - before) * other).sum(1) for other in (after, before)])
    totals = as_first.sum(1)
    return totals, totals[:, np.newaxis] - as_first - as_second


def other_seed(balance: np.ndarray) -> np.ndarray:
    """Return the mean alpha from each dense network to the networks of the other seeds.

    This control needs no training: it is the alpha of pruning that remembers nothing of the network.

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


def _difference(recall: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    return np.asarray(np.asarray(recall) - np.asarray(accuracy, dtype=float)[..., np.newaxis])


def square(balance: np.ndarray) -> np.ndarray:
    """Return the squares of balances, 0 where all classes are balanced up to rounding."""
    squares = np.square(balance)
    return np.where(squares.mean(-1, keepdims=True) < _NO_BALANCE**2, 0.0, squares)
