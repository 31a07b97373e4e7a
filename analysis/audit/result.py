"""The result of an audit: a table of classes or groups, its verdict in words, and its picture."""

import base64
import html
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

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
from analysis.rendering.cost_text import costliest, gain, points_with_interval
from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL, with_legend
from analysis.rendering.formats import decimals, markdown_table, p_value, with_interval
from analysis.rendering.layout import DPI
from analysis.rendering.markdown_text import markdown_line
from analysis.rendering.picture_text import name_in_picture
from analysis.rendering.proportion_text import beyond_proportion, growth, in_proportion
from analysis.statistics.class_table import LOSS
from analysis.statistics.gap_changes import gap_change
from analysis.statistics.gap_changes import sentence as gap_sentence
from analysis.statistics.guessing import ChanceLevelCounts
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.limits import Gate, Limits, damage_gate, gate
from analysis.statistics.network_losses import GROSS_LOSS
from analysis.statistics.pair_slopes import Slopes
from analysis.statistics.resampling import Interval
from analysis.statistics.weak_dense import SOUND, WeakDense
from analysis.statistics.weak_dense import sentence as weak_sentence

MOST_DRAWN = 100
MOST_SHOWN = 25


class Audit(NamedTuple):
    """What compression did to each class, or to each group of images.

    Attributes
    ----------
    table : DataFrame, the class that lost most first
        class (or group, after grouping where there are several), support; recall_before, recall_after, change, and
        excess (change of recall minus change of accuracy), each with the ends of its interval (`_low`, `_high`); with a
        control also recall_control and beyond_control (recall after minus recall of the control); p, p_holm, damaged.
        Then, as in `classes.csv`, reference (what recall after is held against: control, dense, or either of other
        seeds); loss (recall of the reference minus recall after) and cost (loss minus that of the accuracy), each
        with the ends of its interval and with a bound that holds for all classes together (`_upper_all`), of one
        grouping where there are several; cost_p, one-sided and corrected for all classes. disproportionate, with the
        same ends and p: the loss minus what it would be if the error of every class had grown by one factor.
    accuracy_before, accuracy_after : float
    slopes : Slopes
    notes : list of str
        Sentences on what was compared, what was left out and what cannot be said.
    basis : {"control", "networks", "pair"}
        What losses are held against: the control; several networks a side; or nothing but the images, in which case
        the networks differ and the cause is unknown.
    accuracy_control : float, optional
    chance_level : ChanceLevelCounts
        Networks at chance.
    populations : Populations
        With several networks a side: the images whose usual prediction changed, the groups that have most of them, and
        the classes that changed otherwise than the accuracy.
    groupings : DataFrame, one row per grouping
        grouping, and what `grouping.summary` returns: slopes over its groups, the largest excess loss, and how much the
        groups differ. Empty without groups, and where networks are independent.
    dense : WeakDense
        What makes the networks before compression weak.
    movements : mapping of str to Movement
        From files with logits: what a common shift of the logits explains of the movement of the classes from before
        to `control` and to `after`.
    losses : DataFrame
        The loss of the accuracy and of each class or group, with its bounds, as `limits.losses` returns it.
    gross_losses : DataFrame
        Classes, or groups, of which a network alone surely lost more than 20 points, as `network_losses.gross_losses`
        returns them.
    worst : DataFrame
        name, cost, cost_low, cost_high: the class, or the group of each grouping, that costs most, and what it costs on
        networks and images that did not choose it (`class_costs.worst_class`). Empty of one network a side, and where
        networks are independent.
    metrics : DataFrame
        Precision, false positive rate and, if confidences are known, calibration error of each class, as
        `metric_changes.metric_table` returns them. Empty of counts of classes.
    """

    table: pd.DataFrame
    accuracy_before: float
    accuracy_after: float
    slopes: Slopes
    notes: list[str]
    basis: Literal["control", "networks", "pair"] = "pair"
    accuracy_control: float | None = None
    chance_level: ChanceLevelCounts = ChanceLevelCounts({})
    populations: Populations = NOTHING
    groupings: pd.DataFrame = pd.DataFrame()
    dense: WeakDense = SOUND
    movements: Mapping[str, Movement] = MappingProxyType({})
    losses: pd.DataFrame = pd.DataFrame()
    gross_losses: pd.DataFrame = pd.DataFrame()
    worst: pd.DataFrame = pd.DataFrame()
    metrics: pd.DataFrame = pd.DataFrame()

    @property
    def damaged_rows(self) -> pd.DataFrame:
        """The rows of the classes, or groups, that lost recall beyond doubt, the worst first."""
        return self.table[self.table["damaged"]]

    @property
    def damaged(self) -> list[str]:
        """Their names."""
        return list(names(self.damaged_rows))

    @property
    def fails(self) -> bool:
        """Whether `--fail-on-damage` fails."""
        return self.damage_gate.state == "beyond"

    @property
    def damage_gate(self) -> Gate:
        """What `--fail-on-damage` decides.

        A network that is at chance after compression, and neither before nor in the control, always fails, and so does
        one that alone lost more than `GROSS_LOSS` of a class. Without a control and with one network a side a loss
        fails only if it is surely above `GROSS_LOSS`, because retraining alone moves classes. Nothing is decided if a
        class may have lost everything.
        """
        if self.chance_level.collapsed:
            return Gate("beyond", "Damaged: a network is at chance after compression alone.")
        damaged = self.damaged_rows
        if self.basis == "pair":
            damaged = damaged[damaged["change_high"] < -GROSS_LOSS]
        if len(damaged):
            return Gate("beyond", f"Damaged: {some(names(damaged))}.")
        if len(self.gross_losses):
            return Gate("beyond", f"{_gross_losses(self.gross_losses)}.")
        start = self.table["recall_before" if self.accuracy_control is None else "recall_control"]
        return damage_gate(names(self.table), start, -self.table[f"{_loss_column(self.table)}_low"])

    def gate(self, limits: Limits) -> Gate:
        """Hold the losses against limits; a network at chance after compression alone is beyond every limit."""
        if self.chance_level.collapsed:
            return Gate("beyond", "Beyond the limits: a network is at chance after compression alone.")
        return gate(self.losses, limits, GROSS_LOSS if self.basis == "pair" else None)

    @property
    def verdict(self) -> str:
        """Which networks are weak or at chance, if any, and what happened to the classes, in a sentence each."""
        accuracies = f"accuracy went from {self.accuracy_before:.3f} to {self.accuracy_after:.3f}"
        if self.accuracy_control is not None:
            accuracies += f", and to {self.accuracy_control:.3f} in the control"
        meaning = f"; {_meaning(self)}" if _tells_slopes(self) else ""
        weak = [sentence] if (sentence := weak_sentence(self.dense)) else []
        sentences = [*weak, *_at_chance(self.chance_level), f"{_losses(self)}; {accuracies}{meaning}."]
        if len(self.gross_losses):
            sentences.append(f"{_gross_losses(self.gross_losses)}.")
        return " ".join(sentences)

    @property
    def caution(self) -> str:
        """What the verdict does not say, in a sentence or two, or nothing."""
        if self.basis != "pair":
            return ""
        return (
            "Retraining alone also moves classes, and so this comparison cannot say that pruning is the cause. Give "
            "the same retraining without pruning as a control (the predictions before, if nothing was retrained), or "
            "several networks before and after. Until then --fail-on-damage fails only for a loss of recall that is "
            f"surely above {100 * GROSS_LOSS:g} points, or for a network that is at chance after compression alone."
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
            return figure(self)
        _draw(ax, self)
        return with_legend(ax)

    def _repr_html_(self) -> str:
        """Return the verdict, the table and the picture, for a notebook."""
        paragraphs = "".join(f"<p>{html.escape(printable(line))}</p>" for line in (self.verdict, self.caution) if line)
        picture = io.BytesIO()
        figure(self).savefig(picture, format="png")
        data = base64.b64encode(picture.getvalue()).decode()
        table = _printable_table(self)
        # A narrow cell breaks before an interval and not within it.
        titles = ["loss", _COST]
        table[titles] = table[titles].map(lambda cell: cell.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"))
        image = f'<img alt="Change of each class" src="data:image/png;base64,{data}">'
        return f"{paragraphs}{table.to_html(index=False)}{image}"


def names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each row: its class or its group, after the grouping where there are several."""
    if "grouping" in table:
        return table["grouping"] + ": " + table["group"]
    return table[table.columns[0]]


def some(names: Iterable[str], most: int = 3) -> str:
    """Return names between commas, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


# Words.


def _kind(table: pd.DataFrame) -> str:
    return "groups" if "group" in table else "classes"


def _one_kind(table: pd.DataFrame) -> str:
    return "group" if "group" in table else "class"


def _start(result: Audit) -> str:
    """Return the side that recall after is held against."""
    return "control" if result.basis == "control" else "before"


_REFERENCE = {"control": "control", "before": "network before"}
# The column `reference`, by the side and whether its networks are those after.
REFERENCES = {
    ("control", True): "control",
    ("control", False): "control of other seeds",
    ("before", True): "dense",
    ("before", False): "dense networks of other seeds",
}


def _images(table: pd.DataFrame) -> int:
    """Return the number of images; every grouping may have all of them."""
    by_grouping = table["support"].groupby(table["grouping"]) if "grouping" in table else [("", table["support"])]
    return max(int(support.sum()) for _, support in by_grouping)


def _loss_column(table: pd.DataFrame) -> str:
    """Return the column of what is tested: the change beyond the control, or without one the change."""
    return LOSS if LOSS in table else "change"


def _losses(result: Audit) -> str:
    table = result.table
    damaged_rows = result.damaged_rows
    images = f"{_images(table):,} images"
    of_all = f"of {len(table)} {_kind(table)}"
    cause = _CAUSES.get(result.basis, "")
    if damaged_rows.empty:
        # Without a cause the table has no bounds for all classes together.
        upper = -table[f"{_loss_column(table)}_low"] if result.basis == "pair" else table["loss_upper_all"]
        not_excluded = f"not excluded: {points(max(upper.max(), 0))} points of {names(table)[upper.idxmax()]}"
        if result.basis == "pair":
            return (
                f"The networks do not differ beyond doubt: none {of_all} lost recall that {images} can show "
                f"({not_excluded})"
            )
        return f"None {of_all} is shown by {images} to have lost recall through {cause} ({not_excluded})"
    examples = some(
        f"{name} lost {points_with_interval(*row[['loss', 'loss_low', 'loss_high']])}"
        for name, (_, row) in zip(names(damaged_rows), damaged_rows.iterrows(), strict=True)
    )
    if result.basis == "pair":
        return f"The networks differ: recall is lower in {len(damaged_rows)} {of_all} after than before: {examples}"
    verb = "is" if len(damaged_rows) == 1 else "are"
    return f"{len(damaged_rows)} {of_all} {verb} shown to have lost recall through {cause}: {examples}"


def _gross_losses(gross_losses: pd.DataFrame) -> str:
    """Say which networks alone lost most of a class."""
    each = [
        f"network {row['network']} lost {points(row['loss'])} points of {row['name']}, surely more than "
        f"{points(row['low'])}"
        for _, row in gross_losses.iterrows()
    ]
    return f"Damaged in single networks: {some(each)}"


def _proportions(result: Audit) -> list[str]:
    """Say which class loses more than its proportion; of several groupings, in which case k differs, nothing."""
    table = result.table
    if "grouping" in table or not _has_proportions(table):
        return []
    sides = "after", _start(result)
    errors_after, errors_before = (table["support"] @ (1 - table[f"recall_{side}"]) for side in sides)
    shown_rows = table[table["disproportionate_p"] < LEVEL]
    beyond = beyond_proportion(shown_rows, names(table), _one_kind(table))
    return [f"{growth(errors_after / errors_before, _REFERENCE[_start(result)])}. {beyond}"]


def _beside_verdict(result: Audit) -> list[str]:
    return [*_gains(result), *_costliest(result), *_proportions(result), *moved_most(result.metrics)]


def _gains(result: Audit) -> list[str]:
    """Say which classes are shown to have gained recall."""
    rows = result.table[(result.table["p_holm"] <= LEVEL) & (result.table["loss"] < 0)]
    if rows.empty:
        return []
    place = rows["loss"].idxmin()
    return [f"{gain(names(rows)[place], -rows['loss'][place], len(rows), _REFERENCE[_start(result)], _kind(rows))}."]


def _costliest(result: Audit) -> list[str]:
    """Say which class costs most on average, or what a single network shows; the notes say it of groups."""
    if "group" in result.table:
        return []
    if result.worst.empty:
        return [_about_these_networks(result)] if result.losses["networks"].iloc[0] == 1 else []
    row = result.worst.iloc[0]
    networks = int(result.losses["networks"].iloc[0])
    return [costliest(row["name"], row["cost"], row["cost_low"], row["cost_high"], networks)]


def _about_these_networks(result: Audit) -> str:
    """Say that a test of one network a side is about no other network."""
    damaged = result.damaged
    losers = f"{damaged[0]} loses" if len(damaged) == 1 else "these classes lose" if damaged else "classes lose"
    return f"This is about these networks. Whether {losers} recall in other networks too, only several seeds can tell."


_CAUSES = {"control": "pruning", "networks": "pruning and retraining"}


_WHEN = {"after": "after compression", "control": "in the control"}


def _at_chance(chance_level: ChanceLevelCounts) -> Iterator[str]:
    """Say how many networks are at chance after compression and in the control; the dense ones are told before."""
    counts = [
        (*chance_level.counts[side], when) for side, when in _WHEN.items() if chance_level.counts.get(side, (0,))[0]
    ]
    if not counts:
        return
    if max(networks for _, networks in chance_level.counts.values()) == 1:
        yield f"The network is at chance {' and '.join(when for *_, when in counts)}."
        return
    (guess, networks, when), *more_counts = counts
    more = "".join(f", {guess} of {networks} {when}" for guess, networks, when in more_counts)
    yield f"{guess} of {networks} networks {'is' if guess == 1 else 'are'} at chance {when}{more}."


def _meaning(result: Audit) -> str:
    """Say what happened to the differences between classes, by raw slope and spread, and what alpha is."""
    slopes = result.slopes
    if result.chance_level.are_all_at_chance:
        return "alpha means nothing at chance"
    if slopes.new is None or slopes.raw_new is None or slopes.spread_new is None:
        return "alpha is n/a"
    write = decimals(2)
    alphas = f"alpha is {with_interval(slopes.alpha, slopes.low, slopes.high, write)}"
    if np.isfinite(slopes.weighted):
        alphas += f", {slopes.weighted:.2f} with classes weighted by their images"
    new = with_interval(slopes.new.estimate, slopes.new.low, slopes.new.high, write)
    direction = _direction(slopes, slopes.raw_new, slopes.spread_new)
    return f"{direction}; {alphas}, and on new images {new}"


def _are_too_alike(result: Audit) -> bool:
    """Return whether the classes differ too little before, for so few images and networks, to speak of a slope."""
    raw_new = result.slopes.raw_new
    return raw_new is not None and not raw_new.identified and not result.chance_level.are_all_at_chance


def _tells_slopes(result: Audit) -> bool:
    """Return whether the verdict has slopes, of classes that differ enough."""
    return _kind(result.table) == "classes" and not _are_too_alike(result)


def _without_alpha(result: Audit) -> list[str]:
    """Say why the verdict has no alpha, where classes are too alike."""
    if _kind(result.table) == "groups" or not _are_too_alike(result):
        return []
    recalls = result.table["recall_before"]
    ends = f"{points(recalls.min())} to {points(recalls.max())} %"
    return [
        "Alpha, which says how the differences between the recalls of classes grew, is left out, because the recalls "
        f"of the {len(recalls)} classes before ({ends}) differ too little for so few images and networks."
    ]


def _direction(slopes: Slopes, raw: Interval, spread: Interval) -> str:
    """Say what became of the differences between classes on new images, with the numbers that show it."""
    write, change = decimals(2), gap_change(raw, spread, slopes.unchanged)
    if change.size == "same" and slopes.unchanged is not None:
        narrower = f"90 % interval {slopes.unchanged.low:.2f} to {slopes.unchanged.high:.2f}"
        return f"{gap_sentence(change)} (raw slope on new images {raw.estimate:.2f}, {narrower})"
    slope = f"raw slope on new images {with_interval(raw.estimate, raw.low, raw.high, write)}"
    spreads = f"spread {with_interval(spread.estimate, spread.low, spread.high, write)}"
    return f"{gap_sentence(change)} ({slope}, {spreads})"


# Tables.

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
            _one_kind(table): names(table),
            "images": table["support"],
            **{side: table[f"recall_{side}"].map(points) for side in (_start(result), "after")},
            "loss": _in_points(table, "loss"),
            **at_most,
            **({"expected": in_proportion(table)} if _has_proportions(table) else {}),
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
    slopes = [_SLOPES] if _tells_slopes(result) else []
    return " ".join([*lines, *slopes]).format(reference=_REFERENCE[_start(result)], kind=_one_kind(result.table))


def _has_proportions(table: pd.DataFrame) -> bool:
    return bool(table["disproportionate"].notna().any())


def _printable_table(result: Audit) -> pd.DataFrame:
    table = shown(result)
    return table.assign(**{table.columns[0]: table.iloc[:, 0].map(printable)})


def summary(result: Audit, rest: str = "audit.csv") -> str:
    """Return the verdict, the classes that lost most, and the notes, for a terminal; `rest` has all classes."""
    notes = [folded(note) for note in (result.caution, *result.notes, *_without_alpha(result)) if note]
    table = _printable_table(result).drop(columns=_COST)
    more_classes = len(table) - MOST_SHOWN
    more = [f"and {more_classes:,} more {_kind(result.table)} in {rest}"] if more_classes > 0 else []
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


# Pictures and files.


def figure(result: Audit) -> Figure:
    """Draw the loss of each class with its interval and its bound, of at most `MOST_DRAWN` classes."""
    count = min(len(result.table), MOST_DRAWN)
    picture = Figure((8, max(3, 0.17 * count + 1.8)), dpi=DPI, layout="constrained")
    axes = picture.subplots()
    _draw(axes, result)
    picture.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return picture


def _draw(axes: Axes, result: Audit) -> None:
    """Draw what `figure` does, without a legend; the class that lost most is coloured even if no loss is shown."""
    table = result.table.head(MOST_DRAWN)
    damaged_rows = result.damaged_rows.head(MOST_DRAWN)
    others = table.drop(damaged_rows.index)
    most = others[others["loss"] > 0].nlargest(1 if damaged_rows.empty else 0, "loss")
    _draw_losses(axes, others.drop(most.index), fmt="o", color=BELOW, label="no loss shown")
    hollow = {"markerfacecolor": "white", "label": f"the {_one_kind(result.table)} that lost most, no loss shown"}
    _draw_losses(axes, most, fmt="D", color=ABOVE, **hollow)
    _draw_losses(axes, damaged_rows, fmt="D", color=ABOVE, label="lost recall (Holm-corrected p ≤ .05)")
    if result.basis != "pair":
        bounds = 100 * table["loss_upper_all"]
        axes.plot(
            bounds, table.index, "|", color="black", markersize=7, label=f"at most, all {_kind(table)} together (95 %)"
        )
    axes.axvline(0, color="black", linewidth=1)
    start = result.accuracy_before if result.accuracy_control is None else result.accuracy_control
    loss = 100 * (start - result.accuracy_after)
    axes.axvline(loss, color=NEUTRAL, linestyle="--", linewidth=1, label=f"loss of accuracy, {loss:.1f}")
    axes.set_yticks(
        range(len(table)), names(table).map(name_in_picture), fontsize=9 if len(table) <= 30 else 6, parse_math=False
    )
    axes.set_ylim(len(table) - 0.5, -0.5)
    selection = f"each {_one_kind(result.table)}"
    selection = selection if len(result.table) <= MOST_DRAWN else f"the worst {MOST_DRAWN} {_kind(result.table)}"
    beyond = " beyond the control" if result.basis == "control" else ""
    axes.set(
        xlabel=f"loss of recall{beyond}, points, with 95 % interval",
        title=f"Loss of recall of {selection}, {_images(result.table):,} images",
    )
    axes.grid(axis="x", alpha=0.3)


def _draw_losses(axes: Axes, table: pd.DataFrame, **look: Any) -> None:
    if len(table):
        loss, *ends = (100 * table[name].to_numpy() for name in ("loss", "loss_low", "loss_high"))
        axes.errorbar(loss, table.index, xerr=np.abs(np.array(ends) - loss), markersize=4, **look)


_METRICS = "metrics.csv"
FILES = ("audit.md", "audit.csv", "audit.png", _METRICS)


def write(result: Audit, output: Path) -> list[str]:
    """Write the audit and the tables of the populations into a folder.

    All files are first written to a scratch folder and then moved, so that `output` never holds half an audit.

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
        figure(result).savefig(folder / "audit.png")
    return [name for name in FILES if name != _METRICS or metrics]


def markdown(result: Audit) -> str:
    """Return the verdict, the table, the notes and how to read them, as Markdown."""
    picture = "![Loss of recall of each class](audit.png)"
    notes = map(markdown_line, (*result.notes, *_without_alpha(result)))
    worst = map(markdown_line, _beside_verdict(result))
    table = shown(result)
    body = [markdown_table(table), _legend(result, table), *notes, _READING, _MADE_BY]
    parts = ["# Audit", f"**{markdown_line(result.verdict)}**", *worst, picture, *body]
    return "\n\n".join(parts) + "\n"


# A line of every audit, by which an older one is known (`overwriting.check_own`).
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
