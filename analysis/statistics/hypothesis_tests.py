"""Hypothesis tests: t-tests over seeds with their effect sizes, and tests of one network's classes.

Tables are numbered as in Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning
Algorithm". A value that cannot be computed is NaN. The p of a permutation test with too few seeds is `TOO_FEW`.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from analysis.statistics.arithmetic import is_constant

Alternative = Literal["two-sided", "less", "greater"]
Variance = Literal["welch", "pooled"]
Row = dict[str, float | int | str]

LEVEL = 0.05
POWER = 0.8
MARGIN = 0.05
TOO_FEW = "too few"

# With five pairs the smallest two-sided p of a sign-flip test is 2 / 2^5, which is above .05.
_SEEDS_TO_PERMUTE = 6
_PERMUTATIONS = 9999
_HALVINGS = 60  # after so many, an interval of length 2 is shorter than the distance between neighbouring floats


def paired(first: ArrayLike, second: ArrayLike, *, alternative: Alternative = "two-sided", family: int = 1) -> Row:
    """Run a paired t-test of E[first] against E[second] over seeds (Tables 1-4, 8, 9).

    Parameters
    ----------
    first, second : (seeds,)
        Alpha of the same seeds, in the same order. Pairs with a NaN are left out.
    alternative : {"two-sided", "less", "greater"}
        Direction in which the first differs from the second. Tables 1-4 use "less" with the smaller ratio first.
    family : int
        Number of tests that are corrected jointly; only `detectable_difference` depends on it.

    Returns
    -------
    dict
        - difference: mean of first - second.
        - difference_low, difference_high: its two-sided 95 % interval.
        - statistic, dof, p: the t-test.
        - p_permutation: p by sign flips; `TOO_FEW` with fewer than six pairs.
        - effect_size: Cohen's d_z, the mean difference divided by the standard deviation of the differences.
        - detectable_difference: difference that the test detects with 80 % power at level .05 / family.
        - p_equivalence: p of the null hypothesis that the difference is beyond the margin .05.
        - n: number of pairs.

        All but `n` are NaN with fewer than two pairs. All but `n` and `difference` are NaN if all pairs have the same
        difference.

    Examples
    --------
    The differences are -1 and -3, so their mean is -2 and its standard error 1:

    >>> row = paired([1, 2], [2, 5])
    >>> row["difference"], round(row["statistic"], 3), row["dof"], row["n"]
    (-2.0, -2.0, 1.0, 2)
    """
    pairs = np.array([first, second], dtype=float)
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    change = pairs[0] - pairs[1]
    n = len(change)
    if n < 2 or is_constant(change):
        return _not_available(change.mean() if n > 1 else np.nan, n)
    mean, deviation, dof = change.mean(), change.std(ddof=1), n - 1
    error = deviation / n**0.5
    p = _sign_flip_p(change, alternative)
    return _row(mean, error, dof, alternative, family, p_permutation=p, effect_size=mean / deviation, n=n)


def independent(
    first: ArrayLike,
    second: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    family: int = 1,
    variance: Variance = "welch",
) -> Row:
    """Run an unpaired t-test of E[first] against E[second], for independent networks (Tables 5-7).

    Parameters
    ----------
    first, second : (seeds of the first,), (seeds of the second,)
        Alpha of each seed. NaN are left out.
    alternative : {"two-sided", "less", "greater"}
        Direction in which the first differs from the second. Tables 5 and 6 use "greater" with the smaller model first;
        Table 7 uses "less".
    family : int
        As for `paired`.
    variance : {"welch", "pooled"}
        Whether the variances may differ (Welch) or are assumed equal.

    Returns
    -------
    dict
        As `paired` returns it, except that `p_permutation` is from permutations of the Welch statistic (`TOO_FEW` if
        one side has fewer than six seeds), `effect_size` is Hedges' g, and `n` is the total number of seeds.

    Examples
    --------
    Both samples have variance 2, so the standard error of the difference is sqrt(2 / 2 + 2 / 2):

    >>> row = independent([0, 2], [4, 6])
    >>> row["difference"], round(row["statistic"], 3), round(row["dof"], 3), row["n"]
    (-4.0, -2.828, 2.0, 4)
    """
    first, second = _finite(first), _finite(second)
    n, difference = len(first) + len(second), np.nan
    if min(len(first), len(second)) > 1:
        difference = first.mean() - second.mean()
    if np.isnan(difference) or (is_constant(first) and is_constant(second)):
        return _not_available(difference, n)
    variances, sizes = np.array([[sample.var(ddof=1), len(sample)] for sample in (first, second)]).T
    pooled = (variances * (sizes - 1)).sum() / (n - 2)
    squares, dof = np.full(2, pooled) / sizes, n - 2.0
    if variance == "welch":
        squares = variances / sizes
        dof = squares.sum() ** 2 / (squares**2 / (sizes - 1)).sum()
    return _row(
        difference,
        squares.sum() ** 0.5,
        dof,
        alternative,
        family,
        p_permutation=_permutation_p([first, second], alternative),
        effect_size=(1 - 3 / (4 * n - 9)) * difference / pooled**0.5,  # Hedges' g
        n=n,
    )


def corrected(p: ArrayLike, family: int) -> tuple[np.ndarray, np.ndarray]:
    """Correct the p-values of one family by Bonferroni and by Holm.

    Parameters
    ----------
    p : (tests,)
        NaN if a test could not be run.
    family : int
        Number of tests in the family. Tests that are missing in `p`, or NaN, count as tests with p = 1.

    Returns
    -------
    bonferroni, holm : (tests,)
        NaN where `p` is NaN.

    Examples
    --------
    >>> bonferroni, holm = corrected([0.01, 0.02], family=2)
    >>> bonferroni.tolist(), holm.tolist()
    ([0.02, 0.04], [0.02, 0.02])
    """
    p = np.asarray(p, dtype=float)
    missing = np.isnan(p)
    if missing.all():
        return p.copy(), p.copy()
    padded = np.ones(max(family, len(p)))
    padded[: len(p)] = np.where(missing, 1.0, p)
    bonferroni = np.minimum(len(padded) * padded, 1)
    order = np.argsort(padded)
    holm = np.empty_like(padded)
    holm[order] = np.minimum(np.maximum.accumulate(padded[order] * np.arange(len(padded), 0, -1)), 1)
    return np.where(missing, np.nan, bonferroni[: len(p)]), np.where(missing, np.nan, holm[: len(p)])


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Correct p-values to control the false discovery rate (Benjamini and Hochberg 1995).

    Parameters
    ----------
    p : (tests,)
        NaN if a test could not be run; it does not count as a test.

    Returns
    -------
    (tests,)
        NaN where `p` is NaN.

    Examples
    --------
    >>> benjamini_hochberg([0.04, 0.01]).round(2).tolist()
    [0.04, 0.02]
    """
    from scipy.stats import false_discovery_control  # the command line must not wait for it

    p = np.asarray(p, dtype=float)
    is_known = ~np.isnan(p)
    adjusted = np.full_like(p, np.nan)
    adjusted[is_known] = false_discovery_control(p[is_known])
    return adjusted


def wilson_interval(right: ArrayLike, images: ArrayLike, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Compute Wilson's interval of recalls.

    Parameters
    ----------
    right, images : (...), integers
        Number of recognised images, and of all images.
    confidence : float
        Confidence of the interval.

    Returns
    -------
    low, high : (...)
        Within [0, 1].

    Examples
    --------
    If no image is recognised, the upper end is z^2 / (n + z^2):

    >>> low, high = wilson_interval(0, 20)
    >>> round(float(low), 4), round(float(high), 4), round(1.96**2 / (20 + 1.96**2), 4)
    (0.0, 0.1611, 0.1611)
    """
    images = np.asarray(images, dtype=float)
    recall, limit = right / images, -special.ndtri((1 - confidence) / 2)
    shrinkage = 1 + limit**2 / images
    centre = (recall + limit**2 / (2 * images)) / shrinkage
    half = limit * np.sqrt(recall * (1 - recall) / images + limit**2 / (4 * images**2)) / shrinkage
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def exact_mcnemar(lost: ArrayLike, won: ArrayLike) -> np.ndarray:
    """Compute the two-sided p of McNemar's exact test of whether losing and winning an image are equally likely.

    Parameters
    ----------
    lost, won : (...), integers
        Number of images classified correctly only before, and only after.

    Returns
    -------
    (...)
        The p-values.

    Examples
    --------
    The probability that at most one of eight coins shows heads, or at most one shows tails, is 2 * (1 + 8) / 2^8:

    >>> round(float(exact_mcnemar(lost=1, won=7)), 4), round(2 * 9 / 2**8, 4)
    (0.0703, 0.0703)
    """
    n_changed = np.add(lost, won).astype(int)
    p: np.ndarray = np.minimum(2 * special.bdtr(np.minimum(lost, won), n_changed, 0.5), 1.0)
    return p


def change_interval(
    lost: ArrayLike, won: ArrayLike, images: ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the score interval of Tango (1998, Statistics in Medicine 17, 891-908) for a change of recall.

    Parameters
    ----------
    lost, won : (...), integers
        Number of images classified correctly only before, and only after.
    images : (...), integers
        Number of images of the class, > 0.
    confidence : float
        Confidence of the interval.

    Returns
    -------
    low, high : (...)
        Interval of recall after minus recall before, within [-1, 1].

    Examples
    --------
    Agresti and Min (2005) report -.020 to .207 for 86 images, of which 16 are won and 8 lost:

    >>> low, high = change_interval(lost=8, won=16, images=86)
    >>> round(float(low), 3), round(float(high), 3)
    (-0.02, 0.207)
    """
    lost, won, images = (np.asarray(each, dtype=float) for each in (lost, won, images))
    change = (won - lost) / images
    limits = np.multiply.outer([1, -1], np.full_like(change, special.ndtri((1 - confidence) / 2)))
    # The score has poles at -1 and 1.
    end = np.full_like(change, 1 - 1e-9)
    low, high = _bisected(
        lambda at: _tango_score(at, lost, won, images) + limits, np.stack([-end, change]), np.stack([change, end])
    )
    return np.where(lost < images, low, -1.0)[()], np.where(won < images, high, 1.0)[()]


def _bisected(falling: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Find the zeros of decreasing functions between `low` and `high`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_above = falling(middle) > 0
        low, high = np.where(is_above, middle, low), np.where(is_above, high, middle)
    return np.asarray((low + high) / 2)


def _tango_score(change: np.ndarray, n_lost: np.ndarray, n_won: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute the score statistic for the hypothesis that recall changes by `change`; it decreases with `change`."""
    distance = n_won - n_lost - images * change
    linear = (2 * images - n_won + n_lost) * change - n_lost - n_won
    root = np.sqrt(np.maximum(linear**2 + 8 * images * n_lost * change * (1 - change), 0))  # may be below 0 by rounding
    share_lost = (root - linear) / (4 * images)
    variance = images * (2 * share_lost + change * (1 - change))
    score: np.ndarray = np.divide(distance, np.sqrt(variance), out=np.zeros_like(distance), where=distance != 0)
    return score


def _row(
    difference: float,
    error: float,
    dof: float,
    alternative: Alternative,
    family: int,
    *,
    p_permutation: float | str,
    effect_size: float,
    n: int,
) -> Row:
    # Functions of scipy.stats take ten times as long, which matters in a study with thousands of tests.
    below, above = special.stdtr(dof, difference / error), special.stdtr(dof, -difference / error)
    half = -special.stdtrit(dof, LEVEL / 2) * error
    return {
        "difference": float(difference),
        "difference_low": float(difference - half),
        "difference_high": float(difference + half),
        "statistic": float(difference / error),
        "dof": float(dof),
        "p": float({"two-sided": 2 * min(below, above), "less": below, "greater": above}[alternative]),
        "p_permutation": p_permutation,
        "effect_size": float(effect_size),
        "detectable_difference": float(error * detectable_in_errors(dof, LEVEL / family, alternative)),
        "p_equivalence": float(special.stdtr(dof, (abs(difference) - MARGIN) / error)),
        "n": n,
    }


def _not_available(difference: float, n: int) -> Row:
    columns = ("difference_low", "difference_high", "statistic", "dof", "p", "p_permutation", "effect_size")
    missing = dict.fromkeys((*columns, "detectable_difference", "p_equivalence"), np.nan)
    return {"difference": float(difference), **missing, "n": n}


def _finite(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return np.asarray(values[np.isfinite(values)])


def _sign_flip_p(change: np.ndarray, alternative: Alternative) -> float | str:
    """Compute p of the mean difference under sign flips, over all sign vectors or, if these are too many, a sample."""
    if len(change) < _SEEDS_TO_PERMUTE:
        return TOO_FEW
    signs = _signs(len(change))
    is_sample = len(signs) == _PERMUTATIONS
    null, rounding = signs @ change, 1e-13 * np.abs(change).sum()
    tails = {
        "less": np.count_nonzero(null <= change.sum() + rounding),
        "greater": np.count_nonzero(null >= change.sum() - rounding),
    }
    shares = {tail: (count + is_sample) / (len(signs) + is_sample) for tail, count in tails.items()}
    return float(min(2 * min(shares.values()), 1.0) if alternative == "two-sided" else shares[alternative])


@lru_cache(maxsize=8)
def _signs(n: int) -> np.ndarray:
    """Return all sign vectors of n differences, or random ones if these are too many: (vectors, n)."""
    if 2**n <= _PERMUTATIONS:
        return np.array(list(product((1.0, -1.0), repeat=n)))
    pairs = np.random.default_rng(0).permuted(np.tile([1.0, -1.0], (_PERMUTATIONS, n, 1)), axis=-1)
    return np.ascontiguousarray(pairs[..., 0])


def _permutation_p(samples: Sequence[np.ndarray], alternative: Alternative) -> float | str:
    if min(map(len, samples)) < _SEEDS_TO_PERMUTE:
        return TOO_FEW
    from scipy import stats  # the command line must not wait for it

    test = stats.permutation_test(
        samples,
        _welch_statistic,
        permutation_type="independent",
        n_resamples=_PERMUTATIONS,
        alternative=alternative,
        vectorized=True,
        random_state=np.random.default_rng(0),
    )
    return float(test.pvalue)


def _welch_statistic(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    variance = sum(sample.var(axis, ddof=1) / sample.shape[axis] for sample in (first, second))
    return np.asarray((first.mean(axis) - second.mean(axis)) / np.sqrt(variance))


@lru_cache(maxsize=4096)
def detectable_in_errors(dof: float, level: float, alternative: Alternative = "two-sided") -> float:
    """Compute the difference, in standard errors, that a t-test at a given level detects with 80 % power.

    Parameters
    ----------
    dof : float
        Degrees of freedom; infinite if the standard error is known.
    level : float
    alternative : {"two-sided", "less", "greater"}

    Examples
    --------
    >>> round(detectable_in_errors(np.inf, 0.05), 2), round(detectable_in_errors(29, 0.05), 2)
    (2.8, 2.9)
    """
    tail = level / (2 if alternative == "two-sided" else 1)
    if np.isinf(dof):
        return float(-special.ndtri(tail) - special.ndtri(1 - POWER))
    from scipy import optimize, stats  # the command line must not wait for it

    critical = -special.stdtrit(dof, tail)
    with warnings.catch_warnings():
        # With two networks and thousands of tests, scipy warns that its series did not converge to all digits.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(optimize.brentq(lambda true: stats.nct.sf(critical, dof, true) - POWER, 0, 3 * critical + 5))
