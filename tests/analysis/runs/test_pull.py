"""Pulling: which runs count, what is left out and reported, and that every way of reading gives the same frames."""

import math
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from pandas.testing import assert_frame_equal

from analysis.common.errors import StudyError
from analysis.runs import address, pull, retries, schema, stores
from tests.deadline import in_time
from tests.mlflow_server import free_port, server
from tests.postgres_server import postgres
from tests.stored_runs import empty_store

CAT, SHIRT = "cat", "T-shirt/top"


class Writer:
    """Logs runs as the schema says, each ended a second after the one before."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = MlflowClient(uri)
        self.clock = 1_000

    def log(self, experiment: str, kind: str, params: dict, metrics: dict, *, status="FINISHED", **tags) -> str:
        self.clock += 1_000
        run = self.client.create_run(experiment, start_time=self.clock, tags={"kind": kind, **tags})
        run_id = run.info.run_id
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, value, self.clock, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )
        if status != "RUNNING":
            self.client.set_terminated(run_id, status, end_time=self.clock + 500)
        return run_id

    def dense(self, experiment: str, seed: int, *, params=(), metrics=(), **more) -> str:
        params = {"dataset": "pets", "model": "net", "seed": seed, "recipe": "plain"} | dict(params)
        return self.log(experiment, "dense", params, {**measured(0.75, 0.5, 1.0), **dict(metrics)}, **more)

    def pruned(self, experiment: str, dense: str, seed: int, *, params=(), metrics=(), **more) -> str:
        params = {
            **{"dataset": "pets", "model": "net", "seed": seed, "recipe": "plain", "pruner": "mp", "ratio": "2.0"},
            **dict(params),
        }
        metrics = {**measured(0.5, 0.25, 0.75), f"both_right/{CAT}": 0.125, **dict(metrics)}
        cell = schema.cell({name: str(value) for name, value in params.items()})
        return self.log(experiment, "pruned", params, metrics, **({"dense_run_id": dense, "cell": cell} | more))


def measured(accuracy: float, cat: float, shirt: float) -> dict[str, float]:
    recalls = {f"recall/{CAT}": cat, f"recall/{SHIRT}": shirt}
    return {"test_accuracy": accuracy, **recalls, f"support/{CAT}": 8, f"support/{SHIRT}": 8}


def fill(uri: str) -> SimpleNamespace:
    """Log one of everything that pull must take or leave; returns the run ids."""
    writer = Writer(uri)
    client, ids = writer.client, SimpleNamespace()
    study, elsewhere, gone = (client.create_experiment(name) for name in ("study", "elsewhere", "gone"))
    ids.study = study

    ids.dense_0 = writer.dense(study, 0, metrics={"gradient_norm": 0.25, "data_gradient_norm": float("nan")})
    ids.dense_1 = writer.dense(study, 1)
    ids.dense_2 = writer.dense(elsewhere, 2)
    ids.job = writer.log(study, "job", {}, {})
    ids.older = writer.pruned(study, ids.dense_0, 0)
    ids.nested = writer.pruned(study, ids.dense_0, 0, **{"mlflow.parentRunId": ids.job})
    ids.relogged = writer.pruned(
        study,
        ids.dense_1,
        1,
        params={"pruner": "up", "epsilon": "0.0005"},
        metrics={f"recall/{CAT}": 0.5, "mp_overlap": 1},
    )
    for step, accuracy in ((5, 0.625), (3, 0.875)):
        client.log_metric(ids.relogged, "test_accuracy", accuracy, step=step, timestamp=9_000_000 - step)
    ids.foreign = writer.pruned(
        study, ids.dense_2, 2, params={"ratio": "10", "run_id": "of another kind"}, metrics={"realized_ratio": 9.5}
    )
    writer.pruned(elsewhere, ids.dense_2, 2)

    ids.failed = writer.pruned(study, ids.dense_0, 3, status="FAILED")
    ids.running = writer.pruned(study, ids.dense_0, 4, status="RUNNING")
    ids.deleted = writer.pruned(study, ids.dense_0, 5)
    client.delete_run(ids.deleted)
    ids.dense_gone = writer.dense(study, 6)
    ids.orphan = writer.pruned(study, ids.dense_gone, 6)
    client.delete_run(ids.dense_gone)
    ids.unnamed = writer.log(study, "pruned", {"dataset": "pets", "model": "net", "seed": 7} | MP, measured(1, 1, 1))
    ids.strange = writer.pruned(study, "no such run", 8)
    ids.no_number = writer.pruned(study, ids.dense_0, 9, metrics={f"recall/{SHIRT}": float("nan")})
    ids.infinite = writer.pruned(study, ids.dense_0, 10, metrics={"test_accuracy": float("-inf")})
    ids.above = writer.pruned(study, ids.dense_0, 11, metrics={f"recall/{CAT}": 1.5})
    ids.nothing_right = writer.pruned(study, ids.dense_0, 12, metrics={"test_accuracy": 0})
    ids.ratio = writer.pruned(study, ids.dense_0, 13, params={"ratio": "two"})
    ids.seed = writer.pruned(study, ids.dense_0, 14, params={"seed": "1.5"})
    ids.classes = writer.pruned(study, ids.dense_0, 15, metrics={"recall/dog": 0.5})
    ids.supports = writer.pruned(study, ids.dense_0, 16, metrics={f"support/{CAT}": 9})
    ids.no_accuracy = writer.log(
        study, "pruned", {"dataset": "pets", "model": "net", "seed": 17} | MP, {}, dense_run_id=ids.dense_0
    )
    ids.dense_wrong = writer.dense(study, 18, metrics={"test_accuracy": float("nan")})
    ids.of_wrong = writer.pruned(study, ids.dense_wrong, 18)
    ids.dense_19 = writer.dense(study, 19)
    ids.odd_optional = writer.pruned(study, ids.dense_19, 19, metrics=WITHOUT_RANGE)
    ids.dense_again = writer.dense(study, 1)
    client.delete_experiment(gone)

    birds = client.create_experiment("birds")
    untested = {"recall/bird": float("nan"), "support/bird": 0}
    dense = writer.dense(birds, 0, metrics=untested)
    writer.pruned(birds, dense, 0, metrics={**untested, "recall/bird": 0.0, "both_right/bird": 0.0})
    client.create_experiment("empty")
    return ids


MP = {"pruner": "mp", "ratio": "2"}
WITHOUT_RANGE = {f"both_right/{CAT}": float("inf"), "realized_ratio": float("nan"), "mp_overlap": 1.5}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def store(folder) -> SimpleNamespace:
    uri = empty_store(folder / "store.db")
    ids = fill(uri)
    return SimpleNamespace(uri=uri, ids=ids, path=folder / "store.db")


@pytest.fixture(scope="module")
def study(store) -> pull.Study:
    return pull.study("study", tracking_uri=store.uri)


def test_one_row_per_pair_with_what_both_runs_logged(store, study):
    ids = store.ids
    common = {"dataset": "pets", "model": "net", "params.recipe": "plain", "accuracy_before": 0.75}
    common |= {f"recall_before/{CAT}": 0.5, f"recall_before/{SHIRT}": 1.0}
    common |= {f"recall_after/{CAT}": 0.25, f"recall_after/{SHIRT}": 0.75}
    common |= {f"support/{CAT}": 8.0, f"support/{SHIRT}": 8.0, "accuracy_after": 0.5, f"both_right/{CAT}": 0.125}
    mp = {**common, "pruner": "mp", "ratio": 2.0}
    rows = [
        mp | {"seed": 0, "dense_run_id": ids.dense_0, "run_id": ids.nested},
        mp | {"seed": 19, "dense_run_id": ids.dense_19, "run_id": ids.odd_optional, f"both_right/{CAT}": np.nan},
        mp
        | {"seed": 2, "dense_run_id": ids.dense_2, "run_id": ids.foreign, "ratio": 10.0}
        | {"realized_ratio": 9.5, "params.run_id": "of another kind"},
        mp
        | {"seed": 1, "dense_run_id": ids.dense_1, "run_id": ids.relogged}
        | {"pruner": "up", "params.epsilon": "0.0005", "accuracy_after": 0.625, f"recall_after/{CAT}": 0.5}
        | {"mp_overlap": 1.0},
    ]
    assert_frame_equal(study.runs, pd.DataFrame(rows), check_like=True)
    columns = list(study.runs.columns)
    assert columns[:5] == ["dataset", "model", "pruner", "ratio", "seed"]
    assert columns[columns.index("accuracy_after") + 1] == "realized_ratio"


def test_dense_runs_are_the_experiments_own_and_those_its_pruned_runs_name(store, study):
    ids = store.ids
    dense = study.dense_runs
    assert dense["dense_run_id"].tolist() == [ids.dense_0, ids.dense_again, ids.dense_2, ids.dense_19]
    assert dense["seed"].tolist() == [0, 1, 2, 19]
    assert (
        dense[[f"recall_before/{CAT}", "accuracy_before", f"support/{SHIRT}"]].to_numpy().tolist()
        == [[0.5, 0.75, 8.0]] * 4
    )
    assert dense["gradient_norm"].tolist() == pytest.approx([0.25, math.nan, math.nan, math.nan], nan_ok=True)
    assert "data_gradient_norm" not in dense
    assert dense.attrs["left_out"] == [
        f"1 dense run left out, deleted: {ids.dense_gone}",
        "data_gradient_norm left out of 1 dense run, no number in its range",
        f"1 dense run left out, no number in test_accuracy: {ids.dense_wrong}",
        f"1 dense run left out, a newer run has the same settings and seed: {ids.dense_1}",
    ]


@pytest.mark.attack
def test_runs_that_failed_or_were_deleted_or_hold_impossible_numbers__are_left_out_and_counted(store, study):
    ids = store.ids
    orphans = ", ".join(sorted([ids.orphan, ids.strange]))
    no_numbers = ", ".join(sorted([ids.no_number, ids.infinite]))
    assert study.runs.attrs["left_out"] == [
        f"1 dense run left out, deleted: {ids.dense_gone}",
        "data_gradient_norm left out of 1 dense run, no number in its range",
        f"1 dense run left out, no number in test_accuracy: {ids.dense_wrong}",
        f"1 pruned run left out, failed: {ids.failed}",
        f"1 pruned run left out, running: {ids.running}",
        f"1 pruned run left out, deleted: {ids.deleted}",
        f"1 pruned run left out, no metric test_accuracy: {ids.no_accuracy}",
        f"1 pruned run left out, seed is no whole number below 2^53: {ids.seed}",
        f"1 pruned run left out, ratio is no number: {ids.ratio}",
        f"both_right/{CAT} left out of 1 pruned run, no number in its range",
        "realized_ratio left out of 1 pruned run, no number in its range",
        "mp_overlap left out of 1 pruned run, no number in its range",
        f"2 pruned runs left out, no number in test_accuracy, recall/{SHIRT}: {no_numbers}",
        f"1 pruned run left out, a value outside [0, 1] in recall/{CAT}: {ids.above}",
        f"1 pruned run left out, test_accuracy is 0: {ids.nothing_right}",
        f"1 pruned run left out, no tag dense_run_id: {ids.unnamed}",
        f"2 pruned runs left out, the dense run is gone or not finished: {orphans}",
        f"1 pruned run left out, the dense run is left out: {ids.of_wrong}",
        f"1 pruned run left out, the classes are not those of the dense run: {ids.classes}",
        f"1 pruned run left out, the supports are not those of the dense run: {ids.supports}",
        f"1 pruned run left out, a newer run has the same settings and seed: {ids.older}",
    ]


NEW_METRIC = """
import sys
from pathlib import Path
from analysis.runs import schema
schema.METRICS += (schema.Metric("emptiest_layer", (schema.PRUNED,), largest=1, mean_in_cells=True),)
from analysis.study.study import StudyData
pulled = StudyData.from_store("with a new metric", tracking_uri=sys.argv[1])
pulled.export(Path(sys.argv[2]))
for study in (pulled, StudyData.from_frames([Path(sys.argv[2])])):
    print(study.runs["emptiest_layer"].tolist(), study.cells["emptiest_layer"].tolist(), study.runs.attrs["left_out"])
"""


def test_a_metric_is_read_checked_exported_and_averaged_in_cells_by_its_record_alone(tmp_path):
    """Modules make what they know of metrics from the records when they are imported: a new Python has one more."""
    writer = Writer(empty_store(tmp_path / "store.db"))
    experiment = writer.client.create_experiment("with a new metric")
    for seed, share in enumerate((0.25, 0.75, 1.5)):
        writer.pruned(experiment, writer.dense(experiment, seed), seed, metrics={"emptiest_layer": share})
    command = [sys.executable, "-c", NEW_METRIC, writer.uri, str(tmp_path / "export")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    left_out = ["emptiest_layer left out of 1 pruned run, no number in its range"]
    assert said == 2 * [f"[0.25, 0.75, nan] [0.5] {left_out}"]


@pytest.mark.attack
def test_a_class_without_a_test_image__is_left_out_of_its_runs(store):
    study = pull.study("birds", tracking_uri=store.uri)
    assert not [column for frame in study[:2] for column in frame.columns if "bird" in column]
    assert "realized_ratio" not in study.runs
    assert study.runs.attrs["left_out"] == [
        "class bird left out of 1 dense run, no test image",
        "class bird left out of 1 pruned run, no test image",
    ]


@pytest.fixture
def writer(tmp_path) -> Writer:
    return Writer(empty_store(tmp_path / "store.db"))


def pair(writer: Writer, experiment: str, seed: int, **params: str) -> str:
    """Log a pruned run, and its dense run, with these params; returns the pruned run's id."""
    dense = writer.dense(experiment, seed, params=params)
    return writer.pruned(experiment, dense, seed, params=params)


@pytest.mark.attack
def test_a_param_with_the_name_of_a_column_of_the_analysis__is_not_taken_for_it(writer):
    experiment = writer.client.create_experiment("taken")
    names = ["alpha", "n", "cell", "run_id", "recall_before/cat", "support/cat", "params.alpha"]
    pair(writer, experiment, 0, **{name: f"my {name}" for name in names})
    for frame in pull.study("taken", tracking_uri=writer.uri)[:2]:
        assert frame[[f"params.{name}" for name in names]].iloc[0].tolist() == [f"my {name}" for name in names]
        assert frame["recall_before/cat"].tolist() == [0.5]


@pytest.mark.attack
def test_a_url_with_a_password_in_a_param_of_a_run__is_masked_in_the_frames_that_reports_are_made_of(writer):
    experiment = writer.client.create_experiment("secret param")
    pair(writer, experiment, 0, data="https://me:s3c@ret@host/a?sig=s3c&x=1", optimizer="sgd(lr=0.1)", note="a@b=c")
    for frame in pull.study("secret param", tracking_uri=writer.uri)[:2]:
        shown = frame[["params.data", "params.optimizer", "params.note"]].iloc[0].tolist()
        assert shown == ["https://me:***@host/a?sig=***&x=1", "sgd(lr=0.1)", "a@b=c"]


@pytest.mark.attack
def test_a_run_that_was_made_twice__counts_once_and_the_older_one_is_named(writer):
    experiment = writer.client.create_experiment("again")
    older = pair(writer, experiment, 0, phases="2x0.1", weights_digest="a")
    newer = pair(writer, experiment, 0, phases="1x0.1 1x0.1", weights_digest="a")
    other = pair(writer, experiment, 0, phases="2x0.1", weights_digest="b")
    runs = pull.pull_runs("again", tracking_uri=writer.uri)
    assert set(runs["run_id"]) == {newer, other}
    (said,) = [line for line in runs.attrs["left_out"] if "1 pruned run left out, a newer" in line]
    assert older in said


def test_a_param_to_ignore_leaves_repetitions_of_which_the_newest_counts(writer):
    experiment = writer.client.create_experiment("paths")
    runs = {path: pair(writer, experiment, 0, output=path, warmup="1") for path in ("a", "b")}
    assert set(pull.pull_runs("paths", tracking_uri=writer.uri)["run_id"]) == set(runs.values())
    study = pull.study("paths", tracking_uri=writer.uri, ignore_params=["output"])
    assert study.runs["run_id"].tolist() == [runs["b"]]
    assert len(study.dense_runs) == 1
    for frame in study[:2]:
        assert "params.output" not in frame
        assert frame["params.warmup"].tolist() == ["1"]
    assert any(runs["a"] in line for line in study.runs.attrs["left_out"])


@pytest.mark.parametrize(("name", "message"), [("outptu", "did you mean output"), ("seed", "seed")])
def test_a_param_that_cannot_be_ignored_is_a_usage_error(writer, name, message):
    pair(writer, writer.client.create_experiment("paths"), 0, output="a")
    with pytest.raises(StudyError, match=message) as caught:
        pull.pull_runs("paths", tracking_uri=writer.uri, ignore_params=[name])
    assert caught.value.option == "ignore_param"


def assert_same_study(left: pull.Study, right: pull.Study) -> None:
    for one, other in zip(left, right, strict=True):
        assert_frame_equal(one, other)
        assert one.attrs == other.attrs


def test_pages_of_any_size_give_the_same_frames(store, study, monkeypatch):
    monkeypatch.setattr(stores, "RUNS_PER_PAGE", 2)
    assert_same_study(pull.study("study", tracking_uri=store.uri), study)


def test_mlflows_api_gives_the_same_frames(store, study, monkeypatch):
    monkeypatch.setattr(stores, "_connect", lambda uri, _: stores.ApiReader(retries.client(uri)))
    monkeypatch.setattr(stores, "RUNS_PER_PAGE", 5)
    assert_same_study(pull.study("study", tracking_uri=store.uri), study)


def test_an_http_server_gives_the_same_frames_and_predictions(store, study, folder):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    served = shutil.copy(store.path, folder / "served.db")
    with server(folder, port, f"sqlite:///{served}"):
        assert_same_study(pull.study("study", tracking_uri=uri), study)
        client = MlflowClient(uri)
        experiment = client.create_experiment("served", artifact_location="mlflow-artifacts:/served")
        run_id = client.create_run(experiment).info.run_id
        assert pull.predictions([run_id], tracking_uri=uri) == {}
        client.log_artifact(run_id, npz(folder, label=[0, 1], predicted=[1, 1]))
        assert_predicted(pull.predictions([run_id, store.ids.dense_0], tracking_uri=uri), {run_id: [1, 1]})


@pytest.mark.postgres
def test_postgres_gives_the_same_frames_as_mlflows_api(monkeypatch):
    with postgres() as uri:
        ids = fill(uri)
        straight = pull.study("study", tracking_uri=uri)
        assert straight.runs["run_id"].tolist() == [ids.nested, ids.odd_optional, ids.foreign, ids.relogged]
        monkeypatch.setattr(stores, "RUNS_PER_PAGE", 3)
        assert_same_study(pull.study("study", tracking_uri=uri), straight)
        monkeypatch.setattr(stores, "_connect", lambda uri, _: stores.ApiReader(retries.client(uri)))
        assert_same_study(pull.study("study", tracking_uri=uri), straight)
    with pytest.raises(StudyError, match=r"^postgresql://postgres:\*\*\*@127.0.0.1:\d+/postgres: .*refused.*; check"):
        pull.pull_runs(tracking_uri=uri.replace("postgres@", "postgres:secret@"))


def test_reading_needs_no_lock_that_a_writer_holds_and_changes_nothing(store, study):
    before = store.path.read_bytes()
    writer = sqlite3.connect(store.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert_same_study(pull.study("study", tracking_uri=store.uri), study)
    writer.close()
    assert store.path.read_bytes() == before


def test_the_default_is_mlflows_current_experiment(store, study, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", store.ids.study)
    assert_frame_equal(pull.pull_runs(), study.runs)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "birds")
    assert len(pull.pull_runs()) == 1
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    with pytest.raises(StudyError, match="experiment 'Default' has no pruned run"):
        pull.pull_runs()


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ("studdy", "no experiment named 'studdy'"),
        ("gone", "experiment 'gone' is deleted"),
        (
            "empty",
            "experiment 'empty' has no pruned run to compare with its dense run "
            "(no run is tagged as pruned or quantized)",
        ),
    ],
)
def test_an_unknown_or_empty_experiment_is_an_error_naming_the_others(store, experiment, message):
    with pytest.raises(StudyError) as caught:
        pull.pull_runs(experiment, tracking_uri=store.uri)
    others = "experiments in this store: 'Default', 'birds', 'elsewhere', 'empty', 'study'"
    assert str(caught.value) == f"{message}; {others}"


def test_a_sqlite_file_that_is_not_there_is_an_error_and_not_made(tmp_path):
    missing = tmp_path / "new" / "mlflow.db"
    with pytest.raises(StudyError, match="no such file"):
        pull.pull_runs(tracking_uri=f"sqlite:///{missing}")
    assert not missing.parent.exists()


@pytest.mark.parametrize("content", [b"", b"no database at all, " * 100])
def test_a_file_that_is_no_store_is_an_error_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "mlflow.db"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"is not a store of MLflow|file is not a database|the database is empty"):
        pull.pull_runs(tracking_uri=f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_a_store_of_another_mlflow_is_an_error_and_not_migrated(store, tmp_path):
    path = shutil.copy(store.path, tmp_path / "old.db")
    with sqlite3.connect(path) as old:
        old.execute("UPDATE alembic_version SET version_num = 'c48cb773bb87'")
        old.execute("DROP TABLE spans")
    before = path.read_bytes()
    with pytest.raises(StudyError, match=r"schema version c48cb773bb87\).*`mlflow db upgrade`"):
        pull.pull_runs("study", tracking_uri=f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_server_that_is_not_there_is_found_at_once():
    message = r"^http://me:\*\*\*@127.0.0.1:\d+ does not answer.*; start the tracking"
    with in_time(), pytest.raises(StudyError, match=message):
        pull.pull_runs(tracking_uri=f"http://me:secret@127.0.0.1:{free_port()}")


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(address, "PROBE_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with in_time(), pytest.raises(StudyError, match="does not answer"):
            pull.pull_runs(tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}")


def npz(folder: Path, **arrays) -> Path:
    path = folder / "predictions.npz"
    np.savez(path, **{name: np.array(values) for name, values in arrays.items()})
    return path


def assert_predicted(found: dict, expected: dict) -> None:
    assert {run_id: arrays["predicted"].tolist() for run_id, arrays in found.items()} == expected


@pytest.fixture(scope="module")
def predicting(store, folder) -> SimpleNamespace:
    client = MlflowClient(store.uri)
    experiment = client.create_experiment("predicting", artifact_location=str(folder / "a folder"))
    ids = SimpleNamespace(none=client.create_run(experiment).info.run_id)
    for name, arrays in (
        ("good", {"label": [0, 1, 1], "predicted": [0, 0, 1], "confidence": [0.5, 0.75, 1.0]}),
        ("unsigned", {"label": np.array([0, 1], np.uint64), "predicted": np.array([1, 1], np.uint8)}),
        ("longer", {"label": [0, 1, 1], "predicted": [0, 0]}),
        ("lacking", {"label": [0, 1, 1]}),
        ("pickled", {"label": np.array([None]), "predicted": [1]}),
        ("negative", {"label": [0, 1], "predicted": [0, -1]}),
        ("many", {"label": [0, 10**12], "predicted": [0, 1]}),
        ("words", {"label": ["cat", "dog"], "predicted": [0, 1]}),
        ("shares", {"label": [0, 1], "predicted": [0.5, 1.0]}),
        ("scores", {"label": [0, 1], "predicted": [[0, 1], [1, 0]]}),
        ("single", {"label": 0, "predicted": 0}),
        ("empty", {"label": np.empty(0, int), "predicted": np.empty(0, int)}),
        ("ranked", {"label": [0, 1], "predicted": [0, 0], "top5": [[0, 2, 3, 4, 5], [0, 2, 3, 4, 5]]}),
        ("flat", {"label": [0, 1], "predicted": [0, 0], "top5": [0, 1]}),
    ):
        setattr(ids, name, log_predictions(client, experiment, npz(folder, **arrays)))
    truncated = npz(folder, label=[0, 1], predicted=[0, 1])
    truncated.write_bytes(truncated.read_bytes()[:-30])
    ids.truncated = log_predictions(client, experiment, truncated)
    return ids


def log_predictions(client: MlflowClient, experiment: str, path: Path) -> str:
    run_id = client.create_run(experiment).info.run_id
    client.log_artifact(run_id, path)
    return run_id


def test_predictions_are_read_where_they_lie(store, predicting):
    found = pull.predictions([predicting.good, predicting.none, "no such run"], tracking_uri=store.uri)
    assert_predicted(found, {predicting.good: [0, 0, 1]})
    assert found[predicting.good]["label"].tolist() == [0, 1, 1]
    asked = pull.predictions([predicting.good], names=["confidence"], tracking_uri=store.uri)
    assert {name: array.tolist() for name, array in asked[predicting.good].items()} == {"confidence": [0.5, 0.75, 1.0]}


def test_whether_labels_are_among_the_top_five_is_worked_out_where_it_can_be(store, predicting):
    asked = predicting.ranked, predicting.good
    found = pull.predictions(asked, names=("label", "predicted", "in_top5"), tracking_uri=store.uri)
    assert found[predicting.ranked].keys() == {"label", "predicted", "in_top5"}
    assert found[predicting.ranked]["in_top5"].tolist() == [True, False]
    assert found[predicting.good].keys() == {"label", "predicted"}


@pytest.mark.attack
def test_top_five_classes_that_are_none__leave_the_predictions_out_with_a_line(store, predicting, caplog):
    names = ("label", "predicted", "in_top5")
    assert pull.predictions([predicting.flat], names=names, tracking_uri=store.uri) == {}
    (line,) = [record.getMessage() for record in caplog.records if record.name == "analysis.runs.pull"]
    assert "top5 has shape (2,), but must be 2-dimensional and not empty" in line


@pytest.mark.attack
@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("longer", r"arrays differ in length \(3 label, 2 predicted\)"),
        ("lacking", r".*predictions.npz: no array predicted in it"),
        ("pickled", r".*predictions.npz: not a complete .npz file .*pickle"),
        ("truncated", r".*predictions.npz: not a complete .npz file"),
        ("negative", r"predicted contains -1, but classes must be at least 0"),
        ("many", r"label contains 1000000000000, but classes must be below 1,000,000"),
        ("words", r"label has type <U3, but must be integers"),
        ("shares", r"predicted has type float64, but must be integers"),
        ("scores", r"predicted has shape \(2, 2\), but must be 1-dimensional and not empty"),
        ("single", r"label has shape \(\), but must be 1-dimensional and not empty"),
        ("empty", r"label has shape \(0,\), but must be 1-dimensional and not empty"),
    ],
)
def test_predictions_that_cannot_be_used__are_left_out_with_a_line_each(store, predicting, caplog, which, reason):
    bad = getattr(predicting, which)
    found = pull.predictions([bad, predicting.good], tracking_uri=store.uri)
    assert_predicted(found, {predicting.good: [0, 0, 1]})
    (line,) = [record.getMessage() for record in caplog.records if record.name == "analysis.runs.pull"]
    assert re.match(f"predictions.npz of run {bad} left out, {reason}", line)


def test_predictions_of_any_integers_can_be_counted(store, predicting):
    found = pull.predictions([predicting.unsigned], tracking_uri=store.uri)[predicting.unsigned]
    assert np.bincount(found["label"]).tolist() == [1, 1]
    assert np.bincount(found["predicted"]).tolist() == [0, 2]


@pytest.mark.slow
def test_reading_imports_no_torch(store):
    code = (
        f"import sys; from analysis.runs import pull; pull.pull_runs('study', tracking_uri={store.uri!r})\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_runs_that_lack_a_param_have_its_default_beside_runs_that_have_it(writer):
    mixed, old = (writer.client.create_experiment(name) for name in ("mixed", "old"))
    dense = writer.dense(mixed, 0)
    older = writer.pruned(mixed, dense, 0)
    newer = writer.pruned(mixed, dense, 0, params={"schedule": "one-shot", "distill": "0.0", "ratio": "4.0"})
    cubic = writer.pruned(mixed, dense, 0, params={"schedule": "cubic", "ramp": "0.5", "distill": "0.5"})
    layer = writer.pruned(mixed, dense, 0, params={"schedule": "one-shot", "distill": "0.0", "scope": "layer"})
    found = pull.pull_runs("mixed", tracking_uri=writer.uri).set_index("run_id")
    names = ["params.schedule", "params.distill", "params.scope"]
    assert found.loc[[older, newer], names].to_numpy().tolist() == [["one-shot", "0.0", "global"]] * 2
    assert found.loc[cubic, names].tolist() == ["cubic", "0.5", "global"]
    assert found.loc[layer, names].tolist() == ["one-shot", "0.0", "layer"]
    assert found.loc[[older, newer, cubic], "params.ramp"].isna().tolist() == [True, True, False]
    again = writer.pruned(mixed, dense, 0, params={"schedule": "one-shot", "distill": "0.0"})
    found = pull.pull_runs("mixed", tracking_uri=writer.uri)
    assert older not in set(found["run_id"])
    assert again in set(found["run_id"])
    writer.pruned(old, writer.dense(old, 0), 0)
    assert not {*names} & {*pull.pull_runs("old", tracking_uri=writer.uri).columns}


@pytest.mark.attack
@pytest.mark.parametrize("newer", [{}, {"schema": "0.3"}], ids=["alone", "beside newer ones"])
def test_runs_made_before_0_3_0__are_refused_in_one_line(writer, newer):
    experiment = writer.client.create_experiment("old")
    run_id = writer.pruned(experiment, writer.dense(experiment, 0), 0, config_hash="one")
    if newer:
        writer.pruned(experiment, writer.dense(experiment, 1), 1, config_hash="other", **newer)
    said = rf"^experiment 'old' has runs made before 0\.3\.0 \({run_id}\): train anew in another experiment, or use"
    with pytest.raises(StudyError, match=said):
        pull.study("old", tracking_uri=writer.uri)


def quantized(writer: Writer, experiment: str, dense: str, number_format: str, *, params=(), metrics=(), **more) -> str:
    """Log a quantized run of a dense run, or of a pruned one if the params say so; returns its id."""
    params = {"dataset": "pets", "model": "net", "seed": 0, "recipe": "plain", **dict(params)}
    metrics = {**measured(0.5, 0.25, 0.75), "model_bytes": 1024.0, "latency_ms/one": 0.5, **dict(metrics)}
    tags = {"dense_run_id": dense, "parent_run_id": dense} | more
    return writer.log(experiment, "quantized", {**params, "number_format": number_format}, metrics, **tags)


def test_quantized_runs_are_methods_of_their_own_beside_pruned_ones(writer):
    """A network that keeps its weights, dense or fine-tuned, is named by its format; a pruned one by its pruner."""
    experiment = writer.client.create_experiment("quantized")
    dense = writer.dense(experiment, 0)
    pruned = writer.pruned(experiment, dense, 0)
    tuned = {"fine_tune_epochs": "1"}
    whole = [quantized(writer, experiment, dense, name) for name in ("float16", "fixed-int8")]
    control = quantized(writer, experiment, dense, "fixed-int8", params={**tuned, "pruner": "none", "ratio": "1.0"})
    both = quantized(writer, experiment, dense, "fixed-int8", params=MP)
    found = pull.pull_runs("quantized", tracking_uri=writer.uri)
    assert found.attrs["left_out"] == []
    named = found.set_index("run_id")[["pruner", "ratio", "params.number_format"]]
    assert named.loc[whole].to_numpy().tolist() == [["float16", 1.0, "float16"], ["fixed-int8", 1.0, "fixed-int8"]]
    assert named.loc[control].tolist() == ["none fixed-int8", 1.0, "fixed-int8"]
    assert named.loc[[pruned, both]].to_numpy().tolist() == [["mp", 2.0, "float32"], ["mp", 2.0, "fixed-int8"]]
    measured_by = found.set_index("run_id")[["model_bytes", "latency_ms/one"]]
    assert measured_by.loc[both].tolist() == [1024.0, 0.5]
    assert measured_by.loc[pruned].isna().all()
    assert "latency_ms/batch" not in found


def test_an_experiment_may_have_quantized_runs_alone(writer):
    experiment = writer.client.create_experiment("quantized alone")
    quantized(writer, experiment, writer.dense(experiment, 0), "dynamic-int8")
    assert pull.pull_runs("quantized alone", tracking_uri=writer.uri)["pruner"].tolist() == ["dynamic-int8"]


@pytest.mark.attack
def test_quantized_runs_that_contradict_themselves__are_left_out_and_counted(writer):
    experiment = writer.client.create_experiment("bad formats")
    dense = writer.dense(experiment, 0)
    good = quantized(writer, experiment, dense, "float16", metrics={"model_bytes": -1.0})
    strange = quantized(writer, experiment, dense, "int4")
    same = quantized(writer, experiment, dense, "float32")
    half = quantized(writer, experiment, dense, "fixed-int8", params={"pruner": "mp"})
    gone = quantized(writer, experiment, "no such run", "fixed-int8")
    more = quantized(writer, experiment, dense, "dynamic-int8", metrics={f"support/{CAT}": 9})
    found = pull.pull_runs("bad formats", tracking_uri=writer.uri)
    assert found["run_id"].tolist() == [good]
    assert "model_bytes" not in found
    unknown = ", ".join(sorted([strange, same]))
    assert found.attrs["left_out"] == [
        f"2 quantized runs left out, number_format is none of dynamic-int8, fixed-int8, float16: {unknown}",
        f"1 quantized run left out, no param ratio: {half}",
        "model_bytes left out of 1 quantized run, no number in its range",
        f"1 quantized run left out, the dense run is gone or not finished: {gone}",
        f"1 quantized run left out, the supports are not those of the dense run: {more}",
    ]
