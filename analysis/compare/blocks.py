"""Say in two blocks whether networks may replace those before, and whether compression is to blame."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.command_line import as_typed
from analysis.common.points import limit_in_points, points
from analysis.common.printable import COLUMNS, cut, folded, printable
from analysis.compare import proportion_text, sentences
from analysis.compare.comparison import LOSS_FROM_CONTROL, Comparison, Side, row_names
from analysis.rendering.formats import interval, markdown_line, p_value
from analysis.runs.checks import some
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.limits import EXIT_CODES, Gate, Limits, Losses, State, exit_code, rounded_up

NO_LIMITS = Limits()
MOST_SHOWN = 25  # rows of a table in a terminal
_MOST_TOLD = 5  # classes that have a line of their own
_ONE = "1. The network that would ship, compared with the one it replaces"
_SEVERAL = "1. Networks compressed like these, compared with those they replace"
_CAUSE = "2. Is compression to blame?"
_NO_CONTROL = (
    "No control was given, so this does not say whether compression or retraining did it. You need not know that to "
    "ship."
)
_WORDS: Mapping[State, str] = {"within": "KEPT", "beyond": "FAILS", "undecided": "NOT DECIDED"}
READING = (
    "Recalls in %, losses in points: recall before minus recall after. Intervals and bounds have 95 % confidence, "
    "each for one row; p is corrected for all rows (Holm). *: shown to be worse."
)


class Block(NamedTuple):
    """A question, and the sentences that answer it."""

    title: str
    lines: list[str]


def blocks(
    comparison: Comparison,
    limits: Limits = NO_LIMITS,
    gates: Mapping[str, Gate] | None = None,
    limit_from: Side = "before",
) -> list[Block]:
    """Answer both questions.

    Parameters
    ----------
    comparison : Comparison
    limits : Limits
    gates : mapping of str to Gate, optional
        The gates that were asked for, by option, as `Comparison.gates` returns them.
    limit_from : {"before", "control"}
        The side that losses with a limit are measured from, which decides in which block these gates stand.
    """
    gates = gates or {}
    code = exit_code(gates)
    decided: dict[Side, list[str]] = {"before": [], "control": []}
    for name, gate in gates.items():
        since: Side = "before" if name == "--fail-on-damage" else limit_from
        decided[since].append(_decided(name, gate, limits, code))
    title = _ONE if comparison.is_single else _SEVERAL
    return [
        Block(title, [*_replaced(comparison), *decided["before"]]),
        Block(_CAUSE, [*_blamed(comparison), *decided["control"]]),
    ]


def text(asked: Sequence[Block]) -> str:
    """Format blocks for a terminal."""
    lines = [folded(block.title, *(f"   {line}" for line in block.lines)) for block in asked]
    return "\n".join(lines)


def markdown_text(asked: Sequence[Block]) -> str:
    """Format blocks as Markdown, with a heading for each question."""
    return "\n\n".join(line for block in asked for line in (f"## {block.title}", *map(markdown_line, block.lines)))


def html_text(asked: Sequence[Block]) -> str:
    """Format blocks as HTML, for a notebook."""
    return "".join(
        f"<h4>{block.title}</h4>" + "".join(f"<p>{html.escape(printable(line))}</p>" for line in block.lines)
        for block in asked
    )


def outcome(comparison: Comparison) -> str:
    """Say in a phrase which classes are worse than before compression.

    Examples
    --------
    >>> label, before = np.repeat([0, 1], 50), np.ones((1, 100), bool)
    >>> outcome(Comparison(["cat", "dog"], label, {"before": before, "after": before & (np.arange(100) < 80)}))
    'dog is worse (40.0 points)'
    """
    rows = comparison.damaged_rows
    if comparison.only_accuracy_is_worse:
        lost = points(comparison.accuracy["loss"])
        return f"the accuracy is worse ({lost} points), no single {comparison.one_kind} shown to be"
    if rows.empty:
        return f"no {comparison.one_kind} shown to be worse"
    worst = f"{row_names(rows).iloc[0]} {{}}({points(rows['loss'].iloc[0])} points)"
    if len(rows) == 1:
        return worst.format("is worse ")
    return f"{len(rows)} {comparison.kind} are worse, {worst.format('most ')}"


def table(comparison: Comparison) -> pd.DataFrame:
    """Return the classes as strings, the one that lost most first: recalls in %, losses in points."""
    rows = comparison.ranked
    sides = [side for side in ("before", "control", "after") if f"recall_{side}" in rows]
    if comparison.is_unretrained:
        sides.remove("control")
    f1 = {"F1 lost": rows["f1_loss"].map(points)} if "f1_loss" in rows else {}
    return pd.DataFrame(
        {
            comparison.one_kind: row_names(rows),
            **{side: rows[f"recall_{side}"].map(points) for side in sides},
            "loss": rows["loss"].map(points),
            "95 % interval": [interval(low, high, points) for low, high in rows[["loss_low", "loss_high"]].to_numpy()],
            "p": rows["p_holm"].map(p_value) + np.where(rows["damaged"], " *", ""),
            "images": rows["images"].map("{:,}".format),
            **f1,
        }
    )


def table_text(comparison: Comparison, rest: str) -> str:
    """Format the table for a terminal; `rest` names where the rows are that do not fit."""
    cells = table(comparison)
    shown = cells.head(MOST_SHOWN)
    numbers = shown.iloc[:, 1:].to_string(index=False)
    room = COLUMNS - 1 - max(map(len, numbers.splitlines()))
    with pd.option_context("display.unicode.east_asian_width", True):
        named = shown.assign(**{shown.columns[0]: [cut(name, max(room, 10)) for name in shown.iloc[:, 0]]})
        lines = [named.to_string(index=False)]
    more = len(cells) - MOST_SHOWN
    return "\n".join([*lines, *([f"and {more:,} more {comparison.kind} in {rest}"] if more > 0 else [])])


def html_table(comparison: Comparison) -> str:
    """Return the table as HTML, for a notebook; a narrow cell breaks before an interval and not within it."""
    cells = table(comparison)
    cells[cells.columns[0]] = cells.iloc[:, 0].map(printable)
    column = "95 % interval"
    cells[column] = cells[column].str.replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}")
    return str(cells.to_html(index=False))


def _decided(name: str, gate: Gate, limits: Limits, code: int) -> str:
    of = {"--max-class-loss": limits.class_loss, "--max-accuracy-loss": limits.accuracy_loss}
    what = {"--max-class-loss": "", "--max-accuracy-loss": " of accuracy"}
    subject = f"Limit {limit_in_points(of[name])}{what[name]}" if name in of else name
    exits = f" (exit code {code})" if code and EXIT_CODES[gate.state] == code else ""
    return f"{subject}: {_WORDS[gate.state]}{exits}. {gate.reason}"


def _replaced(comparison: Comparison) -> Iterator[str]:
    """Say what was lost since the networks before."""
    heads = sentences.not_working(comparison), sentences.weak(comparison), sentences.at_chance(comparison)
    yield from filter(None, heads)
    if comparison.are_alike("after"):
        yield "Before and after, the same images are recognised, as if they were one network."
    accuracy = _accuracy(comparison)
    if comparison.only_accuracy_is_worse:
        yield accuracy
    rows = comparison.table
    names = row_names(rows)
    worse = rows[rows["damaged"]].sort_values("loss", ascending=False, kind="stable")
    for place, row in worse.head(_MOST_TOLD).iterrows():
        yield _worse(comparison, int(place), names[place], row)
    if len(worse) > _MOST_TOLD:
        yield f"Also worse: {some(names[worse.index[_MOST_TOLD:]])}."
    losses = comparison.losses()
    yield _others(comparison, losses, len(worse))
    if alone := losses.in_single_networks(among=~rows["damaged"].to_numpy()):
        yield f"Shown in single networks: {some((each.words for each in alone), _MOST_TOLD)}."
    if not comparison.only_accuracy_is_worse:
        yield accuracy


def _accuracy(comparison: Comparison) -> str:
    accuracy = comparison.accuracy
    changed = _lost(*accuracy[["loss", "loss_low", "loss_high"]])
    return f"Accuracy {points(accuracy['before'])} -> {points(accuracy['after'])} %: {changed}."


def _worse(comparison: Comparison, place: int, name: str, row: pd.Series) -> str:
    recalls = f"{points(row['recall_before'])} -> {points(row['recall_after'])} % recall"
    f1 = ""
    if "f1_loss" in row:
        f1 = f"; F1 {'lost' if row['f1_loss'] >= 0 else 'gained'} {points(abs(row['f1_loss']))}"
    now = ""
    if called := comparison.called(place):
        name_now, number, lost = called
        share = f"{number:,} of {lost:,}" if comparison.is_single else f"{100 * number / lost:.0f} % of the"
        now = f" {share} lost images are called {name_now} now."
    where = "" if row["p_holm"] <= LEVEL else " in every network"
    return f"{name} is worse{where}: {recalls}, {_lost(*row[['loss', 'loss_low', 'loss_high']])}{f1}.{now}"


def _lost(loss: float, low: float, high: float) -> str:
    """Say how many points were lost, or gained, with the interval."""
    if round(loss, 9) < 0:
        return f"{points(-loss)} points gained ({interval(-high, -low, points)})"
    return f"{points(loss)} points lost ({interval(low, high, points)})"


def _others(comparison: Comparison, losses: Losses, worse: int) -> str:
    """Bound the losses of the classes that are not shown to be worse, and say which losses would be missed."""
    one = comparison.one_kind
    is_other = ~comparison.table["damaged"].to_numpy()
    if not is_other.any():
        return f"Every {one} is worse."
    upper, found = losses.mean.upper(), losses.mean.detectable(losses.level)
    fewest, most = losses.images.min(), losses.images.max()
    images = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    which, of = "No other" if worse else "No", "image" if most == 1 else "images"
    may = f"Any may have lost up to {rounded_up(max(np.nanmax(upper[is_other]), 0))} points"
    usual = np.nanmedian(found)
    missed = f"; with {images} {of} a {one}, losses below {points(usual)} are mostly missed" if usual < 1 else ""
    return f"{which} {one} is shown to be worse. {may}{missed}."


def _blamed(comparison: Comparison) -> Iterator[str]:
    """Say what compression rather than retraining cost."""
    if not comparison.has_control:
        yield _NO_CONTROL
        return
    if comparison.is_unretrained:
        is_cause = not comparison.are_alike("after")
        changed = "So compression alone changed these networks." if is_cause else "Compression changed nothing either."
        yield f"Nothing was retrained: the control is the network before. {changed}"
        return
    if comparison.is_single:
        yield from _of_one(comparison)
        return
    yield from _of_several(comparison)


def _of_one(comparison: Comparison) -> Iterator[str]:
    """Say what retraining alone did to the classes that are worse, which one pair cannot test."""
    rows = comparison.damaged_rows
    for (_, row), name in zip(rows.head(_MOST_TOLD).iterrows(), row_names(rows), strict=False):
        lost = row["recall_before"] - row["recall_control"]
        if lost <= 0:
            yield f"{name}: the control, trained further without pruning, lost nothing of it."
            continue
        of_all = f"of the {points(row['loss'])} points" if round(row[LOSS_FROM_CONTROL], 9) >= 0 else "points itself"
        alike = " In this network retraining alone lost as much." if row[LOSS_FROM_CONTROL] < lost / 2 else ""
        yield f"{name}: the control, trained further without pruning, lost {points(lost)} {of_all}.{alike}"
    seeds = as_typed("seed", "0-4")
    yield f"One pair cannot say what this way of compressing costs: prune several networks ({seeds})."


def _of_several(comparison: Comparison) -> Iterator[str]:
    """Say what classes lost through pruning, first those that are worse than before."""
    rows = comparison.table
    is_shown = (rows[f"{LOSS_FROM_CONTROL}_p"] <= LEVEL) & (rows[LOSS_FROM_CONTROL] > 0)
    told = rows.assign(name=row_names(rows), is_shown=is_shown)[rows["damaged"] | is_shown]
    told = told.sort_values(["damaged", LOSS_FROM_CONTROL], ascending=False, kind="stable")
    for _, row in told.head(_MOST_TOLD).iterrows():
        yield _against_control(row)
    rest = told.iloc[_MOST_TOLD:]
    if rest["is_shown"].any():
        yield f"Also shown to lose through pruning: {some(rest['name'][rest['is_shown']])}."
    since_control = comparison.losses("control").mean
    most = since_control.may_lose_most()
    bound = rounded_up(since_control.upper()[most])
    if not is_shown.any():
        yield f"No {comparison.one_kind} is shown to lose through pruning."
    yield f"Against the control, {comparison.titles[most]} may lose most: up to {bound} points."
    accuracy = comparison.accuracy
    changed = _lost(*(accuracy[f"{LOSS_FROM_CONTROL}{end}"] for end in ("", "_low", "_high")))
    yield f"Accuracy against the control: {changed}."
    if errors := proportion_text.of_comparison(comparison):
        yield from proportion_text.sentences(errors)
        yield from proportion_text.without_each(errors.classes)


def _against_control(row: pd.Series) -> str:
    def tested(name: str) -> str:
        ends = interval(row[f"{name}_low"], row[f"{name}_high"], points)
        return f"{points(row[name])} points ({ends}; p {p_value(row[f'{name}_p'])})"

    pays = "cost" in row and row["cost_p"] <= LEVEL and row["cost"] > 0
    cost = f", {tested('cost')} more than the accuracy" if pays else ""
    if row["is_shown"]:
        return f"{row['name']} loses {tested(LOSS_FROM_CONTROL)} through pruning{cost}."
    return f"{row['name']}: {tested(LOSS_FROM_CONTROL)} against the control, so a loss through pruning is not shown."
