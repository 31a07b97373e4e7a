"""Test and bound the cost of compression to each class, over several networks, and find the worst class.

The *loss* of a class in a compressed network is its recall in a reference network minus its recall in the compressed
one. The *cost* is this loss minus the loss of accuracy. The reference is the control of the same dense network, or the
dense network itself.

The class that loses most differs between networks by chance, so the mean of the networks' largest losses is above 0
even if no class loses anything. The functions here therefore never use the same network to choose a class and to
measure its loss.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from analysis.statistics import class_sums, two_way
from analysis.statistics.arithmetic import quotient
from analysis.statistics.class_losses import Changes
from analysis.statistics.class_sums import Weights
from analysis.statistics.hypothesis_tests import LEVEL, corrected

# Fewer than ten networks have at most 512 sign flips, so p would be coarse.
FEWEST_FLIPPED = 10
# With up to 13 networks, all sign flips are used. With more networks, this many flips are used: one that changes no
# sign, and others drawn at random.
_MOST_FLIPS = 1 << 13
SPLITS = 50


def excess(losses: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Compute costs: each network's losses minus its loss of accuracy.

    Parameters
    ----------
    losses : (..., classes)
        Recall of the reference minus recall of the compressed network.
    share : (classes,)
        Each class's share of the test images.

    Examples
    --------
    In the first network both classes lose 30 points, as much as the accuracy, so neither has a cost:

    >>> excess(np.array([[0.3, 0.3], [0.4, 0.0]]), np.array([0.5, 0.5])).tolist()
    [[0.0, 0.0], [0.2, -0.2]]
    """
    return np.asarray(losses @ class_sums.excess_weights(share).T)


def step_down_p(values: np.ndarray) -> np.ndarray:
    """Test whether each class's mean over networks is above 0, with step-down max-t correction for all classes.

    Under the null hypothesis, a network's vector of values is as likely as its negative. The signs of all values of a
    network are flipped together, which preserves the correlation between classes (Westfall and Young 1993,
    Resampling-Based Multiple Testing, algorithm 2.8; Romano and Wolf 2005, Econometrica 73(4)).

    Parameters
    ----------
    values : (networks, classes)
        Losses or costs.

    Returns
    -------
    (classes,)
        One-sided corrected p, at least `smallest_p`. A class whose mean is not above 0 has p 1.

    Examples
    --------
    Ten networks have 1,024 sign flips. Only the flip that changes no sign gives the first class a mean as large as the
    observed one:

    >>> values = np.column_stack([np.arange(1.0, 11.0), np.zeros(10)])
    >>> (1024 * step_down_p(values)).tolist()
    [1.0, 1024.0]
    """
    t, flipped = _flipped_t(values)
    # Step-down: each class's t is compared with the largest flipped t of this class and of all classes that rank lower.
    ascending = np.argsort(t, kind="stable")
    largest = np.maximum.accumulate(flipped[:, ascending], axis=1)
    p = (largest >= t[ascending] * (1 - _TIE)).mean(0)
    adjusted = np.empty(len(t))
    adjusted[ascending] = np.maximum.accumulate(p[::-1])[::-1]
    return np.where(t > 0, adjusted, 1.0)


def smallest_p(networks: int) -> float:
    """Compute the smallest p that a sign-flip test can give with this number of networks.

    Examples
    --------
    >>> smallest_p(10) == 1 / 1024
    True
    """
    return float(1 / min(1 << networks, _MOST_FLIPS))


# Columns of tables for the fields of `Bounds`. Losses have no column for p, because a loss of accuracy already implies
# that some class loses. `loss_low_all` is the lower end of the 95 % interval that holds for all classes jointly.
LOSS_COLUMNS = ("loss", "loss_low", "loss_high", "loss_low_all", "loss_upper_all")
COST_COLUMNS = ("cost", "cost_low", "cost_high", "cost_upper_all", "cost_p")


class Bounds(NamedTuple):
    """Mean losses or costs of classes, with bounds and p, each (classes,).

    Attributes
    ----------
    value : ndarray
        Mean over networks.
    low, high : ndarray
        Ends of the interval of each single class, for new networks and images.
    upper_all : ndarray
        One-sided upper bounds that hold for all classes jointly, by Bonferroni's correction.
    p : ndarray
        One-sided p for a value above 0, corrected for all classes: by `step_down_p` with at least `FEWEST_FLIPPED`
        pairs of networks, else by Holm's correction of the t-test.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    upper_all: np.ndarray
    p: np.ndarray


def bounds(
    changes: Changes, weights: Weights, *, variances: two_way.Variances | None = None, level: float = LEVEL
) -> Bounds:
    """Estimate weighted sums of the classes' losses, with bounds and tests.

    Parameters
    ----------
    changes : Changes
        Changes of recall from the reference to the compressed networks, after `class_losses.moderated` if variances
        should be moderated.
    weights : (sums, classes)
        The identity for losses, `class_sums.excess_weights` for costs, or the classes' shares for the accuracy.
    variances : Variances, optional
        Variances of the sums, by default those of `changes`.
    level : float
        1 minus the confidence.

    Returns
    -------
    Bounds
        If the variance is 0 or unknown, for example for one network without predictions, `low`, `high` and `upper_all`
        are NaN, and so is p, unless `step_down_p` computes it. With predictions, `class_table.costs` gives bounds in
        these cases too.

    Examples
    --------
    Two of three networks lose .1 in the first class. The quantile of t at .05 / 2 with two degrees of freedom is 4.303,
    and the standard error is .0333:

    >>> from analysis.statistics import class_losses
    >>> changes = class_losses.from_recalls(np.ones((3, 2)), np.array([[0.9, 1.0], [0.9, 0.9], [1.0, 1.0]]))
    >>> found = bounds(changes, np.eye(2))
    >>> found.value.round(4).tolist(), float(found.upper_all[0].round(3))
    ([0.0667, 0.0333], 0.21)
    """
    variances = changes.variances(weights) if variances is None else variances
    value = -(weights @ sum(group.mean(0) for group in changes.groups))
    half = _half_widths(variances, level)
    half_all = _half_widths(variances, 2 * level / len(value))
    values = of_networks(changes, weights)
    return Bounds(value, value - half, value + half, value + half_all, one_sided_p(variances, value, values))


def one_sided_p(variances: two_way.Variances, value: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """Test whether means are above 0, with a correction for all classes.

    Parameters
    ----------
    variances : Variances
    value : (classes,)
        Means.
    values : (networks, classes), optional
        Each network's values, as `of_networks` returns them. With at least `FEWEST_FLIPPED` networks, the test flips
        the signs of these values.

    Returns
    -------
    (classes,)
        One-sided corrected p; without sign flips, NaN if the variance is 0 or unknown.

    Examples
    --------
    The first mean is 1.645 standard errors above 0, so its p of .05 is doubled by the correction for two classes:

    >>> one_sided_p(two_way.Variances(images=np.ones(2)), np.array([1.645, 0.0]), None).round(2).tolist()
    [0.1, 0.5]
    """
    value = _without_rounding(value)
    if values is not None and len(values) >= FEWEST_FLIPPED:
        return step_down_p(_without_rounding(values))
    two_sided = two_way.p_values(variances, value)
    return np.asarray(corrected(np.where(value > 0, two_sided / 2, 1 - two_sided / 2), len(value))[1])


def with_coins(
    p: np.ndarray, value: np.ndarray, loss: np.ndarray, n_changed: np.ndarray, support: np.ndarray
) -> np.ndarray:
    """Raise p to what counting images allows, if all changed images of a class are lost or none of its images changes.

    If a coin decides whether a changed image is lost or won, all m of them are lost with the probability .5^m. No test
    of a class that loses recall should give a lower p. If a class should win the share v of its images, as its value
    says, none of its n images changes with a probability of at most (1 - v)^n. No test of a class without changed
    images should give a lower p. Bonferroni's correction multiplies both probabilities by the number of classes. Tests
    that estimate variances would give a lower p, because the variance of images that are all lost, or unchanged, is 0.

    Parameters
    ----------
    p : (classes,)
        One-sided p of each value, corrected for all classes. It is replaced where it is NaN.
    value : (classes,)
        Losses, costs or disproportionate losses.
    loss : (classes,)
        Loss of recall of each class. A class that loses none may have a cost because others win recall.
    n_changed, support : (classes,), integers
        Numbers of images of each class that change, and of all its images.

    Examples
    --------
    No image of the last two classes changes. Ten images may all stay by chance, but of a hundred some should change:

    >>> value, loss = np.array([0.9, 0.5, 0.1, 0.1]), np.array([1.0, 0.6, 0.0, 0.0])
    >>> n_changed, support = np.array([2, 10, 0, 0]), np.array([2, 20, 10, 100])
    >>> with_coins(np.zeros(4), value, loss, n_changed, support).round(4).tolist()
    [1.0, 0.0039, 1.0, 0.0001]
    """
    of_coins, of_unchanged = (
        np.where(_without_rounding(value) > 0, np.minimum(len(value) * chance, 1), 1.0)
        for chance in (0.5**n_changed, (1 - value).clip(0, 1) ** support)
    )
    p = np.where(np.isnan(p) | (_without_rounding(loss) > 0), np.fmax(p, of_coins), p)
    return np.where(n_changed == 0, np.fmax(p, of_unchanged), p)


def _without_rounding(shares: np.ndarray) -> np.ndarray:
    """Set losses or costs to 0 if they are only rounding errors, such as the costs of classes with equal losses."""
    return np.where(np.abs(shares) < _ROUNDING, 0.0, shares)


def _half_widths(variances: two_way.Variances, level: float) -> np.ndarray:
    return np.where(np.asarray(variances.total) > 0, two_way.half_widths(variances, level), np.nan)


def of_networks(changes: Changes, weights: Weights) -> np.ndarray | None:
    """Compute weighted sums of each network's losses, (networks, sums); None for unpaired networks or one pair.

    Parameters
    ----------
    changes, weights
        As for `bounds`.
    """
    if len(changes.groups) > 1 or len(changes.groups[0]) < 2:
        return None
    return np.asarray(-(changes.groups[0] @ weights.T))


class WorstClass(NamedTuple):
    """The class with the largest cost, and this cost.

    Attributes
    ----------
    place : int
        Index of the class that `worst_class` chooses most often; -1 if it chooses none.
    cost : float
        Mean cost of the chosen classes, measured in networks and on images that were not used to choose them.
    low, high : float
        Interval of the largest cost of all classes (95 % by default), extended to contain `cost`. If `low` is above 0,
        some class is shown to have a cost, but perhaps not the class at `place`.
    is_shown : bool
        Whether the cost of the class at `place` is itself shown to be above 0.
    """

    place: int
    cost: float
    low: float
    high: float
    is_shown: bool


_TIED_DIGITS = 9
NO_CLASS = WorstClass(-1, np.nan, np.nan, np.nan, False)


def worst_class(
    changes: Changes,
    weights: Weights,
    *,
    label: np.ndarray | None = None,
    differences: np.ndarray | None = None,
    joint: np.ndarray | None = None,
    p: np.ndarray | None = None,
    level: float = LEVEL,
) -> WorstClass:
    """Find the class with the largest cost, and measure its cost on networks and images not used to choose it.

    For each network, the class with the largest mean cost over the *other* networks is chosen, on one half of the
    images of each class. Its cost is then measured in this one network, on the other half, so the mean of these costs
    is unbiased. A t-interval of these measurements would be too narrow if classes have similar costs, because the
    chosen class then differs between networks. The interval is therefore for the largest cost of all classes: its ends
    are the largest lower bound and the largest upper bound of the classes. The lower bounds hold jointly at half the
    level, and so do the upper bounds.

    Parameters
    ----------
    changes, weights
        As for `bounds`.
    label : (images,), integers, optional
        Class of each image, from 0.
    differences : (networks, images), optional
        For each image, 1 if only the reference is right, -1 if only the compressed network is right, else 0. If None,
        the images are not split, and the cost applies only to these test images.
    joint : (2, classes), optional
        Lower and upper bounds of all costs, as described above. If None, they follow from the variances of the costs.
    p : (classes,), optional
        One-sided p of each class's cost, corrected for all classes. If None, the class's lower bound decides whether
        its own cost is shown.
    level : float
        Level of p, and 1 minus the confidence of the bounds that are computed if `joint` is None.

    Returns
    -------
    WorstClass
        No class is chosen for a single network or for unpaired networks.

    Examples
    --------
    In each network, the loss of the first class exceeds the loss of accuracy by .1:

    >>> from analysis.statistics import class_losses
    >>> recall = np.array([[0.7, 0.9], [0.6, 0.8], [0.65, 0.85]])
    >>> changes = class_losses.from_recalls(np.full((3, 2), 0.9), recall)
    >>> found = worst_class(changes, class_sums.excess_weights(np.full(2, 0.5)))
    >>> found.place, round(found.cost, 3), found.is_shown
    (0, 0.1, False)
    """
    values = of_networks(changes, weights)
    if values is None:
        return NO_CLASS
    places, costs = read_left_out(values, weights, label, differences)
    if joint is None:
        half = _half_widths(changes.variances(weights), level / len(weights))
        joint = values.mean(0) + np.array([-half, half])
    lower, upper = joint
    place, cost = int(np.bincount(places.ravel()).argmax()), float(costs.mean())
    low, high = min(_largest(lower), cost), max(_largest(upper), cost)
    is_shown = low > 0 and (lower[place] > 0 if p is None else p[place] <= level)
    return WorstClass(place, cost, low, high, bool(is_shown))


def _largest(values: np.ndarray) -> float:
    """Return the largest known value, or NaN if none is known."""
    return float(np.nanmax(values)) if np.isfinite(values).any() else np.nan


def read_left_out(
    values: np.ndarray, weights: Weights, label: np.ndarray | None, differences: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a class for each network, and measure its cost in this network; return both, (readings, networks).

    Parameters
    ----------
    values : (networks, classes)
        Costs on all images.
    weights, label, differences
        As for `worst_class`. A reading has a choice and a measurement for every network. Without labels or differences
        there is one reading, on all images; otherwise each split of the images gives two.
    """
    if label is None or differences is None:
        places, costs = _choose_and_read(values, values)
        return places[np.newaxis], costs[np.newaxis]
    halves = ImageHalves(label, differences)
    readings = []
    for each in range(SPLITS):
        first, second = (losses @ weights.T for losses in halves.split(each))
        readings += [_choose_and_read(first, second), _choose_and_read(second, first)]
    places, costs = (np.stack(each) for each in zip(*readings, strict=True))
    return places, costs


def _choose_and_read(chosen_on: np.ndarray, read_on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose for each network the class with the largest mean over the others; return it and its value in this one."""
    # Rounding first makes ties exact, so that every machine chooses the first of equally costly classes.
    places = (chosen_on.sum(0) - chosen_on).round(_TIED_DIGITS).argmax(1)
    return places, read_on[np.arange(len(read_on)), places]


class ImageHalves:
    """Losses of classes on random halves of each class's images. The same `label` always gives the same halves.

    If a class has a single image, this image is in both halves.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0; every class has an image.
    differences : (networks, images)
        As for `worst_class`.
    """

    def __init__(self, label: np.ndarray, differences: np.ndarray) -> None:
        support, sizes = np.bincount(label), _sizes(label)
        in_first = _first_halves(np.asarray(label, dtype=np.int64).tobytes())
        by_class = np.argsort(label, kind="stable")
        sums = []
        for images in np.split(by_class, np.cumsum(support)[:-1]):
            own = differences[:, images].astype(np.float32)
            changed = own.any(0)  # most images never change, so they are skipped
            in_halves = in_first[:, images[changed]].astype(np.float32) @ own[:, changed].T
            sums.append((in_halves, own.sum(1)))
        first, whole = (np.stack(each, axis=-1) for each in zip(*sums, strict=True))
        alone = support == 1
        self._first = first / sizes
        self._second = np.where(alone, first, whole - first) / np.where(alone, 1, support - sizes)

    def split(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the losses on the two halves of split `number`, each (networks, classes)."""
        return self._first[number], self._second[number]


def _sizes(label: np.ndarray) -> np.ndarray:
    """Count the images of each class in the first half, (classes,)."""
    return np.maximum(np.bincount(label) // 2, 1)


@lru_cache(maxsize=8)
def _first_halves(label: bytes) -> np.ndarray:
    """Draw, for each split, a mask of the images in the first half of their class, (splits, images)."""
    classes = np.frombuffer(label, dtype=np.int64)
    places = np.argsort(classes, kind="stable")
    support, sizes = np.bincount(classes), _sizes(classes)
    rank = np.arange(len(classes)) - np.repeat(np.cumsum(support) - support, support)
    is_first = rank < np.repeat(sizes, support)
    in_first = np.zeros((SPLITS, len(classes)), dtype=bool)
    generator = np.random.default_rng(_SEED)
    for split in in_first:
        shuffled = np.argsort(np.repeat(np.arange(len(support)), support) + generator.random(len(classes)))
        split[places[shuffled[is_first]]] = True
    return in_first


_SEED = 20261127
_ROUNDING = 1e-12
_TIE = 1e-9  # statistics whose relative difference is smaller differ only by rounding


def _flipped_t(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute t of each class, (classes,), and t after each flip of the networks' signs, (flips, classes)."""
    signs = _signs(len(values))
    statistics = _t(signs @ values / len(values), np.square(values).mean(0), len(values))
    return statistics[0], statistics


def _t(mean: np.ndarray, mean_square: np.ndarray, networks: int) -> np.ndarray:
    """Compute t from means and mean squares: 0 if all values are 0, infinite if they are equal and not 0."""
    variance = np.maximum(mean_square - np.square(mean), 0)
    variance = np.where(variance < _TIE * mean_square, 0, variance)
    t = quotient(mean, np.sqrt(variance / (networks - 1)))
    return np.where(variance > 0, t, np.where(np.abs(mean) > 0, np.copysign(np.inf, mean), 0.0))


@lru_cache(maxsize=8)
def _signs(networks: int) -> np.ndarray:
    """Return the sign flips, (flips, networks), the first of which flips nothing."""
    if 2**networks <= _MOST_FLIPS:
        bits = np.arange(2**networks)[:, np.newaxis] >> np.arange(networks) & 1
        return np.asarray(1.0 - 2.0 * bits)
    signs = np.random.default_rng(_SEED).choice([-1.0, 1.0], (_MOST_FLIPS, networks))
    signs[0] = 1.0
    return np.asarray(signs)
