"""What `prune` prints about classes: a table with intervals, and sentences on losses that exceed noise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.command_line import as_typed
from analysis.common.points import points
from analysis.common.printable import printable
from analysis.compare import sentences
from analysis.compare.comparison import Comparison
from analysis.rendering.formats import p_value
from analysis.runs import schema
from analysis.statistics.resampling import Interval
from pruning_study.steps.controls import LargestCost
from pruning_study.steps.text_tables import text_table

LONGEST_TABLE = 25
ALONE = "One network does not show whether pruning or retraining is the cause: compare it with {control}"
TOGETHER = "These are the effects of pruning and retraining together: {control} shows those of retraining alone."
ONE_NETWORK = "This is one network: with another seed, other classes may lose. {seeds} prunes five networks."
RETRAINED = "The intervals are wider if retraining alone moves the classes more."
ONE_GIVEN_NETWORK = "This is one network: in another one, other classes may lose."
SAME_NETWORK = (
    "All seeds prune the same given network, so the result holds for this network and new fine-tunings of it, not for "
    "newly trained networks."
)
UNPRUNED = "Nothing was pruned, so these changes come from retraining alone."
UNCHANGED = "Nothing was pruned or retrained."
READING = "Changes are in points. Each 95 % interval is for one class alone, not for all together."
READING_BEYOND = (
    "The loss of a class is its recall in the control minus its recall after pruning, in points. Each 95 % interval "
    "is for one class alone, not for all together. Alpha and raw slope compare with the network before pruning, not "
    "with the control. The raw slope is above 1 if the differences between classes grew. Alpha is above 1 if "
    "they grew relative to the accuracy."
)
CONTROL = "The control was fine-tuned equally long, without pruning."
CONTROL_WITH_OFFSETS = "The control was fine-tuned equally long, without pruning, and has class offsets of its own."
LOST = "The tests for losses of classes are corrected for the number of classes (Holm)."
P = (
    "p comes from a stricter test than the interval and is corrected for the number of classes (Holm), so p and the "
    "interval can disagree."
)
MARK = "*"
MARKED = f"{MARK} marks a loss that is shown: p is at most 0.05, corrected for the number of classes (Holm)."


class Cause(NamedTuple):
    """What networks differ by: whether weights were pruned, and whether the trained network was trained further."""

    prunes: bool = True
    retrains: bool = True

    @property
    def words(self) -> str:
        """The cause in words."""
        causes = {"pruning": self.prunes, "retraining": self.retrains}
        return " and ".join(name for name, is_one in causes.items() if is_one)


class Beyond(NamedTuple):
    """Effects of pruning beyond the control.

    Attributes
    ----------
    changes : mapping of float to Comparison
        Changes from the control to the pruned networks, by ratio.
    costs : mapping of float to LargestCost
        For one network, the largest cost of a class, by ratio; empty for several networks.
    """

    changes: Mapping[float, Comparison]
    costs: Mapping[float, LargestCost]


class Table(NamedTuple):
    """Cells of a table: its header, a row for each class, and rows of totals below them."""

    header: list[str]
    rows: list[list[str]]
    totals: list[list[str]]

    def __str__(self) -> str:
        """Return the table as text; the intervals of several ratios form a second table below."""
        whole, end = range(len(self.header)), self.header.index("images") + 1
        parts = [whole[:end], *([[0, *whole[end:]]] if whole[end:] else [])]
        return "\n\n".join(self._text(part) for part in parts)

    def _text(self, columns: Sequence[int]) -> str:
        header, rows, totals = (
            [[row[place] for place in columns] for row in part] for part in ([self.header], self.rows, self.totals)
        )
        return text_table(header[0], rows, [row for row in totals if any(row[1:])])


def pruning_table(
    ratios: Mapping[float, Comparison],
    realized_ratios: Mapping[float, float],
    *,
    details: bool = True,
    beyond: Beyond | None = None,
) -> Table:
    """Return a table of the recalls before pruning and their changes at each ratio, with the slopes below.

    Parameters
    ----------
    ratios : mapping of float to Comparison
        Changes from the same dense networks, by ratio. For several networks, recalls are means.
    realized_ratios : mapping of float to float
        Realised ratios, by requested ratio.
    details : bool
        Whether the slopes on new images are shown too.
    beyond : Beyond, optional
        If given, losses beyond the control replace the changes.
    """
    all_changes = list(ratios.values())
    judged = list(beyond.changes.values()) if beyond else all_changes
    befores = all_changes[:1] + judged[: bool(beyond)]
    loss = "loss" if beyond else "change"
    if len(ratios) > 1:
        losses, intervals = ([f"{what} at {ratio:g}" for ratio in ratios] for what in (loss, "95 %"))
        columns, cells = [*losses, "images", *intervals], _cells_of_several
    else:
        p = ["p"] if beyond else []
        columns, cells = ["after", loss, "95 % interval", *p, "images"], _cells_of_one

    def row(before: Sequence[pd.Series], after: Sequence[pd.Series]) -> list[str]:
        recalls = [f"{each['recall_before']:.3f}" for each in before]
        return [before[0]["class"], *recalls, *cells(after, is_loss=beyond is not None)]

    rows = [
        row([each.table.iloc[place] for each in befores], [each.table.iloc[place] for each in judged])
        for place in range(len(befores[0].table))
    ]
    if len(rows) > LONGEST_TABLE:
        order = np.argsort(judged[-1].table["change"], kind="stable")
        rows = shortened([rows[index] for index in order])
    header = ["class", *("before", "control")[: len(befores)], *columns]
    slopes = _SLOPES | (_NEW_SLOPES if details else {})
    totals = [
        ("realised ratio", "1", [(f"{realized_ratios[ratio]:.2f}", "") for ratio in ratios]),
        *((name, "", [of_changes(changes) for changes in all_changes]) for name, of_changes in slopes.items()),
    ]
    return Table(
        header,
        rows,
        [
            row([each.accuracy for each in befores], [each.accuracy for each in judged]),
            *(_row([name, before, *[""] * bool(beyond)], values, len(header)) for name, before, values in totals),
        ],
    )


def what_is_shown(
    ratios: Mapping[float, Comparison], cause: Cause, *, beyond: Beyond | None = None, is_given: bool = False
) -> str:
    """Say what makes dense networks weak, what changed at each ratio, and what more networks or a control would show.

    Parameters
    ----------
    ratios : mapping of float to Comparison
    cause : Cause
        Why pruned networks differ from their dense networks.
    beyond : Beyond, optional
        Comparisons with the control at the same ratios. If given, the lines are about losses beyond the control.
    is_given : bool
        Whether the weights of the dense network were given, so that every seed prunes the same network.
    """
    all_changes = list(ratios.values())
    weak = sentences.weak(all_changes[0])
    lines = []
    for ratio, changes in ratios.items():
        first, *more = _describe_beyond(ratio, changes, beyond) if beyond else _describe(ratio, changes, cause.words)
        lines += [printable(first), *(f"  {printable(line)}" for line in more if line)]
    is_alone = max(changes.networks for changes in all_changes) == 1
    limits = _limits(cause, is_alone=is_alone, has_control=beyond is not None, is_given=is_given)
    return "\n".join(line for line in (printable(weak), *lines, *limits) if line)


def _limits(cause: Cause, *, is_alone: bool, has_control: bool, is_given: bool) -> Iterator[str]:
    """Say what the networks do not show: the cause of changes, and what holds for other networks."""
    control, seeds = as_typed("pruner", "none"), as_typed("seed", "0-4")
    if not cause.prunes:
        yield UNPRUNED if cause.retrains else UNCHANGED
    elif cause.retrains and not has_control:
        alone = ALONE.format(control=control) + ("." if is_given else f", and use {seeds}.")
        yield alone if is_alone else TOGETHER.format(control=control)
    elif is_alone:
        yield ONE_GIVEN_NETWORK if is_given else ONE_NETWORK.format(seeds=seeds)
        if has_control:
            yield RETRAINED
    if is_given and not is_alone:
        yield SAME_NETWORK


def reading(ratios: Mapping[float, Comparison], *, beyond: bool, have_offsets: bool = False) -> str:
    """Explain how to read the table; `have_offsets` tells whether the networks have class offsets."""
    shown = MARKED if len(ratios) > 1 else P if beyond else LOST
    if not beyond:
        return f"{READING} {shown}"
    return f"{CONTROL_WITH_OFFSETS if have_offsets else CONTROL} {READING_BEYOND} {shown}"


def offset_lines(offsets: Mapping[float, pd.DataFrame]) -> list[str]:
    """Return a line for each ratio on the classes with the highest and lowest offset.

    Parameters
    ----------
    offsets : mapping of float to DataFrame
        Tables of `class_offsets.csv`, by ratio.
    """
    return [f"ratio {ratio:g}: {printable(_describe_offsets(table))}" for ratio, table in offsets.items()]


def _describe_offsets(table: pd.DataFrame) -> str:
    raised, lowered = (table.loc[place] for place in (table["offset"].idxmax(), table["offset"].idxmin()))
    if not raised["offset"] > 0:
        return "class offsets are 0, because on validation images none makes the losses of classes more equal"
    return (
        f"class offsets, fitted on validation images, raise the logit of {raised['class']} most, by "
        f"{raised['offset']:.2f}, and lower that of {lowered['class']} most, by {-lowered['offset']:.2f}"
    )


def _describe(ratio: float, changes: Comparison, cause: str) -> list[str]:
    return [f"ratio {ratio:g}: {sentences.outcome(changes)}", *_on_classes(changes, cause), _differences(changes)]


def _describe_beyond(ratio: float, changes: Comparison, beyond: Beyond) -> list[str]:
    """Describe losses beyond the control; name the class that pays most only with a test of its cost."""
    from_control = beyond.changes[ratio]
    cost = _cost(beyond.costs[ratio]) if beyond.costs else sentences.costliest(from_control)
    return [
        f"ratio {ratio:g}: {sentences.beside(changes, from_control)}",
        *_on_classes(from_control),
        *([] if from_control.at_chance else [cost]),
        f"Compared with the control, {sentences.differences(from_control)}.",
        sentences.proportion(from_control),
    ]


def _on_classes(changes: Comparison, cause: str = "") -> list[str]:
    """Name the networks at chance, and the classes that lost and gained recall."""
    return [sentences.at_chance(changes), f"{sentences.losses(changes, cause)}.", sentences.gains(changes)]


def _differences(changes: Comparison) -> str:
    said = sentences.differences(changes)
    return f"{said[0].upper()}{said[1:]}."


def _cost(cost: LargestCost) -> str:
    """Name the class that pruning costs most, and the images on which it was chosen and its cost measured."""
    if not cost.name:
        return "According to validation images, pruning costs no class more than another."
    value = f"{points(abs(cost.cost))} points {'less' if cost.cost < 0 else 'more'} than the accuracy"
    picked = f"According to validation images, pruning costs {cost.name} most"
    if cost.is_shown:
        return f"{picked}, and a test on test images confirms this: {cost.name} loses {value}."
    doubt = "so nothing is shown" if cost.cost < 0 else "which may be chance"
    return f"{picked}. On test images {cost.name} loses {value}, {doubt}."


def shortened(rows: list[list[str]]) -> list[list[str]]:
    """Return the first rows of a long table, and a row that counts the others."""
    remainder = len(rows) - LONGEST_TABLE
    if remainder <= 0:
        return rows
    rest = [f"... and {remainder} more, in {schema.PER_CLASS}", *[""] * (len(rows[0]) - 1)]
    return [*rows[:LONGEST_TABLE], rest]


def _cells_of_one(after: Sequence[pd.Series], *, is_loss: bool) -> list[str]:
    """Return recall, the loss or change, its interval, p of a loss (blank for accuracy), and the number of images."""
    (row,) = after
    p = [p_value(row["p_holm"]) if "p_holm" in row else ""] if is_loss else []
    return [f"{row['recall_after']:.3f}", _change(row, is_loss), _ends(row, is_loss), *p, f"{row['support']:,}"]


def _cells_of_several(after: Sequence[pd.Series], *, is_loss: bool) -> list[str]:
    """Return the loss or change at each ratio, marked if a test shows it, the number of images, and the intervals."""
    marks = [MARK if row.get("damaged", False) else "" for row in after]
    return [
        *(mark + _change(row, is_loss) for mark, row in zip(marks, after, strict=True)),
        f"{after[0]['support']:,}",
        *(_ends(row, is_loss) for row in after),
    ]


def _change(row: pd.Series, is_loss: bool) -> str:
    return _signed_points(-row["change"] if is_loss else row["change"])


def _ends(row: pd.Series, is_loss: bool) -> str:
    low, high = (row["change_low"], row["change_high"])
    low, high = (-high, -low) if is_loss else (low, high)
    return f"{_signed_points(low)} to {_signed_points(high)}"


def _signed_points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def _row(names: list[str], values: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Return a row of totals.

    Its values are in the columns of recalls (if there is one ratio) or of losses (if there are several), and its
    intervals in the columns of intervals.
    """
    if len(values) == 1:
        ((value, interval),) = values
        cells = [*names, value, "", interval]
    else:
        cells = [*names, *(value for value, _ in values), "", *(interval for _, interval in values)]
    return [*cells, *[""] * (width - len(cells))]


def _mean(changes: Comparison, value: float, low: float, high: float) -> tuple[str, str]:
    """Format a mean over networks and its interval, which is empty for one network."""
    if np.isnan(value):
        return "at chance" if changes.at_chance else "undefined", ""
    return f"{value:.3f}", "" if np.isnan(low) else _interval(low, high)


def _estimate(changes: Comparison, slope: Interval | None) -> tuple[str, str]:
    if slope is None or not slope.identified:
        return "", "" if changes.at_chance else "not identified"
    return f"{slope.estimate:.3f}", _interval(slope.low, slope.high)


def _interval(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"


def _alpha(changes: Comparison) -> tuple[str, str]:
    return _mean(changes, changes.slopes.alpha, changes.slopes.low, changes.slopes.high)


def _raw_slope(changes: Comparison) -> tuple[str, str]:
    slopes = changes.slopes
    return _mean(changes, slopes.raw_slope, slopes.raw_slope_low, slopes.raw_slope_high)


# The rows of slopes, each with the function that formats its value and interval at a ratio.
_SLOPES: dict[str, Callable[[Comparison], tuple[str, str]]] = {
    "alpha": _alpha,
    "raw slope": _raw_slope,
}
_NEW_SLOPES: dict[str, Callable[[Comparison], tuple[str, str]]] = {
    "new images: alpha": lambda changes: _estimate(changes, changes.slopes.new),
    "new images: raw slope": lambda changes: _estimate(changes, changes.slopes.raw_new),
}
