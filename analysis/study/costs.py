"""Compute the losses of classes in one cell, against controls if there are any, else against dense networks."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from analysis.runs import schema
from analysis.runs.frames import RUN_ID
from analysis.statistics import class_costs, class_losses, class_sums, class_table, promises
from analysis.statistics.class_costs import COST_COLUMNS, LOSS_COLUMNS, Bounds, WorstClass
from analysis.statistics.class_losses import Changes
from analysis.statistics.class_table import Costs
from analysis.statistics.proportion import disproportionate_losses
from analysis.study.arrays import RunArrays, common_support
from analysis.study.predictions import Pairs, StudyPredictions

# Kinds of reference networks that the compressed networks may be compared with.
CONTROL_OF_NETWORK, CONTROL_OF_OTHER_SEEDS, DENSE = "control", "control of other seeds", "dense"
# Rounding recalls to three digits changes the recalls before and after by less than this in total.
_SAME_RECALL = 0.004


class Weighted(NamedTuple):
    """Changes of recall, the weights (sums, classes) with which they are summed, and the mean recall (classes,)."""

    changes: Changes
    weights: class_sums.Weights
    recall: np.ndarray

    @property
    def moderated(self) -> Changes:
        """The changes with moderated variances."""
        return class_losses.moderated(self.changes, self.recall)


class RecallChanges(NamedTuple):
    """Changes of the same networks: of recall, of recall beyond the change of accuracy, and of accuracy.

    Attributes
    ----------
    loss, excess, accuracy : Weighted
    label : (images,), integers, optional
        Column of each image's class. None if only recalls are known.
    right : pair of (networks, images), bool, optional
        Whether each network classifies each image correctly, before and after.
    """

    loss: Weighted
    excess: Weighted
    accuracy: Weighted
    label: np.ndarray | None = None
    right: tuple[np.ndarray, np.ndarray] | None = None


def recall_changes(
    study: RunArrays,
    rows: np.ndarray,
    from_rows: np.ndarray | None,
    has: np.ndarray,
    predictions: StudyPredictions | None,
    *,
    paired: bool = True,
) -> RecallChanges:
    """Compute the changes of recall from the reference to the pruned networks.

    Parameters
    ----------
    study : RunArrays
    rows : (networks,), integers
        Rows of the pruned networks.
    from_rows : (networks,), integers, optional
        Rows of the reference networks. If None, the reference is the dense networks.
    has : (classes of all data sets,), bool
        The classes of the cell.
    predictions : StudyPredictions, optional
    paired : bool
        Whether each network is compared with the reference at the same position.
    """
    recall, accuracy = (
        (study.before, study.accuracy_before) if from_rows is None else (study.after, study.accuracy_after)
    )
    first = rows if from_rows is None else from_rows
    recalls = recall[np.ix_(first, has)], study.after[np.ix_(rows, has)]
    run_ids = study.runs[RUN_ID].iloc
    before_ids = study.runs[schema.DENSE_RUN_ID].iloc[rows] if from_rows is None else run_ids[from_rows]
    pairs = predictions.of_pairs(before_ids, run_ids[rows]) if predictions else None
    each_class = class_sums.each_class(int(has.sum()))
    mean = (recalls[0] + recalls[1]).mean(0) / 2 if paired else (recalls[0].mean(0) + recalls[1].mean(0)) / 2
    if pairs and (label := _label_by_column(pairs, recalls)) is not None:
        of_all = class_losses.from_predictions(label, *pairs.right, paired=paired)
        changes = class_losses.of_few_images(of_all, np.bincount(label))
        share = np.bincount(label) / len(label)
        return RecallChanges(
            Weighted(changes, each_class, mean),
            Weighted(changes, class_sums.excess_weights(share), mean),
            Weighted(of_all, share[np.newaxis], mean),
            label,
            pairs.right,
        )
    accuracies = accuracy[first, np.newaxis], study.accuracy_after[rows, np.newaxis]
    balances = recalls[0] - accuracies[0], recalls[1] - accuracies[1]
    loss, excess, of_accuracy = (
        class_losses.from_recalls(*each, paired=paired) for each in (recalls, balances, accuracies)
    )
    return RecallChanges(
        Weighted(loss, each_class, mean), Weighted(excess, each_class, mean), Weighted(of_accuracy, np.eye(1), mean[:1])
    )


class CellCosts(NamedTuple):
    """Losses of the networks of a cell.

    Attributes
    ----------
    reference : str
        Kind of reference networks: own controls, controls of other seeds, or dense networks.
    n : int
        Number of pruned networks that are compared, including those at chance; if controls are of other seeds, the
        smaller of the numbers of pruned networks and controls.
    accuracy_loss, accuracy_loss_upper : float
        Loss of accuracy, and its one-sided 95 % upper bound.
    columns : dict of str to (classes,)
        `class_costs.LOSS_COLUMNS` and `class_costs.COST_COLUMNS`: the loss of recall of each class, and the part of it
        beyond the loss of accuracy.
    worst : WorstClass
        The class with the largest cost.
    disproportionate : Bounds, optional
        Disproportionate loss of each class. None without predictions, or if some networks lack a control of their own.
    """

    reference: str
    n: int
    accuracy_loss: float
    accuracy_loss_upper: float
    columns: dict[str, np.ndarray]
    worst: WorstClass
    disproportionate: Bounds | None


def cell_costs(
    study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None = None
) -> tuple[CellCosts | None, np.ndarray]:
    """Compute the losses in a cell and a mask of its classes; cache the result in the study.

    Networks at chance count, because a destroyed network is part of a method's cost.

    Returns
    -------
    CellCosts, optional
        None if no pruned network has recalls of all classes.
    (classes of all data sets,), bool
    """
    kept: dict[Any, tuple[CellCosts | None, np.ndarray]] = vars(study).setdefault("_cell_costs", {})
    key = rows.tobytes(), predictions
    if key not in kept:
        kept[key] = _cell_costs(study, rows, predictions)
    return kept[key]


def _cell_costs(
    study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None
) -> tuple[CellCosts | None, np.ndarray]:
    has = study.classes_of(rows)
    known = rows[np.isfinite(study.after[np.ix_(rows, has)]).all(1)]
    if not len(known):
        return None, has
    reference, rows, from_rows = _reference(study, known)
    paired = reference != CONTROL_OF_OTHER_SEEDS
    changes = recall_changes(study, rows, from_rows, has, predictions, paired=paired)
    support = None if changes.label is None else np.bincount(changes.label)
    columns, worst = _class_costs(changes, paired)
    images = None if support is None else np.array([support.sum()])
    accuracy = class_costs.bounds(changes.accuracy.changes, changes.accuracy.weights, support=images)
    disproportionate = None
    if reference == CONTROL_OF_NETWORK and changes.label is not None and changes.right:
        disproportionate = disproportionate_losses(changes.label, *changes.right)
    of_accuracy = float(accuracy.value[0]), float(accuracy.upper_all[0])
    networks = len(rows) if paired or from_rows is None else min(len(rows), len(from_rows))
    return CellCosts(reference, networks, *of_accuracy, columns, worst, disproportionate), has


def _class_costs(changes: RecallChanges, paired: bool) -> Costs:
    """Compute the costs of the classes; if several networks have predictions, compute them as an audit does."""
    loss = changes.loss.moderated
    if changes.label is not None and changes.right and max(map(len, changes.right)) > 1:
        return class_table.costs_of_networks(changes.label, *changes.right, loss)
    excess = changes.excess.moderated
    support = None if changes.label is None else np.bincount(changes.label)
    losses = class_costs.bounds(loss, changes.loss.weights, support=support)
    costs = class_costs.bounds(excess, changes.excess.weights, support=support)
    differences = changes.right[0].astype(np.int8) - changes.right[1] if changes.right and paired else None
    worst = class_costs.worst_class(excess, changes.excess.weights, label=changes.label, differences=differences)
    columns = dict(zip(LOSS_COLUMNS, losses, strict=False)) | dict(zip(COST_COLUMNS, costs, strict=True))
    return Costs(columns, worst)


def networks_for_limit(
    study: RunArrays, rows: np.ndarray, limit: float, predictions: StudyPredictions | None = None
) -> int | None:
    """Estimate how many networks would rule out a class loss above a limit, if the estimated losses stay the same.

    Return None if `promises.networks_for_limit` returns None, or if the controls are of other seeds.
    """
    has = study.classes_of(rows)
    reference, rows, from_rows = _reference(study, rows)
    if reference == CONTROL_OF_OTHER_SEEDS:
        return None
    loss = recall_changes(study, rows, from_rows, has, predictions).loss
    return promises.networks_for_limit(loss.moderated, limit)


def promised(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None = None) -> pd.DataFrame:
    """Tabulate the networks and images needed to promise limits for all classes of a cell (`promises.promises`).

    The table is empty if the variance between networks is unknown: with fewer than two networks, or if the controls are
    of other seeds. It is also empty without the number of test images of each class.
    """
    has = study.classes_of(rows)
    reference, rows, from_rows = _reference(study, rows)
    support = common_support(study.support[np.ix_(rows, has)])
    if reference == CONTROL_OF_OTHER_SEEDS or len(rows) < 2 or support is None or np.isnan(support).any():
        return pd.DataFrame()
    loss = recall_changes(study, rows, from_rows, has, predictions).loss
    return promises.promises(loss.moderated, float(support.min()))


def _reference(study: RunArrays, rows: np.ndarray) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Return the kind of reference, the rows that have one, and the references' rows (None if dense)."""
    controls = study.controls[rows]
    if (controls >= 0).any():
        return CONTROL_OF_NETWORK, rows[controls >= 0], controls[controls >= 0]
    if len(others := study.controls_of_other_seeds(rows[0])):
        return CONTROL_OF_OTHER_SEEDS, rows, others
    return DENSE, rows, None


def _label_by_column(pairs: Pairs, recalls: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
    """Match each image's class to its column of recalls, (images,).

    Predictions have class labels and runs have class names, whose order may differ. A label is matched to the column
    with equal recalls. Return None if labels and columns do not match.
    """
    shares = pairs.recall
    if any(share.shape != recall.shape for share, recall in zip(shares, recalls, strict=True)):
        return None
    distance = sum(
        np.abs(share[:, :, np.newaxis] - recall[:, np.newaxis]).max(0)
        for share, recall in zip(shares, recalls, strict=True)
    )
    of_label, column = linear_sum_assignment(distance)
    return column[pairs.images.place] if (distance[of_label, column] < _SAME_RECALL).all() else None
