"""Compare the recalls of a dense and a compressed population of networks, class by class.

Definitions follow Hooker et al., "What Do Compressed Deep Neural Networks Forget?", Section 2.2.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from analysis.statistics.arithmetic import variance
from analysis.statistics.hypothesis_tests import LEVEL, benjamini_hochberg, corrected
from analysis.statistics.recalls import Recalls
from analysis.statistics.votes import SPLITS, are_copies, halves

Measure = Literal["difference", "ratio"]

# Fewest networks per side for a t-test of classes.
FEWEST_TESTED = 2


class ClassSignificance(NamedTuple):
    """Tests of whether each class's recall changed by another amount than the accuracy.

    Attributes
    ----------
    difference : (classes,)
        Mean recall of the compressed networks minus that of the dense ones.
    normalised_difference : (classes,)
        The difference divided by the mean recall of the dense networks; NaN if that recall is 0.
    shift : (classes,)
        Mean change of the compared quantity (recall minus accuracy, or recall divided by accuracy).
    statistic, dof, p : (classes,)
        Welch's two-sided t-test of the shift; NaN with fewer than two networks on a side, or if neither side varies.
    p_holm, p_bh : (classes,)
        p corrected over the classes by Holm, and by Benjamini and Hochberg.
    p_paired, p_paired_holm : (classes,)
        p of the two-sided paired t-test, and the same corrected by Holm; NaN if networks are not paired. Networks of
        the same seeds share most of their errors, which Welch's test treats as noise.
    """

    difference: np.ndarray
    normalised_difference: np.ndarray
    shift: np.ndarray
    statistic: np.ndarray
    dof: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray
    p_bh: np.ndarray
    p_paired: np.ndarray
    p_paired_holm: np.ndarray

    @property
    def significant(self) -> np.ndarray:
        """Whether a class is significant as in the paper: uncorrected p at most .05; (classes,), bool."""
        return self.p <= LEVEL

    @property
    def significant_paired(self) -> np.ndarray:
        """Whether a class is significant by the uncorrected paired test; (classes,), bool."""
        return self.p_paired <= LEVEL


def class_significance(
    dense: Recalls, compressed: Recalls, *, paired: bool = False, measure: Measure = "difference"
) -> ClassSignificance:
    """Test whether each class's change of recall differs from that of the accuracy (Hooker et al., Section 2.2).

    Parameters
    ----------
    dense, compressed : Recalls, (networks, classes)
    paired : bool
        Whether row i of `dense` and row i of `compressed` belong to the same dense network.
    measure : {"difference", "ratio"}
        Compared quantity: recall minus the accuracy of the same network, as in the text, or recall divided by it, as in
        equations 1 and 2. The released code subtracts the mean accuracy of all networks of a population instead.

    Examples
    --------
    The recall of the first class falls by .2 in both networks, and the accuracy by .1:

    >>> dense = Recalls([[0.8, 0.8], [0.9, 0.9]], accuracy=[0.8, 0.9])
    >>> found = class_significance(dense, Recalls([[0.6, 0.8], [0.7, 0.9]], accuracy=[0.7, 0.8]))
    >>> found.shift.round(3).tolist(), found.difference.round(3).tolist()
    ([-0.1, 0.1], [-0.2, 0.0])
    """
    shift: Callable[..., np.ndarray] = np.subtract if measure == "difference" else np.divide
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = (shift(side.recall, side.accuracy[:, None]) for side in (dense, compressed))
        recall = dense.recall.mean(0)
        change = compressed.recall.mean(0) - recall
        normalised = np.where(recall > 0, change / recall, np.nan)
    statistic, dof, p = welch(before, after)
    p_paired = _paired_p(before, after) if paired else np.full(len(p), np.nan)
    return ClassSignificance(
        change,
        normalised,
        after.mean(0) - before.mean(0),
        statistic,
        dof,
        p,
        corrected(p, len(p))[1],
        benjamini_hochberg(p),
        p_paired,
        corrected(p_paired, len(p))[1],
    )


def welch(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute statistic, degrees of freedom and two-sided p of Welch's t-test along the second-last axis.

    Parameters
    ----------
    before, after : (..., networks, columns)

    Returns
    -------
    statistic, dof, p : (..., columns)
        The statistic is positive if `after` is larger. NaN with fewer than two networks on a side, or if both sides are
        constant.
    """
    sizes = before.shape[-2], after.shape[-2]
    if min(sizes) < 2:
        missing = np.full(before.shape[:-2] + before.shape[-1:], np.nan)
        return missing, missing, missing
    parts = [variance(side, axis=-2) / size for side, size in zip((before, after), sizes, strict=True)]
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = (after.mean(-2) - before.mean(-2)) / np.sqrt(parts[0] + parts[1])
        dof = (parts[0] + parts[1]) ** 2 / sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
        statistic = np.where(parts[0] + parts[1] > 0, statistic, np.nan)
    return statistic, dof, np.asarray(2 * special.stdtr(dof, -np.abs(statistic)))


def _paired_p(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    n, change = len(before), after - before
    if n < 2:
        return np.full(before.shape[1], np.nan)
    error = np.sqrt(variance(change, axis=0) / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(error > 0, change.mean(0) / error, np.nan)
    return np.asarray(2 * special.stdtr(n - 1, -np.abs(statistic)))


def placebo_significance(recalls: Recalls, splits: int = SPLITS) -> np.ndarray:
    """Compute how often each class is significant between random halves of one population, as a placebo.

    Parameters
    ----------
    recalls : Recalls, (networks, classes)
    splits : int
        Number of random splits into halves, which are the same in every call.

    Returns
    -------
    (classes,)
        Share of the splits with p at most .05; NaN with fewer than four networks, or if all are copies of one network.
    """
    return np.asarray(placebo_tests(recalls, splits).mean(axis=0))


def placebo_tests(recalls: Recalls, splits: int = SPLITS) -> np.ndarray:
    """Find the significant classes in each split of `placebo_significance`.

    Returns
    -------
    (splits, classes)
        1 if p is at most .05, else 0; NaN where `placebo_significance` is NaN.
    """
    deviations = recalls.raw_balance
    if len(deviations) < 4 or are_copies(deviations):
        return np.full((splits, deviations.shape[1]), np.nan)
    first, second = halves(len(deviations), splits)
    _, _, p = welch(deviations[first], deviations[second])
    return np.asarray(p <= LEVEL, dtype=float)
