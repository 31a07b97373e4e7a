"""Decide how the gaps between classes' recalls changed, by the raw slope and the raw spread ratio."""

from typing import Literal, NamedTuple

from analysis.statistics.hypothesis_tests import MARGIN
from analysis.statistics.resampling import Interval

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


def sentence(change: GapChange) -> str:
    """Describe the change of the gaps in a clause.

    Examples
    --------
    >>> sentence(GapChange("shrank", "reversed"))
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
