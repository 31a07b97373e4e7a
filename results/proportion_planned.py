"""Tables and picture of the planned outcomes of proportion/ and proportion-mlp/, from new networks only."""

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

from analysis.rendering.drawing import NEUTRAL, page
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
_PLANNED = "falling, last"
_TRAININGS = {
    ("cosine", "none"): _PLANNED,
    ("cosine", "best"): "falling, best",
    ("none", "last"): "constant, last",
    ("none", "none"): "constant, best",
}
# The law is refuted if the 95 % interval of proportionality is outside these bounds.
_NEARLY_PROPORTIONAL = 0.8, 1.2


def write(results: Path) -> None:
    """Write the tables of each study that has networks, and the picture of all networks."""
    for study in STUDIES:
        if folders.has_frames(results, study):
            runs, predictions = _networks(results, study)
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


def _networks(results: Path, study: str) -> tuple[pd.DataFrame, StudyPredictions]:
    runs, read = folders.runs(results, study)
    decay, epoch, schedule = (
        network_measures.param(runs, name, "none") for name in (schema.FINE_TUNE_DECAY, "kept_epoch", schema.SCHEDULE)
    )
    training = [_TRAININGS[each] for each in zip(decay, epoch, strict=True)]
    return runs.assign(training=training, schedule=schedule), StudyPredictions(read)


def _planned_cells(arrays: RunArrays) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the key of each cell of pruned networks and its rows."""
    for rows in arrays.cells():
        row = arrays.runs.iloc[rows[0]]
        if row[schema.PRUNER] != CONTROL:
            yield row[[*_KEY]].to_dict(), rows


def new_cells(arrays: RunArrays, predictions: StudyPredictions) -> pd.DataFrame:
    """Return two rows for each cell, for new images and for these images, with the columns of `proportion.stored`."""
    return pd.DataFrame(
        [
            row
            for key, rows in _planned_cells(arrays)
            if (cell := proportions.cell_proportion(arrays, rows, predictions))
            for row in proportion.cell_rows(key, cell)
        ]
    )


def _gradual(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of gradual magnitude pruning at ratio 20."""
    return table[table[schema.PRUNER].eq("mp") & table[schema.SCHEDULE].eq("cubic") & table[schema.RATIO].eq(20)]


def primary(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the primary outcome: gradual magnitude pruning at ratio 20, a row for each data set and family.

    Returns
    -------
    DataFrame
        dataset, images (the family), n, k, s and proportionality with 95 % intervals, p of equal losses and of
        equivalence, the latter also after Holm's correction over the data sets, and the answer: `passed`, `refuted`
        (the interval of proportionality lies outside .8 to 1.2) or `open`.
    """
    rows = _gradual(cells)
    rows = rows[rows["training"].eq(_PLANNED) & rows[schema.DATASET].isin(_PRIMARY)].copy()
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
    """Return the loss of each class by gradual magnitude pruning at ratio 20, and its part beyond proportion.

    Returns
    -------
    DataFrame
        dataset, class, n, error_control, loss, and the columns of `proportion.disproportionate_losses`; means over
        networks with the planned training.
    """
    tables = []
    for key, rows in _planned_cells(arrays):
        if not len(_gradual(pd.DataFrame([key]))) or key["training"] != _PLANNED:
            continue
        costs, has = cell_costs(arrays, rows, predictions)
        if costs and costs.disproportionate:
            controls = arrays.controls[rows]
            columns = {
                schema.DATASET: key[schema.DATASET],
                "class": np.array(arrays.names)[has],
                "n": costs.n,
                "error_control": 1 - arrays.after[np.ix_(controls, has)].mean(0),
                "loss": costs.columns["loss"],
                **dict(zip(DISPROPORTIONATE_COLUMNS, costs.disproportionate, strict=True)),
            }
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def trainings(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Compare the four trainings of rate and kept epoch: gradual magnitude pruning at ratio 20 and its control.

    Returns
    -------
    DataFrame
        dataset, training, n; alpha of the control, from its dense network on, and chance movement of control and pruned
        networks, which is the largest loss of a class beyond the accuracy in points; means over networks with 95 %
        intervals; proportionality on these images.
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
    """Draw alpha against the odds ratio of the error, for new networks, earlier networks, and printed ones."""
    figure, grid = page(
        (1, 1),
        (5.6, 5.2),
        "Alpha, and the odds ratio of the error",
        "On the line errors are proportional. A dot is a set of new networks against their controls, at falling rates. "
        "Rings are sets that were there before, at ratios up to 20. Crosses: Tables 12 and 13, from dense networks on.",
    )
    axes = grid[0, 0]
    old = stored[stored["images"].eq(THESE) & stored[schema.RATIO].le(proportion.LARGEST_RATIO)]
    new = cells[cells["images"].eq(THESE) & cells["training"].str.startswith("falling")]
    for dataset, color in proportion.COLORS.items():
        _draw(axes, old[old[schema.DATASET].eq(dataset)], s=14, facecolors="none", edgecolors=color)
        _draw(axes, new[new[schema.DATASET].eq(dataset)], s=26, color=color, label=DATASETS[dataset])
    known = printed[printed["odds_ratio"].notna()]
    axes.scatter(known["odds_ratio"], known["alpha"], s=20, color="black", marker="x", linewidths=0.8, label="in print")
    ends = [known["odds_ratio"].min(), old["odds_ratio"].max()]
    axes.plot(ends, ends, color=NEUTRAL, linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="odds ratio of the error", ylabel="alpha")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.5, 2, 3]))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.legend(fontsize=8, loc="upper left")
    return figure


def _draw(axes: Axes, cells: pd.DataFrame, **look: Any) -> None:
    axes.scatter(cells["odds_ratio"], cells["alpha_beyond"] * cells["odds_ratio"], linewidths=0.7, **look)
