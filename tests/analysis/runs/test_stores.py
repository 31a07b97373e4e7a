import sqlite3
from contextlib import ExitStack, closing
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from analysis.common.errors import StudyError
from analysis.runs import sqlite_files, stores
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
            patch.setattr(sqlite_files, "KNOWN_SCHEMAS", set())
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


def rows(pages, table):
    return sorted(tuple(row.values()) for page in pages for row in getattr(page, table).to_pylist())


def test_experiments_come_with_those_that_are_deleted(opened):
    reader, made = opened
    assert {(name, stage) for _, name, stage in reader.experiments()} == {
        ("Default", "active"),
        ("study", "active"),
        ("other", "active"),
        ("gone", "deleted"),
    }
    assert {name: found for found, name, _ in reader.experiments()}["study"] == made.study


def test_pages_hold_each_dense_and_pruned_run_of_the_experiment_once(opened):
    reader, made = opened
    pages = list(reader.pages(made.study))
    assert max(len(page.runs) for page in pages) == 2
    assert rows(pages, "runs") == sorted(
        [
            (made.first, "FINISHED", 1001),
            (made.pruned, "FINISHED", 2001),
            (made.failed, "FAILED", 3001),
            (made.deleted, "deleted", 4001),
            (made.second, "FINISHED", 8001),
        ]
    )
    dense = [(run_id, "dense_run_id", made.first) for run_id in (made.pruned, made.failed)]
    kinds = {"dense": (made.first, made.second), "pruned": (made.pruned, made.failed, made.deleted)}
    of_kind = [(run_id, "kind", kind) for kind, run_ids in kinds.items() for run_id in run_ids]
    hashes = [(run_id, "config_hash", "two") for run_id in (made.pruned, made.failed)]
    hashes += [(run_id, "config_hash", "it's one") for run_id in (made.first, made.second)]
    assert rows(pages, "tags") == sorted([*dense, *of_kind, *hashes, (made.second, "arithmetic", "2")])


def test_pages_hold_params_and_final_metrics_of_finished_runs_alone(opened):
    reader, made = opened
    pages = list(reader.pages(made.study))
    assert rows(pages, "params") == [(made.first, "seed", "0")]
    assert rows(pages, "metrics") == sorted(
        [
            (made.first, "test_accuracy", 0.75),
            (made.first, "recall/cat", NO_NUMBER),
            (made.pruned, "realized_ratio", NO_NUMBER),
        ]
    )


def test_runs_of_any_experiment_are_read_by_their_ids(opened):
    reader, made = opened
    found = rows(reader.runs([made.last, made.first, made.failed, "no such run", made.bare]), "runs")
    assert [row[0] for row in found] == sorted([made.last, made.first, made.failed])
    assert list(reader.runs([])) == []


def test_artifact_folders_are_those_of_the_runs_that_exist(opened):
    reader, made = opened
    assert reader.artifact_folders([made.last, "it's no run", made.first]) == made.folders


def test_finished_runs_of_a_kind_come_in_the_order_of_their_start(opened):
    reader, made = opened
    assert reader.of_kind(made.study, "dense") == [made.first, made.second]
    assert reader.of_kind(made.study, "pruned") == [made.pruned]
    assert reader.of_kind(made.study, "job") == [made.job]
    assert reader.of_kind(made.study, "study") == []


def test_tagged_runs_are_the_finished_ones_that_have_the_tag(opened):
    reader, made = opened
    tagged = reader.tagged(made.study, "config_hash").to_pylist()
    hashes = [(made.first, "it's one"), (made.pruned, "two"), (made.second, "it's one")]
    assert [(row["run_id"], row["value"]) for row in tagged] == hashes
    assert tagged[0]["folder"] == made.folders[made.first]
    assert reader.tagged(made.study, "no_such_tag").to_pylist() == []


class TestSqliteFile:
    @pytest.fixture
    def rows(self, tmp_path):
        """Yield a function that sends statements to a store as the reader does."""
        path = tmp_path / "a #%file.db"  # characters that have a meaning in a URI
        uri = empty_store(tmp_path / "mlflow.db")
        (tmp_path / "mlflow.db").rename(path)
        with stores.read_rows(str(make_url(uri).set(database=str(path))), "the store") as rows:
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

    def test_the_installed_mlflows_is_read_through_the_api_where_it_is_unknown(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr(sqlite_files, "KNOWN_SCHEMAS", {"0123456789ab"})
        with stores.open_store(empty_store(tmp_path / "mlflow.db")) as reader:
            assert isinstance(reader, stores.ApiReader)
            assert [name for _, name, _ in reader.experiments()] == ["Default"]
        assert [record.levelname for record in caplog.records if "schema version" in record.message] == ["WARNING"]


@pytest.mark.parametrize("uri", ["sqlite:///{}/none.db", "sqlite://", "{}/none", "file://{}/none"])
def test_a_store_that_does_not_exist_is_an_error_and_not_made(tmp_path, uri):
    with pytest.raises(StudyError, match="no such"), stores.open_store(uri.format(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []
