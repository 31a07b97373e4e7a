"""Compute intervals and tests of statistics that vary over networks and over test images.

Answers to single images vary over networks as well as over images. The variance over networks therefore already
contains a part of the variance over images, which must not be counted twice.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from analysis.statistics.arithmetic import is_constant

LEVEL = 0.05
# Below this level t quantiles overflow.
_SMALLEST_LEVEL = 1e-100
# Precision of normal quantiles, and maximum number of steps of Newton's method.
_PRECISION, _MOST_STEPS = 1e-12, 50

Each: TypeAlias = float | np.ndarray


class Variances(NamedTuple):
    """Variances over networks and images, of one statistic or of several, (statistics,).

    Attributes
    ----------
    networks : sequence of (variance, degrees of freedom)
        Variance over the networks of each independent group, and its degrees of freedom (one number, or one for each
        statistic). The statistic is a sum over the groups. Without groups, intervals are for the given networks only.
    images : float
        Variance over images.
    in_both : float
        The part of `images` that the variance over networks also contains.
    """

    networks: Sequence[tuple[Each, Each]] = ()
    images: Each = 0.0
    in_both: Each = 0.0

    @property
    def total(self) -> Each:
        """Variance over networks and images together."""
        return np.maximum(sum(variance for variance, _ in self.networks) + self.images_alone, self.images)

    @property
    def images_alone(self) -> Each:
        """The part of the variance over images that the variance over networks does not contain."""
        return np.maximum(self.images - self.in_both, 0.0) if self.networks else self.images


def variances(
    values: np.ndarray, deviations: np.ndarray | None = None, counted_twice: np.ndarray | None = None
) -> Variances:
    """Estimate the variances of a mean over networks.

    Parameters
    ----------
    values : (networks,)
        The statistic of each network, or its jackknife pseudo-values.
    deviations : (networks, images), optional
        Influence of each image on each network's statistic. The squares of a network's row sum to its variance over
        images.
    counted_twice : (networks, networks), optional
        The part of the networks' covariances over images that is counted twice in products of the deviations.

    Returns
    -------
    Variances
        A single network has no variance over networks. Values that differ only by rounding have variance 0.

    Examples
    --------
    The values of two networks differ by 2. The first image moves both values alike, and the second image moves them in
    opposite directions, which leaves their mean the same:

    >>> two = variances(np.array([1.0, 3.0]), np.array([[0.1, 0.3], [0.1, -0.3]]))
    >>> two.networks, round(two.images, 9), round(two.in_both, 9)
    (((1.0, 1),), 0.01, 0.09)
    """
    n = len(values)
    groups: tuple[tuple[float, int], ...] = ()
    if n > 1:
        groups = ((0.0 if is_constant(values) else float(np.var(values, ddof=1) / n), n - 1),)
    if deviations is None:
        return Variances(groups)
    twice = np.zeros((n, n)) if counted_twice is None else counted_twice
    mean = deviations.mean(0)
    # The part that is counted twice belongs to the variance over images, which is therefore at least as large.
    images = np.maximum(np.square(mean).sum() - twice.mean(), twice.mean())
    own = deviations - mean
    in_both = (np.vdot(own, own) / n - (twice.trace() / n - twice.mean())) / (n - 1) if n > 1 else 0.0
    return Variances(groups, float(images), float(in_both))


def half_width(variances: Variances, level: float = LEVEL) -> float:
    """Compute the half-width of an interval that is conservative for any number of networks.

    If a statistic has a part with a t distribution and a normal part, the squares of their half-widths are added, which
    is conservative (Banerjee 1960, Sankhya 22). The interval is never narrower than an interval over images alone.

    Parameters
    ----------
    variances : Variances
    level : float
        1 minus the confidence.

    Returns
    -------
    float
        NaN if a variance is NaN.

    Examples
    --------
    The t quantile with one degree of freedom is 12.706, and the normal one is 1.96. In the last example, the variance
    over networks already contains 1 of the image variance of 5, so 4 is added:

    >>> round(half_width(Variances([(1.0, 1)])), 3), round(half_width(Variances(images=1.0)), 3)
    (12.706, 1.96)
    >>> both = Variances([(1.0, 1)], images=5.0, in_both=1.0)
    >>> round(half_width(both), 3), round((12.706**2 + 4 * 1.96**2) ** 0.5, 3)
    (13.297, 13.297)
    """
    return float(half_widths(variances, level))


def p_value(variances: Variances, distance: float) -> float:
    """Compute the two-sided p of a test against a value: the level at which the interval just reaches this value.

    Parameters
    ----------
    variances : Variances
    distance : float
        The value minus the estimate.

    Returns
    -------
    float
        1 if the distance is 0; NaN if a variance or the distance is NaN, or if all variances are 0.

    Examples
    --------
    >>> variances = Variances([(1.0, 3)], images=0.5)
    >>> round(p_value(variances, half_width(variances, level=0.001)), 6)
    0.001
    """
    return float(p_values(variances, np.array([distance]))[0])


def half_widths(variances: Variances, level: float = LEVEL) -> np.ndarray:
    """Compute `half_width` of several statistics, (statistics,).

    Examples
    --------
    >>> half_widths(Variances([(np.array([1.0, 4.0]), 1)])).round(2).tolist()
    [12.71, 25.41]
    """
    return _combined(variances, lambda dof: _critical(level, dof))


def p_values(variances: Variances, distances: np.ndarray) -> np.ndarray:
    """Compute `p_value` of several statistics, (statistics,).

    Parameters
    ----------
    variances : Variances
    distances : (statistics,)

    Examples
    --------
    >>> found = Variances([(np.array([1.0, 2.0]), 3)], images=0.5)
    >>> p_values(found, half_widths(found, level=0.01)).round(6).tolist()
    [0.01, 0.01]
    """
    from scipy.special import ndtr  # training imports this package and must not wait for scipy

    distance = np.abs(distances)
    total, alone, images = (
        np.broadcast_to(each, distance.shape) for each in (variances.total, variances.images_alone, variances.images)
    )
    networks = [tuple(np.broadcast_to(each, distance.shape) for each in group) for group in variances.networks]
    is_known = np.isfinite(distance) & (total > 0)
    errors = np.where(is_known, distance, np.nan) / np.sqrt(np.where(is_known, total, 1))
    return np.asarray(2 * ndtr(-_normal_quantiles(networks, alone, images, distance, errors)))


def _normal_quantiles(
    networks: Sequence[tuple[np.ndarray, ...]],
    alone: np.ndarray,
    images: np.ndarray,
    distance: np.ndarray,
    errors: np.ndarray,
) -> np.ndarray:
    """Find the normal quantile of the level at which each half-width equals a distance, (statistics,).

    `errors`, the distances in standard errors, are upper bounds of these quantiles, because t quantiles are larger than
    normal ones. Starting there, Newton's method decreases to the quantile, because the logarithm of the half-width is a
    convex function of the logarithm of the quantile.
    """
    from scipy.special import beta, ndtr, ndtri, stdtrit

    largest = -ndtri(_SMALLEST_LEVEL / 2)
    quantile: np.ndarray = np.minimum(errors, largest)
    moving = np.flatnonzero(quantile > 0)
    for _ in range(_MOST_STEPS):
        normal = quantile[moving]
        half_level, density = ndtr(-normal), np.exp(-np.square(normal) / 2) / math.sqrt(2 * math.pi)
        squares = slopes = np.square(normal) * alone[moving]
        for variance, dof in (tuple(each[moving] for each in group) for group in networks):
            t = np.maximum(-stdtrit(dof, half_level), normal)  # only rounding makes t smaller
            by_normal = density * np.sqrt(dof) * beta(0.5, dof / 2) * (1 + t**2 / dof) ** ((dof + 1) / 2)
            squares = squares + variance * t**2
            slopes = slopes + variance * t * by_normal * normal
        of_images = np.square(normal) * images[moving]
        slope = np.where(squares < of_images, 1, slopes / np.where(squares > 0, squares, 1))
        step = np.log(distance[moving] / np.sqrt(np.maximum(squares, of_images))) / slope
        quantile[moving] = np.minimum(normal * np.exp(step), largest)
        moving = moving[np.abs(quantile[moving] - normal) > _PRECISION]
        if not len(moving):
            break
    return quantile


def detectable(variances: Variances, level: float = LEVEL) -> float:
    """Compute the difference that a two-sided test detects with 80 % power.

    Parameters
    ----------
    variances : Variances
    level : float
        Level of the test.

    Examples
    --------
    For a normal statistic, this difference is 1.96 + 0.84 standard errors:

    >>> round(detectable(Variances(images=1.0)), 2)
    2.8
    """
    from analysis.statistics.hypothesis_tests import detectable_in_errors  # training must not wait for scipy

    return float(_combined(variances, lambda dof: detectable_in_errors(dof, level)))


def _combined(variances: Variances, critical: Callable[[Any], Any]) -> np.ndarray:
    """Compute two-way half-widths, in which `critical` maps degrees of freedom to critical values."""
    normal = critical(math.inf)
    over_networks = sum(critical(dof) ** 2 * variance for variance, dof in variances.networks)
    squares = over_networks + normal**2 * variances.images_alone, normal**2 * variances.images
    return np.asarray(np.sqrt(np.maximum(*squares)))


def _critical(level: float, dof: Each) -> Each:
    """Return the upper `level` / 2 quantile of t, or of the normal distribution if `dof` is infinite."""
    normal, t = _quantiles()
    is_normal = np.isinf(dof)
    return np.asarray(np.where(is_normal, -normal(level / 2), -t(np.where(is_normal, 1, dof), level / 2)))


@cache
def _quantiles() -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """Return the quantile functions of the normal and the t distribution."""
    from scipy.special import ndtri, stdtrit  # training imports this package and must not wait for scipy

    return ndtri, stdtrit
