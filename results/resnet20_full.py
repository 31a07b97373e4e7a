"""Tables and picture of resnet20-full/: what pruning costs the classes of a ResNet-20 that is trained to the end."""

from pathlib import Path

import folders
import network_measures
import numpy as np
import pandas as pd
import proportion_planned
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import paired
from analysis.statistics.proportion import odds_ratio
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.predictions import StudyPredictions

STUDY = "resnet20-full"
BIRD = "bird"
COST, ALPHA, SLOPE, BY_ODDS, ACCURACY = OUTCOMES = (
    "bird_cost",
    "alpha",
    "raw_slope",
    "alpha_by_odds_ratio",
    "accuracy",
)
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
    tables = {
        "cells": proportion_planned.new_cells(arrays, StudyPredictions(read)),
        "means": network_measures.means(networks, _CELL, OUTCOMES),
        "comparisons": comparisons(networks),
    }
    folders.write(results / STUDY, tables, {"bird": picture(tables["means"])})


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
        - alpha, raw_slope: from the dense network, as in the primary comparison of the study file;
        - alpha_by_odds_ratio: alpha divided by the odds ratio of the error, both from the dense network;
        - accuracy: in points.
    """
    costs = arrays.runs[[frames.RUN_ID, schema.SCHEDULE]].assign(bird_cost=network_measures.class_cost(arrays, BIRD))
    networks = network_measures.measure(runs).merge(costs, on=frames.RUN_ID)
    keys = zip(networks[schema.PRUNER], networks[schema.SCHEDULE], strict=True)
    odds = odds_ratio(networks["accuracy_before"] / 100, networks[ACCURACY] / 100)
    networks = networks.assign(method=[_METHODS.get(key) for key in keys], alpha_by_odds_ratio=networks[ALPHA] / odds)
    return networks.loc[networks["method"].notna(), [*_CELL, schema.SEED, *OUTCOMES]].reset_index(drop=True)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Test the cost of bird for each method, and compare UP with MP, paired by seed.

    Returns
    -------
    DataFrame, one row for each test
        - outcome, method, `minus` (the method, or the control, that is subtracted), ratio;
        - the columns of `paired`, one-sided for the cost of bird by one method, otherwise two-sided;
        - p_holm: p corrected over the two primary tests, which are the cost of bird for gradual MP at ratio 20, and
          alpha of UP minus alpha of MP at ratio 50.
    """
    rows = []
    for (method, ratio), own in networks.groupby(_CELL):
        key = {"outcome": COST, "method": method, "minus": _CONTROL, schema.RATIO: ratio}
        rows.append(key | paired(own[COST], np.zeros(len(own)), alternative="greater", family=2))
    for ratio, own in networks[networks["method"].isin([MP, UP])].groupby(schema.RATIO):
        for outcome in OUTCOMES:
            # If all networks of a method are at chance, its column is NaN.
            values = own.pivot(index=schema.SEED, columns="method", values=outcome).reindex(columns=[UP, MP])
            key = {"outcome": outcome, "method": UP, "minus": MP, schema.RATIO: ratio}
            rows.append(key | paired(values[UP], values[MP], family=2))
    table = pd.DataFrame(rows).drop(columns="p_equivalence")  # its margin, .05, does not fit points
    keys = table[["outcome", "method", "minus", schema.RATIO]].itertuples(index=False, name=None)
    is_primary = pd.Series([key in _PRIMARY for key in keys])
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary, planned=2))


def picture(means: pd.DataFrame) -> Figure:
    """Draw the cost of bird for each method and ratio, and alpha beyond proportion, with intervals."""
    named = means.assign(name=means["method"] + " " + means[schema.RATIO].map("{:g}".format))
    return draw(
        [
            Panel(_draw, (estimates(named, COST), 0), "cost of bird", "points"),
            Panel(_draw, (estimates(named, BY_ODDS), 1), "alpha / odds ratio of the error"),
        ],
        2,
        size=(3.7, 2.4),
        title="What pruning costs bird in ResNet-20s that are trained to the end",
        note="95 % intervals over networks.",
    )


def _draw(axes: Axes, rows_and_no_effect: tuple[pd.DataFrame, float]) -> None:
    rows, no_effect = rows_and_no_effect
    intervals(axes, rows.assign(color=NEUTRAL), no_effect=no_effect)
    axes.set_yticks(range(len(rows)), rows["name"])
