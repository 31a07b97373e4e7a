"""The class that pays in one method more than in another, with and without predictions."""

import numpy as np
import pytest

from analysis.report.methods.systematic import systematic
from analysis.study.arrays import run_arrays
from analysis.study.predictions import StudyPredictions
from tests.made_up_runs import runs, study

LABELS = np.repeat([0, 1], 100)
NAMES = "ab"


def cell(pruner, right):
    """The frame of a cell whose networks are right as given, from dense networks that are always right."""
    made = runs("toy", "net", pruner, 10, [1.0] * len(right))
    recalls = {f"recall_after/{name}": right[:, place == LABELS].mean(1) for place, name in enumerate(NAMES)}
    supports = {f"support/{name}": float((place == LABELS).sum()) for place, name in enumerate(NAMES)}
    before = {f"recall_before/{name}": 1.0 for name in NAMES}
    return made.assign(accuracy_before=1.0, accuracy_after=right.mean(1), **before, **recalls, **supports)


def test_the_class_that_a_method_loses_and_the_one_that_it_spares():
    """GP loses 20 of 100 images of class a, and MP 10 of class b: costs are .2 and -.1, minus .05 of all images."""
    images = np.arange(len(LABELS))
    cells = {"gp": np.array([images >= 20] * 2), "mp": np.array([(images < 100) | (images >= 110)] * 2)}
    made = study(*(cell(pruner, right) for pruner, right in cells.items()))
    right_by_run = dict(zip(made["run_id"], np.concatenate([*cells.values()]), strict=True))
    right_by_run |= dict.fromkeys(made["dense_run_id"], np.ones(len(LABELS), bool))

    def read(run_ids):
        return {
            each: {"label": LABELS, "predicted": np.where(right_by_run[each], LABELS, 1 - LABELS)} for each in run_ids
        }

    arrays = run_arrays(made)
    rows, baseline_rows = (np.flatnonzero(arrays.runs["pruner"] == pruner) for pruner in cells)
    for predictions in (StudyPredictions(read), None):
        found = systematic(arrays, rows, baseline_rows, np.ones(2, bool), predictions)
        assert (found["cost_class"], found["spared_class"]) == ("a", "b")
        assert (found["cost"], found["spared"]) == pytest.approx((0.15, 0.15))
        # Recalls that are the same in all networks show nothing.
        assert (found["cost_p"] <= 0.05) == (found["spared_p"] <= 0.05) == (predictions is not None)
