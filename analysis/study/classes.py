"""Tabulate the loss of recall of each class in each cell, also beyond the loss of accuracy and beyond the control."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import schema
from analysis.runs.frames import ReadPredictions
from analysis.study.arrays import RunArrays, common_support
from analysis.study.costs import COLUMNS, cell_costs
from analysis.study.predictions import StudyPredictions
from analysis.study.settings import CONTROL


def classes(study: RunArrays, predictions: ReadPredictions | StudyPredictions | None = None) -> pd.DataFrame:
    """Compute the loss of every class in every cell of pruned networks (`classes.csv`).

    Parameters
    ----------
    study : RunArrays
    predictions : callable or StudyPredictions, optional
        As for `cells.cells`. If given, intervals allow for new networks and images, else for new networks only.

    Returns
    -------
    DataFrame, one row per cell and class
        dataset, model, pruner, ratio, `study.shown`, class, support, n (number of networks), recall_before and
        recall_after. Then the losses and costs on which reports base their decisions (`costs.cell_costs`). Networks at
        chance count in all columns:

        - reference: kind of the networks that losses are measured from, controls if there are any.
        - n_reference: number of pruned networks that are compared, as `n` of `costs.CellCosts`.
        - loss: recall of the reference minus recall after.
        - cost: loss minus the loss of accuracy.
        - cost_p: p of the cost, one-sided and corrected for all classes.
        - disproportionate: loss minus the loss that would be expected if every class's error grew by one factor
          (`proportion.disproportionate_losses`). It requires predictions and controls of the same networks.
        - disproportionate_p: p of disproportionate, one-sided and corrected for all classes.

        loss, cost and disproportionate have a moderated 95 % interval (`_low`, `_high`), and an upper bound that holds
        for all classes jointly (`_upper_all`). For loss, `_low_all` is the lower end of an interval that also
        holds for all classes jointly.

        Then n_none, the number of networks that have a control `none`, and recall_control, the mean recall of these
        controls.

        A value that cannot be computed is NaN.
    """
    shared = StudyPredictions.shared(predictions)
    pruned = study.runs[schema.PRUNER] != CONTROL
    cells = [_cell(study, rows, shared) for rows in study.cells() if pruned.iloc[rows[0]]]
    return pd.concat(cells, ignore_index=True) if cells else pd.DataFrame()


def _cell(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None) -> pd.DataFrame:
    has, none, paired = study.classes_of(rows), study.controls, study.with_control(rows)
    before, after = study.measured(rows, has)
    support = common_support(study.support[np.ix_(rows, has)])
    columns = {
        **study.runs.iloc[rows[0]][study.cell_key],
        "class": study.names[has],
        "support": np.nan if support is None else support,
        "n": len(rows),
        "recall_before": before.recall.mean(0),
        "recall_after": after.recall.mean(0),
        **_costs(study, rows, predictions),
        "n_none": len(paired),
        "recall_control": study.after[np.ix_(none[paired], has)].mean(0) if len(paired) else np.nan,
    }
    return pd.DataFrame(columns)


def _costs(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None) -> dict[str, Any]:
    """Return the columns for loss and cost of each class relative to the reference of the cell."""
    costs, _ = cell_costs(study, rows, predictions)
    if costs is None:
        return {"reference": "", "n_reference": 0, **dict.fromkeys(COLUMNS, np.nan)}
    return {"reference": costs.reference, "n_reference": costs.n, **costs.table}
