"""The artifact `class_characteristics.csv`: read as written, or refused in one line."""

import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.runs.characteristics import TABLE
from tests import made_up_levels
from tests.damage import read_damaged

RUNS = made_up_levels.runs(seeds=2)
KNOWN = made_up_levels.characteristics(RUNS)
OF_ONE = KNOWN.iloc[:4].drop(columns="run_id")


def test_a_table_is_read_as_it_was_written():
    without_images = OF_ONE.assign(entropy=[1.5, 2.5, float("nan"), 3.0], **{"class": ["NA", "=b", "c", "d"]})
    pd.testing.assert_frame_equal(TABLE.parse(TABLE.as_csv(without_images), "it"), without_images, check_dtype=False)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("entropy", 9.0, "an entropy is not between 0 and 8 bits"),
        ("entropy", "many", "entropy has type"),
        ("imbalance", -2.0, "an imbalance is not between -1 and 1"),
        ("imbalance", float("nan"), "an imbalance is not between -1 and 1"),
        ("training_images", -1, "negative"),
        ("index", 0, "a row occurs twice"),
    ],
)
def test_impossible_values_are_refused(column, value, reason):
    table = OF_ONE.astype({column: object})
    table.loc[2, column] = value
    with pytest.raises(StudyError, match=rf"^it: no characteristics of classes \(.*{reason}"):
        TABLE.parse(TABLE.as_csv(table), "it")


@pytest.mark.slow
@pytest.mark.attack
def test_damaged_class_characteristics_csv__is_read_or_refused_in_one_line(tmp_path):
    parts = [b"\x00", b'"', b",", b"\n", b"9" * 30, b"NaN", b"\xff", b"1e400"]
    taken = read_damaged(
        lambda path: TABLE.parse(path.read_bytes(), str(path)), tmp_path / "it", [TABLE.as_csv(OF_ONE)], parts, 300
    )
    assert 0 < taken < 300


def test_tables_of_runs_are_joined_without_damaged_ones():
    joined = TABLE.join({"mnist lenet5 0": TABLE.as_csv(OF_ONE), "mnist lenet5 1": b"damaged"})
    pd.testing.assert_frame_equal(joined, KNOWN.iloc[:4], check_dtype=False)
    assert list(TABLE.join({})) == list(KNOWN)
