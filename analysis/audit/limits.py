"""Gates of an audit: whether the losses of classes, and of the accuracy, are surely within limits.

An upper bound decides, so that few networks or few images never help to pass.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.statistics import class_table
from analysis.statistics.hypothesis_tests import LEVEL

State = Literal["within", "beyond", "undecided"]
ACCURACY = "accuracy"
EXIT_CODES: Mapping[State, int] = {"within": 0, "beyond": 3, "undecided": 4}


class Limits(NamedTuple):
    """Largest losses to accept, as shares; None is no limit."""

    class_loss: float | None = None
    accuracy_loss: float | None = None

    @property
    def given(self) -> bool:
        """Whether there is a limit."""
        return self != (None, None)


class Gate(NamedTuple):
    """Whether losses are within limits, and why, in a sentence."""

    state: State
    reason: str


def in_points(class_loss: float | None, accuracy_loss: float | None) -> Limits:
    """Return limits that are given in percentage points.

    Raises
    ------
    StudyError
        If a limit is below 0 or above 100.
    """
    for name, points in (("max_class_loss", class_loss), ("max_accuracy_loss", accuracy_loss)):
        if points is not None and not 0 <= points <= 100:
            raise StudyError(f"{points:g} is no limit: give percentage points from 0 to 100", option=name)
    return Limits(*(None if points is None else points / 100 for points in (class_loss, accuracy_loss)))


def losses(names: list[str], label: np.ndarray, right: Mapping[str, np.ndarray], paired: bool) -> pd.DataFrame:
    """Return the loss of the accuracy and of each class, beyond the control if there is one, with its bounds.

    Parameters
    ----------
    names : list of str
        Of the classes.
    label : (images,), integers
        Class of each image, from 0.
    right : mapping of str to (networks, images), bool
        Whether each network before, after and, if there is one, in the control is right.
    paired : bool
        As `class_table.class_table` takes it.

    Returns
    -------
    DataFrame, the accuracy first
        name, support, loss; high, the upper end of its 95 % interval; low, the lower end of the interval that holds
        for all classes together.
    """
    sides = right["before"], right["after"], right.get("control")
    of_all = _bounds([ACCURACY], np.zeros_like(label), sides, paired)
    # The accuracy's bounds rest on those of the classes if there is one network.
    loss, low, high = class_table.accuracy_loss_bounds(label, *sides, paired=paired)
    of_all = of_all.assign(loss=loss, low=low, high=high)
    return pd.concat([of_all, _bounds(names, label, sides, paired)], ignore_index=True)


def _bounds(
    names: list[str], label: np.ndarray, sides: tuple[np.ndarray, np.ndarray, np.ndarray | None], paired: bool
) -> pd.DataFrame:
    loss, _, high = class_table.loss_bounds(label, *sides, paired=paired)
    _, low, _ = class_table.loss_bounds(label, *sides, paired=paired, level=LEVEL / len(names))
    return pd.DataFrame({"name": names, "support": np.bincount(label), "loss": loss, "low": low, "high": high})


def gate(table: pd.DataFrame, limits: Limits, least_certain: float | None = None) -> Gate:
    """Hold losses against limits.

    Parameters
    ----------
    table : DataFrame
        As `losses` returns it.
    limits : Limits
    least_certain : float, optional
        Given where nothing shows how far retraining alone moves classes. Nothing is then within a limit, and a loss is
        beyond it only if it is surely above this number too.

    Returns
    -------
    Gate
    """
    of_row = np.array([limits.accuracy_loss, *[limits.class_loss] * (len(table) - 1)], dtype=float)
    table = table.assign(limit=of_row)[~np.isnan(of_row)]
    beyond = table[table["low"] > np.maximum(table["limit"], least_certain or 0)]
    if len(beyond):
        worst = beyond.loc[(beyond["loss"] - beyond["limit"]).idxmax()]
        return Gate("beyond", f"Beyond the limit: {_loss(worst)} is surely more than {_points(worst['low'])}.")
    if least_certain is not None:
        return Gate(
            "undecided",
            "Undecided: one network a side and no control do not show how far retraining alone moves classes. Give "
            "--control (the files of --before, if nothing was retrained), or several networks a side.",
        )
    open_rows = table[table["high"] >= table["limit"]]
    if open_rows.empty:
        worst = table.loc[(table["high"] - table["limit"]).idxmax()]
        return Gate("within", f"Within the limits: {_loss(worst)} is surely less than {_points(worst['high'])}.")
    worst = open_rows.loc[(open_rows["high"] - open_rows["limit"]).idxmax()]
    said = f"Undecided: {_loss(worst)} may be up to {_points(worst['high'])}."
    return Gate("undecided", f"{said} More networks a side, or more images, would decide.")


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _loss(row: pd.Series) -> str:
    return f"the loss of {row['name']}, {_points(row['loss'])} (limit {100 * row['limit']:g}),"
