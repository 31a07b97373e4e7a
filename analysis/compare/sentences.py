"""Sentences on a comparison, which `prune`, the results in Python, `audit` and `compress` share."""

import numpy as np
import pandas as pd

from analysis.common.points import points
from analysis.compare.comparison import Comparison, row_names
from analysis.compare.cost_text import costliest as costliest_class
from analysis.compare.cost_text import gain, points_with_interval
from analysis.compare.proportion_text import beyond_proportion, growth
from analysis.rendering.formats import decimals, with_interval
from analysis.runs.checks import some
from analysis.statistics import weak_dense
from analysis.statistics.gap_changes import gap_change
from analysis.statistics.gap_changes import sentence as gap_sentence
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.pair_slopes import Slopes
from analysis.statistics.resampling import Interval

# Names of the networks that losses are measured from.
REFERENCE = {"control": "control", "before": "network before"}
_CAUSES = {"control": "pruning", "networks": "pruning and retraining"}
_WHEN = {"after": "after compression", "control": "in the control"}


def verdict(comparison: Comparison) -> str:
    """Say which networks are weak, at chance or damaged, and what happened to the classes, in a sentence each."""
    of_accuracy = accuracies(*map(comparison.accuracy_of, ("before", "after", "control")[: len(comparison.right)]))
    meaning = f"; {_meaning(comparison)}" if tells_slopes(comparison) else ""
    said = [weak(comparison), at_chance(comparison), f"{losses(comparison)}; {of_accuracy}{meaning}."]
    return " ".join(filter(None, [*said, gross_losses(comparison)]))


def weak(comparison: Comparison) -> str:
    """Say what makes the networks before compression weak; return an empty string if nothing does."""
    return weak_dense.sentence(comparison.dense)


def at_chance(comparison: Comparison) -> str:
    """Say how many networks are at chance after compression and in the control; empty if none is."""
    of_sides = comparison.chance_level.counts
    whens = _WHEN | ({"before": _WHEN["control"]} if comparison.starts_at_control else {})
    counts = [(*of_sides[side], when) for side, when in whens.items() if of_sides.get(side, (0,))[0]]
    if not counts:
        return ""
    if max(networks for _, networks in of_sides.values()) == 1:
        return f"The network is at chance {' and '.join(when for *_, when in counts)}."
    (guess, networks, when), *more_counts = counts
    more = "".join(f", {guess} of {networks} {when}" for guess, networks, when in more_counts)
    return f"{guess} of {networks} networks {'is' if guess == 1 else 'are'} at chance {when}{more}."


def accuracies(before: float, after: float, control: float | None = None) -> str:
    """Say how the accuracy changed, without a full stop.

    Examples
    --------
    >>> accuracies(0.849, 0.845, 0.842)
    'accuracy went from 84.9 to 84.5 %, and to 84.2 % in the control'
    """
    beside = "" if control is None else f", and to {points(control)} % in the control"
    return f"accuracy went from {points(before)} to {points(after)} %{beside}"


def beside(from_dense: Comparison, from_control: Comparison) -> str:
    """Say how the accuracy changed; the comparisons are from dense and from control to the same compressed networks."""
    before, after = (from_dense.accuracy_of(side) for side in ("before", "after"))
    return accuracies(before, after, from_control.accuracy_of("before"))


def outcome(comparison: Comparison) -> str:
    """Say how the accuracy changed, and which class lost most recall beyond the loss of accuracy."""
    table, accuracy = comparison.table, comparison.accuracy
    excess = accuracy["change"] - table["change"]
    worst = f"{table['class'][excess.idxmax()]} {points(excess.max())} points"
    return f"{accuracies(accuracy['recall_before'], accuracy['recall_after'])}, largest excess: {worst}"


def losses(comparison: Comparison, cause: str = "") -> str:
    """Say which classes lost recall, or what they may have lost, without a full stop.

    Parameters
    ----------
    comparison : Comparison
    cause : str
        The cause of the losses; by default pruning, or pruning and retraining if there is no control.
    """
    cause = cause or _CAUSES.get(comparison.basis, "")
    table, damaged_rows, is_pair = comparison.ranked, comparison.damaged_rows, comparison.basis == "pair"
    of_all = f"of {len(table)} {comparison.kind}"
    images = f"{images_of(table):,} images"
    if damaged_rows.empty:
        not_excluded = _largest_possible_loss(comparison)
        if is_pair:
            lost = f"none {of_all} is shown by {images} to have lost recall"
            return f"The networks are not shown to differ: {lost} ({not_excluded})"
        lost = f"is shown by {images} to have lost recall through {cause}"
        return f"None {of_all} {lost} ({not_excluded})"
    examples = some(
        f"{name} lost {points_with_interval(*row[['loss', 'loss_low', 'loss_high']])}"
        for name, (_, row) in zip(row_names(damaged_rows), damaged_rows.iterrows(), strict=True)
    )
    if is_pair:
        lower = f"recall is shown to be lower in {len(damaged_rows)} {of_all} after than before"
        return f"The networks differ: {lower}: {examples}"
    return f"{lost_count(comparison)} through {cause}: {examples}"


def lost_count(comparison: Comparison) -> str:
    """Say how many classes lost recall, in a clause."""
    count = int(comparison.table["damaged"].sum())
    if not count:
        return f"no {comparison.one_kind} is shown to have lost recall"
    verb = "is" if count == 1 else "are"
    return f"{count} of {len(comparison.table)} {comparison.kind} {verb} shown to have lost recall"


def gross_losses(comparison: Comparison) -> str:
    """Name single networks that surely lost more than 20 points in a class; return an empty string if none did."""
    each = [
        f"network {row['network']} lost {points(row['loss'])} points of recall in {row['name']}, "
        f"surely more than {points(row['low'])}"
        for _, row in comparison.gross_losses.iterrows()
    ]
    return f"Damaged in single networks: {some(each)}." if each else ""


def gains(comparison: Comparison) -> str:
    """Say which classes are shown to have gained recall; empty if none is, or if every pair has a network at chance."""
    table = comparison.table
    if comparison.at_chance:
        return ""
    change = table["beyond_control"] if "beyond_control" in table else table["change"]
    change = change[(table["p_holm"] <= LEVEL) & (change > 0)]
    if change.empty:
        return ""
    most = change.idxmax()
    reference = REFERENCE[comparison.reference]
    return f"{gain(row_names(table)[most], change[most], len(change), reference, comparison.kind)}."


def costliest(comparison: Comparison) -> str:
    """Say which class costs most on average; return an empty string for groups or if no cost is known."""
    if comparison.groups or comparison.worst.empty:
        return ""
    row = comparison.worst.iloc[0]
    cost, low, high = row[["cost", "cost_low", "cost_high"]]
    return costliest_class(row["name"], cost, low, high, comparison.networks, is_shown=row["is_shown"])


def proportion(comparison: Comparison) -> str:
    """Say by which factor the error grew, and which class is shown to lose more than that factor explains.

    Return an empty string if networks are not paired, if there are several groupings, each with its own factor, or if
    the networks that losses are measured from make no errors.
    """
    table, start = comparison.table, comparison.reference
    if "grouping" in table or not has_proportions(table):
        return ""
    errors_after, errors_before = (table["support"] @ (1 - table[name]) for name in ("recall_after", _start(table)))
    if not errors_before:
        return ""
    beyond = beyond_proportion(table, row_names(table), comparison.one_kind)
    return f"{growth(errors_after / errors_before, REFERENCE[start])}. {beyond}"


def differences(comparison: Comparison) -> str:
    """Say how the differences between the classes changed, by slope and spread on new images, in a clause."""
    raw, spread = comparison.slopes.raw_new, comparison.slopes.spread_new
    if comparison.at_chance:
        return "slopes mean nothing at chance"
    if not comparison.identified or raw is None or spread is None:
        networks = f" and {comparison.networks} networks" if comparison.networks > 1 else ""
        images = f"{len(comparison.label):,} test images{networks}"
        return f"the differences between classes are too small for {images} to show how they changed"
    return gap_sentence(gap_change(raw, spread, comparison.slopes.unchanged))


def tells_slopes(comparison: Comparison) -> bool:
    """Return whether the verdict reports slopes, which need classes that differ enough."""
    return comparison.kind == "classes" and not _are_too_alike(comparison)


def without_alpha(comparison: Comparison) -> str:
    """If the classes are too alike, say that alpha is left out; otherwise, and for groups, return an empty string."""
    if comparison.groups or not _are_too_alike(comparison):
        return ""
    recalls = comparison.table["recall_before"]
    ends = f"{points(recalls.min())} to {points(recalls.max())} %"
    return (
        "Alpha, which measures how the differences between the recalls of classes grew, is left out, because the "
        f"recalls of the {len(recalls)} classes before compression ({ends}) differ too little for so few images and "
        "networks."
    )


def has_proportions(table: pd.DataFrame) -> bool:
    """Return whether disproportionate losses of classes are known."""
    return bool(table["disproportionate"].notna().any())


def images_of(table: pd.DataFrame) -> int:
    """Return the number of images in the grouping that has the most."""
    by_grouping = table["support"].groupby(table["grouping"]) if "grouping" in table else [("", table["support"])]
    return max(int(support.sum()) for _, support in by_grouping)


def _start(table: pd.DataFrame) -> str:
    """Return the column with the recalls that losses are measured from."""
    return "recall_control" if "recall_control" in table else "recall_before"


def _largest_possible_loss(comparison: Comparison) -> str:
    """Say what the class with the largest upper bound may have lost; for a pair, the bound holds for this class alone.

    A bound that reaches the class's whole recall excludes nothing.
    """
    table = comparison.ranked
    upper = -table["change_low"] if comparison.basis == "pair" else table["loss_upper_all"]
    place = upper.idxmax()
    excludes_nothing = upper[place] >= table[_start(table)][place]
    loss = "all its recall" if excludes_nothing else f"up to {points(max(upper[place], 0))} points"
    return f"{row_names(table)[place]} may have lost {loss}"


def _are_too_alike(comparison: Comparison) -> bool:
    """Return whether classes before compression differ too little for a slope from these images and networks."""
    raw_new = comparison.slopes.raw_new
    return raw_new is not None and not raw_new.identified and not comparison.at_chance


def _meaning(comparison: Comparison) -> str:
    """Say how the differences between classes changed, by raw slope and spread, and give alpha."""
    slopes = comparison.slopes
    if comparison.at_chance:
        return "alpha means nothing at chance"
    if slopes.new is None or slopes.raw_new is None or slopes.spread_new is None:
        return "alpha is n/a"
    write = decimals(2)
    alphas = f"alpha is {with_interval(slopes.alpha, slopes.low, slopes.high, write)}"
    if np.isfinite(slopes.weighted):
        alphas += f", {slopes.weighted:.2f} with classes weighted by their images"
    new = with_interval(slopes.new.estimate, slopes.new.low, slopes.new.high, write)
    numbers = _slope_and_spread(slopes, slopes.raw_new, slopes.spread_new)
    return f"{differences(comparison)} ({numbers}); {alphas}, and on new images {new}"


def _slope_and_spread(slopes: Slopes, raw: Interval, spread: Interval) -> str:
    """Format the raw slope and the raw spread ratio on new images, with their intervals."""
    write = decimals(2)
    if gap_change(raw, spread, slopes.unchanged).size == "same" and slopes.unchanged is not None:
        narrower = f"90 % interval {slopes.unchanged.low:.2f} to {slopes.unchanged.high:.2f}"
        return f"raw slope on new images {raw.estimate:.2f}, {narrower}"
    slope = f"raw slope on new images {with_interval(raw.estimate, raw.low, raw.high, write)}"
    return f"{slope}, spread {with_interval(spread.estimate, spread.low, spread.high, write)}"
