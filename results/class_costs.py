"""A table for each study with controls: the class that pays most in each cell, and what pruning costs it."""

from pathlib import Path
from typing import Any

import folders
import network_measures
import numpy as np
import pandas as pd

from analysis.statistics.resampling import mean_interval
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.cells import cells
from analysis.study.classes import classes
from analysis.study.costs import CONTROL_OF_NETWORK
from analysis.study.joins import is_alike
from analysis.study.predictions import StudyPredictions

NAME = "class_costs"
_CLASSES = ["loss", "loss_upper_all", "cost", "cost_low", "cost_high", "cost_p"]
_CELLS = ["worst_class_cost", "worst_class_cost_low", "worst_class_cost_high"]


def write(results: Path) -> None:
    """Write `class_costs.csv` for each study with frames in which networks have controls.

    Raises
    ------
    StudyError
        If the frames of a study cannot be read.
    """
    for study in sorted(path.name for path in results.iterdir() if folders.has_frames(results, path.name)):
        if len(found := table(results, study)):
            folders.write(results / study, {NAME: found})


def table(results: Path, study: str) -> pd.DataFrame:
    """Return a row for each cell whose networks have controls: the class that pays most on average, and its cost.

    Returns
    -------
    DataFrame
        Losses and costs are shares of 1.

        - the columns that identify cells, n_reference, accuracy_loss, and class;
        - loss, loss_upper_all, cost, cost_low, cost_high and cost_p, from `classes.csv`;
        - worst_class_cost with its interval, from `cells.csv`;
        - named_low and named_high: a paired t-interval of the class's cost over networks, which is valid only for a
          class that was named beforehand.
    """
    runs, predictions = folders.runs(results, study)
    arrays, shared = run_arrays(runs), StudyPredictions(predictions)
    of_classes, of_cells = classes(arrays, shared), cells(arrays, shared)
    if of_classes.empty:
        return of_classes
    beside_control = of_classes[of_classes["reference"].eq(CONTROL_OF_NETWORK)]
    costliest = beside_control.loc[beside_control.groupby(arrays.cell_key, dropna=False)["cost"].idxmax()]
    found = costliest[[*arrays.cell_key, "n_reference", "class", *_CLASSES]].merge(
        of_cells[[*arrays.cell_key, *_CELLS]], on=arrays.cell_key, how="left"
    )
    own = [
        _of_networks(arrays, np.flatnonzero(is_alike(arrays.runs, row, arrays.cell_key)), row["class"])
        for _, row in found.iterrows()
    ]
    return pd.concat([found, pd.DataFrame(own)], axis=1)


def _of_networks(arrays: RunArrays, rows: np.ndarray, name: str) -> dict[str, Any]:
    """Return the loss of accuracy of a cell, and the paired t-interval of one class's cost over networks."""
    rows = rows[arrays.controls[rows] >= 0]
    of_accuracy = arrays.accuracy_after[arrays.controls[rows]] - arrays.accuracy_after[rows]
    low, high = mean_interval(network_measures.class_cost(arrays, name)[rows] / 100)
    return {"accuracy_loss": of_accuracy.mean(), "named_low": low, "named_high": high}
