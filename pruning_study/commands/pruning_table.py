"""What `prune` prints about the classes: a table with intervals, and sentences that say what is noise."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.printable import printable
from analysis.runs import schema
from analysis.statistics.resampling import Interval
from analysis.statistics.weak_dense import sentence
from pruning_study.data.labels import some
from pruning_study.steps.class_changes import ClassChanges

LONGEST_TABLE = 25
ALONE = "One network cannot tell pruning from retraining: compare it with --pruner none, and use several --seed."
TOGETHER = "What is shown is the work of pruning and of retraining: --pruner none shows that of retraining alone."
UNPRUNED = "Nothing was pruned: these are changes by retraining alone."
READING = (
    "Changes are in points. Intervals hold with 95 % confidence, each for itself.\n"
    "Whether a class lost is corrected for the number of classes (Holm)."
)


class Table(NamedTuple):
    """Cells of a table: its header, a row for each class, and rows of totals below them."""

    header: list[str]
    rows: list[list[str]]
    totals: list[list[str]]


def pruning_table(
    ratios: Mapping[float, ClassChanges], realized_ratios: Mapping[float, float], *, details: bool = True
) -> Table:
    """Return a table of the recalls before and at each ratio, with the slopes below.

    Parameters
    ----------
    ratios : mapping of float to ClassChanges
        All of the same networks before. Of several networks recalls are means.
    realized_ratios : mapping of float to float
        Of the same ratios.
    details : bool
        Whether the slopes on new images are shown too.
    """
    first, *_ = all_changes = list(ratios.values())
    rows = [_recall_row([changes.table.iloc[place] for changes in all_changes]) for place in range(len(first.table))]
    if len(rows) > LONGEST_TABLE:
        order = np.argsort(all_changes[-1].table["change"], kind="stable")
        rows = shortened([rows[index] for index in order])
    shown = [f"ratio {ratio:g}" for ratio in ratios] if len(ratios) > 1 else ["after"]
    intervals = [f"95 % at {ratio}" for ratio in shown] if len(ratios) > 1 else ["95 % interval"]
    slopes = _SLOPES | (_NEW_SLOPES if details else {})
    return Table(
        ["class", "before", *(head for ratio in shown for head in (ratio, "change")), *intervals, "images"],
        rows,
        [
            _recall_row([changes.accuracy for changes in all_changes]),
            _row("realised ratio", "1", ((f"{realized_ratios[ratio]:.2f}", "") for ratio in ratios)),
            *(_row(name, "", map(cells, all_changes)) for name, cells in slopes.items()),
        ],
    )


def what_is_shown(ratios: Mapping[float, ClassChanges], *, prunes: bool) -> str:
    """Return what makes the dense networks weak, lines on each ratio, and what one network or several can show.

    Parameters
    ----------
    ratios : mapping of float to ClassChanges
    prunes : bool
        Whether anything was pruned.
    """
    all_changes = list(ratios.values())
    weak = sentence(all_changes[0].dense)
    lines = [
        line
        for ratio, changes in ratios.items()
        for line in (f"ratio {ratio:g}: {printable(changes.outcome())}", *(f"  {line}" for line in _describe(changes)))
    ]
    networks = max(changes.networks for changes in all_changes)
    cause = UNPRUNED if not prunes else ALONE if networks == 1 else TOGETHER
    return "\n".join([*([printable(weak)] if weak else []), *lines, cause])


def _describe(changes: ClassChanges) -> list[str]:
    start = f"{chance}; " if (chance := changes.chance()) else ""
    return [f"{start}{changes.losses()}{_named(changes.damaged_classes)}", changes.differences()]


def shortened(rows: list[list[str]]) -> list[list[str]]:
    """Return the first rows of a long table, and a row that says how many are left out."""
    remainder = len(rows) - LONGEST_TABLE
    if remainder <= 0:
        return rows
    rest = [f"... and {remainder} more, in {schema.PER_CLASS}", *[""] * (len(rows[0]) - 1)]
    return [*rows[:LONGEST_TABLE], rest]


def _named(classes: list[str]) -> str:
    return f" ({printable(some(classes))})" if classes else ""


def _recall_row(changes: Sequence[pd.Series]) -> list[str]:
    """Return the row of a class, from its row in the table of each ratio."""
    before, support = changes[0]["recall_before"], changes[0]["support"]
    parts = [text for row in changes for text in (f"{row['recall_after']:.3f}", _signed_points(row["change"]))]
    intervals = [f"{_signed_points(row['change_low'])} to {_signed_points(row['change_high'])}" for row in changes]
    return [changes[0]["class"], f"{before:.3f}", *parts, *intervals, f"{support:,}"]


def _signed_points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _row(name: str, before: str, values: Iterable[tuple[str, str]]) -> list[str]:
    """Return a row without a change, from a value and an interval for each ratio."""
    estimates = list(values)
    parts = [text for value, _ in estimates for text in (value, "")]
    return [name, before, *parts, *(interval for _, interval in estimates), ""]


def _mean(changes: ClassChanges, value: float, low: float, high: float) -> tuple[str, str]:
    """Return a mean over networks and its interval, which one network does not have."""
    if np.isnan(value):
        return "at chance" if changes.at_chance else "undefined", ""
    return f"{value:.3f}", "" if np.isnan(low) else _interval(low, high)


def _estimate(changes: ClassChanges, slope: Interval | None) -> tuple[str, str]:
    if slope is None or not slope.identified:
        return "", "" if changes.at_chance else "not identified"
    return f"{slope.estimate:.3f}", _interval(slope.low, slope.high)


def _interval(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"


def _alpha(changes: ClassChanges) -> tuple[str, str]:
    return _mean(changes, changes.slopes.alpha, changes.slopes.low, changes.slopes.high)


def _raw_slope(changes: ClassChanges) -> tuple[str, str]:
    slopes = changes.slopes
    return _mean(changes, slopes.raw_slope, slopes.raw_slope_low, slopes.raw_slope_high)


# What the rows of slopes show of each ratio: a value and an interval.
_SLOPES: dict[str, Callable[[ClassChanges], tuple[str, str]]] = {
    "alpha": _alpha,
    "raw slope": _raw_slope,
}
_NEW_SLOPES: dict[str, Callable[[ClassChanges], tuple[str, str]]] = {
    "new images: alpha": lambda changes: _estimate(changes, changes.slopes.new),
    "new images: raw slope": lambda changes: _estimate(changes, changes.slopes.raw_new),
}
