"""Growth of the error and slope of a cell against its controls, on recalls that are known."""

import numpy as np
import pytest

from analysis.runs import schema
from analysis.study.arrays import run_arrays
from analysis.study.cells import cells
from analysis.study.classes import classes
from analysis.study.proportions import cell_proportion, columns
from tests.made_up_runs import predicted, runs, study, with_images

CONTROLS = with_images(runs("toy", "net", "none", 1, [1.0, 1.1, 0.9, 1.0]))


def in_proportion(factor, ratio=2):
    """Runs whose classes have so many times the error of their controls."""
    made = with_images(runs("toy", "net", "mp", ratio, [1.0, 1.1, 0.9, 1.0]))
    for name in ("recall_after/a", "recall_after/b", "accuracy_after"):
        made[name] = 1 - factor * (1 - made[name])
    return made


def cell(*made, predictions=None):
    arrays = run_arrays(study(*made))
    rows = next(rows for rows in arrays.cells if arrays.runs[schema.PRUNER].iloc[rows[0]] == "mp")
    return cell_proportion(arrays, rows, predictions)


def test_errors_that_all_grow_by_half():
    found = cell(in_proportion(1.5), CONTROLS)
    assert (found.n, found.accuracy_control, found.accuracy) == pytest.approx((4, 0.8, 0.7))
    assert found.odds_ratio == pytest.approx(12 / 7)  # 3 : 7 after 2 : 8
    named = columns(found.on_these_images)
    assert [
        named[name] for name in ("error_growth", "raw_slope_on_none", "proportionality", "alpha_beyond")
    ] == pytest.approx([1.5, 1.5, 1, 1])
    assert found.for_new_images is None


def test_without_a_control_there_is_nothing():
    assert cell(in_proportion(1.5)) is None
    assert np.isnan(list(columns(None).values())).all()


def test_with_two_networks_there_is_no_variance():
    found = cell(in_proportion(1.5)[:2], CONTROLS)
    assert (found.n, found.on_these_images) == (2, None)


def test_tables_of_cells_and_classes_have_them():
    made = in_proportion(2), CONTROLS
    arrays, read = run_arrays(study(*made)), predicted(*made)
    row = cells(arrays, read).set_index("pruner").loc["mp"]
    assert row["odds_ratio"] == pytest.approx(8 / 3)  # 4 : 6 after 2 : 8
    assert row["error_growth"] == pytest.approx(2)
    assert row["error_growth_low"] < row["error_growth"] < row["error_growth_high"]
    losses = classes(arrays, read).set_index("class")["disproportionate"]
    assert losses.to_numpy() == pytest.approx([0, 0], abs=1e-12)
    without = classes(arrays)
    assert without["disproportionate"].isna().all()
    assert np.isnan(cells(arrays).set_index("pruner").loc["mp", "proportionality"])


def test_tables_have_the_factors_of_classes_and_their_test():
    """The errors of a grow from 40 to 60 of 400 images, and those of b do not grow."""
    pruned = with_images(runs("toy", "net", "mp", 2, [1.0, 1.1, 0.9, 1.0]))
    pruned["recall_after/a"] -= np.array([0.05, 0.06, 0.05, 0.04])
    pruned["accuracy_after"] = (pruned["recall_after/a"] + pruned["recall_after/b"]) / 2
    arrays = run_arrays(study(pruned, CONTROLS))
    of_class = classes(arrays).set_index("class")
    assert of_class["error_factor"].to_dict() == pytest.approx({"a": 1.5, "b": 1.0})
    assert (of_class["error_factor_low"] <= of_class["error_factor"]).all()
    assert of_class["proportionality_without"].isna().all()  # one class has no slope
    assert cells(arrays).set_index("pruner").loc["mp", "equal_factors_p"] < 0.05
    assert np.isnan(cells(run_arrays(study(pruned[:2], CONTROLS))).set_index("pruner").loc["mp", "equal_factors_p"])


def test_classes_have_precision_and_f1():
    """Of 100 images of a, controls and dense networks have 90 right, and of b 70; the pruned networks 80 and 40."""
    both = [with_images(runs("toy", "net", name, ratio, [1.0, 1.0])) for name, ratio in (("mp", 2), ("none", 1))]
    both[0][["recall_after/a", "recall_after/b", "accuracy_after"]] = [0.8, 0.4, 0.6]
    of_class = classes(run_arrays(study(*both)), predicted(*both)).set_index("class")
    # Called a: 90 + 30 of 200 before, 80 + 60 after. F1 is twice the right images over images plus calls.
    assert of_class["precision_before"].to_dict() == pytest.approx({"a": 90 / 120, "b": 70 / 80})
    assert of_class["precision_after"].to_dict() == pytest.approx({"a": 80 / 140, "b": 40 / 60})
    lost = {"a": 180 / 220 - 160 / 240, "b": 140 / 180 - 80 / 160}
    assert of_class["f1_loss"].to_dict() == pytest.approx(lost)
    half = (lost["b"] - lost["a"]) / 2
    assert of_class["f1_cost"].to_dict() == pytest.approx({"a": -half, "b": half})
