"""Compute intervals and tests of statistics that vary over networks and over test images.

Answers to single images vary over networks as well as over images. The variance over networks therefore already
contains a part of the variance over images, which must not be counted twice.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from analysis.statistics.arithmetic import is_constant

LEVEL = 0.05
# Below this level t quantiles overflow.
_SMALLEST_LEVEL = 1e-100
_PRECISION = 1e-13  # of the logarithm of p


class Variances(NamedTuple):
    """Variances of a statistic over networks and images.

    Attributes
    ----------
    networks : sequence of (variance, degrees of freedom)
        Variance over the networks of each independent group, and its degrees of freedom. The statistic is a sum over
        the groups. Without groups, intervals are for the given networks only.
    images : float
        Variance over images.
    in_both : float
        The part of `images` that the variance over networks also contains.
    """

    networks: Sequence[tuple[float, float]] = ()
    images: float = 0.0
    in_both: float = 0.0

    @property
    def total(self) -> float:
        """Variance over networks and images together."""
        return float(max(sum(variance for variance, _ in self.networks) + self.images_alone, self.images))

    @property
    def images_alone(self) -> float:
        """The part of the variance over images that the variance over networks does not contain."""
        return float(max(self.images - self.in_both, 0.0)) if self.networks else self.images


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
    return _combined(variances, lambda dof: _critical(level, dof))


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
    from scipy.optimize import brentq  # training imports this package and must not wait for scipy

    if not (variances.total > 0 and np.isfinite(distance)):
        return np.nan
    if distance == 0 or half_width(variances, _SMALLEST_LEVEL) <= abs(distance):
        return 1.0 if distance == 0 else _SMALLEST_LEVEL

    def beyond(log_p: float) -> float:
        return half_width(variances, math.exp(log_p)) - abs(distance)

    lowest, highest = math.log(_SMALLEST_LEVEL), -1e-15
    return math.exp(brentq(beyond, lowest, highest, xtol=_PRECISION)) if beyond(highest) < 0 else 1.0


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

    return _combined(variances, lambda dof: detectable_in_errors(dof, level))


def _combined(variances: Variances, critical: Callable[[float], float]) -> float:
    """Compute a two-way half-width, in which `critical` maps degrees of freedom to critical values."""
    normal = critical(math.inf)
    over_networks = sum(critical(dof) ** 2 * variance for variance, dof in variances.networks)
    squares = over_networks + normal**2 * variances.images_alone, normal**2 * variances.images
    return float(np.sqrt(np.maximum(*squares)))


def _critical(level: float, dof: float) -> float:
    """Return the upper `level` / 2 quantile of t, or of the normal distribution if `dof` is infinite."""
    from scipy.special import ndtri, stdtrit  # training imports this package and must not wait for scipy

    return float(-ndtri(level / 2) if math.isinf(dof) else -stdtrit(dof, level / 2))
