"""Bootstrap, jackknife and intervals of means."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
# Bootstrap samples at a time; keeps a class of ten thousand images within tens of megabytes.
_CHUNK = 100


def pseudo_values(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Jackknife pseudo-values of a ratio of sums over seeds: nearly independent, and their mean estimates it.

    Parameters
    ----------
    numerators, denominators : (seeds,)

    Returns
    -------
    (seeds,) ; NaN where the others' denominators sum to 0.
    """
    n, whole = len(numerators), _ratio(numerators.sum(), denominators.sum())
    return n * whole - (n - 1) * _ratio(numerators.sum() - numerators, denominators.sum() - denominators)


def draws(rng: np.random.Generator, resamples: int, size: int) -> np.ndarray:
    """How often each of `size` things is drawn when `size` are drawn with replacement: (resamples, size)."""
    first = np.arange(resamples)[:, np.newaxis] * size
    drawn = (first + rng.integers(size, size=(resamples, size))).ravel()
    return np.bincount(drawn, minlength=resamples * size).reshape(resamples, size)


def image_draws(rng: np.random.Generator, support: np.ndarray, resamples: int) -> Iterator[list[np.ndarray]]:
    """`draws` of the images of each class, some samples at a time.

    Parameters
    ----------
    rng : Generator
    support : (classes,)
        Images of each class.
    resamples : int
        Samples altogether.

    Yields
    ------
    (samples, images), float32, for every class
    """
    for start in range(0, resamples, _CHUNK):
        samples = min(_CHUNK, resamples - start)
        yield [draws(rng, samples, images).astype(np.float32) for images in support]


def bootstrap_interval(drawn: np.ndarray, confidence: float) -> np.ndarray:
    """Quantiles that hold `confidence` of the samples between them, of those without a NaN.

    A small class drawn as one image again and again has no pair of images, and a sum over pairs no value.

    Parameters
    ----------
    drawn : (samples, ...)
    confidence : float

    Returns
    -------
    (2, ...) ; NaN where no sample is defined.
    """
    defined = drawn[np.isfinite(drawn.reshape(len(drawn), -1)).all(1)]
    if not len(defined):
        return np.full((2, *drawn.shape[1:]), np.nan)
    return np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """t-based interval of the mean over seeds (Section 6.2).

    Parameters
    ----------
    values : (seeds,)
        One number per seed, such as alpha.
    confidence : float
        Of this interval: 1 - .05 / K where K ratios share a family.

    Returns
    -------
    low, high ; NaN with fewer than two seeds.
    """
    from scipy.stats import sem, t  # training imports this module and must not wait for scipy

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    half = t.isf((1 - confidence) / 2, len(values) - 1) * sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def mark(low: float, high: float) -> str:
    """`<`, `>` or `?` : the interval is below 1, above 1 or neither (Figures 1-4); empty without one."""
    if np.isnan(low) or np.isnan(high):
        return ""
    return "<" if high < 1 else ">" if low > 1 else "?"


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return numerator / np.where(denominator == 0, np.nan, denominator)
