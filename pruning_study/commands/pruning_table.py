"""What `prune` prints about the classes: a table with intervals, and sentences that say what is noise."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.points import points
from analysis.common.printable import printable
from analysis.rendering.formats import p_value
from analysis.runs import schema
from analysis.statistics.resampling import Interval
from analysis.statistics.weak_dense import sentence
from pruning_study.data.labels import some
from pruning_study.steps.class_changes import ClassChanges
from pruning_study.steps.controls import LargestCost

LONGEST_TABLE = 25
ALONE = "One network cannot tell pruning from retraining: compare it with --pruner none, and use several --seed."
TOGETHER = "What is shown is the work of pruning and of retraining: --pruner none shows that of retraining alone."
ONE_NETWORK = "One network: another seed may lose on other classes. --seed 0-4 prunes five."
UNPRUNED = "Nothing was pruned: these are changes by retraining alone."
READING = (
    "Changes are in points. Intervals hold with 95 % confidence, each for itself.\n"
    "Whether a class lost is corrected for the number of classes (Holm)."
)
READING_BEYOND = (
    "The control was fine-tuned as long, and not pruned. The loss is its recall minus the recall\n"
    "after pruning, in points. Intervals hold with 95 % confidence, each for itself, and p is corrected for\n"
    "the number of classes (Holm). alpha and raw slope compare with the network before."
)


class Beyond(NamedTuple):
    """What pruning did beyond the control.

    Attributes
    ----------
    changes : mapping of float to ClassChanges
        From the control to the networks of each ratio.
    costs : mapping of float to LargestCost
    """

    changes: Mapping[float, ClassChanges]
    costs: Mapping[float, LargestCost]


class Table(NamedTuple):
    """Cells of a table: its header, a row for each class, and rows of totals below them."""

    header: list[str]
    rows: list[list[str]]
    totals: list[list[str]]


def pruning_table(
    ratios: Mapping[float, ClassChanges],
    realized_ratios: Mapping[float, float],
    *,
    details: bool = True,
    beyond: Beyond | None = None,
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
    beyond : Beyond, optional
        Losses beyond the control then stand in the place of changes.
    """
    all_changes = list(ratios.values())
    judged = list(beyond.changes.values()) if beyond else all_changes
    first, *_ = befores = all_changes[:1] + judged[: bool(beyond)]
    row = _loss_row if beyond else _recall_row
    rows = [
        row([each.table.iloc[place] for each in befores], [each.table.iloc[place] for each in judged])
        for place in range(len(first.table))
    ]
    if len(rows) > LONGEST_TABLE:
        order = np.argsort(judged[-1].table["change"], kind="stable")
        rows = shortened([rows[index] for index in order])
    shown = [f"ratio {ratio:g}" for ratio in ratios] if len(ratios) > 1 else ["after"]
    intervals = [f"95 % at {ratio}" for ratio in shown] if len(ratios) > 1 else ["95 % interval"]
    p = [f"p at {ratio}" for ratio in shown] if len(ratios) > 1 else ["p"]
    slopes = _SLOPES | (_NEW_SLOPES if details else {})
    header = [
        "class",
        *("before", "control")[: len(befores)],
        *(head for ratio in shown for head in (ratio, "loss" if beyond else "change")),
        *intervals,
        *(p if beyond else []),
        "images",
    ]
    totals = [
        ("realised ratio", "1", [(f"{realized_ratios[ratio]:.2f}", "") for ratio in ratios]),
        *((name, "", [cells(changes) for changes in all_changes]) for name, cells in slopes.items()),
    ]
    return Table(
        header,
        rows,
        [
            row([each.accuracy for each in befores], [each.accuracy for each in judged]),
            *(_row([name, before, *[""] * bool(beyond)], values, len(header)) for name, before, values in totals),
        ],
    )


def what_is_shown(ratios: Mapping[float, ClassChanges], *, prunes: bool, beyond: Beyond | None = None) -> str:
    """Return what makes the dense networks weak, lines on each ratio, and what one network or several can show.

    Parameters
    ----------
    ratios : mapping of float to ClassChanges
    prunes : bool
        Whether anything was pruned.
    beyond : Beyond, optional
        Of the same ratios. The lines are then about what is beyond the control.
    """
    all_changes = list(ratios.values())
    weak = sentence(all_changes[0].dense)
    lines = [
        line
        for ratio, changes in ratios.items()
        for line in (_describe_beyond(ratio, changes, beyond) if beyond else _describe(ratio, changes))
    ]
    networks = max(changes.networks for changes in all_changes)
    alone, together = (ONE_NETWORK, "") if beyond else (ALONE, TOGETHER)
    cause = UNPRUNED if not prunes else alone if networks == 1 else together
    return "\n".join(line for line in (printable(weak), *lines, cause) if line)


def _describe(ratio: float, changes: ClassChanges) -> list[str]:
    return [
        f"ratio {ratio:g}: {printable(changes.outcome())}",
        f"  {_chance(changes)}{changes.losses()}{_named(changes.damaged_classes)}",
        f"  {changes.differences()}",
    ]


def _describe_beyond(ratio: float, changes: ClassChanges, beyond: Beyond) -> list[str]:
    """Return lines on what is beyond the control, which name no class that the table has no test of."""
    from_control, cost = beyond.changes[ratio], beyond.costs[ratio]
    before, control, after = (
        f"{100 * accuracy:.1f}"
        for accuracy in (
            changes.accuracy["recall_before"],
            from_control.accuracy["recall_before"],
            from_control.accuracy["recall_after"],
        )
    )
    return [
        f"ratio {ratio:g}: accuracy {before} -> {after} %, of the control {control} %",
        f"  beyond the control, {_chance(from_control)}{from_control.losses()}{_named(from_control.damaged_classes)}",
        f"  {printable(_cost(cost))}",
        f"  beyond the control, {from_control.differences()}",
        *([f"  {printable(line)}"] if (line := from_control.proportion()) else []),
    ]


def _chance(changes: ClassChanges) -> str:
    return f"{chance}; " if (chance := changes.chance()) else ""


def _cost(cost: LargestCost) -> str:
    """Say which class pruning costs most, and where it was chosen and read."""
    value = f"{points(abs(cost.cost))} points {'less' if cost.cost < 0 else 'more'} than the accuracy"
    if cost.low is None or cost.high is None:
        return f"{cost.name} costs most on validation images, and on test images {value}"
    return f"{cost.name} costs most, {value} ({points(cost.low)} to {points(cost.high)})"


def shortened(rows: list[list[str]]) -> list[list[str]]:
    """Return the first rows of a long table, and a row that says how many are left out."""
    remainder = len(rows) - LONGEST_TABLE
    if remainder <= 0:
        return rows
    rest = [f"... and {remainder} more, in {schema.PER_CLASS}", *[""] * (len(rows[0]) - 1)]
    return [*rows[:LONGEST_TABLE], rest]


def _named(classes: list[str]) -> str:
    return f" ({printable(some(classes))})" if classes else ""


def _recall_row(before: Sequence[pd.Series], after: Sequence[pd.Series]) -> list[str]:
    """Return the row of a class: recalls before, then recall, change and interval of each ratio."""
    parts = [text for row in after for text in (f"{row['recall_after']:.3f}", _signed_points(row["change"]))]
    intervals = [f"{_signed_points(row['change_low'])} to {_signed_points(row['change_high'])}" for row in after]
    recalls = [f"{row['recall_before']:.3f}" for row in before]
    return [before[0]["class"], *recalls, *parts, *intervals, f"{before[0]['support']:,}"]


def _signed_points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def _loss_row(before: Sequence[pd.Series], after: Sequence[pd.Series]) -> list[str]:
    """Return the row of a class with losses in the place of changes, and with p, which the accuracy has not."""
    ends = {"change": "change", "change_low": "change_high", "change_high": "change_low"}
    losses = [pd.concat([row.drop(list(ends)), 0.0 - row[list(ends)].rename(ends)]) for row in after]
    *cells, images = _recall_row(before, losses)
    return [*cells, *(p_value(row["p_holm"]) if "p_holm" in row else "" for row in after), images]


def _row(names: list[str], values: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Return a row without a change, from a value and an interval for each ratio; cells at its end stay empty."""
    cells = [*names, *(text for value, _ in values for text in (value, "")), *(interval for _, interval in values)]
    return [*cells, *[""] * (width - len(cells))]


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
