"""Compute the relative change of networks' accuracy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import quotient
from analysis.statistics.resampling import mean_interval


class RelativeChange(NamedTuple):
    """A change in % of the value before, with its interval over networks (NaN for fewer than two)."""

    change: float
    low: float
    high: float


def relative_change(before: ArrayLike, after: ArrayLike, confidence: float = 0.95) -> RelativeChange:
    """Compute 100 (mean after - mean before) / mean before (Hooker et al. 2019, Section 4).

    Parameters
    ----------
    before, after : (networks,)
        Accuracy of each network before and after compression, on the same images. A pair with a NaN is left out.
    confidence : float
        Confidence of the interval, which is computed from the residuals after - ratio * before of the pairs, where
        ratio is mean after / mean before.

    Returns
    -------
    RelativeChange
        NaN without a pair, or if the mean before is 0.

    Examples
    --------
    The mean accuracy falls from .5 to .4:

    >>> found = relative_change([0.4, 0.6], [0.3, 0.5])
    >>> round(found.change, 6)
    -20.0
    >>> [round(float(end), 1) for end in (found.low, found.high)]
    [-70.8, 30.8]
    """
    pairs = np.stack([np.asarray(before, float), np.asarray(after, float)])
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    if not pairs.size:
        return RelativeChange(np.nan, np.nan, np.nan)
    first, second = pairs
    ratio = float(quotient(second.mean(), first.mean()))
    low, high = quotient(mean_interval(second - ratio * first, confidence), first.mean())
    return RelativeChange(*(float(100 * (ratio - 1 + end)) for end in (0.0, low, high)))
