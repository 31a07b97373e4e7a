import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import click.testing
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from analysis.__main__ import cli as analysis_cli
from analysis.runs import stores
from pruning_study.__main__ import cli as study_cli
from pruning_study.tracking import reach
from tests.error_lines import error_line
from tests.stored_runs import empty_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Make a store with a dense and a pruned run, and return its file."""
    path = tmp_path_factory.mktemp("whole") / "mlflow.db"
    client = MlflowClient(empty_store(path))
    experiment, dense = client.create_experiment("study"), None
    for kind in ("dense", "pruned"):
        tags = {"kind": kind, **({"dense_run_id": dense} if dense else {})}
        run_id = client.create_run(experiment, tags=tags).info.run_id
        client.log_batch(run_id, [Metric("test_accuracy", 0.5, 1, 0)], [Param("seed", "0"), Param("model", "lenet5")])
        client.set_terminated(run_id)
        dense = run_id
    return path


@pytest.fixture
def path(whole, tmp_path):
    return shutil.copy(whole, tmp_path / "mlflow.db")


@pytest.fixture
def said(path, store_uri, monkeypatch, tiny_npz):
    """Return a function that gives what each of the two command lines prints about the store, which is one line."""

    def ask(side="both"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        reading = (analysis_cli, ["compare", "--experiment", "study"])
        writing = (study_cli, ["train", "--dataset", str(tiny_npz), "--epochs", "1"])
        lines = []
        for command, arguments in {"read": [reading], "write": [writing]}.get(side, [reading, writing]):
            result = click.testing.CliRunner().invoke(command, arguments)
            line = error_line(result.stderr)
            assert (result.exit_code, result.stdout) == (1, "")
            assert line.startswith(f"error: sqlite:///{path}")
            lines.append(line.removeprefix(f"error: sqlite:///{path}"))
        return lines

    return ask


def execute(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


DAMAGED = ": the database is damaged ({}); restore a backup of the file"


@pytest.mark.attack
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_database_without_its_second_half_or_its_last_pages__it_is_said_to_be_damaged(path, said, kept):
    os.truncate(path, int(path.stat().st_size * kept) // 4096 * 4096)
    assert said() == [DAMAGED.format("database disk image is malformed")] * 2


@pytest.mark.attack
def test_a_text_file_in_the_place_of_a_database__it_is_said_to_be_none(path, said):
    path.write_text("no database at all\n" * 100)
    assert all("file is not a database" in line and "check the tracking URI" in line for line in said())
    assert path.read_text() == "no database at all\n" * 100


@pytest.mark.slow
@pytest.mark.attack
def test_an_empty_file_in_the_place_of_a_database__a_report_says_so_and_training_makes_a_store_of_it(path, said):
    path.write_bytes(b"")
    (line,) = said("read")
    assert line.startswith(" is not a store of MLflow")
    reach.ensure(f"sqlite:///{path}")
    with stores.open_store(f"sqlite:///{path}") as store:
        assert [name for _, name, _ in store.experiments()] == ["Default"]


@pytest.mark.attack
def test_a_folder_in_the_place_of_a_database__both_command_lines_say_so_at_once(path, said):
    path.unlink()
    path.mkdir()
    reading, writing = said()
    assert reading.startswith(": a folder and no database")
    assert writing.startswith(" names no file")


@pytest.mark.attack
@pytest.mark.parametrize("version", ["c48cb773bb87", "ffffffffffff"])
def test_a_store_of_an_older_or_a_newer_mlflow__the_upgrade_is_named_and_the_file_stays_as_it_is(path, said, version):
    execute(path, f"UPDATE alembic_version SET version_num = '{version}'", "DROP TABLE issues")
    before = path.read_bytes()
    assert all(f"(schema version {version})" in line and "mlflow db upgrade" in line for line in said())
    assert path.read_bytes() == before


@pytest.mark.attack
def test_the_database_of_another_program__no_table_is_added_to_it(path, said):
    path.unlink()
    execute(path, "CREATE TABLE cats (name)")
    assert all("is not a store of MLflow" in line for line in said())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("cats",)]


@pytest.mark.attack
def test_a_param_that_is_no_utf8__a_report_calls_the_database_damaged(path, said):
    execute(path, "UPDATE params SET value = CAST(x'fffe' AS TEXT)")
    (line,) = said("read")
    assert line.startswith(": the database is damaged (Could not decode to UTF-8 column 'value'")


@pytest.fixture
def locked(path):
    """Hold the database locked in another process."""
    code = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"locked\n"
    yield
    process.communicate()


@pytest.mark.attack
def test_a_database_that_another_process_holds_locked__both_command_lines_say_so(path, said, locked, monkeypatch):
    monkeypatch.setattr(stores, "BUSY_SECONDS", 0.1)
    assert {line.partition(";")[0].strip(": ") for line in said()} == {
        "database is locked",
        "the tracking store cannot be used (database is locked)",
    }
