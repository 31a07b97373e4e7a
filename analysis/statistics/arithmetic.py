"""Arithmetic that gives NaN where a value is undefined, and sums and cosines that are the same on every machine."""

import math

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


def exact_sum(values: np.ndarray) -> float:
    """Return the sum of values, rounded once: NumPy's products of vectors depend on the processor in the last digit.

    Examples
    --------
    >>> exact_sum(np.array([1e16, 1.0, -1e16]))
    1.0
    """
    return math.fsum(values.tolist())


def cosine_of_half_turns(half_turns: float) -> float:
    """Return cos(pi x) for x in [0, 1], by Taylor's series; that of the system's library differs between systems."""
    if half_turns > 0.5:
        return -cosine_of_half_turns(1 - half_turns)
    square, value = (math.pi * half_turns) ** 2, 1.0
    for power in range(22, 0, -2):
        value = 1 - value * square / (power * (power - 1))
    return value
