"""Compute the losses of classes in one cell, against controls if there are any, else against dense networks.

Networks with predictions are compared as in an audit, by `Comparison`. Without predictions the variance over images is
unknown, so `class_costs` computes bounds over networks only.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from analysis.compare.comparison import Comparison
from analysis.runs import schema
from analysis.runs.frames import RUN_ID
from analysis.statistics import class_costs, class_losses, class_sums, class_table, promises
from analysis.statistics.class_costs import COST_COLUMNS, LOSS_COLUMNS
from analysis.statistics.class_losses import Changes
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.limits import Limits
from analysis.statistics.proportion import DISPROPORTIONATE_COLUMNS
from analysis.statistics.recalls import Recalls
from analysis.study.arrays import RunArrays, common_support
from analysis.study.predictions import Pairs, StudyPredictions

# Kinds of reference networks that the compressed networks may be compared with.
CONTROL_OF_NETWORK, CONTROL_OF_OTHER_SEEDS, DENSE = "control", "control of other seeds", "dense"
COLUMNS = [*LOSS_COLUMNS, *COST_COLUMNS, *DISPROPORTIONATE_COLUMNS]
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
    """Changes of the same networks: of recall, and of recall beyond the change of accuracy.

    Attributes
    ----------
    loss, excess : Weighted
    label : (images,), integers, optional
        For each image, the column of its class in the recalls. None if only recalls are known.
    right : pair of (networks, images), bool, optional
        Whether each network classifies each image correctly, before and after.
    """

    loss: Weighted
    excess: Weighted
    label: np.ndarray | None = None
    right: tuple[np.ndarray, np.ndarray] | None = None


def recall_changes(
    study: RunArrays,
    rows: np.ndarray,
    from_rows: np.ndarray | None,
    has: np.ndarray,
    predictions: StudyPredictions | None = None,
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
    sides = _measured(study, rows, from_rows, has)
    start, after = (side.recall for side in sides)
    each_class = class_sums.each_class(int(has.sum()))
    mean = (start + after).mean(0) / 2 if paired else (start.mean(0) + after.mean(0)) / 2
    if answers := _answers(study, rows, from_rows, has, predictions):
        label, right = answers
        support = np.bincount(label)
        changes = class_losses.of_few_images(class_losses.from_predictions(label, *right, paired=paired), support)
        excess_weights = class_sums.excess_weights(support / len(label))
        return RecallChanges(Weighted(changes, each_class, mean), Weighted(changes, excess_weights, mean), label, right)
    gaps = (side.raw_balance for side in sides)
    loss, excess = (class_losses.from_recalls(*each, paired=paired) for each in ((start, after), gaps))
    return RecallChanges(Weighted(loss, each_class, mean), Weighted(excess, each_class, mean))


class WorstCost(NamedTuple):
    """The class with the largest cost, and this cost with its interval, as `class_costs.worst_class` finds them."""

    name: str = ""
    cost: float = np.nan
    low: float = np.nan
    high: float = np.nan
    is_shown: bool = False


class CellCosts(NamedTuple):
    """Losses of the networks of a cell.

    Attributes
    ----------
    reference : str
        Kind of reference networks: own controls, controls of other seeds, or dense networks.
    n : int
        Number of pruned networks that are compared, including those at chance; if controls are of other seeds, the
        smaller of the numbers of pruned networks and controls. If it is then 1, all bounds and p are NaN.
    table : DataFrame
        `COLUMNS`, with a row for each class: the loss of recall, the part of it beyond the loss of accuracy, and the
        part beyond the loss under proportional errors, which is NaN unless the networks have predictions and controls
        of their own.
    worst : WorstCost
    accuracy_loss_low : float
        Lower end of the 95 % interval of the loss of accuracy.
    accuracy_loss_upper : float
        One-sided 95 % bound of the loss of accuracy.
    """

    reference: str
    n: int
    table: pd.DataFrame
    worst: WorstCost
    accuracy_loss_low: float
    accuracy_loss_upper: float


def cell_costs(
    study: RunArrays,
    rows: np.ndarray,
    predictions: StudyPredictions | None = None,
    controls: np.ndarray | None = None,
) -> tuple[CellCosts | None, np.ndarray]:
    """Compute the losses in a cell and a mask of its classes; cache the result in the study.

    Networks at chance count, because a destroyed network is part of a method's cost.

    Parameters
    ----------
    study : RunArrays
    rows : (networks,), integers
        Rows of the cell.
    predictions : StudyPredictions, optional
    controls : (runs,), integers, optional
        The row of each run's control, by default `study.controls`.

    Returns
    -------
    CellCosts, optional
        None if no pruned network has recalls of all classes.
    (classes of all data sets,), bool
    """
    kept: dict[Any, tuple[CellCosts | None, np.ndarray]] = vars(study).setdefault("_cell_costs", {})
    controls = study.controls if controls is None else controls
    key = rows.tobytes(), controls[rows].tobytes(), predictions
    if key not in kept:
        kept[key] = _cell_costs(study, rows, predictions, controls)
    return kept[key]


def _cell_costs(
    study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None, controls: np.ndarray
) -> tuple[CellCosts | None, np.ndarray]:
    has = study.classes_of(rows)
    known = rows[np.isfinite(study.after[np.ix_(rows, has)]).all(1)]
    if not len(known):
        return None, has
    reference, rows, from_rows = compared_rows(study, known, controls)
    paired = reference != CONTROL_OF_OTHER_SEEDS
    networks = len(rows) if paired or from_rows is None else min(len(rows), len(from_rows))
    compared = _comparison(study, rows, from_rows, has, predictions, paired)
    costs = _of_comparison(compared) if compared else _of_recalls(study, rows, from_rows, has, paired)
    if not paired and networks < 2:
        # The variance between networks is unknown on one side, and would count as 0.
        costs = costs[0][["loss", "cost"]].reindex(columns=COLUMNS), WorstCost(), np.nan, np.nan
    return CellCosts(reference, networks, *costs), has


def _comparison(
    study: RunArrays,
    rows: np.ndarray,
    from_rows: np.ndarray | None,
    has: np.ndarray,
    predictions: StudyPredictions | None,
    paired: bool,
) -> Comparison | None:
    """Compare networks with their references image by image; None if predictions are missing."""
    answers = _answers(study, rows, from_rows, has, predictions)
    if predictions is None or answers is None:
        return None
    label, (start, after) = answers
    right = {"before" if from_rows is None else "control": start, "after": after}
    if from_rows is not None and (from_dense := predictions.of_runs(study.runs.iloc[rows])):
        right["before"] = from_dense.right[0]
    return Comparison(study.names[has], label, right, frozenset({"before", "control"} if paired else {"before"}))


def _of_comparison(compared: Comparison) -> tuple[pd.DataFrame, WorstCost, float, float]:
    has_own_controls = compared.reference == "control" and compared.are_pairs
    table = compared.costs.join(compared.disproportionate) if has_own_controls else compared.costs
    worst = WorstCost(*compared.worst.iloc[0, 1:]) if len(compared.worst) else WorstCost()
    accuracy = compared.accuracy_loss
    return table.reindex(columns=COLUMNS), worst, float(accuracy.bounds[0, 0, 0]), float(accuracy.upper[0])


def _of_recalls(
    study: RunArrays, rows: np.ndarray, from_rows: np.ndarray | None, has: np.ndarray, paired: bool
) -> tuple[pd.DataFrame, WorstCost, float, float]:
    changes = recall_changes(study, rows, from_rows, has, paired=paired)
    losses, costs = (class_costs.bounds(each.moderated, each.weights) for each in (changes.loss, changes.excess))
    joint = class_losses.intervals(changes.loss.moderated, -changes.loss.weights, LEVEL / len(losses.value))
    of_losses = losses.value, losses.low, losses.high, joint["low"], losses.upper_all
    columns = dict(zip(LOSS_COLUMNS, of_losses, strict=True)) | dict(zip(COST_COLUMNS, costs, strict=True))
    costliest = class_costs.worst_class(changes.excess.moderated, changes.excess.weights, p=costs.p)
    worst = WorstCost(str(study.names[has][costliest.place]), *costliest[1:]) if costliest.place >= 0 else WorstCost()
    accuracy = class_costs.bounds(_accuracy_changes(study, rows, from_rows, has, changes, paired=paired), np.eye(1))
    return pd.DataFrame(columns).reindex(columns=COLUMNS), worst, float(accuracy.low[0]), float(accuracy.upper_all[0])


def compared_rows(
    study: RunArrays, rows: np.ndarray, controls: np.ndarray | None = None
) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Find the networks of a cell that are compared, and the networks that their losses are measured from.

    Parameters
    ----------
    study : RunArrays
    rows : (networks,), integers
        Rows of the cell.
    controls : (runs,), integers, optional
        As for `cell_costs`.

    Returns
    -------
    str
        Kind of reference networks.
    (compared networks,), integers
        Rows of the cell that have a reference.
    (references,), integers, optional
        Rows of the references; None if they are the dense networks.
    """
    own = (study.controls if controls is None else controls)[rows]
    if (own >= 0).any():
        return CONTROL_OF_NETWORK, rows[own >= 0], own[own >= 0]
    if len(others := study.controls_of_other_seeds(rows[0])):
        return CONTROL_OF_OTHER_SEEDS, rows, others
    return DENSE, rows, None


def networks_for_limits(
    study: RunArrays, rows: np.ndarray, limits: Limits, predictions: StudyPredictions | None = None
) -> int | None:
    """Estimate how many networks would rule out losses above the limits, if the estimated losses stay the same.

    Return None if `promises.networks_for_limit` returns None for the classes or for the accuracy, or if the controls
    are of other seeds.
    """
    needed = [
        promises.networks_for_limit(each.changes, each.limit, support=each.support)
        for each in _limited(study, rows, limits, predictions)
    ]
    counts = [count for count in needed if count is not None]
    return max(counts) if len(counts) == len(needed) else None


def images_are_too_few(
    study: RunArrays, rows: np.ndarray, limits: Limits, predictions: StudyPredictions | None = None
) -> bool:
    """Return `promises.images_are_too_few` for the losses of a cell; False if only recalls are known."""
    return any(
        promises.images_are_too_few(each.changes, each.limit, each.support)
        for each in _limited(study, rows, limits, predictions)
        if each.support is not None
    )


class _Limited(NamedTuple):
    """Changes of recall or of the accuracy, the limit of the losses, and the numbers of images, if these are known."""

    changes: Changes
    limit: float
    support: np.ndarray | None


def _limited(
    study: RunArrays, rows: np.ndarray, limits: Limits, predictions: StudyPredictions | None
) -> tuple[_Limited, _Limited]:
    """Return the changes of the classes and of the accuracy in a cell, with their limits."""
    has = study.classes_of(rows)
    reference, rows, from_rows = compared_rows(study, rows)
    paired = reference != CONTROL_OF_OTHER_SEEDS
    changes = recall_changes(study, rows, from_rows, has, predictions, paired=paired)
    of_accuracy = _accuracy_changes(study, rows, from_rows, has, changes, paired=paired)
    support, images = (None, None) if changes.label is None else (np.bincount(changes.label), len(changes.label))
    return (
        _Limited(changes.loss.moderated, limits.class_loss, support),
        _Limited(of_accuracy, limits.accuracy_loss, None if images is None else np.array([images])),
    )


def _accuracy_changes(
    study: RunArrays,
    rows: np.ndarray,
    from_rows: np.ndarray | None,
    has: np.ndarray,
    changes: RecallChanges,
    *,
    paired: bool,
) -> Changes:
    """Compute the changes of accuracy of the networks whose changes of recall are given."""
    if changes.label is not None and changes.right is not None:
        return class_table.accuracy_changes(changes.label, *changes.right, paired=paired)
    accuracies = (side.accuracy[:, np.newaxis] for side in _measured(study, rows, from_rows, has))
    return class_losses.from_recalls(*accuracies, paired=paired)


def promised(study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None = None) -> pd.DataFrame:
    """Tabulate the networks and images needed to promise that no class loses more than a limit (`promises.promises`).

    The table is empty if the variance between networks is unknown: with fewer than two networks, if all networks lose
    the same, or if the controls are of other seeds. It is also empty without the number of test images of each class.
    """
    has = study.classes_of(rows)
    reference, rows, from_rows = compared_rows(study, rows)
    support = common_support(study.support[np.ix_(rows, has)])
    if reference == CONTROL_OF_OTHER_SEEDS or len(rows) < 2 or support is None or np.isnan(support).any():
        return pd.DataFrame()
    changes = recall_changes(study, rows, from_rows, has, predictions).loss.moderated
    if not any(each.over_networks > 0 for each in promises.spreads(changes)):
        return pd.DataFrame()
    return promises.promises(changes, support)


def _measured(
    study: RunArrays, rows: np.ndarray, from_rows: np.ndarray | None, has: np.ndarray
) -> tuple[Recalls, Recalls]:
    """Return the recalls of the reference networks and of the pruned networks."""
    before, after = study.measured(rows, has)
    return before if from_rows is None else study.measured(from_rows, has)[1], after


def _answers(
    study: RunArrays,
    rows: np.ndarray,
    from_rows: np.ndarray | None,
    has: np.ndarray,
    predictions: StudyPredictions | None,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None:
    """Return the column of each image's class in the recalls, and whether references and pruned networks are right.

    None if predictions are missing or do not match the recalls.
    """
    run_ids = study.runs[RUN_ID].iloc
    start_ids = study.runs[schema.DENSE_RUN_ID].iloc[rows] if from_rows is None else run_ids[from_rows]
    pairs = predictions.of_pairs(start_ids, run_ids[rows]) if predictions else None
    if pairs is None:
        return None
    support = common_support(study.support[np.ix_(rows, has)])
    label = _label_by_column(pairs, _measured(study, rows, from_rows, has), support)
    return None if label is None else (label, pairs.right)


def _label_by_column(pairs: Pairs, sides: tuple[Recalls, Recalls], support: np.ndarray | None) -> np.ndarray | None:
    """Match each image's class to its column of recalls, (images,).

    Predictions have class labels and runs have class names, whose order may differ. A label is matched to the column
    with equal recalls in all networks and, if it is known (`support`), the same number of images. If several labels
    agree in all this, they are matched in the order of the columns. Return None if labels and columns do not match.
    """
    shares, recalls = pairs.recall, [side.recall for side in sides]
    if any(share.shape != recall.shape for share, recall in zip(shares, recalls, strict=True)):
        return None
    images = np.bincount(pairs.images.place)
    column = None if support is None else _equal_columns(_counts(shares, images), _counts(recalls, support))
    if column is None:
        column = _nearest_columns(shares, recalls, 0 if support is None else np.not_equal.outer(images, support))
    distance = sum(np.abs(share - recall[:, column]).max(0) for share, recall in zip(shares, recalls, strict=True))
    has_same_images = support is None or np.array_equal(images, support[column])
    return column[pairs.images.place] if has_same_images and np.all(distance < _SAME_RECALL) else None


def _counts(recalls: Sequence[np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return the number of images of each class and, for each network, of those recognised, (1 + networks, classes)."""
    return np.rint(np.vstack([images, np.vstack(recalls) * images]))


def _equal_columns(of_labels: np.ndarray, of_columns: np.ndarray) -> np.ndarray | None:
    """Find a column with the same counts for each label, (labels,); None if there is none, as with rounded recalls."""
    label_order, column_order = np.lexsort(of_labels), np.lexsort(of_columns)
    column = np.empty_like(column_order)
    column[label_order] = column_order
    return column if np.array_equal(of_labels, of_columns[:, column]) else None


def _nearest_columns(
    shares: Sequence[np.ndarray], recalls: Sequence[np.ndarray], has_other_images: np.ndarray | int
) -> np.ndarray:
    """Assign to each label a column with nearly equal recalls and as many images, (labels,)."""
    distance = has_other_images + sum(
        reduce(np.maximum, (np.abs(np.subtract.outer(*network)) for network in zip(share, recall, strict=True)))
        for share, recall in zip(shares, recalls, strict=True)
    )
    return np.asarray(linear_sum_assignment(distance)[1])
