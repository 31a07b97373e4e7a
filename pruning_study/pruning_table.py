"""What `prune` prints about the classes: a table with intervals, and sentences that say what is noise."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import schema
from analysis.runs.printable import printable
from analysis.statistics.resampling import Interval
from pruning_study.data.labels import some
from pruning_study.steps.class_changes import ClassChanges

LONGEST_TABLE = 25
ALONE = "One network cannot tell pruning from retraining: compare it with --pruner none, and use several --seed."
TOGETHER = "What is shown is the work of pruning and of retraining: --pruner none shows that of retraining alone."
UNPRUNED = "Nothing was pruned: these are changes by retraining alone."
_READING = (
    "Intervals hold with 95 % confidence, each for itself.\n"
    "Whether a class lost is corrected for the number of classes (Holm)."
)


class Table(NamedTuple):
    """Cells of a table: its header, a row for each class, and rows of totals below them."""

    header: list[str]
    rows: list[list[str]]
    totals: list[list[str]]


def pruning_table(ratios: Mapping[float, ClassChanges], realized_ratios: Mapping[float, float]) -> Table:
    """Return a table of the recalls before and at each ratio, with the slopes below.

    Parameters
    ----------
    ratios : mapping of float to ClassChanges
        All of the same networks before. Of several networks recalls are means.
    realized_ratios : mapping of float to float
        Of the same ratios.
    """
    first, *_ = all_changes = list(ratios.values())
    rows = [_recall_row([changes.table.iloc[place] for changes in all_changes]) for place in range(len(first.table))]
    if len(rows) > LONGEST_TABLE:
        order = np.argsort(all_changes[-1].table["change"], kind="stable")
        rows = shortened([rows[index] for index in order])
    shown = [f"t={ratio:g}" for ratio in ratios] if len(ratios) > 1 else ["after"]
    intervals = [f"95 % at {ratio}" for ratio in shown] if len(ratios) > 1 else ["95 % interval"]
    slopes = [changes.slopes for changes in all_changes]
    return Table(
        ["class", "before", *(head for ratio in shown for head in (ratio, "change")), *intervals, "images"],
        rows,
        [
            _recall_row([changes.accuracy for changes in all_changes]),
            _row("realised ratio", "1", ((f"{realized_ratios[ratio]:.2f}", "") for ratio in ratios)),
            _row("alpha", "", (_mean(each.alpha, each.low, each.high) for each in slopes)),
            _row("raw slope", "", (_mean(each.raw_slope, each.raw_slope_low, each.raw_slope_high) for each in slopes)),
            _row("new images: alpha", "", (_estimate(each.new) for each in slopes)),
            _row("new images: raw slope", "", (_estimate(each.raw_new) for each in slopes)),
        ],
    )


def what_is_shown(ratios: Mapping[float, ClassChanges], *, prunes: bool) -> str:
    """Return a sentence on each ratio, and on what one network or several can show.

    Parameters
    ----------
    ratios : mapping of float to ClassChanges
    prunes : bool
        Whether anything was pruned.
    """
    sentences = [
        f"t={ratio:g}: {changes.losses()}{_named(changes.lost)}; {changes.differences()}"
        for ratio, changes in ratios.items()
    ]
    networks = next(iter(ratios.values())).networks
    cause = UNPRUNED if not prunes else ALONE if networks == 1 else TOGETHER
    return "\n".join([*sentences, cause, _READING])


def shortened(rows: list[list[str]]) -> list[list[str]]:
    """Return the first rows of a long table, and a row that says how many are left out."""
    left = len(rows) - LONGEST_TABLE
    if left <= 0:
        return rows
    rest = [f"... and {left} more, in {schema.PER_CLASS}", *[""] * (len(rows[0]) - 1)]
    return [*rows[:LONGEST_TABLE], rest]


def _named(lost: list[str]) -> str:
    return f" ({printable(some(lost))})" if lost else ""


def _recall_row(changes: Sequence[pd.Series]) -> list[str]:
    """Return the row of a class, from its row in the table of each ratio."""
    before, support = changes[0]["recall_before"], changes[0]["support"]
    parts = [text for row in changes for text in (f"{row['recall_after']:.3f}", f"{row['change']:+.3f}")]
    intervals = [f"{row['change_low']:+.3f} to {row['change_high']:+.3f}" for row in changes]
    return [changes[0]["class"], f"{before:.3f}", *parts, *intervals, f"{support:,}"]


def _row(name: str, before: str, values: Iterable[tuple[str, str]]) -> list[str]:
    """Return a row without a change, from a value and an interval for each ratio."""
    found = list(values)
    parts = [text for value, _ in found for text in (value, "")]
    return [name, before, *parts, *(interval for _, interval in found), ""]


def _mean(value: float, low: float, high: float) -> tuple[str, str]:
    """Return a mean over networks and its interval, which one network does not have."""
    if np.isnan(value):
        return "undefined", ""
    return f"{value:.3f}", "" if np.isnan(low) else _interval(low, high)


def _estimate(found: Interval | None) -> tuple[str, str]:
    if found is None or not found.identified:
        return "", "not identified"
    return f"{found.estimate:.3f}", _interval(found.low, found.high)


def _interval(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"
