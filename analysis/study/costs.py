"""Compute the losses of classes in one cell: since the dense networks, and against controls if there are any."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.compare.comparison import LOSS_FROM_CONTROL, loss_columns
from analysis.runs import schema
from analysis.runs.frames import RUN_ID
from analysis.statistics import losses
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.limits import Losses
from analysis.statistics.losses import Spread, WorstClass, between, from_recalls
from analysis.statistics.proportion import DISPROPORTIONATE_COLUMNS, disproportionate_losses
from analysis.statistics.recalls import Recalls
from analysis.study.arrays import RunArrays, common_support
from analysis.study.predictions import OTHER_METRICS, StudyPredictions

# Kinds of reference networks that the compressed networks may be compared with.
CONTROL_OF_NETWORK, DENSE = "control", "dense"

COLUMNS = [
    *("loss", "loss_low", "loss_high", "loss_upper_all", "p", "p_holm", "damaged"),
    *(f"{name}{end}" for name in (LOSS_FROM_CONTROL, "cost") for end in ("", *losses.ENDINGS)),
    *DISPROPORTIONATE_COLUMNS,
    *("precision_before", "precision_after", "f1_loss", "f1_cost"),
]


class Sides(NamedTuple):
    """Reference networks and compressed networks of a cell.

    Attributes
    ----------
    recalls : pair of Recalls, (networks, classes)
        Row i of both belongs to the same dense network.
    label : (images,), integers, optional
        For each image, the column of its class in the recalls. None if only recalls are known.
    right : pair of (networks, images), bool, optional
        Whether each network classifies each image correctly.
    precision, f1 : pair of (networks, classes), optional
    """

    recalls: tuple[Recalls, Recalls]
    label: np.ndarray | None = None
    right: tuple[np.ndarray, np.ndarray] | None = None
    precision: tuple[np.ndarray, np.ndarray] | None = None
    f1: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def networks(self) -> int:
        """Number of pairs."""
        return len(self.recalls[0].recall)

    def losses(self) -> Spread:
        """Return the losses of the classes."""
        return self._spread([side.recall for side in self.recalls])

    def costs(self) -> Spread:
        """Return the losses of the classes beyond that of the accuracy; there must be several networks."""
        return self._spread([side.raw_balance for side in self.recalls], expected=1)

    def accuracy(self) -> Spread:
        """Return the loss of accuracy."""
        return self._spread([side.accuracy[:, np.newaxis] for side in self.recalls], of_all=True)

    def costliest(self, sign: int = 1) -> WorstClass:
        """Return the class that costs most or, if `sign` is -1, gains most."""
        if self.label is not None and self.right is not None:
            return losses.worst_class(self.label, sign * np.subtract(*self.right, dtype=np.int8), 1)
        start, after = (side.raw_balance for side in self.recalls)
        return losses.worst_of_recalls(sign * (start - after))

    def singles(self) -> list[Spread]:
        """Return the losses of each of several pairs alone; empty without predictions."""
        if self.networks < 2 or self.label is None or self.right is None:
            return []
        start, after = self.right
        return [between(self.label, start[[row]], after[[row]]) for row in range(self.networks)]

    def _spread(self, shares: Sequence[np.ndarray], expected: float = 0, *, of_all: bool = False) -> Spread:
        if self.label is None or self.right is None:
            return from_recalls(np.subtract(*shares))
        return between(np.zeros_like(self.label) if of_all else self.label, *self.right, expected)


def sides(
    study: RunArrays,
    rows: np.ndarray,
    from_rows: np.ndarray | None,
    has: np.ndarray,
    predictions: StudyPredictions | None = None,
) -> Sides:
    """Return the reference networks and the pruned networks of a cell.

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
    """
    before, after = study.measured(rows, has)
    run_ids = study.runs[RUN_ID].iloc
    start, start_ids = before, study.runs[schema.DENSE_RUN_ID].iloc[rows]
    if from_rows is not None:
        start, start_ids = study.measured(from_rows, has)[1], run_ids[from_rows]
    pairs = predictions.of_pairs(start_ids, run_ids[rows]) if predictions else None
    column = study.order_of_labels(rows[0], has)
    if pairs is None or len(column) != pairs.images.place.max() + 1:
        return Sides((start, after))
    place = np.argsort(column)
    (precision, precision_after), (f1, f1_after) = (pairs.metric(name) for name in OTHER_METRICS)
    return Sides(
        (start, after),
        column[pairs.images.place],
        pairs.right,
        (precision[:, place], precision_after[:, place]),
        (f1[:, place], f1_after[:, place]),
    )


class WorstCost(NamedTuple):
    """The class with the largest cost, as `losses.worst_class` names it, and this cost with its interval."""

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
        Kind of reference networks: own controls, or dense networks.
    n : int
        Number of pruned networks that are compared with the reference, including those at chance.
    table : DataFrame
        `COLUMNS`, with a row for each class. Losses are since the dense networks, losses from the control, and costs
        from the reference. Disproportionate losses need predictions and controls of the same networks. Precisions and
        F1 need predictions; f1_cost is the loss of F1 from the reference minus its mean over classes.
    worst : WorstCost
    names : list of str
    images : (classes,)
        Number of test images; infinite if it is unknown.
    dense, own : Sides
        All networks with the dense networks, and those that have a reference with this reference.
    """

    reference: str
    n: int
    table: pd.DataFrame
    worst: WorstCost
    names: list[str]
    images: np.ndarray
    dense: Sides
    own: Sides

    def losses(self, since: Sides) -> Losses:
        """Return the losses of classes for limits, without those that have nothing to lose.

        Parameters
        ----------
        since : Sides
            `dense` or `own`. Single networks are compared with their dense networks alone.
        """
        singles = since.singles() if since is self.dense else []
        numbers = [f"network {number}" for number in range(1, len(singles) + 1)]
        found = Losses(self.names, self.images, since.losses(), singles, numbers)
        return found.of(np.any(since.recalls[0].recall > 0, axis=0))

    def accuracy_losses(self, since: Sides) -> Losses:
        """Return the loss of accuracy for limits; `since` is as for `losses`."""
        return Losses(["the accuracy"], self.images.sum(keepdims=True), since.accuracy())


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
    reference, compared, from_rows = compared_rows(study, known, controls)
    dense = sides(study, known, None, has, predictions)
    own = dense if reference == DENSE else sides(study, compared, from_rows, has, predictions)
    names = list(map(str, study.names[has]))
    return CellCosts(
        reference,
        own.networks,
        _table(dense, own, reference).reindex(columns=COLUMNS),
        _worst(own, names),
        names,
        _images(study, known, has, dense.label),
        dense,
        own,
    ), has


def _images(study: RunArrays, rows: np.ndarray, has: np.ndarray, label: np.ndarray | None) -> np.ndarray:
    """Return the number of test images of each class, (classes,), infinite if it is unknown."""
    if label is not None:
        return np.bincount(label)
    support = common_support(study.support[np.ix_(rows, has)])
    return np.full(has.sum(), np.inf) if support is None else support


def _table(dense: Sides, own: Sides, reference: str) -> pd.DataFrame:
    columns = loss_columns(dense.losses(), dense.singles())
    if reference != DENSE:
        columns |= losses.columns(LOSS_FROM_CONTROL, own.losses())
    if own.networks > 1:
        columns |= losses.columns("cost", own.costs())
        if reference == CONTROL_OF_NETWORK and own.label is not None and own.right is not None:
            columns |= disproportionate_losses(own.label, *own.right)
        if own.f1 is not None:
            lost = np.subtract(*_means(own.f1))
            columns["f1_cost"] = lost - lost.mean()
    if dense.precision is not None and dense.f1 is not None:
        columns["precision_before"], columns["precision_after"] = _means(dense.precision)
        columns["f1_loss"] = np.subtract(*_means(dense.f1))
    return pd.DataFrame(columns)


def _means(metric: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return means over networks before and after, each (classes,)."""
    before, after = metric
    return before.mean(0), after.mean(0)


def _worst(own: Sides, names: list[str]) -> WorstCost:
    if own.networks < 2:
        return WorstCost()
    place, value, low, high, p = own.costliest()
    return WorstCost(names[place], value, low, high, bool(p <= LEVEL and value > 0))


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
    return DENSE, rows, None
