import os
import random
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
from analysis.common.errors import StudyError
from analysis.runs import sqlite_files, store_errors, stores
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
def test_a_database_whose_last_page_is_cut_off__it_is_said_to_be_damaged_and_is_not_written_to(path, said):
    os.truncate(path, path.stat().st_size - 1000)
    before = path.read_bytes()
    assert said() == [DAMAGED.format("the end of the file is missing")] * 2
    assert path.read_bytes() == before


@pytest.mark.attack
def test_a_database_with_zeros_in_its_middle__it_is_said_to_be_damaged(path, said):
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size // 2))
    assert {line.partition("(")[0] for line in said()} == {": the database is damaged "}


@pytest.mark.attack
def test_a_text_file_in_the_place_of_a_database__it_is_said_to_be_none(path, said):
    path.write_text("no database at all\n" * 100)
    assert all("file is not a database" in line and "check the tracking URI" in line for line in said())
    assert path.read_text() == "no database at all\n" * 100


@pytest.mark.slow
@pytest.mark.attack
def test_an_empty_file_in_the_place_of_a_database__a_report_says_so_and_training_makes_a_store_of_it(path, said):
    path.write_bytes(b"")
    assert said("read") == [": the database is empty; check the tracking URI, or delete the file and make a run"]
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
@pytest.mark.parametrize("table", ["params", "runs", "webhooks"])
def test_a_store_that_lacks_a_table__it_is_said_to_be_damaged_and_the_table_is_not_made_anew(path, said, table):
    execute(path, f"DROP TABLE {table}")
    assert said() == [DAMAGED.format(f"no such table: {table}")] * 2
    with closing(sqlite3.connect(path)) as connection:
        assert (table,) not in connection.execute("SELECT name FROM sqlite_master").fetchall()


@pytest.mark.attack
def test_a_store_whose_table_is_a_query_without_end__it_is_refused_before_the_query_is_run(path, said):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    bomb = f"{numbers} SELECT hex(i) run_uuid, 'a' key, 'b' value FROM n"
    execute(path, "ALTER TABLE params RENAME TO real_params", f"CREATE VIEW params AS {bomb}")
    assert said() == [DAMAGED.format("params is not a plain table")] * 2


@pytest.mark.attack
def test_a_store_with_a_column_that_is_worked_out_when_it_is_read__it_is_refused(path, said):
    execute(path, "ALTER TABLE params ADD COLUMN bomb AS (zeroblob(1000000000))")
    assert said() == [DAMAGED.format("params is not a plain table")] * 2


@pytest.mark.attack
def test_a_store_that_lacks_a_column__the_databases_reason_is_said_without_mlflows_traceback(path, said):
    execute(path, "ALTER TABLE runs RENAME COLUMN deleted_time TO gone")
    (line,) = said("write")
    assert line.startswith(": the tracking store cannot be used (no such column: runs.deleted_time); ")


@pytest.mark.attack
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "UPDATE latest_metrics SET value = 'abc'",
            "'abc' with type str: tried to convert to double",
        ),
        (
            "UPDATE runs SET end_time = 'yesterday'",
            "'yesterday' with type str: tried to convert to int64",
        ),
        ("UPDATE params SET value = x'fffe'", r"Could not convert b'\xff\xfe' with type bytes"),
        ("UPDATE experiments SET lifecycle_stage = NULL", "NULL as lifecycle_stage"),
    ],
)
def test_values_of_another_type_than_their_columns__a_report_calls_the_database_damaged(path, said, change, reason):
    execute(path, change)
    (line,) = said("read")
    assert line.startswith(": the database is damaged (a value is of another type than it should be: ")
    assert reason in line


@pytest.mark.attack
def test_a_param_that_is_no_utf8__a_report_calls_the_database_damaged(path, said):
    execute(path, "UPDATE params SET value = CAST(x'fffe' AS TEXT)")
    (line,) = said("read")
    assert line.startswith(": the database is damaged (Could not decode to UTF-8 column 'value'")


@pytest.mark.attack
def test_a_run_without_a_status_and_a_param_of_megabytes__the_other_runs_are_read(path):
    execute(path, "UPDATE runs SET status = NULL WHERE run_uuid = (SELECT min(run_uuid) FROM runs)")
    execute(path, "UPDATE params SET value = hex(zeroblob(3000000)) WHERE key = 'model'")
    with stores.open_store(f"sqlite:///{path}") as store:
        (page,) = store.pages("1")
    assert sorted(page.runs["status"].to_pylist()) == ["FINISHED", "UNKNOWN"]
    assert sorted(map(len, page.params["value"].to_pylist())) == [1, 6_000_000]


@pytest.mark.attack
def test_runs_without_an_artifact_folder__no_file_of_the_current_folder_is_taken_for_theirs(path):
    execute(path, "UPDATE runs SET artifact_uri = ''")
    with stores.open_store(f"sqlite:///{path}") as store:
        (page,) = store.pages("1")
        assert store.artifact_folders(page.runs["run_id"].to_pylist()) == {}
        assert store.tagged("1", "kind").to_pylist() == []


@pytest.mark.attack
def test_a_log_of_changes_that_belongs_to_no_database__the_database_is_read_without_it(path):
    path.with_name("mlflow.db-wal").write_bytes(random.Random(0).randbytes(5000))
    with stores.open_store(f"sqlite:///{path}") as store:
        assert len(store.experiments()) == 2


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


@pytest.mark.slow
@pytest.mark.attack
def test_a_thousand_databases_with_random_damage__each_is_used_or_refused_in_one_line(whole, tmp_path):
    content, random_ = whole.read_bytes(), random.Random(0)
    uri, path, refused = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlflow.db", 0
    for _ in range(1000):
        damaged = bytearray(content[: random_.choice([None, random_.randrange(len(content))])])
        for _ in range(random_.choice([0, 1, 20])):
            at = random_.randrange(min(len(damaged), random_.choice([100, 8192, len(damaged)])) or 1)
            damaged[at : at + 8] = random_.randbytes(8)
        path.write_bytes(damaged)
        try:
            with closing(sqlite3.connect(path)) as connection:
                sqlite_files.check(uri, path, lambda query, on=connection: on.execute(query).fetchall())
                connection.execute("SELECT * FROM params JOIN runs USING (run_uuid)").fetchall()
        except (StudyError, *store_errors.STORE_ERRORS) as error:
            line = str(error) if isinstance(error, StudyError) else store_errors.explained(uri, error)
            assert line.startswith(uri)
            assert len(line.splitlines()) == 1
            refused += 1
    assert refused > 300
