"""Arithmetic that gives NaN, and no warning, where a value is undefined."""

import numpy as np
from numpy.typing import ArrayLike


def quotient(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Return numerator / denominator, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.asarray(numerator / np.where(denominator == 0, np.nan, denominator))


def mean(values: np.ndarray) -> float:
    """Return the mean, NaN of an empty array."""
    return float(values.mean()) if len(values) else np.nan
