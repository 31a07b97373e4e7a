"""Tables and picture of lottery-tickets/: compare alpha of lottery tickets with that of a control."""

from collections.abc import Iterator
from pathlib import Path

import folders
import network_measures
import numpy as np
import pandas as pd
from decay import DATASETS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT, NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import intervals, lines
from analysis.report import published
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import paired
from analysis.study.settings import CONTROL

STUDY = "lottery-tickets"
LEVEL = "level"
LEVELS = 20
MP, UP = "mp", "up"
# Pairs of pruners that are compared. For the first pair, alpha is the primary outcome.
COMPARED = ((MP, CONTROL), (UP, MP))
# Levels of light and of heavy pruning, in the two primary comparisons of MP and the control on MNIST.
_LEVELS_OF = {"1 to 12": range(1, 13), "20": (LEVELS,)}
_ASKED_LATER = "mnist"
OUTCOMES = ("alpha", "raw_slope", "largest_excess", "beyond_floor", "accuracy")
# With this quantile of t, twenty intervals hold jointly with 95 % confidence.
_QUANTILE = 1 - 0.05 / (2 * LEVELS)
_NAMES = {CONTROL: "control", MP: "MP", UP: "UP"}
_TITLES = ("alpha", "alpha, MP minus control", "raw slope, MP minus control")
_COLORS = {CONTROL: NEUTRAL, MP: ABOVE, UP: DIFFERENT}


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    networks = level_networks(folders.runs(results, STUDY)[0])
    levels, differences = means(networks), comparisons(networks)
    tables = {"levels": levels, "comparisons": differences, "light_and_heavy": light_and_heavy(networks)}
    folders.write(results / STUDY, tables, {"levels": figure(levels, differences)})


def level_networks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the result of `network_measures.measure`, with the level of each network; levels count from 1."""
    levels = dict(zip(runs[frames.RUN_ID], runs[frames.column(schema.ITERATION)].astype(int), strict=True))
    networks = network_measures.measure(runs)
    return networks.assign(**{LEVEL: networks[frames.RUN_ID].map(levels)})


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Return means for each data set, pruner and level, with 95 % intervals, and alpha of the paper's Table 12."""
    table = network_measures.means(networks, [schema.DATASET, schema.PRUNER, LEVEL], [*OUTCOMES, "floor"])
    printed = published.table(12).apply(pd.to_numeric).set_index("Level")["Intensification"]
    return table.join(printed.rename("printed_alpha"), on=LEVEL)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare the two pruners of each pair in `COMPARED`, paired by seed, at each level of each data set.

    Returns
    -------
    DataFrame, one row for each data set, outcome, pair and level
        - dataset, outcome, level;
        - pruner, minus: the first and the second pruner of the pair;
        - the columns of `paired`, of the first pruner minus the second;
        - p_bonferroni, low, high: p and interval corrected for the 20 levels.
    """
    rows = []
    for (dataset, outcome), values in _by_seed(networks):
        for first, second in COMPARED:
            for level in range(1, LEVELS + 1):
                change = (values[first, level] - values[second, level]).dropna()
                half = stats.t.ppf(_QUANTILE, len(change) - 1) * change.std() / len(change) ** 0.5
                row = paired(values[first, level], values[second, level], family=LEVELS)
                together = {"low": change.mean() - half, "high": change.mean() + half}
                own = {schema.DATASET: dataset, "outcome": outcome, schema.PRUNER: first, "minus": second, LEVEL: level}
                rows.append({**own, **row, "p_bonferroni": min(1.0, LEVELS * float(row["p"])), **together})
    return pd.DataFrame(rows).drop(columns="p_equivalence")  # its margin, .05, does not fit points


def light_and_heavy(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare MP with the control, paired by seed, in the mean over levels 1 to 12 and at level 20.

    `p_holm` is corrected over the two primary tests: alpha on MNIST, over levels 1 to 12 and at level 20.
    """
    rows = []
    for (dataset, outcome), values in _by_seed(networks):
        for name, levels in _LEVELS_OF.items():
            # The value of a network at chance is NaN, and so is a mean over levels that includes it.
            first, second = (values[pruner][list(levels)].mean(axis=1, skipna=False) for pruner in (MP, CONTROL))
            own = {schema.DATASET: dataset, "outcome": outcome, "levels": name}
            rows.append({**own, **paired(first, second, family=len(_LEVELS_OF))})
    table = pd.DataFrame(rows).drop(columns="p_equivalence")
    is_primary = table[schema.DATASET].eq(_ASKED_LATER) & table["outcome"].eq("alpha")
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary))


def _by_seed(networks: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield each data set and outcome with its values: a row for each seed, a column for each pruner and level."""
    for dataset, own in networks.groupby(schema.DATASET):
        for outcome in OUTCOMES:
            yield (str(dataset), outcome), own.pivot_table(outcome, schema.SEED, [schema.PRUNER, LEVEL])


def figure(levels: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """Draw alpha at each level of each data set, the paper's alpha, and MP minus the control in alpha and raw slope."""
    panels = []
    for dataset in levels[schema.DATASET].unique():
        of_control = differences[differences[schema.DATASET].eq(dataset) & differences["minus"].eq(CONTROL)]
        rows = levels[levels[schema.DATASET].eq(dataset)]
        panels.append(Panel(_draw_means, rows, _TITLES[0], "level", DATASETS[dataset]))
        panels += [
            Panel(_draw_differences, of_control[of_control["outcome"].eq(outcome)], title, "level")
            for outcome, title in zip(("alpha", "raw_slope"), _TITLES[1:], strict=True)
        ]
    return draw(
        panels,
        len(_TITLES),
        size=(3.7, 2.7),
        title="Heavy pruning of lottery tickets widens the gaps between classes beyond those of a control",
        note="Left: means. Middle and right: 95 % intervals that hold together over the levels; orange where above 0. "
        "Scales differ.",
        sharex=True,
    )


def _draw_means(axes: Axes, levels: pd.DataFrame) -> None:
    named = levels.assign(name=levels[schema.PRUNER].map(_NAMES))
    lines(axes, named, LEVEL, "alpha", by="name", colors={_NAMES[pruner]: color for pruner, color in _COLORS.items()})
    in_print = levels[levels[schema.PRUNER].eq(MP)].assign(name="the paper (ResNet-56, CIFAR-10)")
    lines(axes, in_print, LEVEL, "printed_alpha", by="name", colors={in_print["name"].iloc[0]: "black"}, linestyle=":")
    axes.axhline(1, color=NEUTRAL, linewidth=0.8)


def _draw_differences(axes: Axes, rows: pd.DataFrame) -> None:
    color = np.select([rows["low"] > 0, rows["high"] < 0], [ABOVE, BELOW], NEUTRAL)
    intervals(axes, rows.assign(value=rows["difference"], place=rows[LEVEL], color=color), upright=True)
    axes.set_xticks(range(0, LEVELS + 1, 5))
