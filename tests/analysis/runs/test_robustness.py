"""The artifact `corruptions.csv` and its export: read as written, or refused in one line."""

import gzip

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
as_csv, export, read, read_table = (getattr(robustness.TABLE, name) for name in ("as_csv", "export", "read", "parse"))
TABLE = pd.DataFrame(ROWS, columns=robustness.COLUMNS)


def of_run(run_id, table=TABLE):
    return table.assign(run_id=run_id)[["run_id", *robustness.COLUMNS]]


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


class TestExport:
    def test_is_read_as_it_was_written(self, tmp_path):
        table = pd.concat([of_run("r1"), of_run("r2")], ignore_index=True)
        assert [str(path) for path in export(table, tmp_path)] == ["corruptions.csv.gz"]
        first = (tmp_path / "corruptions.csv.gz").read_bytes()
        pd.testing.assert_frame_equal(read([tmp_path, tmp_path / "without"]), table, check_dtype=False)
        export(table, tmp_path)
        assert (tmp_path / "corruptions.csv.gz").read_bytes() == first

    def test_nothing_measured_gives_no_file_and_an_empty_table(self, tmp_path):
        assert export(robustness.TABLE.nothing(), tmp_path) == []
        assert read([tmp_path]).empty

    def test_folders_that_disagree_about_a_run_are_refused(self, tmp_path):
        export(of_run("r1"), tmp_path / "one")
        export(pd.concat([of_run("r1"), of_run("r2")]), tmp_path / "same")
        assert read([tmp_path / "one", tmp_path / "same"])["run_id"].value_counts().to_dict() == {"r1": 4, "r2": 4}
        export(of_run("r1", TABLE.assign(right=0)), tmp_path / "other")
        with pytest.raises(
            StudyError, match="two folders have different counts of correctly classified images for run r1"
        ):
            read([tmp_path / "one", tmp_path / "other"])

    @pytest.mark.attack
    def test_damaged_export_of_corruptions__is_refused_in_one_line(self, tmp_path):
        export(of_run("r1"), tmp_path)
        path = tmp_path / "corruptions.csv.gz"
        sound = path.read_bytes()
        for damaged in (sound[:-9], b"", b"no gzip", sound[:20] + b"\x00" + sound[21:], gzip.compress(b"a,b\n1,2\n")):
            path.write_bytes(damaged)
            with pytest.raises(StudyError, match=r"corruptions\.csv\.gz: "):
                read([tmp_path])
