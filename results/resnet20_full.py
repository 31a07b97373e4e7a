"""Tables and picture of resnet20-full/: what pruning costs the classes of a ResNet-20 that is trained to the end."""

from pathlib import Path

import folders
import network_measures
import numpy as np
import pandas as pd
import proportion_planned
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from network_measures import ALPHA, BEYOND, SLOPE
from proportion import THESE

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import paired
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.predictions import StudyPredictions

STUDY = "resnet20-full"
BIRD = "bird"
# Alpha is relative to the dense network, as the plan says; all other outcomes are relative to the control.
COST, ACCURACY = "bird_cost", "accuracy"
OUTCOMES = (COST, ALPHA, SLOPE, BEYOND, ACCURACY)
MP, UP, GRADUAL = "MP", "UP", "gradual MP"
_METHODS = {("mp", "cubic"): GRADUAL, ("mp", "one-shot"): MP, ("up", "one-shot"): UP}
_CELL = ["method", schema.RATIO]
_CONTROL = "control"
# Outcome, method, what is subtracted, and ratio of each primary test.
_PRIMARY = [(COST, GRADUAL, _CONTROL, 20.0), (ALPHA, UP, MP, 50.0)]


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    runs, read = folders.runs(results, STUDY)
    runs = runs.assign(schedule=network_measures.param(runs, schema.SCHEDULE, "none"), training="as printed")
    arrays = run_arrays(runs)
    networks = pruned_networks(runs, arrays)
    cells = proportion_planned.new_cells(arrays, StudyPredictions(read))
    cells.insert(0, "method", _methods(cells))
    tables = {
        "new_cells": cells.sort_values([*_CELL, "images"]),
        "means": network_measures.means(networks, _CELL, [COST, ALPHA, ACCURACY]),
        "comparisons": comparisons(networks),
    }
    folders.write(results / STUDY, tables, {"bird": picture(tables["means"], tables["new_cells"])})


def pruned_networks(runs: pd.DataFrame, arrays: RunArrays) -> pd.DataFrame:
    """Return the outcomes of each pruned network that is not at chance.

    Parameters
    ----------
    runs : DataFrame
        The runs of the study, with their `schedule`.
    arrays : RunArrays
        The same runs.

    Returns
    -------
    DataFrame
        - method, ratio, seed;
        - bird_cost: the recall that bird loses beyond the accuracy, compared with the control, in points;
        - alpha: from the dense network;
        - raw_slope, alpha_beyond: as in `network_measures.slopes_from_control`; NaN in cells of two networks or one;
        - accuracy: in points.
    """
    costs = arrays.runs[[frames.RUN_ID, schema.SCHEDULE]].assign(bird_cost=network_measures.class_cost(arrays, BIRD))
    slopes = network_measures.slopes_from_control(arrays)[[frames.RUN_ID, SLOPE, BEYOND]]
    networks = network_measures.measure(runs).drop(columns=SLOPE).merge(costs, on=frames.RUN_ID)
    networks = networks.merge(slopes, on=frames.RUN_ID, how="left")
    networks = networks.assign(method=_methods(networks))
    return networks.loc[networks["method"].notna(), [*_CELL, schema.SEED, *OUTCOMES]].reset_index(drop=True)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Test the cost of bird for each method, and compare UP with MP, paired by seed.

    Returns
    -------
    DataFrame, one row for each test
        - outcome, method, `minus` (the method, or the control, that is subtracted), ratio;
        - alternative: `greater` for the cost of bird by one method, otherwise `two-sided`;
        - the columns of `paired`;
        - p_holm: p corrected over the two primary tests, which are the cost of bird for gradual MP at ratio 20, and
          alpha of UP minus alpha of MP at ratio 50.
    """
    rows = []
    for (method, ratio), own in networks.groupby(_CELL):
        key = {"outcome": COST, "method": method, "minus": _CONTROL, schema.RATIO: ratio, "alternative": "greater"}
        rows.append(key | paired(own[COST], np.zeros(len(own)), alternative="greater", family=2))
    for ratio, own in networks[networks["method"].isin([MP, UP])].groupby(schema.RATIO):
        for outcome in OUTCOMES:
            # If all networks of a method are at chance, its column is NaN.
            values = own.pivot(index=schema.SEED, columns="method", values=outcome).reindex(columns=[UP, MP])
            key = {"outcome": outcome, "method": UP, "minus": MP, schema.RATIO: ratio, "alternative": "two-sided"}
            rows.append(key | paired(values[UP], values[MP], family=2))
    table = pd.DataFrame(rows).drop(columns="p_equivalence")  # its margin, .05, does not fit points
    keys = table[["outcome", "method", "minus", schema.RATIO]].itertuples(index=False, name=None)
    is_primary = pd.Series([key in _PRIMARY for key in keys])
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary, planned=2))


def picture(means: pd.DataFrame, cells: pd.DataFrame) -> Figure:
    """Draw the cost of bird for each method and ratio, and alpha beyond proportion, with intervals."""
    upwards = {"by": [schema.RATIO, "method"], "ascending": False}
    costs = estimates(means.sort_values(**upwards), COST)
    beyond = estimates(cells[cells["images"].eq(THESE)].sort_values(**upwards), BEYOND)
    return draw(
        [
            Panel(_draw, (costs, 0), "what bird loses beyond the accuracy", "points"),
            Panel(_draw, (beyond, 1), "alpha / odds ratio"),
        ],
        2,
        size=(3.7, 2.4),
        title="ResNet-20s trained to the end: the cost of bird, and the growth of gaps",
        note="Compared with the control, with 95 % intervals over networks. If all errors grow by one factor, alpha / "
        "odds ratio is 1.",
    )


def _draw(axes: Axes, rows_and_no_effect: tuple[pd.DataFrame, float]) -> None:
    rows, no_effect = rows_and_no_effect
    intervals(axes, rows.assign(color=NEUTRAL), no_effect=no_effect)
    axes.set_yticks(range(len(rows)), rows["method"] + " " + rows[schema.RATIO].map("{:g}".format))


def _methods(rows: pd.DataFrame) -> list[str | None]:
    """Return the method of each row, by its pruner and schedule; None for any other method."""
    return [_METHODS.get(key) for key in zip(rows[schema.PRUNER], rows[schema.SCHEDULE], strict=True)]
