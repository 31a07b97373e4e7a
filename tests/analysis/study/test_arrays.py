"""Runs as arrays: cells and classes."""

import numpy as np

from analysis.study.arrays import common_support, recalls, run_arrays
from tests.made_up_runs import runs, study


def toy(pruner, ratio, values, **params):
    return runs("toy", "net", pruner, ratio, values, **params)


def test_rows_of_cells_are_in_the_order_of_their_settings():
    made = study(toy("up", 2, [1, 1]), toy("mp", 10, [1]), toy("mp", 2, [1, 1], epochs="5"), toy("mp", 2, [1]))
    assert [rows.tolist() for rows in run_arrays(made).cells] == [[3, 4], [5], [2], [0, 1]]


def test_classes_of_another_data_set_are_missing():
    made = study(toy("mp", 2, [1.5]), runs("other", "net", "mp", 2, [0.5], classes="cd"))
    arrays = run_arrays(made)
    assert np.isnan(arrays.before).tolist() == [[False, False, True, True], [True, True, False, False]]
    assert [(rows.tolist(), classes.tolist()) for rows, classes in arrays.class_sets()] == [
        ([1], [False, False, True, True]),
        ([0], [True, True, False, False]),
    ]
    # .9 and .7 of an accuracy of .8; after .8 -+ .05
    before, after = arrays.balances(np.array([1]), np.array([False, False, True, True]))
    assert before.round(6).tolist() == [[0.125, -0.125]]
    assert after.round(6).tolist() == [[0.0625, -0.0625]]
    assert recalls(made)[0] == ["a", "b", "c", "d"]


def test_a_cell_keeps_the_runs_with_the_classes_of_most():
    made = study(toy("mp", 2, [1, 1]), runs("toy", "net", "mp", 2, [1], classes="cd").assign(seed=2, run_id="odd"))
    arrays = run_arrays(made)
    assert "odd" not in set(arrays.runs["run_id"])
    assert len(arrays.before) == 2
    assert arrays.notes[0].startswith("1 runs left out")


def test_runs_with_slopes_have_a_defined_alpha_and_networks_that_do_not_guess():
    made = toy("mp", 2, [1, 1, 1, 1])
    made.loc[1, "accuracy_after"] = 0.5
    made.loc[2, "accuracy_before"] = 0.5
    made.loc[3, ["recall_before/a", "recall_before/b"]] = 0.8
    arrays = run_arrays(made)
    assert arrays.at_chance.tolist() == [False, True, True, False]
    assert arrays.sloped(np.arange(4)).tolist() == [0]
    assert arrays.classes_of(np.arange(4)).tolist() == [True, True]


def test_measured_are_recalls_and_accuracies_of_some_rows_and_classes():
    arrays = run_arrays(study(toy("mp", 2, [1.5]), runs("other", "net", "mp", 2, [0.5], classes="cd")))
    before, after = arrays.measured(np.array([0]), np.array([True, False, False, False]))
    assert before.recall.round(6).tolist() == [[0.9]]
    assert after.recall.round(6).tolist() == [[0.95]]
    assert [side.accuracy.tolist() for side in (before, after)] == [[0.8], [0.8]]


def test_supports_are_common_if_all_runs_agree():
    assert common_support(np.array([[5.0, 4.0], [5.0, 4.0]])).tolist() == [5, 4]
    assert common_support(np.array([[5.0, 4.0], [5.0, 3.0]])) is None
    assert common_support(np.array([[np.nan, 4.0]])) is None
