"""Describe a search by `tune` in sentences and in a table of the winner and the anchors."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.rendering.formats import decimals, interval, p_value, three_decimals
from analysis.runs.tunings import LAMBDA, WINNER, Tuning
from analysis.statistics.hypothesis_tests import LEVEL

ANCHORS_NOTE = (
    "The other rows are the anchors, which every search tries: lambda is the weight decay (or 0.0005 without it), the\n"
    "epsilon of Good et al. MP is a very large epsilon, with which undecayed pruning does the same as mp; GP is\n"
    "epsilon 0, with which undecayed pruning does the same as gp."
)


def sentences(tuning: Tuning) -> list[str]:
    """Return sentences on the winner and why it won, on the images of the comparisons, and on each comparison."""
    return [_winner(tuning), _images(tuning), *_comparisons(tuning)]


def summary(tuning: Tuning) -> str:
    """Format the sentences for a terminal: one per line, with the comparisons as a list."""
    winner, images, *compared = sentences(tuning)
    return "\n".join([winner, images, *(f"- {sentence}" for sentence in compared)])


def table(tuning: Tuning) -> pd.DataFrame:
    """Return the winner and the anchors on validation and on test images, a row each, as text."""
    return pd.DataFrame(
        [_validated(tuning, role, trial) | _tested(networks) for role, trial, networks in tuning.finals()]
    )


def _validated(tuning: Tuning, role: str, trial: pd.Series) -> dict[str, str]:
    return {
        "": f"{role} ({trial['anchor']})" if role == WINNER and trial["anchor"] else role,
        "epsilon": _epsilon(trial),
        **{name: _value(trial[name]) for name in tuning.further},
        "validation accuracy": f"{trial['accuracy']:.4f}",
        "distortion": three_decimals(trial["distortion"]),
    }


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _epsilon(trial: pd.Series) -> str:
    """Return the epsilon of a trial as text; that of the anchor MP is not printed, because it is only a huge number."""
    return "same as mp" if trial["anchor"].startswith("MP") else f"{trial['epsilon']:.3g}"


def _tested(networks: pd.DataFrame) -> dict[str, str]:
    cells = {}
    for new, rows in networks.groupby("new"):
        kind = "new networks: " if new else ""
        cells[f"{kind}test accuracy"] = f"{rows['accuracy'].mean():.4f}"
        cells[f"{kind}alpha"] = _mean_alpha(rows)
    return cells


def _mean_alpha(networks: pd.DataFrame) -> str:
    at_chance = networks["at_chance"]
    chance_note = f" ({at_chance.sum()} at chance)" if at_chance.any() else ""
    return three_decimals(networks.loc[~at_chance, "alpha"].mean()) + chance_note


def _winner(tuning: Tuning) -> str:
    won = tuning.winner
    point = [f"epsilon {_epsilon(won)}", *(f"{name} {_value(won[name])}" for name in tuning.further)]
    if won["anchor"]:
        point.append(f"the anchor {won['anchor']}")
    stopped = int((~tuning.trials["complete"]).sum())
    end = f"; trials stopped early: {stopped}." if stopped else "."
    return f"The winner is {', '.join(point)}, ratio {won['ratio']:g}: {tuning.reason}{end}{_refused(tuning.refused)}"


def _refused(trials: Sequence[str]) -> str:
    """Return a sentence, after a space, on the trials that have no result; empty if there are none."""
    if not trials:
        return ""
    number = f"{len(trials)} {'trial has' if len(trials) == 1 else 'trials have'}"
    return f" {number} no result, because the numbers became NaN or infinite: {'; '.join(trials)}."


def _images(tuning: Tuning) -> str:
    new = bool(tuning.comparisons["new"].any())
    seeds = tuning.finalists.loc[tuning.finalists["new"] == new, "seed"].nunique()
    if new:
        return f"On the test images, with {seeds} dense models that the search never saw:"
    return (
        f"On the test images, with the {seeds} dense models of the search, on which the winner looks too good; use "
        "--confirm-seeds for new dense models:"
    )


def _comparisons(tuning: Tuning) -> Iterator[str]:
    if tuning.winner["anchor"] == LAMBDA:
        yield "lambda itself has won: no better setting was found."
    yield from map(_compared, tuning.comparisons.to_dict("records"))


def _compared(row: dict) -> str:
    start = f"{'primary, ' if row['primary'] else ''}winner against {row['against']}: {row['metric']}"
    if np.isnan(row["difference_low"]):
        return f"{start}, no interval, n {row['n']}"
    scale, write, unit = (
        (100, decimals(2, sign=True), " points") if row["metric"] == "accuracy" else (1, decimals(3, sign=True), "")
    )
    value, low, high = (scale * row[name] for name in ("difference", "difference_low", "difference_high"))
    p, name = (row["p"], "p") if row["primary"] else (row["p_holm"], "Holm-corrected p")
    result = "a difference" if p < LEVEL else "no difference shown"
    return (
        f"{start} {write(value)}{unit} (95 % interval {interval(low, high, write)}), {name} {p_value(p)}, "
        f"n {row['n']}: {result}"
    )
