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
from pruning_study.text_tables import text_table

LONGEST_TABLE = 25
ALONE = "One network cannot tell pruning from retraining: compare it with --pruner none, and use several --seed."
TOGETHER = "What is shown is the work of pruning and of retraining: --pruner none shows that of retraining alone."
UNPRUNED = "Nothing was pruned: these are changes by retraining alone."
_READING = (
    "Intervals hold with 95 % confidence, each for itself.\n"
    "Whether a class lost is corrected for the number of classes (Holm)."
)


class Ratio(NamedTuple):
    """What is printed about one ratio; alpha and the raw slope are NaN where they are undefined."""

    changes: ClassChanges
    realized_ratio: float
    alpha: float
    raw_slope: float


def pruning_table(ratios: Mapping[float, Ratio]) -> str:
    """Return a table of the recalls before and at each ratio, with the slopes below.

    Parameters
    ----------
    ratios : mapping of float to Ratio
        All of the same networks before. Of several networks recalls are means.
    """
    first, *_ = all_changes = [ratio.changes for ratio in ratios.values()]
    rows = [_recall_row([changes.table.iloc[place] for changes in all_changes]) for place in range(len(first.table))]
    if len(rows) > LONGEST_TABLE:
        order = np.argsort(all_changes[-1].table["change"], kind="stable")
        rows = shortened([rows[index] for index in order])
    shown = [f"t={ratio:g}" for ratio in ratios] if len(ratios) > 1 else ["after"]
    intervals = [f"95 % at {ratio}" for ratio in shown] if len(ratios) > 1 else ["95 % interval"]
    return text_table(
        ["class", "before", *(head for ratio in shown for head in (ratio, "change")), *intervals, "images"],
        rows,
        [
            _recall_row([changes.accuracy for changes in all_changes]),
            _row("realised ratio", "1", ((f"{ratio.realized_ratio:.2f}", "") for ratio in ratios.values())),
            _row("alpha", "", ((_number(ratio.alpha), "") for ratio in ratios.values())),
            _row("raw slope", "", ((_number(ratio.raw_slope), "") for ratio in ratios.values())),
            _row("new images: alpha", "", (_estimate(changes.slopes.new) for changes in all_changes)),
            _row("new images: raw slope", "", (_estimate(changes.slopes.raw_new) for changes in all_changes)),
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


def _estimate(found: Interval | None) -> tuple[str, str]:
    if found is None or not found.identified:
        return "", "not identified"
    return f"{found.estimate:.3f}", f"{found.low:.3f} to {found.high:.3f}"


def _number(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"
