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

from analysis.audit.metrics import moved_most
from analysis.audit.movement import Movement
from analysis.audit.populations import NOTHING, Populations
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
    """What compression did to each class, or to each group of images.

    Attributes
    ----------
    comparison : Comparison
        The losses of classes or groups. Properties of the audit that are not named here are taken from it.
    notes : list of str
        Sentences on what was compared, what was left out and what cannot be said.
    populations : Populations
        With several networks a side: the images whose usual prediction changed, the groups that have most of them, and
        the classes that changed otherwise than the accuracy.
    metrics : DataFrame
        Precision, false positive rate and, if confidences are known, calibration error of each class, as
        `metric_changes.metric_table` returns them. Empty of counts of classes.
    movements : mapping of str to Movement
        From files with logits: what a common shift of the logits explains of the movement of the classes from before
        to `control` and to `after`.
    """

    comparison: Comparison
    notes: list[str]
    populations: Populations = NOTHING
    metrics: pd.DataFrame = pd.DataFrame()
    movements: Mapping[str, Movement] = MappingProxyType({})

    @property
    def table(self) -> pd.DataFrame:
        """A row for each class or group, the one that lost most first.

        class (or group, after grouping where there are several), support; recall_before, recall_after, change, and
        excess (change of recall minus change of accuracy), each with the ends of its interval (`_low`, `_high`); with a
        control also recall_control and beyond_control (recall after minus recall of the control); p, p_holm, damaged.
        Then, as in `classes.csv`, reference (what recall after is held against: control, dense, or either of other
        seeds); loss (recall of the reference minus recall after) and cost (loss minus that of the accuracy), each
        with the ends of its interval and with a bound that holds for all classes together (`_upper_all`), of one
        grouping where there are several; cost_p, one-sided and corrected for all classes. disproportionate, with the
        same ends and p: the loss minus what it would be if the error of every class had grown by one factor.
        """
        return self.comparison.ranked

    @property
    def losses(self) -> pd.DataFrame:
        """The loss of the accuracy and of each class or group, with its bounds, as `limits.losses` returns it."""
        return self.comparison.losses

    @property
    def gross_losses(self) -> pd.DataFrame:
        """Classes or groups in which a single network surely lost more than 20 points."""
        return self.comparison.gross_losses

    @property
    def worst(self) -> pd.DataFrame:
        """The class, or the group of each grouping, that costs most, as `Comparison.worst` has it."""
        return self.comparison.worst

    @property
    def groupings(self) -> pd.DataFrame:
        """A row for each grouping: slopes over its groups, the largest excess loss, and how much they differ."""
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
        """Alpha, raw slope and what belongs to them."""
        return self.comparison.slopes

    @property
    def basis(self) -> Literal["control", "networks", "pair"]:
        """The evidence for a cause: the control, several networks a side, or none (a single pair of networks)."""
        return self.comparison.basis

    @property
    def chance_level(self) -> ChanceLevelCounts:
        """Networks at chance."""
        return self.comparison.chance_level

    @property
    def dense(self) -> WeakDense:
        """Weaknesses of the networks before compression: at chance, or without a right image of a class."""
        return self.comparison.dense

    @property
    def damaged_rows(self) -> pd.DataFrame:
        """The rows of the classes, or groups, that lost recall beyond doubt, the worst first."""
        return self.comparison.damaged_rows

    @property
    def damaged(self) -> list[str]:
        """Names of the classes, or groups, that are shown to have lost recall, the worst first."""
        return self.comparison.damaged

    @property
    def fails(self) -> bool:
        """Whether `--fail-on-damage` fails."""
        return self.damage_gate.state == "beyond"

    @property
    def damage_gate(self) -> Gate:
        """The decision of `--fail-on-damage`.

        A network that is at chance after compression, and neither before nor in the control, always fails, and so does
        a single one that surely lost more than `GROSS_LOSS` in a class. With one network before or after and no
        control, a loss fails only if it is surely above `GROSS_LOSS`, because retraining alone moves classes. Nothing
        is decided if a class may have lost everything.
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
        """Hold the losses against limits; a network at chance only after compression is beyond every limit."""
        if self.chance_level.collapsed:
            return Gate("beyond", "Beyond the limits: a network is at chance only after compression.")
        return self.comparison.gate(limits)

    @property
    def verdict(self) -> str:
        """Which networks are weak or at chance, if any, and what happened to the classes, in a sentence each."""
        return sentences.verdict(self.comparison)

    @property
    def caution(self) -> str:
        """What the verdict does not say, in a sentence or two, or nothing."""
        if self.basis != "pair":
            return ""
        return (
            "Retraining alone also moves classes, and so this comparison cannot say that pruning is the cause. Give "
            "the same retraining without pruning as a control (the predictions before, if nothing was retrained), or "
            "several networks before and after. Until then --fail-on-damage fails only for a loss of recall that is "
            f"surely above {100 * GROSS_LOSS:g} points, or for a network that is at chance only after compression."
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
            That of `ax`, if it is given.
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
    return [*filter(None, said), *moved_most(result.metrics)]


def _costliest(result: Audit) -> str:
    """Say which class costs most on average, or what a single network shows; the notes say it of groups."""
    if result.comparison.groups or not result.worst.empty or result.losses["networks"].iloc[0] > 1:
        return sentences.costliest(result.comparison)
    return _about_these_networks(result)


def _about_these_networks(result: Audit) -> str:
    """Say that a test of one network a side is about no other network."""
    damaged = result.damaged
    losers = f"{damaged[0]} loses" if len(damaged) == 1 else "these classes lose" if damaged else "classes lose"
    return f"This is about these networks. Whether {losers} recall in other networks too, only several seeds can tell."


_COST = "cost"  # left out of a terminal, which is too narrow for it
_LEGEND = {
    "loss": "Recalls in %, losses in points. Loss: recall of the {reference} minus recall after.",
    "at most": "At most: no {kind} loses more, with 95 % confidence.",
    "expected": "Expected: the loss if the error of every {kind} had grown by one factor.",
    _COST: "Cost: the loss beyond that of the accuracy.",
    "p (Holm)": "*: lost recall.",
}
_SLOPES = (
    "Slope, spread and alpha: 1 if the differences between recalls stayed as they were, above 1 if they grew; on new "
    "images: an estimate from which the noise of these images is taken out."
)


def shown(result: Audit) -> pd.DataFrame:
    """Return the classes as text: recalls, losses and costs in points, the latter two with their intervals."""
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
    """Say what columns of the table are."""
    lines = [line for name, line in _LEGEND.items() if name in columns]
    slopes = [_SLOPES] if sentences.tells_slopes(result.comparison) else []
    return " ".join([*lines, *slopes]).format(
        reference=REFERENCE[result.comparison.reference], kind=result.comparison.one_kind
    )


def _printable_table(result: Audit) -> pd.DataFrame:
    table = shown(result)
    return table.assign(**{table.columns[0]: table.iloc[:, 0].map(printable)})


def summary(result: Audit, rest: str = "audit.csv") -> str:
    """Return the verdict, the classes that lost most, and the notes, for a terminal; `rest` has all classes."""
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
    """Return the table of a terminal, where names have the room that the numbers leave; audit.csv has them whole."""
    numbers = table.iloc[:, 1:].to_string(index=False)
    room = COLUMNS - 1 - max(map(len, numbers.splitlines()))
    with pd.option_context("display.unicode.east_asian_width", True):
        named = table.assign(**{table.columns[0]: [cut(name, max(room, 10)) for name in table.iloc[:, 0]]})
        return named.to_string(index=False)


_METRICS = "metrics.csv"
FILES = ("audit.md", "audit.csv", "audit.png", _METRICS)


def write(result: Audit, output: Path) -> list[str]:
    """Write the audit and the tables of the populations into a folder.

    Files are moved to `output` one by one after all are written, so an error while writing leaves the old ones.

    Returns
    -------
    list of str
        Those of `FILES` that were written; counts of classes have no other metrics.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    with files.aside(output) as folder:
        groupings = {"groupings.csv": result.groupings} if len(result.groupings) else {}
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
    "A network is at chance if its mean recall over classes is not above 1 / classes by a one-sided test at 1 %; for "
    "classes of equal size, if its accuracy is not above the share of the largest class. It has no alpha and counts in "
    "all other numbers."
)
_READING = (
    "A loss is recall before minus recall after; with a control, which was retrained in the same way without being "
    "pruned, it is recall of the control minus recall after. The cost is the loss minus the loss of accuracy, so that "
    "costs weighted by images add up to 0. Both are means over the networks: what a class loses systematically. "
    "Intervals are of 95 %, each class for itself. No class loses more than what it loses at most, with 95 % "
    "confidence for all classes together; limits are held against these bounds. A class lost recall where its loss is "
    "above 0 and its p, corrected for all classes (Holm), at most .05. audit.csv has recalls and changes with their "
    "intervals as well: change is recall after minus recall before, and excess is what remains of it when the change "
    "of accuracy is taken off. For one network before and after, intervals of recall are Wilson's, those of its change "
    "Tango's, and p is that of McNemar's exact test; with a control they also allow for how far classes shifted "
    "between the network before and the control. For several networks, intervals and p are over networks and images; "
    "they cover at least as often as "
    "stated. With ten classes or more, the variance of each over networks is moderated: it is averaged with that of "
    "all classes, in proportion to R (1 - R) for the recall R; a plain t-test decides beside it. "
    "The raw slope says what became of the differences "
    "between recalls: above 1 they grew, below 1 they shrank "
    "or moved to other classes, and below 0 the order of the classes reversed. Alpha is the raw slope times accuracy "
    "before over accuracy after, so that it rises whenever accuracy falls. The spread is the root mean square of "
    "recalls minus accuracy, after over before. The interval beside alpha is over networks, on these images. Where "
    "classes differ in size by more than 1 %, alpha with classes weighted by their images stands beside it."
)
