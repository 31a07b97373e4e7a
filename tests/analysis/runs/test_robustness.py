"""The artifact `corruptions.csv` : read as written, or refused in one line."""

import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.runs import robustness
from tests.damage import read_damaged

ROWS = [
    ("none", 0, "cat", 50, 40, 48, "a1"),
    ("none", 0, "=dog, or wolf", 50, 0, 50, "a1"),
    ("fog", 3, "cat", 50, 10, 30, "a1"),
    ("night photos", 0, "cat", 7, 7, 7, "b2"),
]
as_csv, read_table = robustness.TABLE.as_csv, robustness.TABLE.parse
TABLE = pd.DataFrame(ROWS, columns=robustness.COLUMNS)


def test_a_table_is_read_as_it_was_written():
    pd.testing.assert_frame_equal(read_table(as_csv(TABLE), "it"), TABLE, check_dtype=False)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("right", 51, "support, right, right_top5 contradict each other"),
        ("right_top5", 9, "contradict"),
        ("support", 0, "contradict"),
        ("right", -1, "contradict"),
        ("severity", 6, "a severity is not between 0 and 5"),
        ("severity", 0.5, "severity has type float64"),
        ("support", "many", "support has type"),
    ],
)
def test_impossible_values_are_refused(column, value, reason):
    table = TABLE.astype({column: object})
    table.loc[2, column] = value
    with pytest.raises(StudyError, match=rf"^it: no counts of correctly classified images \(.*{reason}"):
        read_table(as_csv(table), "it")


def test_a_row_that_is_there_twice_and_a_table_without_rows_are_refused():
    with pytest.raises(StudyError, match="a row occurs twice"):
        read_table(as_csv(pd.concat([TABLE, TABLE.iloc[:1]])), "it")
    with pytest.raises(StudyError, match="no counts"):
        read_table(as_csv(TABLE.iloc[:0]), "it")


@pytest.mark.slow
@pytest.mark.attack
def test_damaged_corruptions_csv__is_read_or_refused_in_one_line(tmp_path):
    parts = [b"\x00", b'"', b",", b"\n", b"9" * 30, b"NaN", b"\xff", b"fog"]
    taken = read_damaged(
        lambda path: read_table(path.read_bytes(), str(path)), tmp_path / "it", [as_csv(TABLE)], parts, 300
    )
    assert 0 < taken < 300
