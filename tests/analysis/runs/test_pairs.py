"""Runs of a table, as `mlflow.search_runs` gives it, in pairs."""

import pandas as pd
import pytest

from analysis.runs import frames, pairs
from tests import made_up_runs

RUNS = made_up_runs.runs("toy", "net", "mp", 2, [1.0, 1.1])


@pytest.mark.parametrize("tag", ["", "cat, dog", "[1, 2]", '"ab"', "[" * 100_000])
def test_a_run_whose_class_names_are_no_list_is_left_out(tag):
    rows = made_up_runs.rows(RUNS)
    rows["tags.class_names"] = ['["a", "b"]'] * 3 + [tag]
    runs = pairs.paired(rows, where="here").runs
    assert runs["seed"].tolist() == [0]
    assert runs["class_names"].tolist() == ['["a", "b"]']
    assert runs.attrs["left_out"] == [
        f"1 pruned run left out, class_names is no JSON list of texts: {RUNS['run_id'][1]}"
    ]


@pytest.mark.attack
@pytest.mark.parametrize("tag", ["", "epochs 5", '["epochs"]', '{"epochs": 5}', '{"a":' * 100_000])
def test_a_run_whose_cell_is_no_json_object_of_texts__is_left_out(tag):
    rows = made_up_runs.rows(RUNS)
    rows.loc[3, "tags.cell"] = tag
    runs = pairs.paired(rows, where="here").runs
    assert runs["seed"].tolist() == [0]
    assert runs.attrs["left_out"] == [f"1 pruned run left out, cell is no JSON object of texts: {RUNS['run_id'][1]}"]


def test_foreign_runs_with_recalls_only_have_four_settings_and_the_control_of_their_dense_run():
    made = made_up_runs.study(RUNS, made_up_runs.runs("toy", "net", "none", 1, [1.0]))
    rows = made_up_runs.rows(made).drop(columns=["tags.cell", "tags.control_run_id"]).assign(**{"params.epochs": "5"})
    runs = pairs.paired(rows, where="here").runs.set_index("run_id")
    assert frames.params(runs) == ["dataset", "model", "pruner", "ratio", "seed"]
    assert runs["control_run_id"].dropna().to_dict() == {RUNS["run_id"][0]: "toy net none 1 0 "}


def test_a_control_that_was_made_again_is_the_newer_run():
    made = made_up_runs.study(RUNS, made_up_runs.runs("toy", "net", "none", 1, [1.0, 1.0]))
    rows = made_up_runs.rows(made)
    again = rows[rows["run_id"] == "toy net none 1 0 "].assign(run_id="again", end_time=1.0)
    runs = pairs.paired(pd.concat([rows, again], ignore_index=True), where="here").runs
    named = dict(zip(RUNS["run_id"], ["again", "toy net none 1 1 "], strict=True))
    assert runs.set_index("run_id")["control_run_id"].dropna().to_dict() == named
