"""Groups of images: what is read of files, every fault in one line, and the statistics of a grouping."""

import numpy as np
import pandas as pd
import pytest

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.statistics import groups
from analysis.statistics.groups import grouping_summary
from analysis.statistics.pair_slopes import slopes
from tests.made_up_groups import AFTER, BEFORE, LABEL, WRITER


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "groups.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_row_for_each_image_names_its_groups_and_measures(tmp_path):
    path = written(tmp_path, '\ufeffwriter, measure: tilt ,series\n469,-0.25,"hsf0, new"\n 7 ,,hsf4\n,1e1,\n')
    found = groups.read(path, 3)
    assert {name: group.tolist() for name, group in found.groupings.items()} == {
        "writer": ["469", "7", ""],
        "series": ["hsf0, new", "hsf4", ""],
    }
    assert list(found.measures) == ["tilt"]
    np.testing.assert_array_equal(found.measures["tilt"], [-0.25, np.nan, 10])


def test_the_quote_before_what_a_spreadsheet_takes_for_a_formula_is_no_part_of_a_group(tmp_path):
    csv_text.write(pd.DataFrame({"class": ["=x", "'=x", "o"]}), tmp_path / "groups.csv")
    assert groups.read(tmp_path / "groups.csv", 3).groupings["class"].tolist() == ["=x", "'=x", "o"]


def test_groups_by_the_index_of_the_image(tmp_path):
    path = written(tmp_path, '\ufeffindex, light ,who,measure:lux\n3,day,"b, c",7\n\n0, night,,\n1,day,a,1\n')
    found = groups.read(path, 5)
    assert {name: group.tolist() for name, group in found.groupings.items()} == {
        "light": ["night", "day", "", "day", ""],
        "who": ["", "a", "", "b, c", ""],
    }
    np.testing.assert_array_equal(found.measures["lux"], [np.nan, 1, np.nan, 7, np.nan])
    names, images, place = groups.members(found.groupings["light"])
    assert (names.tolist(), images.tolist(), place.tolist()) == (["day", "night"], [0, 1, 3], [1, 0, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no grouping"),
        ("light\nday\n", "1 rows for 4 test images: give each test image a row, in test order"),
        ("light\n" + 5 * "day\n", "5 rows for 4 test images"),
        ("measure:lux\n1\n2\n3\n4\n", "has no grouping"),
        ("light,measure:\na,1\n", "a name of its own"),
        ("light,measure:lux,measure: lux\na,1,1\n", "a name of its own"),
        ("light,measure:lux\na,1\na,2\na,bright\na,4\n", "column 'measure:lux', line 4: 'bright' is not a number"),
        ("light,measure:lux\na,1\na,nan\na,1\na,4\n", "line 3: 'nan' is not a number"),
        ("light,measure:lux\na,1\na,2\na,1e999\na,4\n", "line 4: '1e999' is not a number"),
        ("light,index\nday,0\n", "index must be the first column"),
        ("index\n0\n", "has no grouping"),
        ("index,a,a\n0,x,y\n", "a name of its own"),
        ("index,a,\n0,x,y\n", "a name of its own"),
        ("index,light\n", "has no image"),
        ("index,light\n0,day,x\n", "line 2: 3 values for 2 columns"),
        ("index,light\n0,day\none,day\n", "line 3: index 'one' is no image of the predictions"),
        ("index,light\n-1,day\n", "line 2: index '-1' is no image"),
        ("index,light\n4,day\n", "line 2: index '4' is no image"),
        ("index,light\n1,day\n1,day\n", "line 3: index '1' occurs twice"),
        ("index,light\n1,\n", "column 'light' names no group"),
        (f"index,light\n1,{'x' * 2000}\n", "line 2: a group has 2,000 characters"),
        ('index,light\n1,"day\n', "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(StudyError, match=message) as caught:
        groups.read(path, 4)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cells", [[f"{number}.png" for number in range(12)], np.repeat(np.arange(12) / 8, 2)])
def test_a_column_of_names_or_measurements_is_no_grouping(tmp_path, cells):
    path = written(tmp_path, "\n".join(["light,size", *(f"day,{cell}" for cell in cells)]))
    with pytest.raises(StudyError, match=r"column 'size' has measurements, numbers or names.* call it measure:size"):
        groups.read(path, len(cells))


def test_a_measure_may_rank_the_images(tmp_path):
    found = groups.read(written(tmp_path, "light,measure:rank\nday,3\nday,1\nnight,2\n"), 3)
    assert found.measures["rank"].tolist() == [3, 1, 2]


def test_a_file_that_is_none_or_in_another_encoding_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"gone\.csv"):
        groups.read(tmp_path / "gone.csv", 4)
    with pytest.raises(StudyError, match=r"groups\.csv: cannot be read as CSV .*: save it in UTF-8"):
        groups.read(written(tmp_path, "index,licht\n0,trüb\n", "latin-1"), 4)


@pytest.mark.attack
def test_500_files_of_groups_of_random_lines__are_read_or_refused_in_one_line(tmp_path):
    rng = np.random.default_rng(0)
    pieces = [
        "index",
        "measure:",
        "0",
        "1",
        "-1",
        "9" * 20,
        "1e3",
        "nan",
        ",",
        ",",
        "\n",
        "\n",
        '"',
        "=x",
        "猫",
        "\0",
        "\r",
    ]
    for number in range(500):
        path = tmp_path / "fuzzed.csv"
        start = "index,a\n" if number % 2 else ""
        path.write_text(start + "".join(rng.choice(pieces, 12)), encoding="utf-8", newline="")
        assert outcome(path) in ("read", "refused in one line")


def outcome(path):
    try:
        found = groups.read(path, 3)
    except StudyError as error:
        return "refused in one line" if "\n" not in str(error) else "refused"
    columns = [*found.groupings.values(), *found.measures.values()]
    return "read" if all(column.shape == (3,) for column in columns) else "misread"


def answers(right, networks=2):
    return np.tile(right, (networks, 1))


def test_the_writer_who_loses_most_and_how_much_beyond_the_accuracy():
    found = grouping_summary(np.unique(WRITER), WRITER, LABEL, answers(BEFORE), answers(AFTER), answers(BEFORE))
    # Accuracy falls from 159 / 160 to 104 / 160, that of writer 7 from 1 to .3.
    assert found["largest_excess"] == pytest.approx(0.7 - 55 / 160)
    assert found["largest_excess_group"] == "7"
    assert (found["groups"], found["fewest_images"], found["most_images"], found["n"]) == (8, 20, 20, 2)
    # Before, writer 0 has 19 of 20: balances are -.04375 and seven times .00625. After, 1 - k / 10 - .65.
    before = np.array([-0.04375, *[0.00625] * 7])
    after = 0.35 - np.arange(8) / 10
    raw_slope = before @ after / (before @ before)
    assert found["raw_slope"] == pytest.approx(raw_slope)
    assert found["alpha"] == pytest.approx(raw_slope * (159 / 160) / 0.65)
    assert (found["raw_slope_control"], found["alpha_control"]) == pytest.approx((1, 1))
    assert found["largest_excess_control"] == 0
    # Changes are +.05 of writer 0 and -k / 10 of the others.
    changes = np.array([0.05, *(-np.arange(1, 8) / 10)])
    assert found["spread_change"] == pytest.approx(changes.std())


def test_the_floor_of_a_grouping_is_that_of_two_normal_variables():
    # Of each group's 8 images one is lost and one won: a variance of .25 / 7, and no change.
    place = np.repeat([0, 1], 8)
    before = np.tile([1, 0, 1, 1, 1, 1, 0, 0], 2).astype(bool)[np.newaxis]
    after = np.tile([0, 1, 1, 1, 1, 1, 0, 0], 2).astype(bool)[np.newaxis]
    found = grouping_summary(np.arange(2), place, np.zeros(16, int), before, after, control=before)
    assert found["largest_excess"] == 0
    assert found["largest_excess_floor"] == pytest.approx(np.sqrt(2 * 0.25 / 7 / (2 * np.pi)), rel=1e-5)
    assert found["largest_excess_floor_control"] == 0


def test_groups_that_are_classes_give_the_slopes_of_classes():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 40)
    before, after = (rng.random((3, 120)) < 0.9 - fall * label for fall in (0.05, 0.2))
    found, classes = grouping_summary(np.arange(3), label, label, before, after), slopes(label, before, after, [])
    assert (found["alpha"], found["raw_slope"]) == (classes.alpha, classes.raw_slope)
    assert (found["alpha_new"], found["alpha_new_low"]) == classes.new[:2]
    assert found["spread_change"] == pytest.approx(found["spread_change_chance"])


def test_a_group_of_one_image_counts_in_the_slope_and_not_in_that_for_new_images():
    place = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    before = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 1]], bool)
    after = np.array([[1, 1, 0, 0, 1, 0, 0, 0, 0]], bool)
    found = grouping_summary(np.arange(3), place, np.zeros(9, int), before, after)
    without = grouping_summary(np.arange(2), place[:8], np.zeros(8, int), before[:, :8], after[:, :8])
    assert found["alpha_new"] == without["alpha_new"]
    assert found["alpha"] != without["alpha"]
    assert np.isnan([found["alpha_control"], found["largest_excess_control"]]).all()


def test_the_group_that_costs_most_on_average_is_read_beside_the_control():
    """The control loses group a; compression loses another 40 of the 100 images of group c, .1 of all images."""
    place, image = np.repeat(np.arange(4), 100), np.tile(np.arange(100), 4)
    before = np.ones((3, 400), bool)
    control = before & (place > 0)
    after = control & ((place != 2) | (image >= 40))
    names, label = np.array(list("abcd")), np.zeros(400, int)
    found = grouping_summary(names, place, label, before, after, control)
    assert (found["worst_group"], found["worst_group_shown"]) == ("c", True)
    assert found["worst_group_cost"] == pytest.approx(0.3)
    assert found["worst_group_cost_low"] < 0.3 < found["worst_group_cost_high"]
    assert grouping_summary(names, place, label, before, after)["worst_group"] == "a"
    for alone in (
        grouping_summary(names, place, label, before[:1], after[:1]),
        grouping_summary(names, place, label, before, after, control[:2], control_paired=False),
    ):
        assert (alone["worst_group"], alone["worst_group_shown"]) == ("", False)
        assert np.isnan(alone["worst_group_cost"])
