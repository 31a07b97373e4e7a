"""Test losses of single networks against the effect of retraining alone.

If a network is retrained, its recalls change by more than independent changes of single images would explain, because
images of a class are often lost together: the class shifts. A test over images, such as McNemar's, does not allow for
such shifts. Their size is estimated from the control, which was retrained without compression, over all classes
jointly.
"""

from typing import NamedTuple

import numpy as np

from analysis.statistics import two_way
from analysis.statistics.class_sums import Weights
from analysis.statistics.hypothesis_tests import LEVEL, change_interval, exact_mcnemar

# Variance of the shift between the control and a compressed network, as a multiple of the variance of the control's own
# shift. Two retrainings would give 2; the larger multiple allows for classes that shift further than others.
# benchmarks/false_alarms.py checks this multiple.
_VARIANCES = 6
_HALVINGS = 60  # after so many, an interval that had length 1 is shorter than the distance of neighbouring floats


class Changed(NamedTuple):
    """Counts of images on which two networks differ.

    Attributes
    ----------
    lost, won, support : (classes,), integers
        Numbers of images that only the first network recognises, that only the second recognises, and of all images.
    """

    lost: np.ndarray
    won: np.ndarray
    support: np.ndarray

    @property
    def images(self) -> np.ndarray:
        """Number of images on which the networks differ, (classes,)."""
        return np.asarray(self.lost + self.won)


class Shift(NamedTuple):
    """Estimated shift of classes by retraining alone.

    Attributes
    ----------
    variance : float
        Variance of (lost - won) / (lost + won) over classes, minus its variance if a coin toss decided for each changed
        image whether it is lost or won.
    dof : float
        Effective number of classes in the estimate; 0 if retraining changed no image.
    """

    variance: float
    dof: float


def changed(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> Changed:
    """Count the images of each class on which two networks differ.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    first, second : (images,), bool
        Whether each network is right.

    Examples
    --------
    >>> first, second = np.array([True, True, False, True]), np.array([False, True, True, True])
    >>> found = changed(np.array([0, 0, 0, 1]), first, second)
    >>> found.lost.tolist(), found.won.tolist(), found.support.tolist()
    ([1, 0], [1, 0], [3, 1])
    """
    support = np.bincount(label)
    n_lost, n_won = (
        np.bincount(label[has_changed], minlength=len(support)) for has_changed in (first & ~second, second & ~first)
    )
    return Changed(n_lost, n_won, support)


def shift(alone: Changed) -> Shift:
    """Estimate the variance of the shift of classes by retraining alone.

    With variance v, (lost - won)² of a class with n changed images is n + v n² on average. The estimate is the v at
    which the squares, each divided by its average, have mean 1 (Paule and Mandel 1982, "Consensus values and weighting
    factors"). A class with a large n then counts as one observation of a shift, as any other class does.

    Parameters
    ----------
    alone : Changed
        Counts of images on which a network and the same network after retraining differ.

    Returns
    -------
    Shift
        Its degrees of freedom are (sum w)² / sum w² over classes, with the influence w = n / (1 + v n) of a class.

    Examples
    --------
    With coin tosses, 100 changed images of a class give (lost - won)² = 100 on average. Here (lost - won)² is 400, so
    the variance beyond chance is 300 / 100²:

    >>> found = shift(Changed(np.array([60, 40]), np.array([40, 60]), np.array([1000, 1000])))
    >>> round(found.variance, 6), found.dof
    (0.03, 2.0)

    One class has all changed images, so it gives a single degree of freedom:

    >>> shift(Changed(np.array([60, 0]), np.array([40, 0]), np.array([1000, 1000]))).dof
    1.0
    """
    has_changed = alone.images > 0
    if not has_changed.any():
        return Shift(0.0, 0)
    images = alone.images[has_changed].astype(float)
    squares = np.square((alone.lost - alone.won)[has_changed])
    low, high = 0.0, 1.0  # with variance 1, no square is above its average
    for _ in range(_HALVINGS if (squares / images).mean() > 1 else 0):
        middle = (low + high) / 2
        is_below = (squares / (images + middle * np.square(images))).mean() > 1
        low, high = (middle, high) if is_below else (low, middle)
    influence = images / (1 + low * images)
    return Shift(low, float(np.square(influence.sum()) / np.square(influence).sum()))


def change(counts: Changed, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate each class's change of recall between two networks, for new images of the same kind.

    Parameters
    ----------
    counts : Changed
    level : float
        1 minus the confidence of each interval.

    Returns
    -------
    value : (classes,)
    bounds : (2, classes)
        Tango's interval.
    p : (classes,)
        McNemar's exact p.

    Examples
    --------
    >>> value, bounds, p = change(Changed(np.array([8]), np.array([16]), np.array([86])))
    >>> value.round(3).tolist(), bounds.round(3).tolist()
    ([0.093], [[-0.02], [0.207]])
    """
    bounds = np.stack(change_interval(*counts, 1 - level))
    p = exact_mcnemar(counts.lost, counts.won)
    return (counts.won - counts.lost) / counts.support, bounds, p


def beyond_control(
    alone: Changed, against_control: Changed, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate each class's change of recall from control to compressed network, allowing for retraining.

    Parameters
    ----------
    alone : Changed
        Counts of images on which the network before compression and the control differ.
    against_control : Changed
        Counts of images on which the control and the compressed network differ.
    level : float
        1 minus the confidence of each interval.

    Returns
    -------
    value : (classes,)
    bounds : (2, classes)
    p : (classes,)
        All three are as `change` returns them if retraining changed no image, for example because the control is the
        network before compression. Otherwise bounds are at least as wide, and p is at least as large.

    Examples
    --------
    Thirty of the first class's forty changed images are lost. This is unlikely with coin tosses, but not if retraining
    alone shifts classes by that much:

    >>> after = Changed(np.array([30, 20]), np.array([10, 20]), np.array([1000, 1000]))
    >>> same = Changed(np.array([0, 0]), np.array([0, 0]), np.array([1000, 1000]))
    >>> beyond_control(same, after)[2].round(4).tolist()
    [0.0022, 1.0]
    >>> shifted = Changed(np.array([30, 10]), np.array([10, 30]), np.array([1000, 1000]))
    >>> beyond_control(shifted, after)[2].round(2).tolist()
    [0.71, 1.0]
    """
    value, bounds, p = change(against_control, level)
    of_shift, dof = shift_variances(alone, against_control)
    if not dof:
        return value, bounds, p
    of_images = np.maximum(against_control.images, 1) / np.square(against_control.support)
    variances = two_way.Variances([(of_shift, dof)], of_images)
    half = two_way.half_widths(variances, level)
    wider = np.array([np.fmin(bounds[0], value - half), np.fmax(bounds[1], value + half)]).clip(-1, 1)
    return value, wider, np.maximum(p, two_way.p_values(variances, value))


def accuracy_beyond_control(
    alone: Changed, against_control: Changed, level: float = LEVEL
) -> tuple[float, tuple[float, float]]:
    """Estimate the change of accuracy from control to compressed network, with its bounds.

    The variance of the shift is estimated from all classes, which retraining is assumed to shift independently of each
    other. The accuracy alone would give only a single number for this estimate.

    Parameters
    ----------
    alone, against_control, level
        As for `beyond_control`.

    Examples
    --------
    Among 2,000 images, 20 more are lost than won:

    >>> after = Changed(np.array([30, 20]), np.array([10, 20]), np.array([1000, 1000]))
    >>> same = Changed(np.array([0, 0]), np.array([0, 0]), np.array([1000, 1000]))
    >>> value, (low, high) = accuracy_beyond_control(same, after)
    >>> round(value, 3), round(low, 4), round(high, 4)
    (-0.01, -0.0191, -0.0013)
    """
    n_lost, n_won, support = (np.array([each.sum()]) for each in against_control)
    value, bounds, _ = change(Changed(n_lost, n_won, support), level)
    of_shift, dof = shift_variances(alone, against_control)
    if dof:
        share = against_control.support / support
        of_images = np.maximum(n_lost + n_won, 1) / np.square(support)
        half = two_way.half_widths(two_way.Variances([(np.square(share) @ of_shift, dof)], of_images), level)
        bounds = np.array([np.fmin(bounds[0], value - half), np.fmax(bounds[1], value + half)]).clip(-1, 1)
    return float(value[0]), (float(bounds[0, 0]), float(bounds[1, 0]))


def shift_variances(alone: Changed, against_control: Changed) -> tuple[np.ndarray, float]:
    """Compute the variance that retraining alone adds to each class's change of recall from the control.

    Parameters
    ----------
    alone, against_control : Changed
        As for `beyond_control`.

    Returns
    -------
    variance : (classes,)
    dof : float
        Degrees of freedom of the variance; 0 if retraining changed no image.

    Examples
    --------
    Retraining changes 100 of the 1,000 images of each class, and the control's shift has variance .03 as a share of the
    changed images. As a share of all images, six times this variance is 6 * .03 / 10^2 = .0018:

    >>> alone = Changed(np.array([60, 40]), np.array([40, 60]), np.array([1000, 1000]))
    >>> variance, dof = shift_variances(alone, alone)
    >>> variance.round(6).tolist(), dof
    ([0.0018, 0.0018], 2.0)
    """
    of_retraining = shift(alone)
    # Retraining causes losses as well as gains, so losses without gains do not indicate retraining.
    both_ways = 2 * np.minimum(against_control.lost, against_control.won)
    retrained = np.maximum(alone.images, both_ways)
    squares = np.square(against_control.support)
    return _VARIANCES * of_retraining.variance * np.square(retrained) / squares, of_retraining.dof


def with_shift(
    variances: two_way.Variances,
    weights: Weights,
    label: np.ndarray,
    before: np.ndarray,
    control: np.ndarray,
    after: np.ndarray,
) -> two_way.Variances:
    """Add the variance due to retraining alone to the variances of weighted sums of a single network's changes.

    Parameters
    ----------
    variances : Variances
        Variances over images.
    weights : (sums, classes)
    label : (images,), integers
        Class of each image, from 0.
    before, control, after : (images,), bool
        Whether each network is right.

    Examples
    --------
    Retraining loses all 60 changed images of the first class and wins all 60 of the second class, so the variance of
    its shifts is nearly .06^2. Six times this variance, nearly .0216, is added:

    >>> label, place = np.repeat([0, 1], 1000), np.tile(np.arange(1000), 2)
    >>> before, control = place >= 100, place >= np.repeat([160, 40], 1000)
    >>> found = with_shift(two_way.Variances(), np.eye(2), label, before, control, control)
    >>> found.networks[0][0].round(4).tolist(), found.networks[0][1]
    ([0.0212, 0.0212], 2.0)
    """
    of_shift, dof = shift_variances(changed(label, before, control), changed(label, control, after))
    return variances._replace(networks=[(np.square(weights) @ of_shift, dof)]) if dof else variances
