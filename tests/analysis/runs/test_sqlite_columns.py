import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from analysis.runs import sqlite_columns


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a ?#%file.db"  # characters that have a meaning in a URI
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE cats (name TEXT, weight REAL)")
        connection.executemany("INSERT INTO cats VALUES (?, ?)", [("Tom", 4.5), ("it's", None)])
    return path


def test_rows_come_as_columns(path):
    with sqlite_columns.reader(path) as reader:
        table = reader.read("SELECT name, weight FROM cats ORDER BY name")
    assert table.to_pydict() == {"name": ["Tom", "it's"], "weight": [4.5, None]}
    assert table.schema.types == [pa.string(), pa.float64()]


def test_a_statement_that_does_not_fit_is_an_error_and_the_next_one_is_answered(path):
    with sqlite_columns.reader(path) as reader:
        with pytest.raises(sqlite3.ProgrammingError, match="dogs"):
            reader.read("SELECT * FROM dogs")
        assert len(reader.read("SELECT * FROM cats")) == 2


def test_nothing_can_be_written(path):
    with sqlite_columns.reader(path) as reader, pytest.raises(sqlite3.Error, match="readonly"):
        reader.read("DELETE FROM cats RETURNING name")


def test_a_write_between_two_statements_is_seen(path):
    with sqlite_columns.reader(path) as reader:
        assert len(reader.read("SELECT * FROM cats")) == 2
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM cats")
        assert len(reader.read("SELECT * FROM cats")) == 0


def test_a_process_that_dies_is_an_error(path):
    before = children()
    with sqlite_columns.reader(path) as reader:
        reader.read("SELECT * FROM cats")
        (process,) = children() - before
        os.kill(process, signal.SIGKILL)
        with pytest.raises(sqlite3.OperationalError, match="died"):
            reader.read("SELECT * FROM cats")


def children():
    """Return the ids of this thread's child processes."""
    return {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}
