"""Groups of test images in a study: hand-worked rows, groups that are classes, and whose images a file is about."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.compare import group_text
from analysis.statistics.groups import ImageGroups
from analysis.study import groups
from analysis.study.arrays import run_arrays
from tests.made_up_groups import LABEL, WRITER, study, write


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    runs, predictions = study()
    path = write(tmp_path_factory.mktemp("groups"))
    of_images = groups.read_groups({"digits": path}, runs, predictions)
    return groups.groups(run_arrays(runs), predictions, of_images)


def test_every_group_has_its_accuracy_before_and_after_its_loss_and_its_cost(found):
    assert found.groups.groupby("grouping").size().to_dict() == {"series": 2, "writer": 8}
    writer = found.groups[found.groups["grouping"] == "writer"].set_index("group").loc["7"]
    assert writer[["dataset", "model", "pruner", "ratio", "images", "n"]].to_list() == [
        "digits",
        "lenet5",
        "mp",
        10,
        20,
        2,
    ]
    assert (writer["accuracy_before"], writer["accuracy_after"], writer["loss"]) == pytest.approx((1, 0.3, 0.7))
    assert (writer["accuracy_control"], writer["loss_from_control"]) == pytest.approx((1, 0.7))
    assert writer["cost"] == pytest.approx(0.7 - 55 / 160)
    for name in ("loss", "loss_from_control", "cost"):
        assert writer[f"{name}_low"] < writer[name] < writer[f"{name}_high"] < writer[f"{name}_upper_all"]
    old = found.groups.set_index("group").loc["old"]
    assert (old["images"], old["accuracy_after"]) == (80, pytest.approx(1 - 0.55))


def test_p_is_corrected_for_the_groups_of_one_grouping(found):
    series = found.groups[found.groups["grouping"] == "series"].set_index("group")
    # Losses are 11 and 44 of 80 images, and with two groups the smaller p counts twice.
    assert series["p_holm"].tolist() == [series.loc["new", "p"], 2 * series.loc["old", "p"]]
    # Costs are half the difference, up and down, with equal p.
    assert series["cost"].tolist() == pytest.approx([-33 / 160, 33 / 160])
    assert series["cost_p"].nunique() == 1


def test_what_a_group_loses_beyond_the_control_is_no_loss_of_the_control():
    """Of ten images each, both groups had all; the control lost one and none, and the pruned networks four and one."""
    place, before = np.repeat([0, 1], 10), np.ones((2, 20), bool)
    control, after = before.copy(), before.copy()
    control[:, 0] = after[:, :4] = after[:, 10] = False
    answers = groups.Answers(np.zeros(20, int), before, after, control)
    table, _ = groups.compare_groups(np.array(["a", "b"]), place, answers)
    assert table["loss"].tolist() == pytest.approx([0.4, 0.1])
    assert table["loss_from_control"].tolist() == pytest.approx([0.3, 0.1])
    assert table["cost"].tolist() == pytest.approx([0.1, -0.1])
    without, _ = groups.compare_groups(np.array(["a", "b"]), place, answers._replace(control=None))
    assert without["cost"].tolist() == pytest.approx([0.15, -0.15])
    assert "loss_from_control" not in without


def test_a_grouping_has_a_row_with_the_controls_values_beside_it(found):
    rows = found.groupings.set_index("grouping")
    assert rows["groups"].to_dict() == {"writer": 8, "series": 2}
    assert rows.loc["writer", "largest_excess"] == pytest.approx(0.7 - 55 / 160)
    assert rows.loc["writer", ["raw_slope_control", "largest_excess_control"]].to_list() == pytest.approx([1, 0])
    said = group_text.grouping(found.groupings.iloc[0])
    assert said.startswith("By writer, 8 groups of 20 to 20 images: alpha is")
    assert "Chance movement: the hardest-hit group, which differs between networks, loses 35.6 (35.6 to 35.6)" in said
    assert "0.0 in the control" in said


def test_a_cell_without_predictions_is_counted():
    runs, _ = study()
    found = groups.groups(
        run_arrays(runs), lambda run_ids: {}, {"digits": ImageGroups({"all": np.full(len(LABEL), "x")}, {})}
    )
    assert found.groups.empty
    assert found.notes == ["1 cells have no groups: their networks lack predictions"]


def test_networks_that_were_tested_on_other_images_are_left_out():
    runs, read = study()
    half = runs.assign(ratio=runs["ratio"].where(runs["pruner"] == "none", 20.0))
    half[["run_id", "dense_run_id"]] = "half " + half[["run_id", "dense_run_id"]]
    half["params.test_fraction"], runs["params.test_fraction"] = "0.5", "none"
    both = pd.concat([runs, half], ignore_index=True)

    def predictions(ids):
        halves = read([run_id.removeprefix("half ") for run_id in ids if run_id.startswith("half ")]).items()
        cut = {f"half {run_id}": {name: values[::2] for name, values in arrays.items()} for run_id, arrays in halves}
        return {**read([run_id for run_id in ids if not run_id.startswith("half ")]), **cut}

    found = groups.groups(run_arrays(both), predictions, {"digits": ImageGroups({"writer": WRITER.astype(str)}, {})})
    assert found.groups["ratio"].unique().tolist() == [10]
    assert found.notes == [
        "1 cells have no groups: their predictions and the table of groups differ in the number of test images"
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), {}),
        (Path("a.csv"), {"mnist": Path("a.csv")}),
        ("a.csv", {"mnist": Path("a.csv")}),
        (("mnist=a.csv",), {"mnist": Path("a.csv")}),
        ({"mnist": "a.csv"}, {"mnist": Path("a.csv")}),
    ],
)
def test_a_file_is_of_the_one_data_set_or_of_that_which_is_named(given, expected):
    assert groups.files_of_datasets(given, ["mnist"]) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a.csv"], "2 data sets: name the data set of a.csv, as in mnist=a.csv"),
        (["cifar=a.csv"], "cifar is not a data set of these runs: mnist, digits"),
        (["mnist=a.csv", "mnist=b.csv"], "a.csv and b.csv are both for mnist"),
        ({"cifar": "a.csv"}, "cifar is not a data set"),
    ],
)
def test_a_file_of_an_unknown_data_set_or_of_several_is_refused(given, message):
    with pytest.raises(StudyError, match=message):
        groups.files_of_datasets(given, ["mnist", "digits"])


def test_a_path_with_an_equals_sign_in_it_is_a_path_where_it_exists(tmp_path):
    path = tmp_path / "a=b.csv"
    path.touch()
    assert groups.files_of_datasets([str(path)], ["mnist"]) == {"mnist": path}


def test_runs_without_predictions_have_no_groups(tmp_path):
    runs, _ = study()
    with pytest.raises(StudyError, match="no run on digits has predictions"):
        groups.read_groups({"digits": write(tmp_path)}, runs, lambda run_ids: {})
