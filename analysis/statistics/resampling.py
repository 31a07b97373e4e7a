"""Compute intervals over seeds, by t for means and by the jackknife for ratios of sums."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import is_constant, quotient


class Interval(NamedTuple):
    """Estimate of a ratio of two sums, with its interval.

    The denominator is a sum of squares minus its noise, and `reliability` is the denominator divided by the sum of
    squares. `identified` is False if the interval of the denominator reaches 0, because the ratio may then have any
    value. `resampled` is `seeds` or `seeds and images`, the units over which the interval is computed.
    """

    estimate: float
    low: float
    high: float
    reliability: float
    identified: bool
    resampled: str


UNDEFINED = Interval(np.nan, np.nan, np.nan, np.nan, identified=False, resampled="seeds")


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the t-based interval of the mean over seeds (Good et al. 2022, Section 6.2).

    Parameters
    ----------
    values : (seeds,)
        One number per seed, such as alpha.
    confidence : float
        Confidence of the interval, such as 1 - .05 / K if K ratios form a family.

    Returns
    -------
    low, high : float
        Both are NaN with fewer than two seeds.

    Examples
    --------
    The mean is 2, its standard error is 1, and the quantile of t for 50 % with one degree of freedom is 1:

    >>> low, high = mean_interval([1, 3], confidence=0.5)
    >>> round(low, 6), round(high, 6)
    (1.0, 3.0)
    """
    from scipy.special import stdtrit  # training imports this module and must not wait for scipy

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    # `scipy.stats` gives the same digits but takes ten times as long.
    half = -stdtrit(len(values) - 1, (1 - confidence) / 2) * (values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean() - half), float(values.mean() + half)


def with_ends(name: str, estimate: Iterable[float]) -> dict[str, float]:
    """Return a value and the ends of its interval by the names of their columns.

    Examples
    --------
    >>> with_ends("loss", (2.0, 1.5, 2.5))
    {'loss': 2.0, 'loss_low': 1.5, 'loss_high': 2.5}
    """
    return {f"{name}{end}": float(value) for end, value in zip(("", "_low", "_high"), estimate, strict=True)}


def mark(low: float, high: float) -> str:
    """Mark an interval of alpha as in Figures 1-4 of Good et al. 2022.

    Parameters
    ----------
    low, high : float
        Ends of the interval; NaN if there is no interval.

    Returns
    -------
    str
        `<` if the interval is below 1, `>` if it is above 1, `?` if it contains 1; empty without an interval, and if
        both ends are equal, because all values are then the same.

    Examples
    --------
    >>> mark(0.7, 0.9), mark(1.1, 1.2), mark(0.9, 1.1)
    ('<', '>', '?')
    """
    if np.isnan(low) or np.isnan(high) or is_constant(np.array([low, high])):
        return ""
    return "<" if high < 1 else ">" if low > 1 else "?"


def pseudo_values(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Compute the jackknife pseudo-values of a ratio of two sums over seeds.

    Pseudo-values are nearly independent, and their mean estimates the ratio.

    Parameters
    ----------
    numerators, denominators : (seeds,)
        Terms of the two sums.

    Returns
    -------
    (seeds,)
        NaN if the denominators of the other seeds sum to 0.

    Examples
    --------
    The ratio is (1 + 3 + 2) / 3 = 2. Without the first seed it is 5/2, so the first pseudo-value is 3 * 2 - 2 * 5/2 =
    1:

    >>> pseudo_values(np.array([1.0, 3.0, 2.0]), np.ones(3)).tolist()
    [1.0, 3.0, 2.0]
    """
    n, ratio = len(numerators), quotient(numerators.sum(), denominators.sum())
    without_one = quotient(numerators.sum() - numerators, denominators.sum() - denominators)
    return np.asarray(n * ratio - (n - 1) * without_one)


def jackknife_interval(means: Sequence[float], without_one: np.ndarray, confidence: float) -> Interval:
    """Compute Tukey's jackknife interval over seeds for a ratio of two means.

    Parameters
    ----------
    means : numerator, denominator, mean square
        Means over seeds, or over pairs of seeds. The denominator is the mean square minus its noise.
    without_one : (2, seeds)
        Numerator and denominator with each seed left out in turn, as means over the other seeds or their pairs.
    confidence : float
        Confidence of the interval.

    Returns
    -------
    Interval
        The ends are NaN with fewer than two seeds, or if the denominators without one seed are NaN.

    Examples
    --------
    Three seeds have numerators 1, 3, 2 and denominators 1, so their pseudo-values are also 1, 3, 2:

    >>> interval = jackknife_interval([2, 1, 1], np.array([[2.5, 1.5, 2], [1, 1, 1]]), confidence=0.95)
    >>> interval.estimate, interval.reliability, interval.identified
    (2.0, 1.0, True)
    >>> bool(np.allclose((interval.low, interval.high), mean_interval([1, 3, 2])))
    True

    With denominators 1, 4, 1 the interval of their mean contains 0:

    >>> jackknife_interval([2, 2, 2], np.array([[2, 2, 2], [2.5, 1, 2.5]]), confidence=0.95).identified
    False
    """
    seeds = without_one.shape[1]

    def interval(estimate: float, others: np.ndarray) -> tuple[float, float]:
        return mean_interval(seeds * estimate - (seeds - 1) * others, confidence)

    estimate = float(quotient(means[0], means[1]))
    low, high = interval(estimate, quotient(*without_one))
    lowest_denominator, _ = interval(means[1], without_one[1])
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        reliability=float(quotient(means[1], means[2])),
        identified=bool(lowest_denominator > 0),
        resampled="seeds",
    )
