import sqlite3
from contextlib import ExitStack, closing
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from analysis.common.errors import StudyError
from analysis.runs import retries, stores
from analysis.runs.pairs import NO_NUMBER
from tests.mlflow_server import free_port, server
from tests.postgres_server import postgres
from tests.stored_runs import empty_store

READERS = ["sqlite", "sqlite through the API", "server", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="module", params=READERS)
def opened(request, tmp_path_factory):
    """Yield the reader of a filled store, and the store's contents."""
    folder = tmp_path_factory.mktemp("stores")
    uri = empty_store(folder / "mlflow.db")
    with ExitStack() as resources:
        patch = resources.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(stores, "RUNS_PER_PAGE", 2)
        if request.param == "postgres":
            uri = resources.enter_context(postgres())
        made = fill(uri)
        if request.param == "sqlite through the API":
            patch.setattr(stores, "_connect", lambda uri, _: stores.ApiReader(retries.client(uri)))
        if request.param == "server":
            resources.enter_context(server(folder, port := free_port(), uri))
            uri = f"http://127.0.0.1:{port}"
        reader = resources.enter_context(stores.open_store(uri))
        assert isinstance(reader, stores.TableReader) == (request.param in ("sqlite", "postgres"))
        yield reader, made


def fill(uri):
    """Log two dense runs and three pruned ones, of which one failed, one is deleted and one names no dense run."""
    client = MlflowClient(uri)
    made = SimpleNamespace(study=client.create_experiment("study"), other=client.create_experiment("other"))
    clock = 0

    def log(experiment, tags, status="FINISHED", params=(), metrics=()):
        nonlocal clock
        clock += 1000
        run_id = client.create_run(experiment, start_time=clock, tags=tags).info.run_id
        client.log_batch(
            run_id,
            params=[Param(*item) for item in dict(params).items()],
            metrics=[Metric(name, value, clock, 0) for name, value in dict(metrics).items()],
        )
        client.set_terminated(run_id, status, end_time=clock + 1)
        return run_id

    recall = {"test_accuracy": 0.75, "recall/cat": float("nan"), "val_accuracy": 0.5}
    made.first = log(made.study, {"kind": "dense", "config_hash": "it's one"}, params={"seed": "0"}, metrics=recall)
    pruned = {"kind": "pruned", "dense_run_id": made.first}
    made.pruned = log(made.study, pruned | {"config_hash": "two"}, metrics={"realized_ratio": float("inf")})
    made.failed = log(made.study, pruned | {"config_hash": "two"}, "FAILED", params={"seed": "1"})
    made.deleted = log(made.study, {"kind": "pruned"})
    client.delete_run(made.deleted)
    made.job = log(made.study, {"kind": "job"})
    made.bare = log(made.study, {})
    made.last = log(made.other, {"kind": "dense", "config_hash": "it's one"})
    made.second = log(made.study, {"kind": "dense", "config_hash": "it's one", "arithmetic": "2"})
    client.delete_experiment(client.create_experiment("gone"))
    made.folders = {run_id: client.get_run(run_id).info.artifact_uri for run_id in (made.first, made.last)}
    return made


def test_experiments_come_with_those_that_are_deleted(opened):
    reader, made = opened
    assert {(name, stage) for _, name, stage in reader.experiments()} == {
        ("Default", "active"),
        ("study", "active"),
        ("other", "active"),
        ("gone", "deleted"),
    }
    assert {name: found for found, name, _ in reader.experiments()}["study"] == made.study


def test_a_frame_has_each_run_of_the_experiment_with_its_tags_and_those_of_finished_runs_their_values(opened):
    reader, made = opened
    frame = stores.read(reader, made.study).set_index("run_id")
    assert frame[["status", "end_time", "start_time"]].to_dict("index") == {
        made.first: {"status": "FINISHED", "end_time": 1001, "start_time": 1000},
        made.pruned: {"status": "FINISHED", "end_time": 2001, "start_time": 2000},
        made.failed: {"status": "FAILED", "end_time": 3001, "start_time": 3000},
        made.deleted: {"status": "deleted", "end_time": 4001, "start_time": 4000},
        made.job: {"status": "FINISHED", "end_time": 5001, "start_time": 5000},
        made.bare: {"status": "FINISHED", "end_time": 6001, "start_time": 6000},
        made.second: {"status": "FINISHED", "end_time": 8001, "start_time": 8000},
    }
    assert frame.index.is_monotonic_increasing
    assert frame["artifact_uri"][made.first] == made.folders[made.first]
    columns = {
        "tags.kind": dict.fromkeys((made.first, made.second), "dense")
        | dict.fromkeys((made.pruned, made.failed, made.deleted), "pruned")
        | {made.job: "job"},
        "tags.dense_run_id": dict.fromkeys((made.pruned, made.failed), made.first),
        "tags.config_hash": {
            **dict.fromkeys((made.first, made.second), "it's one"),
            **dict.fromkeys((made.pruned, made.failed), "two"),
        },
        "tags.schema": {},
        "tags.arithmetic": {made.second: "2"},
        "params.seed": {made.first: "0"},
        "metrics.test_accuracy": {made.first: 0.75},
        "metrics.recall/cat": {made.first: NO_NUMBER},
        "metrics.realized_ratio": {made.pruned: NO_NUMBER},
    }
    assert {*frame} == {"status", "end_time", "start_time", "artifact_uri", *columns}
    for name, values in columns.items():
        assert frame[name].dropna().to_dict() == values


def test_runs_of_any_experiment_are_read_by_their_ids_and_perhaps_some_tags_alone(opened):
    reader, made = opened
    frame = stores.read(reader, [made.last, made.first, "it's no run", made.bare], only_tags=["kind"])
    assert sorted(frame["run_id"]) == sorted([made.last, made.first, made.bare])
    assert list(frame) == ["run_id", "status", "end_time", "start_time", "artifact_uri", "tags.kind"]
    assert stores.read(reader, []).empty


class TestSqliteFile:
    @pytest.fixture
    def rows(self, tmp_path):
        """Yield a function that sends statements to a store as the reader does."""
        path = tmp_path / "a #%file.db"  # characters that have a meaning in a URI
        uri = empty_store(tmp_path / "mlflow.db")
        (tmp_path / "mlflow.db").rename(path)
        with stores.read_rows(str(make_url(uri).set(database=str(path)))) as rows:
            yield rows

    def test_nothing_can_be_written(self, rows):
        with pytest.raises(OperationalError, match="readonly"):
            rows("DELETE FROM experiments RETURNING name")

    def test_a_write_between_two_statements_is_seen(self, rows, tmp_path):
        assert len(rows("SELECT * FROM experiments")) == 1
        with closing(sqlite3.connect(tmp_path / "a #%file.db")) as connection, connection:
            connection.execute("DELETE FROM experiments")
        assert len(rows("SELECT * FROM experiments")) == 0


class TestSchema:
    @pytest.mark.parametrize("version", ["c48cb773bb87", "0123456789ab"])
    def test_another_mlflows_is_an_error_and_the_file_stays_as_it_is(self, tmp_path, version):
        path = tmp_path / "other.db"
        empty_store(path)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [version])
        before = path.read_bytes()
        with pytest.raises(StudyError, match=rf"{version}.*db upgrade"), stores.open_store(f"sqlite:///{path}"):
            pass
        assert path.read_bytes() == before

    def test_a_database_without_a_schema_version_is_an_error(self, tmp_path):
        with sqlite3.connect(tmp_path / "cats.db") as connection:
            connection.execute("CREATE TABLE cats (name)")
        with pytest.raises(StudyError, match="schema version None"), stores.open_store(f"sqlite:///{tmp_path}/cats.db"):
            pass


@pytest.mark.parametrize("uri", ["sqlite:///{}/none.db", "sqlite://", "{}/none", "file://{}/none"])
def test_a_store_that_does_not_exist_is_an_error_and_not_made(tmp_path, uri):
    with pytest.raises(StudyError, match="no such"), stores.open_store(uri.format(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []
