"""Growth of the error and slope of a cell against its controls, on recalls that are known."""

import numpy as np
import pytest

from analysis.runs import schema
from analysis.statistics import proportion
from analysis.study.arrays import run_arrays
from analysis.study.predictions import StudyPredictions
from analysis.study.proportions import cell_proportion, columns
from tests.made_up_runs import runs, study, with_images

CONTROLS = with_images(runs("toy", "net", "none", 1, [1.0, 1.1, 0.9, 1.0]))


def in_proportion(factor, ratio=2):
    """Runs whose classes have so many times the error of their controls."""
    made = with_images(runs("toy", "net", "mp", ratio, [1.0, 1.1, 0.9, 1.0]))
    for name in ("recall_after/a", "recall_after/b", "accuracy_after"):
        made[name] = 1 - factor * (1 - made[name])
    return made


def cell(*made, predictions=None):
    arrays = run_arrays(study(*made))
    rows = next(rows for rows in arrays.cells() if arrays.runs[schema.PRUNER].iloc[rows[0]] == "mp")
    return cell_proportion(arrays, rows, predictions)


def test_errors_that_all_grow_by_half():
    found = cell(in_proportion(1.5), CONTROLS)
    assert (found.n, found.accuracy_control, found.accuracy) == pytest.approx((4, 0.8, 0.7))
    assert found.odds_ratio == pytest.approx(12 / 7)  # 3 : 7 after 2 : 8
    named = columns(found.on_these_images)
    assert [named[name] for name in ("growth", "slope", "proportionality", "alpha_beyond")] == pytest.approx(
        [1.5, 1.5, 1, 1]
    )
    assert found.for_new_images is None


def test_without_a_control_there_is_nothing():
    assert cell(in_proportion(1.5)) is None
    assert np.isnan(list(columns(None).values())).all()


def test_with_two_networks_there_is_no_variance():
    found = cell(in_proportion(1.5)[:2], CONTROLS)
    assert (found.n, found.on_these_images) == (2, None)


def test_predictions_say_what_new_images_would_show():
    made = study(in_proportion(1.5), CONTROLS)
    label = np.repeat([0, 1], 100)

    def predict(recalls):
        return np.where(np.tile(np.arange(100), 2) < np.rint(100 * np.array(recalls))[label], label, 1 - label)

    answers = {
        row["run_id"]: {schema.LABEL: label, schema.PREDICTED: predict([row["recall_after/a"], row["recall_after/b"]])}
        for _, row in made.iterrows()
    }
    found = cell(made, predictions=StudyPredictions(lambda ids: {each: answers[each] for each in ids}))
    right = [
        np.stack([answers[name][schema.PREDICTED] == label for name in made.loc[made["pruner"].eq(pruner), "run_id"]])
        for pruner in ("none", "mp")
    ]
    expected = proportion.for_new_images(label, *right)
    assert found.for_new_images.slope == expected.slope
    assert found.for_new_images.proportionality() == expected.proportionality()
