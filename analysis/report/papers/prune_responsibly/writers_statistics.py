"""Statistics of groups such as writers: lines of accuracy against a measure, the worst groups, and a placebo.

A line is fitted against a measure such as the mean tilt of a writer's digits.

Part of the largest loss in one network is due to chance and to that network, so the group with this loss tends to lose
less in other networks. If groups are picked and measured in the same network, the worst groups look worse than they
are.

The placebo assigns the same images to groups at random: each group gets as many images of each class as it really has,
drawn from all images of that class. A spread of group means larger than in the placebo is therefore due to the groups,
not to their sizes or classes.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import two_way
from analysis.statistics.groups import spread
from analysis.statistics.two_way import Variances

# With fewer groups, the residuals have too few degrees of freedom.
FEWEST = 4
SHUFFLES = 999


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


def picked_and_judged(names: np.ndarray, before: np.ndarray, after: np.ndarray, most: int = 1) -> pd.DataFrame:
    """Pick the groups that lose most accuracy in each network, and measure their losses in the other networks.

    Parameters
    ----------
    names : (groups,)
    before, after : (networks, groups)
        Accuracy of each network on each group; row i of both is the same network.
    most : int
        Number of groups to pick in each network. Among groups with equal losses, the first are picked.

    Returns
    -------
    DataFrame, one row per network and picked group
        - network: row of the network in which the group was picked.
        - group: name of the group.
        - before, after, loss: accuracies and loss of the group in this network.
        - before_elsewhere, after_elsewhere, loss_elsewhere: the same as means over the other networks; NaN with one
          network.

    Examples
    --------
    Each network loses half of one group, and the other network loses none of it:

    >>> before = np.ones((2, 2))
    >>> after = np.array([[0.5, 1.0], [1.0, 0.5]])
    >>> picked_and_judged(np.array(["a", "b"]), before, after)[["group", "loss", "loss_elsewhere"]].to_numpy().tolist()
    [['a', 0.5, 0.0], ['b', 0.5, 0.0]]
    """
    rows = []
    for network in range(len(after)):
        other_networks = np.arange(len(after)) != network
        loss = before[network] - after[network]
        for group in np.argsort(-loss, kind="stable")[:most]:
            elsewhere = [
                float(side[other_networks, group].mean()) if other_networks.any() else np.nan
                for side in (before, after)
            ]
            rows.append(
                {
                    "network": network,
                    "group": str(names[group]),
                    "before": before[network, group],
                    "after": after[network, group],
                    "loss": loss[group],
                    "before_elsewhere": elsewhere[0],
                    "after_elsewhere": elsewhere[1],
                    "loss_elsewhere": elsewhere[0] - elsewhere[1],
                }
            )
    return pd.DataFrame(rows)


class Placebo(NamedTuple):
    """The spread of groups, compared with the spread after the images are shuffled.

    Attributes
    ----------
    spread : float
        As `spread` returns it.
    chance, low, high : float
        Root mean square of the shuffled spreads, and the range that contains 95 % of them.
    p : float
        Share of all spreads, shuffled and real, that are at least as large as the real one.
    """

    spread: float
    chance: float
    low: float
    high: float
    p: float


def placebos(values: np.ndarray, place: np.ndarray, label: np.ndarray, shuffles: int = SHUFFLES) -> list[Placebo]:
    """Compare the spread of groups with the spread after the images are shuffled.

    Parameters
    ----------
    values : (kinds, images)
        One or several numbers for each image, such as the shares of networks that are right before and after.
    place, label : (images,)
        As for `spread_by_chance`.
    shuffles : int
        Number of shuffles, which are the same in every call.

    Returns
    -------
    list of Placebo
        One result for each row of `values`.

    Examples
    --------
    All images of the second group are recognised, and none of the first:

    >>> (found,) = placebos(np.repeat([[0.0, 1.0]], 20, axis=1), np.repeat([0, 1], 20), np.zeros(40, int))
    >>> found.spread, found.p
    (0.5, 0.001)
    """
    rng = np.random.default_rng(0)
    order = np.argsort(label, kind="stable")
    of_class = np.split(order, np.cumsum(np.bincount(label))[:-1])
    permutation = np.empty(len(label), dtype=int)
    squares = np.empty((len(values), shuffles))
    for number in range(shuffles):
        permutation[order] = np.concatenate([rng.permutation(images) for images in of_class])
        squares[:, number] = [spread(kind[permutation], place) ** 2 for kind in values]
    return [_placebo(spread(kind, place), own) for kind, own in zip(values, squares, strict=True)]


def _placebo(own: float, squares: np.ndarray) -> Placebo:
    """Compare a spread with shuffled spreads, given their squares."""
    low, high = np.sqrt(np.quantile(squares, [0.025, 0.975]))
    # With the tolerance, the spread of a shuffle that gives the real groups counts as equally large despite rounding.
    beyond = int((squares >= own**2 * (1 - 1e-9)).sum())
    return Placebo(own, float(np.sqrt(squares.mean())), float(low), float(high), (1 + beyond) / (1 + len(squares)))
