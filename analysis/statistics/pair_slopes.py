"""Compute slopes of pairs of networks before and after compression, and decide how the gaps of classes changed."""

from typing import Literal, NamedTuple

import numpy as np

from analysis.statistics.hypothesis_tests import LEVEL, MARGIN
from analysis.statistics.intensification import (
    alpha,
    raw_slope,
    raw_spread_ratio,
    spread_ratio,
    unbalanced,
    weighted_alpha,
)
from analysis.statistics.new_images import SlopeParts, alpha_new_from_predictions, pooled_slope, slope_parts
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import Interval, mean_interval


class Slopes(NamedTuple):
    """Slopes of pairs of networks before and after; NaN if undefined or not needed.

    Attributes
    ----------
    n : int
        Number of pairs whose alpha is defined. All other values are for these pairs.
    alpha, low, high : float
        Mean of alpha, and its interval over networks.
    raw_slope, raw_slope_low, raw_slope_high : float
        Mean of `intensification.raw_slope`, and its interval over networks.
    weighted : float
        Mean of `intensification.weighted_alpha`, if classes differ in size.
    spread_ratio, raw_spread_ratio : float
        Means over the pairs.
    new, raw_new : Interval, optional
        Alpha and raw slope for new images and, with several pairs, new networks.
    spread_new : Interval, optional
        The same for `raw_spread_ratio`.
    unchanged : Interval, optional
        The 90 % interval of the raw slope for new images. Given only if this interval and that of the raw spread ratio
        are both within `MARGIN` of 1, which is a test of equivalence.
    """

    n: int
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
    spread_new: Interval | None = None
    unchanged: Interval | None = None


def slopes(label: np.ndarray, before: np.ndarray, after: np.ndarray, notes: list[str]) -> Slopes:
    """Compute the slopes of pairs of networks.

    Parameters
    ----------
    label : (images,), integers
        Class of each image.
    before, after : (networks, images), bool
        Whether each network is right about each image. No network may be at chance; an empty array is accepted. A
        single network before is paired with each network after.
    notes : list of str
        A sentence is appended to this list if alpha is undefined for some pairs.
    """
    if not len(after):
        return Slopes(0)
    if len(before) == 1:
        before = np.repeat(before, len(after), axis=0)
    has_alpha = np.isfinite(alpha(*(Recalls.from_answers(label, right).balance for right in (before, after))))
    if not has_alpha.all():
        notes.append(
            f"Alpha is n/a for {(~has_alpha).sum()} of {len(has_alpha)} pairs of networks, because all classes have "
            "the same recall before compression."
        )
    return _mean_slopes(label, before[has_alpha], after[has_alpha]) if has_alpha.any() else Slopes(0)


def _mean_slopes(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> Slopes:
    support = np.bincount(label)
    recalls = Recalls.from_answers(label, before), Recalls.from_answers(label, after)
    b, b_t = (each.balance for each in recalls)
    alphas, raw_slopes = alpha(b, b_t), raw_slope(*recalls)
    low, high = mean_interval(alphas, 1 - LEVEL)
    raw_low, raw_high = mean_interval(raw_slopes, 1 - LEVEL)
    raw_new = pooled_slope(slope_parts(label, before, after, raw=True))
    squares = pooled_slope(_squares(label, before, after))
    # Two one-sided tests at LEVEL correspond to an interval with confidence 1 - 2 LEVEL.
    narrower = raw_new.interval(1 - 2 * LEVEL)
    unchanged = narrower.identified and _near_1(narrower) and _near_1(_root(squares.interval(1 - 2 * LEVEL)))
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
        raw_spread_ratio=float(raw_spread_ratio(*recalls).mean()),
        new=alpha_new_from_predictions(label, before, after, confidence=1 - LEVEL),
        raw_new=raw_new.interval(1 - LEVEL),
        spread_new=_root(squares.interval(1 - LEVEL)),
        unchanged=narrower if unchanged else None,
    )


def _squares(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> SlopeParts:
    """Make the parts of a ratio of sums over networks: squared gaps after, divided by squared gaps before."""
    of_before, of_after = (slope_parts(label, right, right, raw=True, paired=False) for right in (before, after))
    assert of_before.moves is not None
    assert of_after.moves is not None
    sums = np.array([of_after.sums[1], of_before.sums[1], of_before.sums[2]])
    return SlopeParts(sums, np.array([of_after.moves[1], of_before.moves[1]]))


def _root(squares: Interval) -> Interval:
    """Take the square root of an estimate and of the ends of its interval."""
    estimate, low, high = np.sqrt(np.maximum(squares[:3], 0)).tolist()
    return squares._replace(estimate=estimate, low=low, high=high)


def _near_1(interval: Interval) -> bool:
    return bool(interval.low > 1 - MARGIN and interval.high < 1 + MARGIN)


# Slopes of unchanged networks differ from 1 only by rounding.
_BELOW_1, _ABOVE_1 = 1 - 1e-9, 1 + 1e-9


class GapChange(NamedTuple):
    """Change of the gaps between classes' recalls, as far as intervals show it.

    Attributes
    ----------
    size : {"grew", "shrank", "same", "open"}
        Change of the gaps' size; `open` if neither a change nor equality is shown.
    order : {"kept", "moved", "unrelated", "reversed", "open"}
        Relation of the gaps after compression to the gaps before, by the interval of the raw slope:

        - kept: the interval is above 1.
        - moved, partly to other classes: the interval is between 0 and 1.
        - unrelated: the interval contains 0.
        - reversed: the interval is below 0.
        - open: the interval is above 0 and contains 1.
    """

    size: Literal["grew", "shrank", "same", "open"]
    order: Literal["kept", "moved", "unrelated", "reversed", "open"]


def gap_change(raw: Interval, spread: Interval, unchanged: Interval | None) -> GapChange:
    """Decide how the gaps changed.

    Parameters
    ----------
    raw, spread : Interval
        Intervals of the raw slope and of the raw spread ratio.
    unchanged : Interval, optional
        As in `pair_slopes.Slopes`. It is given only if the raw slope and the raw spread ratio are shown to be within
        `MARGIN` of 1.

    Examples
    --------
    >>> below_0 = Interval(-0.8, -0.9, -0.7, 1, True, "seeds")
    >>> as_before = Interval(1, 0.9, 1.1, 1, True, "seeds")
    >>> gap_change(below_0, as_before, None)
    GapChange(size='open', order='reversed')
    """
    return GapChange(_size(raw, spread, unchanged), _order(raw))


def _size(raw: Interval, spread: Interval, unchanged: Interval | None) -> Literal["grew", "shrank", "same", "open"]:
    if raw.low > _ABOVE_1 or spread.low > _ABOVE_1:
        return "grew"
    if raw.high < _BELOW_1 and spread.high < _BELOW_1:
        return "shrank"
    return "open" if unchanged is None else "same"


def _order(raw: Interval) -> Literal["kept", "moved", "unrelated", "reversed", "open"]:
    if raw.high < 0:
        return "reversed"
    if raw.low <= 0:
        return "unrelated"
    if raw.low > _ABOVE_1:
        return "kept"
    return "moved" if raw.high < _BELOW_1 else "open"


def gap_sentence(change: GapChange) -> str:
    """Describe the change of the gaps in a clause.

    Examples
    --------
    >>> gap_sentence(GapChange("shrank", "reversed"))
    'the order of the classes reversed, so classes that were strong before are weak now, and the differences shrank'
    """
    if change.order == "reversed":
        more = f", and the differences {change.size}" if change.size in ("grew", "shrank") else ""
        return f"the order of the classes reversed, so classes that were strong before are weak now{more}"
    if (change.size, change.order) == ("open", "open"):
        return "the recalls of the classes are not shown to have become more or less unequal"
    return f"the differences between classes {_predicate(change)}"


def _predicate(change: GapChange) -> str:
    if change.order == "unrelated":
        size = f"{change.size} and " if change.size in ("grew", "shrank") else ""
        return f"{size}are not shown to be related to those before"
    if change.size == "grew":
        return {
            "kept": "grew",
            "moved": "grew, but between other classes than before",
            "open": "grew, although weak classes are not shown to have fallen further behind",
        }[change.order]
    if change.size == "same":
        return f"are the same to within {100 * MARGIN:g} %"
    return "shrank" if change.size == "shrank" else "moved to other classes"
