"""Fit lines of groups' accuracy against a measure, such as the mean tilt of a writer's digits."""

from typing import NamedTuple

import numpy as np

from analysis.statistics import two_way
from analysis.statistics.two_way import Variances

# With fewer groups, the residuals have too few degrees of freedom.
FEWEST = 4


class Coefficient(NamedTuple):
    """A coefficient of a line with its interval and two-sided p, for new networks and new groups."""

    value: float
    low: float
    high: float
    p: float


class Line(NamedTuple):
    """A least-squares line."""

    intercept: Coefficient
    slope: Coefficient


NO_LINE = Line(*(Coefficient(np.nan, np.nan, np.nan, np.nan) for _ in range(2)))


def line(measure: np.ndarray, accuracy: np.ndarray, level: float = two_way.LEVEL) -> Line:
    """Fit a least-squares line to the groups' accuracies, each a mean over networks (Paganini 2020, Appendix C).

    All groups have equal weight. The intervals account for the variance over groups, whose residuals may be
    heteroscedastic (HC3), and for the variance over networks. Both variances contain the noise of single networks, so
    the intervals are slightly too wide.

    Parameters
    ----------
    measure : (groups,)
        The measure of each group.
    accuracy : (networks, groups)
        Accuracy of each network on the images of each group, or the change of this accuracy.
    level : float
        1 minus the confidence of each interval.

    Returns
    -------
    Line
        All values are NaN with fewer than `FEWEST` groups, or if all groups have the same measure.

    Examples
    --------
    >>> found = line(np.array([0.0, 0.1, 0.2, 0.3]), np.array([[0.9, 0.8, 0.7, 0.6]]))
    >>> round(found.intercept.value, 6), round(found.slope.value, 6)
    (0.9, -1.0)
    """
    if len(measure) < FEWEST or np.ptp(measure) == 0:
        return NO_LINE
    design = np.column_stack([np.ones(len(measure)), measure])
    weights = np.linalg.pinv(design)  # (2, groups): a coefficient is a weighted sum of the groups' accuracies
    coefficients = accuracy @ weights.T
    value = coefficients.mean(0)
    residuals = accuracy.mean(0) - design @ value
    leverage = (design * weights.T).sum(1)
    # A group with leverage 1 has residual 0.
    over_groups = np.square(weights) @ np.square(residuals / np.maximum(1 - leverage, 1e-9))
    n = len(accuracy)
    over_networks = np.var(coefficients, axis=0, ddof=1) / n if n > 1 else np.zeros(2)
    line_coefficients = []
    for index in range(2):
        parts = [(float(over_groups[index]), len(measure) - 2.0)]
        parts += [(float(over_networks[index]), n - 1.0)] if n > 1 else []
        variances = Variances(parts)
        half = two_way.half_width(variances, level)
        own = float(value[index])
        line_coefficients.append(Coefficient(own, own - half, own + half, two_way.p_value(variances, own)))
    return Line(*line_coefficients)
