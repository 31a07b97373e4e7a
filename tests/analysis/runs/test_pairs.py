"""Runs of a table, as `mlflow.search_runs` gives it, in pairs."""

import pytest

from analysis.runs import pairs
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
