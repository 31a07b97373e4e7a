"""Find the class that loses systematically more with a method than with its baseline, and the class that loses less."""

from typing import Any

import numpy as np

from analysis.statistics.losses import worst_class, worst_of_recalls
from analysis.study.arrays import RunArrays
from analysis.study.costs import _answers
from analysis.study.predictions import StudyPredictions

SIDES = ("cost", "spared")
COLUMNS = [f"{side}{ending}" for side in SIDES for ending in ("_class", "", "_low", "_high", "_p")]
NOTHING: dict[str, Any] = {name: "" if name.endswith("_class") else np.nan for name in COLUMNS}


def systematic(
    study: RunArrays,
    rows: np.ndarray,
    baseline_rows: np.ndarray,
    has: np.ndarray,
    predictions: StudyPredictions | None = None,
) -> dict[str, Any]:
    """Find the classes with the highest and the lowest cost of a method, compared with its baseline.

    Parameters
    ----------
    study : RunArrays
    rows, baseline_rows : (networks,), integers
        Rows of the method's and of the baseline's networks, made from the same dense networks in the same order.
    has : (classes of all data sets,), bool
        True for the classes of the networks' data set.
    predictions : StudyPredictions, optional

    Returns
    -------
    dict
        `COLUMNS`: cost_class, and its mean cost with interval and p as in `losses.worst_class` or, without predictions,
        `losses.worst_of_recalls`; and the same for spared_class, with method and baseline exchanged. `NOTHING` for
        fewer than two networks.
    """
    if len(rows) < 2:
        return NOTHING
    if answers := _answers(study, rows, baseline_rows, has, predictions):
        label, right = answers
        differences = np.subtract(*right, dtype=np.int8)
        worst = [worst_class(label, sign * differences, 1) for sign in (1, -1)]
    else:
        method, baseline = (study.measured(each, has)[1].raw_balance for each in (rows, baseline_rows))
        worst = [worst_of_recalls(costs) for costs in (baseline - method, method - baseline)]
    names = [*study.names[has], ""]  # the last one is at -1, the place without a class
    values = [value for each in worst for value in (str(names[each.place]), *each[1:])]
    return dict(zip(COLUMNS, values, strict=True))
