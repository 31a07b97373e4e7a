"""Analyse annotators' answers about images: compare two kinds of images, and measure agreement."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import confint_proportions_2indep

from analysis.statistics.hypothesis_tests import LEVEL, independent


class ShareDifference(NamedTuple):
    """Difference between two kinds of images in how often they have an attribute.

    Attributes
    ----------
    n_first, n_second : int
        Number of images with at least one answer.
    first, second : float
        Mean over the images of the share of annotators who see the attribute; NaN without images.
    difference, low, high : float
        Second minus first, with its 95 % interval.
    p : float
        Two-sided.
    """

    n_first: int
    n_second: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def share_difference(first: np.ndarray, second: np.ndarray) -> ShareDifference:
    """Compare how often two kinds of images have an attribute, with images (not answers) as units.

    If every image has one answer, or annotators never disagree, the interval is Newcombe's (1998) and p is from
    Fisher's exact test. Otherwise both are from Welch's t-test over images.

    Parameters
    ----------
    first, second : (images,), from 0 to 1
        Share of the annotators of each image who see the attribute; NaN without answers.

    Examples
    --------
    Newcombe's example (ii) compares 9 of 10 with 3 of 10:

    >>> found = share_difference(np.arange(10) < 3, np.arange(10) < 9)
    >>> round(found.difference, 2), round(found.low, 4), round(found.high, 4)
    (0.6, 0.1705, 0.809)
    """
    sides = [np.asarray(side, dtype=float) for side in (first, second)]
    sides = [side[~np.isnan(side)] for side in sides]
    sizes = len(sides[0]), len(sides[1])
    means = [float(side.mean()) if len(side) else np.nan for side in sides]
    if not all(sizes):
        low, high, p = np.nan, np.nan, np.nan
    elif all(np.isin(side, (0, 1)).all() for side in sides):
        low, high, p = _of_counts([int(side.sum()) for side in sides], sizes)
    else:
        row = independent(sides[1], sides[0])
        low, high, p = (float(row[name]) for name in ("difference_low", "difference_high", "p"))
    return ShareDifference(*sizes, means[0], means[1], means[1] - means[0], low, high, p)


def _of_counts(counts: list[int], sizes: tuple[int, int]) -> tuple[float, float, float]:
    """Compute Newcombe's interval of second minus first, and p of Fisher's exact test."""
    low, high = confint_proportions_2indep(
        counts[1], sizes[1], counts[0], sizes[0], method="newcomb", compare="diff", alpha=LEVEL
    )
    table = [[count, size - count] for count, size in zip(counts, sizes, strict=True)]
    return float(low), float(high), float(stats.fisher_exact(table).pvalue)


def agreement(answers: np.ndarray) -> float:
    """Average Cohen's kappa over all pairs of annotators (Light 1971).

    Parameters
    ----------
    answers : (annotators, images), 0, 1 or NaN
        Answers, NaN if missing. Two annotators are compared on the images for which both have given an answer.

    Returns
    -------
    float
        1 if all agree, 0 if they agree as often as by chance. NaN if no pair has a kappa: if there is only one
        annotator, if no image has two answers, or if both annotators of every pair gave one and the same answer to all
        images.

    Examples
    --------
    Two annotators agree on three of four images, and the expected agreement by chance is one half:

    >>> agreement(np.array([[1, 1, 0, 0], [1, 0, 0, 0]]))
    0.5
    """
    kappas = [_kappa(first, second) for first, second in combinations(np.asarray(answers, dtype=float), 2)]
    finite_kappas = [kappa for kappa in kappas if not np.isnan(kappa)]
    return float(np.mean(finite_kappas)) if finite_kappas else np.nan


def _kappa(first: np.ndarray, second: np.ndarray) -> float:
    has_both = ~np.isnan(first) & ~np.isnan(second)
    table_cells = (2 * first[has_both] + second[has_both]).astype(int)
    table = np.bincount(table_cells, minlength=4).reshape(2, 2)
    if table.max() == table.sum() and table.trace():
        return np.nan
    return float(cohens_kappa(table, return_results=False)) if table.sum() else np.nan
