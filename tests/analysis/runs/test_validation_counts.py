"""Counts of validation images and their export: read as written, or refused in one line."""

import numpy as np
import pytest

from analysis.common.errors import StudyError
from analysis.runs.validation_counts import TABLE, ValidationRecalls, wanted
from tests import made_up_mitigations as made_up
from tests import made_up_runs
from tests.damage import read_damaged

RUNS, COUNTS = made_up.mitigated()
OF_ONE = COUNTS.iloc[:3].drop(columns="run_id")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("label", -1, "a label is not between"),
        ("images", 0, "images and right contradict each other"),
        ("right", 101, "images and right contradict each other"),
        ("right", "many", "right has type"),
        ("label", 0, "a row occurs twice"),
    ],
)
def test_impossible_values_are_refused(column, value, reason):
    table = OF_ONE.astype({column: object})
    table.loc[2, column] = value
    with pytest.raises(StudyError, match=rf"^it: no counts of validation images \(.*{reason}"):
        TABLE.parse(TABLE.as_csv(table), "it")


@pytest.mark.attack
def test_damaged_validation_counts__is_read_or_refused_in_one_line(tmp_path):
    parts = [b"\x00", b'"', b",", b"\n", b"9" * 30, b"NaN", b"\xff", b"1e400"]
    taken = read_damaged(
        lambda path: TABLE.parse(path.read_bytes(), str(path)), tmp_path / "it", [TABLE.as_csv(OF_ONE)], parts, 300
    )
    assert 0 < taken < 300


def test_recalls_of_two_networks_need_the_same_number_of_images():
    recalls = ValidationRecalls(COUNTS)
    assert recalls.accuracy("toy 0") == pytest.approx(0.9)
    before, after = recalls.recalls("toy 0", "toy mp 20 0")
    assert (before.tolist(), after.tolist()) == ([0.9] * 3, [0.78, 0.87, 0.9])
    assert recalls.recalls("toy 0", "nothing") is None
    assert np.isnan(recalls.accuracy("nothing"))
    other = COUNTS.assign(images=COUNTS["images"].mask(COUNTS["run_id"] == "toy 0", 200))
    assert ValidationRecalls(other).recalls("toy 0", "toy mp 20 0") is None


def test_counts_are_wanted_where_a_report_looks_at_validation_images():
    assert wanted(RUNS)
    assert not wanted(made_up_runs.runs("toy", "net", "mp", 10, [1.0, 1.1]))
    assert wanted(made_up_runs.study(*(made_up_runs.runs("toy", "net", "mp", ratio, [1.0]) for ratio in (2, 4, 8, 16))))
