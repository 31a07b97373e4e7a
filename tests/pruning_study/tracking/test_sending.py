import json

import pytest
from mlflow import MlflowClient

from analysis.runs.errors import StudyError
from pruning_study.tracking import connect, sending, unsent
from tests.mlflow_server import breaking_off, free_port, server
from tests.stored_runs import dense_run


def test_a_server_that_goes_away_costs_nothing(store_uri, monkeypatch, tmp_path):
    """The run is kept in a folder, and sent once the server is back."""
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with server(tmp_path, port):
        store = connect.connect()
        job_context = store.job("a job", {})
        job = job_context.__enter__()
        run_context = dense_run(store, job)
        run = run_context.__enter__()
    run.epoch(1, {"val_loss": 2.0})
    run.metrics({"test_accuracy": 0.5})
    run.tags({"more": "tags"})
    (run.folder / "a.txt").write_text("hello")
    with pytest.raises(StudyError, match=f"pruning-study send /.*unsent/{run.run_id}") as error:
        run_context.__exit__(None, None, None)
    job_context.__exit__(StudyError, error.value, None)
    kept = unsent.FOLDER / run.run_id
    with pytest.raises(StudyError, match="does not answer"):
        sending.send(kept)
    with server(tmp_path, port):
        assert sending.send(kept) == run.run_id
        read = MlflowClient().get_run(run.run_id)
        assert read.info.status == "FINISHED"
        assert read.data.metrics == {"val_loss": 2.0, "test_accuracy": 0.5}
        assert read.data.tags["more"] == "tags"
        assert store.missing(run.run_id, ["a.txt"]) == []
        ended = store.get(job.run_id)
        assert (ended.info.status, run.run_id in ended.data.tags["error"]) == ("FAILED", True)
    assert not kept.exists()


def test_a_run_whose_last_writes_break_off_is_kept_and_sent_again(store_uri, monkeypatch, tmp_path, caplog):
    port = free_port()
    with server(tmp_path, port), breaking_off(port) as (broken, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{broken}")
        store = connect.connect()
        message = r"Connection broken.*pruning-study send"
        with pytest.raises(StudyError, match=message), store.job("a job", {"seed": "0"}) as job:
            job.metrics({"test_accuracy": 0.5})  # the second log-batch, after that of the params
            (job.folder / "a.txt").write_text("hello")
        read = store.get(job.run_id)
        assert (read.info.status, "Connection broken" in read.data.tags["error"]) == ("FAILED", True)
        assert sending.send_kept(store.uri) == []  # the second update of the status, after that to FAILED
        assert "Connection broken" in caplog.messages[-1]
        assert sending.send_kept(store.uri) == [job.run_id]
        read = store.get(job.run_id)
        assert (read.info.status, "error" in read.data.tags) == ("FINISHED", False)
        assert len(store.client.get_metric_history(job.run_id, "test_accuracy")) == 1
        assert store.missing(job.run_id, ["a.txt"]) == []
        assert unsent.kept() == []
        assert asked["POST", "/api/2.0/mlflow/runs/create"] == 1


def test_kept_runs_that_cannot_be_sent_stop_nothing(store_uri, tmp_path, caplog):
    for name, content in (("half", "{"), ("gone", {"run_id": "0" * 32})):
        (tmp_path / "unsent" / name / "artifacts").mkdir(parents=True)
        record = {"tracking_uri": store_uri, "job_run_id": None, "tags": {}, "metrics": []}
        text = content if isinstance(content, str) else json.dumps(record | content)
        (tmp_path / "unsent" / name / "run.json").write_text(text)
    connect.connect()
    assert sending.send_kept(store_uri) == []
    assert [name in caplog.text for name in ("unsent/half: not sent", "unsent/gone: not sent")] == [True, True]


def test_kept_runs_of_another_store_are_left_alone(store_uri, tmp_path, caplog):
    run = unsent.UnsentRun("http://127.0.0.1:9", "0" * 32, None, {}, [])
    (tmp_path / "files").mkdir()
    folder = unsent.keep(run, tmp_path / "files")
    assert sending.send_kept(store_uri) == []
    assert (folder / "run.json").is_file()
    assert caplog.messages == []
