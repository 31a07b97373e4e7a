"""Arithmetic that gives NaN, and no warning, where a value is undefined."""

import numpy as np
from numpy.typing import ArrayLike

# Values that differ by a smaller share of the largest are equal.
_ROUNDING = 1e-12


def quotient(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Return numerator / denominator, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.asarray(numerator / np.where(denominator == 0, np.nan, denominator))


def variance(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the variance along an axis of at least two values; values that are equal but for rounding have none.

    Examples
    --------
    >>> variance(np.array([[0.1 + 0.2, 1.0], [0.3, 2.0]]), axis=0).tolist()
    [0.0, 0.5]
    """
    is_rounding = np.ptp(values, axis=axis) <= _ROUNDING * np.abs(values).max(axis=axis)
    return np.asarray(np.where(is_rounding, 0.0, values.var(axis=axis, ddof=1)))


def mean(values: np.ndarray) -> float:
    """Return the mean, NaN of an empty array."""
    return float(values.mean()) if len(values) else np.nan
