"""Tables and picture of width/: does pruning widen the gaps of small networks more than their accuracy explains?"""

from collections.abc import Iterator
from pathlib import Path

import folders
import network_measures
import pandas as pd
import proportion
import proportion_planned
from decay import DATASETS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from network_measures import ALPHA, BEYOND
from proportion import THESE

from analysis.rendering.drawing import ABOVE, BELOW, DIFFERENT
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import lines
from analysis.report.papers.recall_distortion.claims import claims
from analysis.report.papers.recall_distortion.comparisons import paper_tests
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import independent
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.cells import alphas
from analysis.study.settings import CONTROL

STUDY = "width"
# Channels and units, as multiples of those of LeNet5.
_HALF, _DOUBLE = 0.5, 2.0
WIDTHS = {"lenet5-half": _HALF, "lenet5": 1.0, "lenet5-double": _DOUBLE}
WIDTH = "width"
_DATASETS = ("fashion-mnist", "mnist")
# The class of each data set that pays most in earlier studies (results/decay).
_NAMED = {"fashion-mnist": "Shirt", "mnist": "9"}
_CELL = [schema.DATASET, schema.PRUNER, schema.SCHEDULE, schema.RATIO]
_NAMES = {
    ("mp", "cubic", 20.0): "gradual MP 20",
    ("mp", "one-shot", 10.0): "MP 10",
    ("up", "one-shot", 10.0): "UP 10",
}
# Params that only the gradual schedule has.
_RAMP = ("ramp", "ramp_steps", "regrow")
_COLORS = dict(zip(_NAMES.values(), (ABOVE, BELOW, DIFFERENT), strict=True))
_PRIMARY = next(iter(_NAMES))


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    runs, predictions = proportion_planned.networks(results, STUDY, proportion.STUDY)
    chosen = of_widths(runs)
    arrays = run_arrays(chosen)
    cells = proportion_planned.new_cells(arrays, predictions)
    cells.insert(2, WIDTH, cells[schema.MODEL].map(WIDTHS))
    tables = {
        "width_cells": cells,
        "width_classes": named_classes(arrays),
        "comparisons": comparisons(network_values(arrays)),
        "width_tests": tests_of_the_paper(chosen),
        "width_claims": claims_of_the_paper(chosen),
    }
    folders.write(results / STUDY, tables, {"widths": picture(cells)})


def of_widths(runs: pd.DataFrame) -> pd.DataFrame:
    """Select the networks of the plan: the seeds, data sets, pruners and training that all three widths have."""
    cells = pd.MultiIndex.from_frame(runs[[schema.PRUNER, schema.SCHEDULE, schema.RATIO]])
    seeds = runs.loc[runs[schema.MODEL].ne("lenet5"), schema.SEED]
    chosen = (
        (cells.isin(_NAMES) | runs[schema.PRUNER].eq("none"))
        & runs[schema.DATASET].isin(_DATASETS)
        & runs[schema.MODEL].isin(WIDTHS)
        & runs["training"].eq(proportion_planned.PLANNED)
        & runs[schema.SEED].isin(seeds)
    )
    return runs[chosen].reset_index(drop=True)


def named_classes(arrays: RunArrays) -> pd.DataFrame:
    """Return the mean cost, in points, of the class of each data set that earlier studies named, for each cell.

    Returns
    -------
    DataFrame
        dataset, class, pruner, schedule, ratio, width, n (networks), and cost with a 95 % interval over networks.
    """
    tables = []
    for dataset, name in _NAMED.items():
        networks = arrays.runs.assign(cost=network_measures.class_cost(arrays, name))
        networks[WIDTH] = networks[schema.MODEL].map(WIDTHS)
        own = networks[networks[schema.DATASET].eq(dataset) & networks[schema.PRUNER].ne(CONTROL)]
        found = network_measures.means(own, [*_CELL, WIDTH], ["cost"])
        found.insert(1, "class", name)
        tables.append(found)
    return pd.concat(tables, ignore_index=True)


def network_values(arrays: RunArrays) -> pd.DataFrame:
    """Return `network_measures.slopes_from_control` with the settings and the width of each network."""
    slopes = network_measures.slopes_from_control(arrays)
    values = slopes.merge(arrays.runs[[frames.RUN_ID, *_CELL, schema.MODEL]], on=frames.RUN_ID)
    return values.assign(**{WIDTH: values[schema.MODEL].map(WIDTHS)})


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare networks of width 1/2 with networks of width 2, in each cell and outcome.

    Returns
    -------
    DataFrame
        - dataset, pruner, schedule, ratio, outcome;
        - the columns of `independent`, of width 1/2 minus width 2;
        - p_holm: p corrected over the two primary tests, s / k of gradual MP at ratio 20 on both data sets.
    """
    rows = []
    for key, own in networks.groupby(_CELL):
        for outcome in network_measures.SLOPES:
            half, double = (own.loc[own[WIDTH].eq(width), outcome] for width in (_HALF, _DOUBLE))
            rows.append(
                dict(zip(_CELL, key, strict=True)) | {"outcome": outcome, **independent(half, double, family=2)}
            )
    table = pd.DataFrame(rows)
    is_primary = table["outcome"].eq(BEYOND) & pd.Series([key == _PRIMARY for key in _cells(table)], table.index)
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary, planned=2))


def tests_of_the_paper(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's tests that compare ratios of one model (Tables 1, 2) or model sizes (5, 6), for each data set.

    Their alpha is relative to the dense network. MP is pruned in one step at ratio 10, and gradually at 20.
    """
    tables = [paper_tests(alphas(run_arrays(own))) for own in _pruned(runs)]
    return pd.concat(tables).query("table in [1, 2, 5, 6]").reset_index(drop=True)


def claims_of_the_paper(runs: pd.DataFrame) -> pd.DataFrame:
    """Judge the paper's sentences 23 and 24, on smaller models, for each data set.

    Alpha and the schedules of MP are those of `tests_of_the_paper`.
    """
    judged = pd.concat([claims(own) for own in _pruned(runs)], ignore_index=True)
    return judged[judged["slug"].str.startswith("smaller-models") & judged["where"].ne("")].reset_index(drop=True)


def _pruned(runs: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the pruned networks of each data set without their schedule, so that all are compared together."""
    hidden = {"training", schema.SCHEDULE, *map(frames.column, (schema.SCHEDULE, *_RAMP))}
    pruned = runs[runs[schema.PRUNER].ne(CONTROL)].drop(columns=hidden.intersection(runs))
    for _, own in pruned.groupby(schema.DATASET):
        yield own.reset_index(drop=True)


def picture(cells: pd.DataFrame) -> Figure:
    """Draw alpha (solid) and the odds ratio of the error (dashed) against the width, a panel for each data set."""
    these = cells[cells["images"].eq(THESE)]
    shown = these.assign(name=[_NAMES[key] for key in _cells(these)], alpha=these[BEYOND] * these["odds_ratio"])
    return draw(
        [
            Panel(_draw, shown[shown[schema.DATASET].eq(dataset)], DATASETS[dataset], "width", "alpha")
            for dataset in _DATASETS
        ],
        2,
        size=(3.9, 3.0),
        title="Alpha by the width of LeNet5",
        note="Solid: alpha from the controls to the pruned networks. Dashed: the odds ratio of the error, which alpha "
        "would equal if pruning multiplied every class's error by one factor.",
    )


def _cells(table: pd.DataFrame) -> list[tuple[str, str, float]]:
    return list(zip(table[schema.PRUNER], table[schema.SCHEDULE], table[schema.RATIO], strict=True))


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    rows = rows.sort_values(WIDTH)
    lines(axes, rows, WIDTH, ALPHA, by="name", colors=_COLORS, marker="o", markersize=4)
    for name, own in rows.groupby("name"):
        axes.plot(own[WIDTH], own["odds_ratio"], color=_COLORS[name], linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_xticks([*WIDTHS.values()], ["1/2", "1", "2"])
