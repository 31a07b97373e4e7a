"""Advise decaying the learning rate if training without pruning moves classes more than test noise explains."""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.rendering.formats import decimals, with_interval
from analysis.runs import frames, schema
from analysis.statistics.intensification import excess_loss
from analysis.statistics.resampling import mean_interval
from analysis.study.arrays import run_arrays
from analysis.study.settings import CONTROL, is_mitigated

# Advice is given if the lower end of the interval of the control's movement (`ControlMovement`) is above this share.
SENSIBLE_SIZE = 0.01
_RATE = re.compile(r"x([0-9.e-]+)")


class ControlMovement(NamedTuple):
    """The control's largest excess loss minus its floor: the mean over networks, with its 95 % interval."""

    value: float
    low: float
    high: float


def control_movement(runs: pd.DataFrame) -> ControlMovement | None:
    """Estimate how far training without pruning moves classes at a constant learning rate.

    Parameters
    ----------
    runs : DataFrame
        Runs of one data set and model, as `pull.pull_runs` returns them.

    Returns
    -------
    ControlMovement, optional
        None if the lower end of the interval is not above `SENSIBLE_SIZE`, if a learning rate changes or is unknown, or
        if fewer than two networks have a control without mitigation.
    """
    runs = runs.reset_index(drop=True)
    if not _has_constant_rates(runs):
        return None
    study = run_arrays(runs)
    of_control = (study.runs[schema.PRUNER] == CONTROL) & ~is_mitigated(study.runs)
    rows = np.flatnonzero(of_control)
    if not len(rows):
        return None
    classes = study.classes_of(rows)
    largest = excess_loss(*study.measured(rows, classes)).max(-1)
    beyond = (
        pd.Series(largest - study.floors(rows, classes))
        .groupby(study.runs[schema.DENSE_RUN_ID].to_numpy()[rows])
        .mean()
    )
    low, high = mean_interval(beyond)
    return ControlMovement(float(beyond.mean()), low, high) if low > SENSIBLE_SIZE else None


def decay_advice(runs: pd.DataFrame) -> list[str]:
    """Return a sentence that advises decaying the learning rate, or an empty list."""
    movement = control_movement(runs)
    if movement is None:
        return []
    points = with_interval(100 * movement.value, 100 * movement.low, 100 * movement.high, decimals(1))
    return [
        "To see what pruning costs, decay the learning rate (--decay cosine): even without pruning some class loses "
        f"{points} points more than the loss of accuracy and test noise explain."
    ]


def _has_constant_rates(runs: pd.DataFrame) -> bool:
    """Return whether all runs are known to have trained their dense networks at a constant learning rate."""
    phases, decay = (frames.column(name) for name in (schema.PHASES, schema.DECAY))
    if phases not in runs or runs[phases].isna().any():
        return False
    if decay in runs and (runs[decay].fillna("none") != "none").any():
        return False
    return all(len(set(_RATE.findall(str(each)))) == 1 for each in runs[phases].unique())
