"""Compare the slopes of a method and a baseline at the same accuracy."""

from typing import NamedTuple

import numpy as np

from analysis.statistics import two_way
from analysis.statistics.arithmetic import quotient


class Curve(NamedTuple):
    """Accuracies and slopes of the same networks at several pruning ratios.

    Attributes
    ----------
    accuracy : (ratios, networks)
    numerators, denominators : (ratios, networks)
        The slope at a ratio is the sum of the numerators divided by the sum of the denominators. For the mean alpha,
        numerators are alpha and denominators are 1; for the pooled slope, they are those of `alpha_new`.
    """

    accuracy: np.ndarray
    numerators: np.ndarray
    denominators: np.ndarray

    def means(self, networks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Average accuracy and slope, each (ratios, groups), over groups of network indices, (groups, networks)."""
        accuracy, numerators, denominators = (part[:, networks] for part in self)
        return accuracy.mean(-1), quotient(numerators.sum(-1), denominators.sum(-1))


def difference(method: Curve, baseline: Curve, confidence: float = 0.95) -> tuple[float, float, float]:
    """Estimate the slope of a method minus that of a baseline at the same accuracy.

    The baseline's slope is interpolated linearly between neighbouring ratios, as a function of the baseline's accuracy.
    The interval is a jackknife interval over networks.

    Parameters
    ----------
    method : Curve
        The method's curve at one ratio.
    baseline : Curve
        The baseline's curve at several ratios, for the same networks in the same order.
    confidence : float

    Returns
    -------
    difference, low, high : float
        All NaN if the method's accuracy is outside the range of the baseline's accuracies, so that the two slopes
        cannot be compared. low and high are NaN with fewer than two networks, or if networks differ only by rounding.

    Examples
    --------
    The baseline has alpha 1 at accuracy .9 and alpha 2 at .7. At accuracy .8 the method has alpha 1.6, and the baseline
    is interpolated to 1.5:

    >>> baseline = Curve(np.array([[0.9], [0.7]]), np.array([[1.0], [2.0]]), np.ones((2, 1)))
    >>> method = Curve(np.array([[0.8]]), np.array([[1.6]]), np.ones((1, 1)))
    >>> round(difference(method, baseline)[0], 6)
    0.1
    """
    n = method.accuracy.shape[1]
    everyone = np.arange(n)
    if not _comparable(method, baseline, everyone[np.newaxis]):
        return np.nan, np.nan, np.nan
    (estimate,) = _differences(method, baseline, everyone[np.newaxis]).tolist()
    if n < 2:
        return estimate, np.nan, np.nan
    without_one = _differences(method, baseline, np.array([np.delete(everyone, left_out) for left_out in everyone]))
    variances = two_way.variances(n * estimate - (n - 1) * without_one)
    half = two_way.half_width(variances, 1 - confidence) if variances.total > 0 else np.nan
    return estimate, estimate - half, estimate + half


def _comparable(method: Curve, baseline: Curve, networks: np.ndarray) -> bool:
    accuracy, slope = baseline.means(networks)
    accuracies = accuracy[np.isfinite(slope)]
    ((own,),) = method.means(networks)[0]
    return len(accuracies) > 1 and bool(accuracies.min() <= own <= accuracies.max())


def _differences(method: Curve, baseline: Curve, networks: np.ndarray) -> np.ndarray:
    """Compute the differences in slope, (groups,), for groups of networks (groups, networks)."""
    (accuracy,), (slope,) = method.means(networks)
    curves = zip(*(means.T for means in baseline.means(networks)), strict=True)
    return np.asarray(slope - [_interpolated(own, *curve) for own, curve in zip(accuracy, curves, strict=True)])


def _interpolated(accuracy: float, at: np.ndarray, slopes: np.ndarray) -> float:
    order = np.argsort(at)
    order = order[np.isfinite(slopes[order])]
    return float(np.interp(accuracy, at[order], slopes[order]))
