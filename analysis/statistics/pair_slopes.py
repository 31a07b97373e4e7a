"""Slopes of the pairs of a network before and after compression, and what became of the differences between classes."""

from typing import NamedTuple

import numpy as np

from analysis.statistics.hypothesis_tests import LEVEL, MARGIN
from analysis.statistics.intensification import (
    alpha,
    at_chance,
    raw_slope,
    recall_balance,
    spread_ratio,
    unbalanced,
    weighted_alpha,
)
from analysis.statistics.new_images import alpha_new_from_predictions, pooled_slope, slope_parts
from analysis.statistics.resampling import Interval, mean_interval


class Slopes(NamedTuple):
    """Slopes of the pairs of a network before and after; NaN where they are undefined or not asked for.

    Attributes
    ----------
    n : int
        Pairs whose alpha is defined and in which no network guesses. All else is about these pairs.
    at_chance : int
        Pairs that are left out because a network guesses.
    alpha, low, high : float
        Mean of alpha, and its interval over networks.
    raw_slope, raw_slope_low, raw_slope_high : float
        Mean of `raw_slope`, and its interval over networks.
    weighted : float
        Mean of `weighted_alpha`, if classes differ in size.
    spread_ratio, raw_spread_ratio : float
        Means of `spread_ratio`, of balances that are divided by the accuracy and of those that are not.
    new, raw_new : Interval, optional
        Alpha and raw slope for new images and, with several pairs, new networks.
    unchanged : bool
        Whether an equivalence test shows the raw slope on new images to be within `MARGIN` of 1.
    """

    n: int
    at_chance: int = 0
    alpha: float = np.nan
    low: float = np.nan
    high: float = np.nan
    raw_slope: float = np.nan
    raw_slope_low: float = np.nan
    raw_slope_high: float = np.nan
    weighted: float = np.nan
    spread_ratio: float = np.nan
    raw_spread_ratio: float = np.nan
    new: Interval | None = None
    raw_new: Interval | None = None
    unchanged: bool = False


def slopes(label: np.ndarray, before: np.ndarray, after: np.ndarray, notes: list[str]) -> Slopes:
    """Return the slopes of the pairs of networks.

    Parameters
    ----------
    label : (images,), integers
        Class of each image.
    before, after : (networks, images), bool
        Whether each network is right. A single network before is paired with each one after.
    notes : list of str
        Gets a sentence on the pairs that have no slope.
    """
    if len(before) == 1:
        before = np.repeat(before, len(after), axis=0)
    if len(before) != len(after):
        notes.append("Alpha is n/a: it is of a network before and the same network after.")
        return Slopes(0)
    support = np.bincount(label)
    defined = np.isfinite(alpha(*_balances(label, before, after)))
    if not defined.all():
        notes.append(
            f"Alpha is n/a for {(~defined).sum()} of {len(defined)} pairs of networks: all classes are equally right "
            "before, or nothing is right."
        )
    guesses = at_chance([right.mean(1) for right in (before, after)], len(support), support).any(axis=0) & defined
    kept = defined & ~guesses
    if not kept.any():
        return Slopes(0, at_chance=int(guesses.sum()))
    return _mean_slopes(label, before[kept], after[kept])._replace(at_chance=int(guesses.sum()))


def _mean_slopes(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> Slopes:
    support = np.bincount(label)
    b, b_t = _balances(label, before, after)
    alphas = alpha(b, b_t)
    low, high = mean_interval(alphas, 1 - LEVEL)
    recalls = _recalls(label, before), _recalls(label, after)
    raw_slopes = raw_slope(*recalls, before.mean(1), after.mean(1))
    accuracies = [right.mean(1, keepdims=True) for right in (before, after)]
    raw_low, raw_high = mean_interval(raw_slopes, 1 - LEVEL)
    raw_new = pooled_slope(slope_parts(label, before, after, raw=True))
    # Two one-sided tests at LEVEL are an interval at 1 - 2 LEVEL.
    narrower = raw_new.interval(1 - 2 * LEVEL)
    return Slopes(
        n=len(alphas),
        alpha=float(alphas.mean()),
        low=low,
        high=high,
        raw_slope=float(raw_slopes.mean()),
        raw_slope_low=raw_low,
        raw_slope_high=raw_high,
        weighted=float(weighted_alpha(b, b_t, support).mean()) if unbalanced(support) else np.nan,
        spread_ratio=float(spread_ratio(b, b_t).mean()),
        raw_spread_ratio=float(spread_ratio(b * accuracies[0], b_t * accuracies[1]).mean()),
        new=alpha_new_from_predictions(label, before, after, confidence=1 - LEVEL),
        raw_new=raw_new.interval(1 - LEVEL),
        unchanged=bool(narrower.identified and narrower.low > 1 - MARGIN and narrower.high < 1 + MARGIN),
    )


def _balances(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[np.ndarray]:
    return [recall_balance(_recalls(label, right), right.mean(1)) for right in (before, after)]


def _recalls(label: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the recall of each class, (seeds, classes), from whether each image is right, (seeds, images)."""
    return np.array([np.bincount(label, network) for network in right]) / np.bincount(label)
