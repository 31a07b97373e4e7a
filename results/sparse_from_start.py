"""Tables and picture of sparse-from-start/: accuracy on corrupted images of networks that were never dense."""

from functools import partial
from pathlib import Path

import folders
import network_measures
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.common import csv_text, files
from analysis.rendering.drawing import ABOVE, DIFFERENT
from analysis.rendering.formats import NOT_AVAILABLE
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals, name_rows, side_by_side
from analysis.runs import frames, pull, robustness, schema
from analysis.statistics.hypothesis_tests import paired
from analysis.statistics.intensification import excess_loss
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval

STUDY, NETWORKS = "sparse-from-start", "networks.csv"
DENSE, GRADUAL, SET, RIGL = "dense", "gradual", "set", "rigl"
CORRUPTED, CLEAN, EXCESS, BEYOND = "corrupted", "clean", "largest_excess", "beyond_clean"
# Ratio -> baseline of the primary comparisons.
BASELINES = {2: DENSE, 10: GRADUAL}
_COLORS = {SET: DIFFERENT, RIGL: ABOVE}


def write(results: Path) -> None:
    """Write the tables and the picture of the study, if its table of networks is stored."""
    folder = results / STUDY
    if not (folder / NETWORKS).is_file():
        return
    networks = measured(pd.read_csv(folder / NETWORKS))
    compared = comparisons(networks)
    tables = {"summary": summary(networks), "comparisons": compared}
    folders.write(folder, tables, {"corruptions": figure(compared)})


def collect(folder: Path, experiment: str, tracking_uri: str) -> None:
    """Write a table of the study's networks, one a row, from the tracking store.

    The columns are seed, method, ratio, clean (accuracy on all test images), largest_excess (the largest excess loss of
    any class, relative to the dense network), and a column for each corruption, with the mean accuracy over its
    severities. The column `none` has the accuracy on the images of the corruptions before they are corrupted.
    """
    runs, dense = pull.study(experiment, tracking_uri=tracking_uri)
    counts = robustness.pulled(runs, experiment, tracking_uri=tracking_uri)
    right = counts.groupby(["run_id", "corruption", "severity"])[["right", "support"]].sum()
    accuracies = (right["right"] / right["support"]).groupby(["run_id", "corruption"]).mean().unstack()
    schedule = runs[frames.column(schema.SCHEDULE)]
    sparse = pd.DataFrame({"method": schedule.where(schedule.isin([SET, RIGL]), GRADUAL), EXCESS: _excess(runs)})
    sparse = sparse.join(runs[[schema.SEED, schema.RATIO, "run_id"]]).assign(**{CLEAN: runs[frames.ACCURACY_AFTER]})
    of_dense = dense[[schema.SEED]].assign(method=DENSE, run_id=dense[schema.DENSE_RUN_ID])
    of_dense = of_dense.assign(**{schema.RATIO: 1.0, CLEAN: dense[frames.ACCURACY_BEFORE]})
    columns = [schema.SEED, "method", schema.RATIO]
    table = pd.concat([of_dense, sparse]).sort_values(columns)[[*columns, CLEAN, EXCESS, "run_id"]]
    table = table.join(accuracies, on="run_id").drop(columns="run_id")
    with files.one_aside(folder / NETWORKS, in_git=True) as path:
        csv_text.write(table, path, missing=NOT_AVAILABLE)


def _excess(runs: pd.DataFrame) -> np.ndarray:
    """Return the largest excess loss of any class in each run, (runs,)."""
    names = frames.class_names(runs)
    before, after = (
        Recalls(runs[[start + name for name in names]], runs[accuracy])
        for start, accuracy in (
            (frames.RECALL_BEFORE, frames.ACCURACY_BEFORE),
            (frames.RECALL_AFTER, frames.ACCURACY_AFTER),
        )
    )
    return np.asarray(excess_loss(before, after).max(1))


def measured(networks: pd.DataFrame) -> pd.DataFrame:
    """Add the mean accuracy over corruptions, and its residual in a regression on clean accuracy over all networks."""
    corruptions = list(networks.columns.drop([schema.SEED, "method", schema.RATIO, CLEAN, EXCESS, robustness.CLEAN]))
    corrupted_accuracy = networks[corruptions].mean(axis=1)
    slope, intercept = np.polyfit(networks[CLEAN], corrupted_accuracy, 1)
    beyond = corrupted_accuracy - intercept - slope * networks[CLEAN]
    return networks.assign(**{CORRUPTED: corrupted_accuracy, BEYOND: beyond})


def _outcomes(networks: pd.DataFrame) -> list[str]:
    return list(networks.columns.drop([schema.SEED, "method", schema.RATIO]))


def summary(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each outcome for each method and ratio, with its 95 % interval."""
    rows = []
    for (method, ratio), own in networks.groupby(["method", schema.RATIO], sort=False):
        for outcome in _outcomes(networks):
            low, high = mean_interval(own[outcome])
            row = {"method": method, schema.RATIO: ratio, "outcome": outcome, "n": len(own)}
            rows.append({**row, "mean": own[outcome].mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the outcomes of SET and RigL minus those of each baseline, at each ratio, paired by seed.

    Returns
    -------
    DataFrame
        method, ratio, baseline, outcome, the values that `paired` returns, and p_holm, which only the four primary
        tests have.
    """
    by_kind = networks.set_index(schema.SEED).groupby(["method", schema.RATIO])
    kinds = dict(iter(by_kind))
    rows = []
    for ratio in BASELINES:
        for method in _COLORS:
            for baseline in (DENSE, GRADUAL):
                other = kinds[baseline, 1 if baseline == DENSE else ratio]
                for outcome in _outcomes(networks):
                    test = paired(*kinds[method, ratio][outcome].align(other[outcome], join="inner"))
                    rows.append(
                        {"method": method, schema.RATIO: ratio, "baseline": baseline, "outcome": outcome, **test}
                    )
    table = pd.DataFrame(rows)
    is_primary = table["outcome"].eq(CORRUPTED) & table["baseline"].eq(table[schema.RATIO].map(BASELINES))
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary))


def figure(compared: pd.DataFrame) -> Figure:
    """Draw the difference for each corruption, with its interval: a panel for each ratio and its primary baseline."""
    names = [CORRUPTED, *sorted({*compared["outcome"]} - {CORRUPTED, CLEAN, EXCESS, BEYOND, robustness.CLEAN})]
    rows = estimates(compared, "difference", scale=100)
    panels = [
        Panel(
            partial(_draw, names=names),
            rows[rows[schema.RATIO].eq(ratio) & rows["baseline"].eq(baseline) & rows["outcome"].isin(names)],
            f"ratio {ratio}, minus {baseline}",
            "points",
        )
        for ratio, baseline in BASELINES.items()
    ]
    return draw(
        panels,
        size=(3.7, 3.6),
        title="Accuracy on corrupted images: sparse from the start minus the network named above",
        note="Means over ten seeds with 95 % intervals, paired by seed, in points. The first row is the mean of the "
        "others.",
        sharey=True,
    )


def _draw(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    intervals(axes, side_by_side(rows.assign(place=rows["outcome"].map(names.index)), "method", _COLORS, apart=0.3))
    name_rows(axes, [name.replace("_", " ") for name in names])
