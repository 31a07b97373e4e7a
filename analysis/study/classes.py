"""Tabulate what each class lost in each cell: since the dense networks, and against the controls."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import schema
from analysis.runs.frames import ReadPredictions
from analysis.study.arrays import RunArrays, common_support
from analysis.study.costs import COLUMNS, cell_costs
from analysis.study.predictions import StudyPredictions
from analysis.study.proportions import class_columns
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
        dataset, model, pruner, ratio, `study.shown`, class, images, n (number of networks), recall_before and
        recall_after. Then the losses on which reports base their decisions (`costs.cell_costs`), all shares. Networks
        at chance count in all columns:

        - reference: kind of the networks that costs are measured from, controls if there are any.
        - n_reference: number of pruned networks that are compared, as `n` of `costs.CellCosts`.
        - loss: recall of the dense networks minus recall after, with p, p_holm, and damaged: whether it is shown, on
          average or in every single network.
        - loss_from_control: recall of the controls minus recall after.
        - cost: loss from the reference minus that of the accuracy.
        - disproportionate: loss minus the loss that is expected in proportion to the class's error
          (`proportion.disproportionate_losses`). It requires predictions and controls of the same networks.

        Each of these has a 95 % interval (`_low`, `_high`), and an upper bound that holds for all classes together
        (`_upper_all`). The last three have `_p`, two-sided and corrected for all classes.

        Then precision_before, precision_after, f1_loss since the dense networks, and f1_cost, the loss of F1 from the
        reference minus its mean over classes. They are means over networks without intervals, and need predictions.

        Then error_factor, the error divided by that of the controls, and proportionality_without, the proportionality
        of the other classes, both with intervals for new networks (`proportions.class_columns`).

        Then n_none, the number of networks that have a control `none`, and recall_control, the mean recall of these
        controls.

        A value that cannot be computed is NaN.
    """
    shared = StudyPredictions.shared(predictions)
    pruned = study.runs[schema.PRUNER] != CONTROL
    cells = [_cell(study, rows, shared) for rows in study.cells if pruned.iloc[rows[0]]]
    return pd.concat(cells, ignore_index=True) if cells else pd.DataFrame()


def _cell(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None) -> pd.DataFrame:
    has, none, paired = study.classes_of(rows), study.controls, study.with_control(rows)
    before, after = study.measured(rows, has)
    support = common_support(study.support[np.ix_(rows, has)])
    columns = {
        **study.runs.iloc[rows[0]][study.cell_key],
        "class": study.names[has],
        "images": np.nan if support is None else support,
        "n": len(rows),
        "recall_before": before.recall.mean(0),
        "recall_after": after.recall.mean(0),
        **_costs(study, rows, predictions),
        **class_columns(study, rows),
        "n_none": len(paired),
        "recall_control": study.after[np.ix_(none[paired], has)].mean(0) if len(paired) else np.nan,
    }
    return pd.DataFrame(columns)


def _costs(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None) -> dict[str, Any]:
    """Return the columns for the losses and the cost of each class."""
    costs, _ = cell_costs(study, rows, predictions)
    if costs is None:
        return {"reference": "", "n_reference": 0, **dict.fromkeys(COLUMNS, np.nan)}
    return {"reference": costs.reference, "n_reference": costs.n, **costs.table}
