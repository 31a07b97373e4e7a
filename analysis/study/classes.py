"""One row per cell and class: what each class lost, how much of it beyond the accuracy, and beyond the control."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from analysis.runs import schema
from analysis.runs.frames import RUN_ID, ReadPredictions
from analysis.statistics import class_losses
from analysis.statistics.class_losses import Changes
from analysis.statistics.hypothesis_tests import LEVEL, corrected
from analysis.study.arrays import RunArrays, common_support
from analysis.study.predictions import Pairs, StudyPredictions
from analysis.study.settings import CONTROL

# Recalls that were rounded to three digits differ by less, before and after together.
_SAME_RECALL = 0.004
# Endings of the columns of a loss.
_ENDS = ("low", "high", "p", "p_holm")
# Stands before the endings of interval and p with moderated variances, by which reports decide.
MODERATED = "_moderated"


def classes(study: RunArrays, predictions: ReadPredictions | StudyPredictions | None = None) -> pd.DataFrame:
    """Return what every class lost in every cell of a pruned network (`classes.csv`).

    Parameters
    ----------
    study : RunArrays
    predictions : callable or Predictions, optional
        As for `cells.cells`. With it intervals are over networks and images, else over networks alone.

    Returns
    -------
    DataFrame, one row per cell and class
        dataset, model, pruner, ratio, `study.shown`, class, support, n (networks), recall_before,
        recall_after, and then, each with a 95 % interval (`_low`, `_high`), a two-sided p (`_p`), and p corrected over
        the classes of the cell (`_p_holm`):

        - loss: recall before minus recall after;
        - excess: the loss minus that of the accuracy;
        - loss_beyond_control, excess_beyond_control: the same with the control `none` in place of the dense network.
          n_none counts the networks that have a control; recall_control is the recall of their controls.

        `_moderated_low`, `_moderated_high`, `_moderated_p` and `_moderated_p_holm` are the same interval and p with the
        variances over networks moderated, as an audit has them (`class_losses.moderated`). Verdicts, pictures and
        pages decide by these. With fewer than ten classes they are the plain ones.

        Networks that guess are left out. A value that cannot be computed is NaN.
    """
    shared = StudyPredictions.shared(predictions)
    pruned = study.runs[schema.PRUNER] != CONTROL
    cells = [_cell(study, rows, shared) for rows in study.cells() if pruned.iloc[rows[0]]]
    return pd.concat(cells, ignore_index=True) if cells else pd.DataFrame()


def _cell(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None) -> pd.DataFrame:
    counted_rows, has = study.counted(rows)
    none, paired = study.controls, study.with_control(counted_rows)
    before, after, *_ = study.measured(counted_rows, has)
    support = common_support(study.support[np.ix_(counted_rows, has)])
    columns = {
        **study.runs.iloc[rows[0]][study.cell_key],
        "class": study.names[has],
        "support": np.nan if support is None else support,
        "n": len(counted_rows),
        "recall_before": before.mean(0) if len(counted_rows) else np.nan,
        "recall_after": after.mean(0) if len(counted_rows) else np.nan,
        **_losses("", study, counted_rows, None, has, predictions),
        "n_none": len(paired),
        "recall_control": study.after[np.ix_(none[paired], has)].mean(0) if len(paired) else np.nan,
        **_losses("_beyond_control", study, paired, none[paired], has, predictions),
    }
    return pd.DataFrame(columns)


def _losses(
    ending: str,
    study: RunArrays,
    rows: np.ndarray,
    none: np.ndarray | None,
    has: np.ndarray,
    predictions: StudyPredictions | None,
) -> dict[str, Any]:
    """Return loss and excess of each class, with intervals and p; NaN where there is no network."""
    columns: dict[str, Any] = {}
    changes = _changes(study, rows, none, has, predictions) if len(rows) else (None, None)
    for name, change in zip(("loss", "excess"), changes, strict=True):
        title = f"{name}{ending}"
        if change is None:
            columns |= dict.fromkeys(
                [title, *(f"{title}{each}_{end}" for each in ("", MODERATED) for end in _ENDS)], np.nan
            )
            continue
        moderated = class_losses.moderated(change.changes, change.recall)
        for each, of_each in (("", change.changes), (MODERATED, moderated)):
            # A loss is a change with its sign turned.
            estimates = class_losses.estimates(of_each, -change.weights, LEVEL)
            estimates["p_holm"] = corrected(estimates["p"], len(estimates["p"]))[1]
            columns[title] = estimates["value"]
            columns |= {f"{title}{each}_{end}": estimates[end] for end in _ENDS}
    return columns


class _Weighted(NamedTuple):
    """Changes of recall, weights, (classes, classes), of the sums that are told, and the mean recall, (classes,)."""

    changes: Changes
    weights: np.ndarray
    recall: np.ndarray


def _changes(
    study: RunArrays,
    rows: np.ndarray,
    none: np.ndarray | None,
    has: np.ndarray,
    predictions: StudyPredictions | None,
) -> tuple[_Weighted, _Weighted]:
    """Return the changes of recall, and those beyond the accuracy, to the pruned networks.

    They are from the dense networks, or from the runs of the control.
    """
    recall, accuracy = (study.before, study.accuracy_before) if none is None else (study.after, study.accuracy_after)
    from_rows = rows if none is None else none
    recalls = recall[np.ix_(from_rows, has)], study.after[np.ix_(rows, has)]
    run_ids = study.runs[RUN_ID].iloc
    before_ids = study.runs[schema.DENSE_RUN_ID].iloc[rows] if none is None else run_ids[none]
    pairs = predictions.of_pairs(before_ids, run_ids[rows]) if predictions else None
    each_class, mean = np.eye(int(has.sum())), (recalls[0] + recalls[1]).mean(0) / 2
    if pairs and (label := _label_by_column(pairs, recalls)) is not None:
        changes = class_losses.from_predictions(label, *pairs.right)
        share = np.bincount(label) / len(label)
        return _Weighted(changes, each_class, mean), _Weighted(changes, class_losses.excess_weights(share), mean)
    balances = (
        recalls[0] - accuracy[from_rows, np.newaxis],
        recalls[1] - study.accuracy_after[rows, np.newaxis],
    )
    return (
        _Weighted(class_losses.from_recalls(*recalls), each_class, mean),
        _Weighted(class_losses.from_recalls(*balances), each_class, mean),
    )


def _label_by_column(pairs: Pairs, recalls: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
    """Return which column of recalls each image's class has, (images,).

    Predictions know classes by their labels, and runs by their names, whose order may be another. A label has the
    column with its recalls. None if labels and columns do not match.
    """
    shares = pairs.recall
    if shares[0].shape != recalls[0].shape:
        return None
    distance = sum(
        np.abs(share[:, :, np.newaxis] - recall[:, np.newaxis]).max(0)
        for share, recall in zip(shares, recalls, strict=True)
    )
    of_label, column = linear_sum_assignment(distance)
    return column[pairs.images.place] if (distance[of_label, column] < _SAME_RECALL).all() else None
