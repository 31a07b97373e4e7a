"""Find the class that loses systematically more with a method than with its baseline, and the class that loses less."""

from typing import Any

import numpy as np

from analysis.statistics import class_costs, class_losses
from analysis.study.arrays import RunArrays
from analysis.study.costs import RecallChanges, recall_changes
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
        `COLUMNS`: cost_class, and its mean cost with the interval of `class_costs.worst_class`; cost_p, one-sided,
        corrected for all classes, also by `class_costs.with_coins`; and the same for spared_class, with method and
        baseline exchanged. `NOTHING` for fewer than two networks.
    """
    if len(rows) < 2:
        return NOTHING
    found = recall_changes(study, rows, baseline_rows, has, predictions)
    return {
        name: value
        for side, sign in zip(SIDES, (1, -1), strict=True)
        for name, value in _side(side, sign, found, study.names[has]).items()
    }


def _side(side: str, sign: int, found: RecallChanges, names: np.ndarray) -> dict[str, Any]:
    changes, weights = found.excess.moderated, sign * found.excess.weights
    differences = found.right[0].astype(np.int8) - found.right[1] if found.right else None
    worst = class_costs.worst_class(changes, weights, label=found.label, differences=differences)
    change = changes.groups[0].mean(0)
    cost = -(weights @ change)
    p = class_costs.one_sided_p(changes.variances(weights), cost, class_costs.of_networks(changes, weights))
    if found.label is not None and found.right is not None:
        n_changed = class_losses.changed_images(found.label, *found.right)
        p = class_costs.with_coins(p, cost, -sign * change, n_changed, np.bincount(found.label))
    values = (str(names[worst.place]), worst.cost, worst.low, worst.high, float(p[worst.place]))
    return {
        f"{side}{ending}": value for ending, value in zip(("_class", "", "_low", "_high", "_p"), values, strict=True)
    }
