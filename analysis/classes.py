"""One row per cell and class: what each class lost, how much of it beyond the accuracy, and beyond the control."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.arrays import Predicted, RunArrays, common_support, predicted_by, run_arrays
from analysis.cells import control_rows
from analysis.runs import schema
from analysis.runs.frames import RECALL_BEFORE, RUN_ID, ReadPredictions
from analysis.settings import CELL, CONTROL
from analysis.statistics import class_losses
from analysis.statistics.class_losses import Changes
from analysis.statistics.hypothesis_tests import LEVEL, corrected


def classes(runs: pd.DataFrame, predictions: ReadPredictions | None = None) -> pd.DataFrame:
    """Return what every class lost in every cell of a pruned network (`classes.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.runs.pull.runs` returns it.
    predictions : callable, optional
        As for `cells.cells`. With it intervals are over networks and images, else over networks alone.

    Returns
    -------
    DataFrame, one row per cell and class
        dataset, model, pruner, ratio, `shown_settings(runs)`, class, support, n (networks), recall_before,
        recall_after, and then, each with a 95 % interval (`_low`, `_high`), a two-sided p (`_p`), and p corrected over
        the classes of the cell (`_p_holm`):

        - loss: recall before minus recall after;
        - excess: the loss minus that of the accuracy;
        - loss_beyond_control, excess_beyond_control: the same with the control `none` in place of the dense network.
          n_none counts the networks that have a control.

        Networks that guess are left out. A value that cannot be computed is NaN.
    """
    study = run_arrays(runs)
    names = np.array([name.removeprefix(RECALL_BEFORE) for name in runs.columns if name.startswith(RECALL_BEFORE)])
    none = control_rows(study.runs)
    pruned = study.runs[schema.PRUNER] != CONTROL
    cells = [_cell(study, rows, none, names, predictions) for rows in study.cells() if pruned.iloc[rows[0]]]
    return pd.concat(cells, ignore_index=True) if cells else pd.DataFrame()


def _cell(
    study: RunArrays, rows: np.ndarray, none: np.ndarray, names: np.ndarray, predictions: ReadPredictions | None
) -> pd.DataFrame:
    kept, has = study.counted(rows)
    paired = kept[none[kept] >= 0]
    paired = paired[~study.at_chance[none[paired]]]
    before, after, *_ = study.measured(kept, has)
    support = common_support(study.support[np.ix_(kept, has)])
    columns = {
        **study.runs.iloc[rows[0]][[*CELL, *study.shown]],
        "class": names[has],
        "support": np.nan if support is None else support,
        "n": len(kept),
        "recall_before": before.mean(0) if len(kept) else np.nan,
        "recall_after": after.mean(0) if len(kept) else np.nan,
        **_losses("", _changes(study, kept, None, has, predictions), support),
        "n_none": len(paired),
        **_losses("_beyond_control", _changes(study, paired, none[paired], has, predictions), support),
    }
    return pd.DataFrame(columns)


def _changes(
    study: RunArrays,
    rows: np.ndarray,
    none: np.ndarray | None,
    has: np.ndarray,
    predictions: ReadPredictions | None,
) -> Changes | None:
    """Return the changes of recall from the dense networks, or from the runs of the control, to the pruned networks."""
    if not len(rows):
        return None
    run_ids = study.runs[RUN_ID].iloc
    before_ids = study.runs[schema.DENSE_RUN_ID].iloc[rows] if none is None else run_ids[none]
    found = predicted_by(list(before_ids), list(run_ids[rows]), predictions) if predictions else None
    if found:
        return class_losses.from_predictions(*_right(found))
    before = study.before[np.ix_(rows, has)] if none is None else study.after[np.ix_(none, has)]
    return class_losses.from_recalls(before, study.after[np.ix_(rows, has)])


def _right(found: Predicted) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the class of each image, counted from 0 without gaps, and whether each network is right about it."""
    label = np.unique(found.label, return_inverse=True)[1]
    return label, found.before == found.label, found.after == found.label


def _losses(ending: str, changes: Changes | None, support: np.ndarray | None) -> dict[str, Any]:
    """Return loss and excess of each class, with intervals and p; NaN where no network or no support is known."""
    found: dict[str, Any] = {}
    for name in ("loss", "excess"):
        titles = [f"{name}{ending}{end}" for end in ("", "_low", "_high", "_p")]
        if changes is None or support is None:
            found |= dict.fromkeys([*titles, f"{name}{ending}_p_holm"], np.nan)
            continue
        share = support / support.sum()
        weights = np.eye(len(share)) if name == "loss" else class_losses.excess_weights(share)
        # A loss is a change with its sign turned.
        estimates = class_losses.estimates(changes, -weights, LEVEL)
        found |= dict(zip(titles, estimates.values(), strict=True))
        found[f"{name}{ending}_p_holm"] = corrected(estimates["p"], len(share))[1]
    return found
