"""Tables (of new networks only) and picture of the planned outcomes of proportion/ and proportion-mlp/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folders
import network_measures
import numpy as np
import pandas as pd
import proportion
from decay import DATASETS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from proportion import THESE

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import diagonal, points
from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import corrected
from analysis.statistics.proportion import DISPROPORTIONATE_COLUMNS
from analysis.study import proportions
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.costs import cell_costs
from analysis.study.predictions import StudyPredictions
from analysis.study.settings import CONTROL

STUDIES = (proportion.STUDY, "proportion-mlp")
# The data sets of the primary outcome; both count in Holm's correction, whether or not their networks are there.
_PRIMARY = ("fashion-mnist", "mnist")
_KEY = (schema.DATASET, schema.MODEL, schema.PRUNER, schema.SCHEDULE, schema.RATIO, "training")
PLANNED = "falling, last"
_TRAININGS = {
    ("cosine", "none"): PLANNED,
    ("cosine", "best"): "falling, best",
    ("none", "last"): "constant, last",
    ("none", "none"): "constant, best",
}
# Proportional errors are refuted if the 95 % interval of proportionality is outside these bounds.
_NEARLY_PROPORTIONAL = 0.8, 1.2


def write(results: Path) -> None:
    """Write each study's tables if it has frames, and a picture of its networks, earlier ones and the paper's."""
    for study in STUDIES:
        if folders.has_frames(results, study):
            runs, predictions = networks(results, study)
            arrays = run_arrays(runs)
            cells = new_cells(arrays, predictions)
            tables = {
                "new_cells": cells,
                "primary": primary(cells),
                "new_classes": new_classes(arrays, predictions),
                "trainings": trainings(runs, cells),
                "new_explained": proportion.explained(results, [study]),
            }
            stored, printed = (
                pd.read_csv(results / proportion.STUDY / f"{name}.csv") for name in ("stored", "printed")
            )
            folders.write(results / study, tables, {"alpha": picture(cells, stored, printed)})


def networks(results: Path, *studies: str) -> tuple[pd.DataFrame, StudyPredictions]:
    """Return the runs of studies with their `training` (learning rate and kept epoch), and their predictions."""
    runs, read = folders.runs(results, *studies)
    decay, epoch, schedule = (
        network_measures.param(runs, name, "none") for name in (schema.FINE_TUNE_DECAY, "kept_epoch", schema.SCHEDULE)
    )
    training = [_TRAININGS[each] for each in zip(decay, epoch, strict=True)]
    return runs.assign(training=training, schedule=schedule), StudyPredictions(read)


def pruned_cells(arrays: RunArrays) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the key and the rows of each cell of pruned networks."""
    for rows in arrays.cells():
        row = arrays.runs.iloc[rows[0]]
        if row[schema.PRUNER] != CONTROL:
            yield row[[*_KEY]].to_dict(), rows


def new_cells(arrays: RunArrays, predictions: StudyPredictions) -> pd.DataFrame:
    """Return two rows for each cell, for new images and for these images, with the columns of `proportion.stored`."""
    return pd.DataFrame(
        [
            row
            for key, rows in pruned_cells(arrays)
            if (cell := proportions.cell_proportion(arrays, rows, predictions))
            for row in proportion.cell_rows(key, cell)
        ]
    )


def _gradual(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of gradual magnitude pruning at ratio 20."""
    return table[table[schema.PRUNER].eq("mp") & table[schema.SCHEDULE].eq("cubic") & table[schema.RATIO].eq(20)]


def primary(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the primary outcome, for gradual magnitude pruning at ratio 20: a row for each data set and `images`.

    Returns
    -------
    DataFrame
        - dataset;
        - images: `these images` (the test images themselves) or `new images`; each is a family of tests;
        - n: number of networks;
        - error_growth, raw_slope_on_none, proportionality: each with a 95 % interval;
        - p_equal_losses: p of the hypothesis that all classes lose the same recall;
        - p_equivalence, p_equivalence_holm: p of the test that errors are nearly proportional, without and with Holm's
          correction over the data sets;
        - answer: `passed` (p_equivalence_holm is below .05), `refuted` (the interval of proportionality lies outside
          .8 to 1.2) or `open`.
    """
    rows = _gradual(cells)
    rows = rows[rows["training"].eq(PLANNED) & rows[schema.DATASET].isin(_PRIMARY)].copy()
    families = rows.groupby("images")["p_equivalence"]
    rows["p_equivalence_holm"] = families.transform(lambda p: corrected(p, len(_PRIMARY))[1])
    smallest, largest = _NEARLY_PROPORTIONAL
    outside = rows["proportionality_high"].lt(smallest) | rows["proportionality_low"].gt(largest)
    rows["answer"] = np.select([rows["p_equivalence_holm"].lt(0.05), outside], ["passed", "refuted"], "open")
    estimates = ("error_growth", "raw_slope_on_none", "proportionality")
    columns = [f"{name}{end}" for name in estimates for end in ("", "_low", "_high")]
    return rows[
        [schema.DATASET, "images", "n", *columns, "p_equal_losses", "p_equivalence", "p_equivalence_holm", "answer"]
    ]


def new_classes(arrays: RunArrays, predictions: StudyPredictions) -> pd.DataFrame:
    """Return each class's loss by gradual magnitude pruning to ratio 20, and its disproportionate loss.

    Returns
    -------
    DataFrame
        Means over networks with the planned training.

        - dataset, class, n (networks);
        - error_control: the class's error in the control;
        - loss, and the columns of `analysis.statistics.proportion.disproportionate_losses`.
    """
    tables = []
    for key, rows in pruned_cells(arrays):
        if not len(_gradual(pd.DataFrame([key]))) or key["training"] != PLANNED:
            continue
        costs, has = cell_costs(arrays, rows, predictions)
        if costs and costs.table["disproportionate"].notna().any():
            controls = arrays.controls[rows]
            columns = {
                schema.DATASET: key[schema.DATASET],
                "class": np.array(arrays.names)[has],
                "n": costs.n,
                "error_control": 1 - arrays.after[np.ix_(controls, has)].mean(0),
                **costs.table[["loss", *DISPROPORTIONATE_COLUMNS]],
            }
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def trainings(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Compare the four combinations of learning rate and kept epoch, for gradual pruning to ratio 20 and its control.

    Returns
    -------
    DataFrame
        Means over networks, with 95 % intervals except for error_growth.

        - dataset, training, and n (networks);
        - alpha of the control, compared with its dense network;
        - largest_excess_control, largest_excess: chance movement of the control and of the pruned networks, in points;
        - error_growth, proportionality: on the test images themselves.
    """
    columns = runs[[frames.RUN_ID, schema.SCHEDULE, "training"]]
    networks = network_measures.measure(runs).merge(columns, on=frames.RUN_ID)
    keys = [schema.DATASET, "training"]
    control = network_measures.means(
        networks[networks[schema.PRUNER].eq(CONTROL)], keys, [schema.ALPHA, schema.LARGEST_EXCESS]
    )
    pruned = network_measures.means(_gradual(networks), keys, [schema.LARGEST_EXCESS])
    both = control.merge(pruned, on=[*keys, "n"], suffixes=("_control", ""))
    measures = ["error_growth", *(f"proportionality{end}" for end in ("", "_low", "_high"))]
    return both.merge(_gradual(cells[cells["images"].eq(THESE)])[[*keys, *measures]], on=keys)


def picture(cells: pd.DataFrame, stored: pd.DataFrame, printed: pd.DataFrame) -> Figure:
    """Draw alpha against the odds ratio of the error, for new networks, earlier networks, and those of the paper."""
    old = stored[stored["images"].eq(THESE) & stored[schema.RATIO].le(proportion.LARGEST_RATIO)]
    new = cells[cells["images"].eq(THESE) & cells["training"].str.startswith("falling")]
    known = printed[printed["odds_ratio"].notna()]
    return draw(
        [Panel(_draw, (old, new, known), "", "odds ratio of the error", "alpha")],
        size=(5.0, 4.4),
        title="Alpha, and the odds ratio of the error",
        note="On the line errors are proportional. A dot is a set of new networks against their controls, at decaying "
        "learning rates. Rings are sets of earlier networks, at ratios up to 20. Crosses: the paper's Tables 12 and "
        "13, relative to dense networks.",
    )


def _draw(axes: Axes, tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    old, new, known = tables
    colors, ring = proportion.COLORS, {"facecolors": "none", "alpha": 1, "linewidths": 0.7}
    for sets, look in ((old, ring), (new, {"s": 26, "alpha": 1})):
        named = sets.assign(name=sets[schema.DATASET].map(DATASETS), alpha=sets["alpha_beyond"] * sets["odds_ratio"])
        points(axes, named, "odds_ratio", "alpha", by="name", colors=colors, **look)
    axes.scatter(known["odds_ratio"], known["alpha"], **proportion.IN_PRINT)
    diagonal(axes, [known["odds_ratio"].min(), old["odds_ratio"].max()], color=NEUTRAL)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.5, 2, 3]))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
