"""The result of an audit: a comparison of classes or groups, and further measures of the same predictions."""

import base64
import html
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.audit.movement import Movement
from analysis.audit.populations import NOTHING, TABLES, Populations
from analysis.common import csv_text, files
from analysis.common.points import points
from analysis.common.printable import printable
from analysis.common.terminal import COLUMNS, cut, folded
from analysis.compare import picture, sentences
from analysis.compare.comparison import Comparison, row_names
from analysis.compare.proportion_text import in_proportion
from analysis.compare.sentences import REFERENCE
from analysis.rendering.drawing import with_legend
from analysis.rendering.formats import markdown_table, p_value, with_interval
from analysis.rendering.markdown_text import markdown_line
from analysis.runs.checks import some
from analysis.statistics.class_table import loss_column
from analysis.statistics.guessing import ChanceLevelCounts
from analysis.statistics.limits import Gate, Limits, damage_gate
from analysis.statistics.network_losses import GROSS_LOSS
from analysis.statistics.pair_slopes import Slopes
from analysis.statistics.weak_dense import WeakDense

MOST_SHOWN = 25


class Audit(NamedTuple):
    """Effect of compression on each class or group of images.

    Attributes
    ----------
    comparison : Comparison
        The losses of classes or groups. Most properties of the audit are taken from it.
    notes : list of str
        Sentences on what was compared, what was left out and what remains unknown.
    populations : Populations
        The images whose modal prediction changed, and how over-represented each group is among them. Empty with fewer
        than five networks before or after.
    metrics : DataFrame
        Precision, false positive rate and, if confidences are known, calibration error of each class, as
        `metrics.metric_table` returns them. Empty for an audit of class counts.
    movements : mapping of str to Movement
        How the recalls of classes moved from the networks before to those of each other side (`control`, `after`), and
        which share of this movement a common shift of the logits explains. Empty unless the files have logits.
    """

    comparison: Comparison
    notes: list[str]
    populations: Populations = NOTHING
    metrics: pd.DataFrame = pd.DataFrame()
    movements: Mapping[str, Movement] = MappingProxyType({})

    @property
    def table(self) -> pd.DataFrame:
        """A row for each class or group, the one that lost most first.

        - class, or group; if there are several groupings, the column `grouping` comes first
        - support: number of test images
        - recall_before, recall_after, and with a control recall_control
        - change: recall after minus recall before
        - excess: change of recall minus change of accuracy
        - beyond_control, with a control: recall after minus recall of the control
        - p, p_holm: p of the loss, and p corrected for all classes
        - damaged: whether the class is shown to have lost recall
        - reference: what recall_after is compared with (control or dense networks, perhaps of other seeds)
        - loss: recall of the reference minus recall after
        - cost, cost_p: loss of recall minus loss of accuracy, and its one-sided p, corrected for all classes
        - disproportionate, disproportionate_p: loss minus the loss expected if the error of every class had grown by
          one factor, and its one-sided p, corrected for all classes

        The columns of recalls, changes and losses are followed by the ends of their intervals (`_low`, `_high`). Loss,
        cost and disproportionate loss also have a bound (`_upper_all`) that holds for all classes together, or for all
        groups of a grouping; for the loss, `_low_all` is the lower end of an interval that also holds for all together.
        """
        return self.comparison.ranked

    @property
    def losses(self) -> pd.DataFrame:
        """The loss of the accuracy and of each class or group, with its bounds, as `limits.losses` returns them."""
        return self.comparison.losses

    @property
    def gross_losses(self) -> pd.DataFrame:
        """Classes or groups in which a single network surely lost more than 20 points."""
        return self.comparison.gross_losses

    @property
    def worst(self) -> pd.DataFrame:
        """The class, or the group of each grouping, with the largest cost (see `Comparison.worst`)."""
        return self.comparison.worst

    @property
    def groupings(self) -> pd.DataFrame:
        """A row for each grouping: slopes over its groups, largest excess loss, and spread of the groups' changes."""
        return self.comparison.groupings

    @property
    def accuracy_before(self) -> float:
        """Mean accuracy of the networks before compression."""
        return self.comparison.accuracy_of("before")

    @property
    def accuracy_after(self) -> float:
        """Mean accuracy of the networks after compression."""
        return self.comparison.accuracy_of("after")

    @property
    def accuracy_control(self) -> float | None:
        """Mean accuracy of the control; None without one."""
        return self.comparison.accuracy_of("control") if self.basis == "control" else None

    @property
    def slopes(self) -> Slopes:
        """Alpha, raw slope and spread, with their intervals."""
        return self.comparison.slopes

    @property
    def basis(self) -> Literal["control", "networks", "pair"]:
        """Evidence of the cause of losses: a control, several networks on each side, or neither (`pair`)."""
        return self.comparison.basis

    @property
    def chance_level(self) -> ChanceLevelCounts:
        """Counts of networks at chance."""
        return self.comparison.chance_level

    @property
    def dense(self) -> WeakDense:
        """Weaknesses of the networks before compression: at chance, or with recall 0 in a class."""
        return self.comparison.dense

    @property
    def damaged_rows(self) -> pd.DataFrame:
        """The rows of the classes, or groups, that are shown to have lost recall, the one that lost most first."""
        return self.comparison.damaged_rows

    @property
    def damaged(self) -> list[str]:
        """Names of the classes, or groups, in `damaged_rows`."""
        return self.comparison.damaged

    @property
    def fails(self) -> bool:
        """Whether the audit fails under `--fail-on-damage`."""
        return self.damage_gate.state == "beyond"

    @property
    def damage_gate(self) -> Gate:
        """The decision of `--fail-on-damage`.

        The audit fails if a class is shown to have lost recall, if a network is at chance after compression but neither
        before nor in the control, or if a single network surely lost more than `GROSS_LOSS` in a class. With one
        network before or after and no control, it fails for a class's loss only if the loss is surely above
        `GROSS_LOSS`, because retraining alone changes recalls. If the audit does not fail, but a class may have lost
        all its recall, the gate is undecided.
        """
        if self.chance_level.collapsed:
            return Gate("beyond", "Damaged: a network is at chance only after compression.")
        table, damaged = self.table, self.damaged_rows
        if self.basis == "pair":
            damaged = damaged[damaged["change_high"] < -GROSS_LOSS]
        if len(damaged):
            return Gate("beyond", f"Damaged: {some(row_names(damaged))}.")
        if alone := sentences.gross_losses(self.comparison):
            return Gate("beyond", alone)
        start = table["recall_before" if self.accuracy_control is None else "recall_control"]
        return damage_gate(row_names(table), start, -table[f"{loss_column(table)}_low"])

    def gate(self, limits: Limits) -> Gate:
        """Compare the losses with limits; if a network is at chance only after compression, the gate is `beyond`."""
        if self.chance_level.collapsed:
            return Gate("beyond", "Beyond the limits: a network is at chance only after compression.")
        return self.comparison.gate(limits)

    @property
    def verdict(self) -> str:
        """Sentences on networks that are weak or at chance, if any, and on the changes of the classes."""
        return sentences.verdict(self.comparison)

    @property
    def caution(self) -> str:
        """A warning that the cause of changes is unknown, if `basis` is "pair"; otherwise empty."""
        if self.basis != "pair":
            return ""
        return (
            "Retraining alone also changes recalls, so this comparison cannot show that pruning is the cause. As a "
            "control, give predictions after the same retraining without pruning (the predictions before, if nothing "
            "was retrained), or give several networks before and after. Until then --fail-on-damage fails only for a "
            f"loss of recall that is surely above {100 * GROSS_LOSS:g} points, or for a network that is at chance only "
            "after compression."
        )

    def __str__(self) -> str:
        """Return the text that the command `audit` prints."""
        return summary(self, rest="the table")

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the loss of each class, or group, with its interval.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw, with a legend below; by default in a figure of its own.

        Returns
        -------
        Figure
            The figure of `ax` if it is given, else a new one.
        """
        if ax is None:
            return picture.figure(self.comparison)
        picture.draw(ax, self.comparison)
        return with_legend(ax)

    def _repr_html_(self) -> str:
        """Return the verdict, the table and the picture, for a notebook."""
        paragraphs = "".join(f"<p>{html.escape(printable(line))}</p>" for line in (self.verdict, self.caution) if line)
        png = io.BytesIO()
        picture.figure(self.comparison).savefig(png, format="png")
        data = base64.b64encode(png.getvalue()).decode()
        table = _printable_table(self)
        # A narrow cell breaks before an interval and not within it.
        titles = ["loss", _COST]
        table[titles] = table[titles].map(lambda cell: cell.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"))
        image = f'<img alt="Change of each class" src="data:image/png;base64,{data}">'
        return f"{paragraphs}{table.to_html(index=False)}{image}"


def _beside_verdict(result: Audit) -> list[str]:
    comparison = result.comparison
    said = [sentences.gains(comparison), _costliest(result), sentences.proportion(comparison)]
    return [*filter(None, said)]


def _costliest(result: Audit) -> str:
    """Say which class costs most on average, or that the test is of these networks alone; empty for groups."""
    if result.comparison.groups or not result.worst.empty or result.losses["networks"].iloc[0] > 1:
        return sentences.costliest(result.comparison)
    return _about_these_networks(result)


def _about_these_networks(result: Audit) -> str:
    """Say that a test of one network on each side does not extend to other networks."""
    damaged = result.damaged
    losers = f"{damaged[0]} loses" if len(damaged) == 1 else "these classes lose" if damaged else "classes lose"
    others = f"Only several seeds can show whether {losers} recall in other networks too."
    return f"This holds for these networks alone. {others}"


_COST = "cost"  # left out of a terminal, which is too narrow for it
_LEGEND = {
    "loss": "Recalls in %, losses in points. Loss: recall of the {reference} minus recall after.",
    "at most": "At most: no {kind} loses more, with 95 % confidence.",
    "expected": "Expected: the loss if the error of every {kind} had grown by one factor.",
    _COST: "Cost: the loss minus the loss of accuracy.",
    "p (Holm)": "*: shown to have lost recall.",
}
_SLOPES = (
    "Raw slope and spread: 1 if the differences between recalls stayed the same, above 1 if they grew; alpha: the same "
    "for the differences divided by the accuracy. On new images: an estimate without the noise of these images."
)


def shown(result: Audit) -> pd.DataFrame:
    """Return the table as strings: recalls in %, losses and costs in points with their intervals."""
    table = result.table
    at_most = {} if result.basis == "pair" else {"at most": table["loss_upper_all"].map(points)}
    return pd.DataFrame(
        {
            result.comparison.one_kind: row_names(table),
            "images": table["support"],
            **{side: table[f"recall_{side}"].map(points) for side in (result.comparison.reference, "after")},
            "loss": _in_points(table, "loss"),
            **at_most,
            **({"expected": in_proportion(table)} if sentences.has_proportions(table) else {}),
            _COST: _in_points(table, "cost"),
            "p (Holm)": table["p_holm"].map(p_value) + np.where(table["damaged"], " *", ""),
        }
    )


def _in_points(table: pd.DataFrame, name: str) -> list[str]:
    columns = (table[each] for each in (name, f"{name}_low", f"{name}_high"))
    return [with_interval(value, low, high, points) for value, low, high in zip(*columns, strict=True)]


def _legend(result: Audit, columns: Iterable[str]) -> str:
    """Explain the given columns of the table."""
    lines = [line for name, line in _LEGEND.items() if name in columns]
    slopes = [_SLOPES] if sentences.tells_slopes(result.comparison) else []
    return " ".join([*lines, *slopes]).format(
        reference=REFERENCE[result.comparison.reference], kind=result.comparison.one_kind
    )


def _printable_table(result: Audit) -> pd.DataFrame:
    table = shown(result)
    return table.assign(**{table.columns[0]: table.iloc[:, 0].map(printable)})


def summary(result: Audit, rest: str = "audit.csv") -> str:
    """Format the verdict, the classes that lost most and the notes for a terminal; `rest` names the whole table."""
    notes = [
        folded(note) for note in (result.caution, *result.notes, sentences.without_alpha(result.comparison)) if note
    ]
    table = _printable_table(result).drop(columns=_COST)
    more_classes = len(table) - MOST_SHOWN
    more = [f"and {more_classes:,} more {result.comparison.kind} in {rest}"] if more_classes > 0 else []
    worst = [folded(printable(sentence)) for sentence in _beside_verdict(result)]
    legend = folded(_legend(result, table))
    text = _text(table.head(MOST_SHOWN))
    return "\n".join([folded(result.verdict), *worst, "", text, *more, legend, "", *notes])


def _text(table: pd.DataFrame) -> str:
    """Format the table for a terminal, with names cut to the width that the numbers leave."""
    numbers = table.iloc[:, 1:].to_string(index=False)
    room = COLUMNS - 1 - max(map(len, numbers.splitlines()))
    with pd.option_context("display.unicode.east_asian_width", True):
        named = table.assign(**{table.columns[0]: [cut(name, max(room, 10)) for name in table.iloc[:, 0]]})
        return named.to_string(index=False)


_METRICS, _GROUPINGS = "metrics.csv", "groupings.csv"
FILES = ("audit.md", "audit.csv", "audit.png", _METRICS)


def write(result: Audit, output: Path) -> list[str]:
    """Write the audit and the tables of the populations into a folder.

    Files are moved to `output` one by one after all are written, so an error while writing leaves the old ones. Tables
    of an earlier audit that this audit does not have are deleted.

    Returns
    -------
    list of str
        The names in `FILES` that were written; an audit of class counts has no metrics.csv.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    with files.aside(output, obsolete=[_METRICS, _GROUPINGS, *TABLES]) as folder:
        groupings = {_GROUPINGS: result.groupings} if len(result.groupings) else {}
        metrics = {_METRICS: result.metrics} if len(result.metrics) else {}
        for name, table in {"audit.csv": result.table, **metrics, **groupings, **result.populations.tables}.items():
            csv_text.write(table, folder / name)
        (folder / "audit.md").write_text(markdown(result), encoding="utf-8")
        picture.figure(result.comparison).savefig(folder / "audit.png")
    return [name for name in FILES if name != _METRICS or metrics]


def markdown(result: Audit) -> str:
    """Return the verdict, the table, the notes and how to read them, as Markdown."""
    image = "![Loss of recall of each class](audit.png)"
    notes = map(markdown_line, filter(None, (*result.notes, sentences.without_alpha(result.comparison))))
    worst = map(markdown_line, _beside_verdict(result))
    table = shown(result)
    body = [markdown_table(table), _legend(result, table), *notes, _READING, _MADE_BY]
    parts = ["# Audit", f"**{markdown_line(result.verdict)}**", *worst, image, *body]
    return "\n\n".join(parts) + "\n"


_MADE_BY = (
    "Made by `pruning-analysis audit`. docs/reference/files.md of pruning-study describes the columns of the tables."
)
WHAT_IS_CHANCE = (
    "A network is at chance if a one-sided test at 1 % does not show that its mean recall over classes is above 1 / "
    "(number of classes). For classes of equal size (within 1 %), the test is whether its accuracy is above the share "
    "of the largest class. A network at chance has no alpha, but is included in all other numbers."
)
_READING = (
    "A loss is recall before minus recall after. With a control, which was retrained in the same way without being "
    "pruned, a loss is recall of the control minus recall after. The cost is the loss minus the loss of accuracy, so "
    "costs weighted by images add up to 0. Losses and costs are means over the networks, so they show systematic "
    "losses. Intervals have 95 % confidence for each class separately. The bounds *at most* hold for all classes "
    "together with 95 % confidence, and limits are compared with these bounds. A class is shown to have lost recall "
    "if its loss is above 0 and its p, corrected for all classes (Holm), is at most .05. audit.csv also has recalls "
    "and changes with their intervals: change is recall after minus recall before, and excess is the change minus the "
    "change of accuracy.\n\n"
    "For one network before and one after, recalls have Wilson intervals, changes have Tango intervals, and p is from "
    "McNemar's exact test. With a control, p and the intervals of changes also allow for changes of recall by "
    "retraining alone. For several networks, intervals and p account for the variance over networks and over images, "
    "and the intervals have at least the stated coverage. With ten classes or more, the variance of each class over "
    "networks is moderated: it is averaged with that of all classes, scaled by R (1 - R) for the recall R. A plain "
    "t-test is used too, at a fifth of the 5 % level.\n\n"
    "The raw slope shows how the differences between recalls changed: above 1 they grew, below 1 they shrank or moved "
    "to other classes, and below 0 the order of the classes reversed. Alpha is the raw slope times accuracy before / "
    "accuracy after, so with the same raw slope it rises if accuracy falls. The spread is the root mean square of the "
    "gaps (recall minus accuracy) after compression, divided by the root mean square of the gaps before. The interval "
    "of alpha is over networks, for these images. If class sizes differ by more than 1 %, alpha with classes weighted "
    "by their images is given too."
)
