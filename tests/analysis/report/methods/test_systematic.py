"""The class that pays in one method more than in another, where few images say so."""

import numpy as np
import pandas as pd

from analysis.report.methods.systematic import systematic
from analysis.study.arrays import run_arrays
from analysis.study.predictions import StudyPredictions
from tests.made_up_runs import runs, study

LABELS = np.repeat([0, 1, 2], [200, 200, 2])
NAMES = "abc"


def cell(pruner, right):
    """The frame of a cell whose networks are right as given, from dense networks that are always right."""
    made = runs("toy", "net", pruner, 10, [1.0] * len(right)).drop(
        columns=[f"recall_{when}/{name}" for when in ("before", "after") for name in "ab"]
    )
    recalls = {f"recall_after/{name}": right[:, place == LABELS].mean(1) for place, name in enumerate(NAMES)}
    supports = {f"support/{name}": float((place == LABELS).sum()) for place, name in enumerate(NAMES)}
    before = {f"recall_before/{name}": 1.0 for name in NAMES}
    return made.assign(accuracy_before=1.0, accuracy_after=right.mean(1), **before, **recalls, **supports)


def test_a_class_of_two_images_that_a_method_loses_is_not_shown_to_pay():
    """Both methods lose an image of their own in the first class of each network, and one loses both of the third."""
    images = np.arange(len(LABELS))
    baseline = np.array([images != network for network in range(4)])
    method = np.array([(images != 100 + network) & (LABELS != 2) for network in range(4)])
    cells = {"gp": method, "mp": baseline}
    made = study(*(cell(pruner, right) for pruner, right in cells.items()))
    right_by_run = dict(zip(made["run_id"], np.concatenate([*cells.values()]), strict=True))
    right_by_run |= dict.fromkeys(made["dense_run_id"], np.ones(len(LABELS), bool))

    def read(run_ids):
        return {
            each: {"label": LABELS, "predicted": np.where(right_by_run[each], LABELS, (LABELS + 1) % 3)}
            for each in run_ids
        }

    arrays = run_arrays(made)
    rows, baseline_rows = (np.flatnonzero(arrays.runs["pruner"] == pruner) for pruner in cells)
    found = systematic(arrays, rows, baseline_rows, np.ones(3, bool), StudyPredictions(read))
    assert (found["cost_class"], round(found["cost"], 2)) == ("c", 1.0)
    # With a coin for each of the two images, both are lost in a quarter of the cases, in one class of three.
    assert found["cost_p"] == 0.75
    assert pd.notna(found["cost_low"])
