"""Tables and picture of lottery-dip/: alpha and odds ratio of lightly pruned tickets, and of a control."""

from pathlib import Path

import folders
import lottery_tickets
import network_measures
import numpy as np
import pandas as pd
from lottery_tickets import LEVEL, MP
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals, lines
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import paired
from analysis.statistics.proportion import odds_ratio
from analysis.study.settings import CONTROL

STUDY = "lottery-dip"
ALPHA, ODDS, BEYOND = "alpha", "odds_ratio", "alpha_minus_odds_ratio"
OUTCOMES = (ALPHA, BEYOND, ODDS, "raw_slope", "accuracy")
_PRIMARY = OUTCOMES[:2]
_MEAN = "mean"
_NAMES = {CONTROL: "control", MP: "MP"}
_TITLES = {
    ALPHA: "alpha, MP minus control",
    BEYOND: "alpha minus odds ratio, MP minus control",
}


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    networks = with_odds_ratios(lottery_tickets.level_networks(folders.runs(results, STUDY)[0]))
    levels, differences = means(networks), comparisons(networks)
    folders.write(results / STUDY, {"levels": levels, "comparisons": differences}, {"dip": figure(levels, differences)})


def with_odds_ratios(networks: pd.DataFrame) -> pd.DataFrame:
    """Add the odds ratio of the error, and alpha minus this ratio.

    The odds of an error at a level are divided by those of the dense network.

    Parameters
    ----------
    networks : DataFrame
        The result of `lottery_tickets.level_networks`, with accuracies in points.
    """
    odds = odds_ratio(networks["accuracy_before"] / 100, networks["accuracy"] / 100)
    return networks.assign(**{ODDS: odds, BEYOND: networks[ALPHA] - odds})


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the means of each pruner and level, with 95 % intervals over networks."""
    return network_measures.means(networks, [schema.PRUNER, LEVEL], OUTCOMES)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare magnitude pruning with the control, paired by seed, at each level and in the mean over the levels.

    Returns
    -------
    DataFrame, one row for each outcome and level
        - outcome;
        - level: a number, or `mean` for the mean over the levels;
        - the columns of `paired`, of magnitude pruning minus the control, with 95 % intervals, and with the detectable
          difference of the first step of Holm's correction over the two primary tests;
        - p_holm: p corrected over the two primary tests: each of the first two outcomes, in the mean over the levels.
    """
    rows = []
    for outcome in OUTCOMES:
        values = networks.pivot_table(outcome, schema.SEED, [schema.PRUNER, LEVEL])
        pruned, control = values[MP], values[CONTROL]
        for level in pruned:
            rows.append({"outcome": outcome, LEVEL: str(level), **paired(pruned[level], control[level], family=2)})
        # The value of a network at chance is NaN, and so is a mean over levels that includes it.
        overall = paired(pruned.mean(axis=1, skipna=False), control.mean(axis=1, skipna=False), family=2)
        rows.append({"outcome": outcome, LEVEL: _MEAN, **overall})
    table = pd.DataFrame(rows).drop(columns="p_equivalence")  # its margin, .05, does not fit points
    is_primary = table[LEVEL].eq(_MEAN) & table["outcome"].isin(_PRIMARY)
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary))


def figure(levels: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """Draw alpha and the odds ratio at each level, and MP minus the control in the primary outcomes, with intervals."""
    return draw(
        [
            Panel(_draw_means, levels, "alpha and odds ratio of the error", "level"),
            *(
                Panel(_draw_differences, differences[differences["outcome"].eq(outcome)], title, "level")
                for outcome, title in _TITLES.items()
            ),
        ],
        3,
        size=(3.7, 2.7),
        title="Light pruning of lottery tickets lowers alpha below that of the control",
        note="Left: means; dashed: what the accuracy alone predicts. Middle and right: 95 % intervals.",
    )


def _draw_means(axes: Axes, levels: pd.DataFrame) -> None:
    colors = {_NAMES[CONTROL]: NEUTRAL, _NAMES[MP]: ABOVE}
    named = levels.assign(name=levels[schema.PRUNER].map(_NAMES))
    lines(axes, named, LEVEL, ALPHA, by="name", colors=colors)
    predicted = named.assign(name="odds ratio, " + named["name"])
    colors = {f"odds ratio, {name}": color for name, color in colors.items()}
    lines(axes, predicted, LEVEL, ODDS, by="name", colors=colors, linestyle="--")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(sorted(levels[LEVEL].unique()))


def _draw_differences(axes: Axes, rows: pd.DataFrame) -> None:
    rows = estimates(rows, "difference").reset_index(drop=True)
    color = np.select([rows["low"] > 0, rows["high"] < 0], [ABOVE, BELOW], NEUTRAL)
    intervals(axes, rows.assign(place=rows.index, color=color), upright=True)
    axes.set_xticks(rows.index, rows[LEVEL])
