"""Tables and picture of lottery-tickets/: alpha of pruned networks that are trained anew, beside that of a control."""

from collections.abc import Iterator
from pathlib import Path

import folders
import network_measures
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL, page
from analysis.report import published
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import paired
from analysis.study.settings import CONTROL

STUDY = "lottery-tickets"
LEVEL = "level"
LEVELS = 20
MP, UP = "mp", "up"
# What is compared with what. The first is primary, in alpha.
COMPARED = ((MP, CONTROL), (UP, MP))
OUTCOMES = ("alpha", "raw_slope", "largest_excess", "beyond_floor", "accuracy")
# Twenty intervals hold together with 95 %.
_QUANTILE = 1 - 0.05 / (2 * LEVELS)
_NAMES = {CONTROL: "control", MP: "MP", UP: "UP"}
_COLORS = {CONTROL: NEUTRAL, MP: ABOVE, UP: DIFFERENT}


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    networks = level_networks(folders.runs(results, STUDY)[0])
    levels, differences = means(networks), comparisons(networks)
    tables = {"levels": levels, "comparisons": differences}
    folders.write(results / STUDY, tables, {"levels": figure(levels, differences)})


def level_networks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the row of `network_measures.measure` of each network, with its level, from 1."""
    levels = dict(zip(runs[frames.RUN_ID], runs[frames.column(schema.ITERATION)].astype(int), strict=True))
    networks = network_measures.measure(runs)
    return networks.assign(**{LEVEL: networks[frames.RUN_ID].map(levels)})


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the means of each pruner's networks at each level, with 95 % intervals over networks, beside Table 12."""
    table = network_measures.means(networks, [schema.PRUNER, LEVEL], [*OUTCOMES, "floor"])
    printed = published.table(12).apply(pd.to_numeric).set_index("Level")["Intensification"]
    return table.join(printed.rename("printed_alpha"), on=LEVEL)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Return each pair of `COMPARED` at each level: the mean difference over seeds, paired.

    Returns
    -------
    DataFrame, one row for each outcome, pair and level
        outcome, pruner, minus, level, the row of `paired` with its interval, p_bonferroni, and `low` and `high`:
        intervals that hold together over the 20 levels (Bonferroni).
    """
    rows = []
    for outcome in OUTCOMES:
        values = networks.pivot_table(outcome, schema.SEED, [schema.PRUNER, LEVEL])
        for first, second in COMPARED:
            for level in range(1, LEVELS + 1):
                change = (values[first, level] - values[second, level]).dropna()
                half = stats.t.ppf(_QUANTILE, len(change) - 1) * change.std() / len(change) ** 0.5
                row = paired(values[first, level], values[second, level], family=LEVELS)
                together = {"low": change.mean() - half, "high": change.mean() + half}
                own = {"outcome": outcome, schema.PRUNER: first, "minus": second, LEVEL: level}
                rows.append({**own, **row, "p_bonferroni": min(1.0, LEVELS * float(row["p"])), **together})
    return pd.DataFrame(rows).drop(columns="p_equivalence")  # its margin is not in points


def figure(levels: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """Draw alpha at each level beside print, and MP minus the control in alpha and in the largest excess loss."""
    drawn, grid = page(
        (1, 3),
        (11.5, 3.8),
        "From level 15 on alpha of lottery tickets is above that of a control",
        "Left: means. Middle and right: 95 % intervals that hold together over the levels; orange where above 0.",
    )
    _draw_means(grid[0, 0], levels)
    for axes, outcome, title in (
        (grid[0, 1], "alpha", "alpha, MP minus control"),
        (grid[0, 2], "largest_excess", "largest excess loss, points, MP minus control"),
    ):
        _draw_differences(axes, differences[differences["outcome"].eq(outcome) & differences["minus"].eq(CONTROL)])
        axes.set_title(title, fontsize=10)
    for axes in grid.flat:
        axes.set_xlabel("level")
        axes.set_xticks(range(0, LEVELS + 1, 5))
        axes.grid(alpha=0.3)
    return drawn


def _draw_means(axes: Axes, levels: pd.DataFrame) -> None:
    for name, values in _alphas(levels):
        color, line = (_COLORS[name], "-") if name in _COLORS else ("black", ":")
        axes.plot(values.index, values, label=_NAMES.get(name, name), linewidth=1.5, color=color, linestyle=line)
    axes.axhline(1, color=NEUTRAL, linewidth=0.8)
    axes.set_title("alpha", fontsize=10)
    axes.legend(fontsize=8, frameon=False)


def _alphas(levels: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    for pruner in _NAMES:
        yield pruner, levels[levels[schema.PRUNER].eq(pruner)].set_index(LEVEL)["alpha"]
    yield "the paper (ResNet-56)", levels[levels[schema.PRUNER].eq(MP)].set_index(LEVEL)["printed_alpha"]


def _draw_differences(axes: Axes, rows: pd.DataFrame) -> None:
    level, low, high = (rows[name].to_numpy() for name in (LEVEL, "low", "high"))
    color = np.select([low > 0, high < 0], [ABOVE, BELOW], NEUTRAL)
    axes.vlines(level, low, high, color=color, linewidth=1.5)
    axes.scatter(level, rows["difference"], s=14, color=color, zorder=3)
    axes.axhline(0, color="black", linewidth=0.8)
