"""Arithmetic with NaN for undefined values, and sums and cosines that are identical on every machine."""

import math

import numpy as np
from numpy.typing import ArrayLike

# Values that differ by at most this share of the largest value count as equal.
_ROUNDING = 1e-12


def quotient(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Compute numerator / denominator, or NaN if the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.asarray(numerator / np.where(denominator == 0, np.nan, denominator))


def variance(values: np.ndarray, axis: int) -> np.ndarray:
    """Compute the variance of at least two values along an axis, exactly 0 if they differ only by rounding.

    Examples
    --------
    >>> variance(np.array([[0.1 + 0.2, 1.0], [0.3, 2.0]]), axis=0).tolist()
    [0.0, 0.5]
    """
    is_rounding = np.ptp(values, axis=axis) <= _ROUNDING * np.abs(values).max(axis=axis)
    return np.asarray(np.where(is_rounding, 0.0, values.var(axis=axis, ddof=1)))


def is_constant(values: np.ndarray) -> bool:
    """Return whether the values differ only by rounding, so that a t statistic or an interval would be noise."""
    return bool(np.ptp(values) < 1e-9)


def mean(values: np.ndarray) -> float:
    """Compute the mean, or NaN for an empty array."""
    return float(values.mean()) if len(values) else np.nan


def exact_sum(values: np.ndarray) -> float:
    """Sum values and round once, because the last digit of NumPy's sums depends on the processor.

    Examples
    --------
    >>> exact_sum(np.array([1e16, 1.0, -1e16]))
    1.0
    """
    return math.fsum(values.tolist())


def cosine_of_half_turns(half_turns: float) -> float:
    """Compute cos(pi x) for x in [0, 1] by Taylor's series, because system libraries differ in the last digit."""
    if half_turns > 0.5:
        return -cosine_of_half_turns(1 - half_turns)
    square, value = (math.pi * half_turns) ** 2, 1.0
    for power in range(22, 0, -2):
        value = 1 - value * square / (power * (power - 1))
    return value
