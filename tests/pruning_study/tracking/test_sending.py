import json

import pytest
from mlflow import MlflowClient

from analysis.common.errors import StudyError
from pruning_study.tracking import connect, sending, unsent
from tests.mlflow_server import breaking_off, free_port, server
from tests.stored_runs import dense_run


@pytest.mark.slow
@pytest.mark.attack
def test_a_server_that_goes_away_with_a_password_in_its_uri__costs_nothing_and_the_kept_run_holds_no_password(
    store_uri, monkeypatch, tmp_path
):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
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
    assert [path.name for path in kept.rglob("*") if path.is_file() and b"secret" in path.read_bytes()] == []
    with pytest.raises(StudyError, match="does not answer"):
        sending.send(kept)
    with monkeypatch.context() as patch, pytest.raises(StudyError, match=r"me:\*\*\*@.*: set MLFLOW_TRACKING_URI"):
        patch.setenv("MLFLOW_TRACKING_URI", store_uri)
        sending.send(kept)
    # The record of a former version holds the password and no sizes.
    record = json.loads((kept / "run.json").read_text()) | {"tracking_uri": f"http://me:secret@127.0.0.1:{port}"}
    del record["sizes"]
    (kept / "run.json").write_text(json.dumps(record))
    with server(tmp_path, port):
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", store_uri)
            assert sending.send(kept) == run.run_id
        read = MlflowClient().get_run(run.run_id)
        assert read.info.status == "FINISHED"
        assert read.data.metrics == {"val_loss": 2.0, "test_accuracy": 0.5}
        assert read.data.tags["more"] == "tags"
        assert store.missing(run.run_id, ["a.txt"]) == []
        ended = store.get(job.run_id)
        assert (ended.info.status, run.run_id in ended.data.tags["error"]) == ("FAILED", True)
    assert not kept.exists()


@pytest.mark.slow
@pytest.mark.attack
def test_answers_to_the_last_writes_of_a_run_that_break_off__end_the_run_once_and_whole(
    store_uri, monkeypatch, tmp_path
):
    port = free_port()
    with server(tmp_path, port), breaking_off(port) as (broken, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{broken}")
        store = connect.connect()
        with store.job("a job", {"seed": "0"}) as job:
            job.metrics({"test_accuracy": 0.5})  # the second log-batch, after that of the params
            (job.folder / "a.txt").write_text("hello")
        assert store.get(job.run_id).info.status == "FINISHED"
        assert len(store.client.get_metric_history(job.run_id, "test_accuracy")) == 1
        assert store.missing(job.run_id, ["a.txt"]) == []
        assert unsent.list_unsent() == []
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
    (tmp_path / "files" / "artifacts").mkdir(parents=True)
    folder = unsent.keep(run, tmp_path / "files")
    assert sending.send_kept(store_uri) == []
    assert (folder / "run.json").is_file()
    assert caplog.messages == []


@pytest.fixture
def kept(store_uri, tmp_path):
    """The folder of a job that the store did not take, with one artifact."""
    store = connect.connect()
    run_id = store.client.create_run(store.experiment_id).info.run_id
    (tmp_path / "made" / "artifacts").mkdir(parents=True)
    (tmp_path / "made" / "artifacts" / "a.txt").write_text("hello")
    return unsent.keep(unsent.UnsentRun(unsent.address(store_uri), run_id, None, {}, []), tmp_path / "made")


@pytest.mark.attack
@pytest.mark.parametrize("content", [None, "hell"])
def test_an_artifact_of_a_kept_run_that_was_deleted_or_cut_off__is_named_and_the_run_is_not_sent(kept, content):
    artifact = kept / "artifacts" / "a.txt"
    artifact.write_text(content) if content else artifact.unlink()
    with pytest.raises(StudyError, match=r"a\.txt missing or truncated: delete the folder, and make the run again"):
        sending.send(kept)
    assert MlflowClient().get_run(kept.name).info.status == "RUNNING"


@pytest.mark.attack
def test_two_commands_that_send_a_kept_run_at_once__send_it_once(kept):
    with unsent.opened(kept), pytest.raises(StudyError, match="another process is ending or sending this run"):
        sending.send(kept)
    assert sending.send(kept) == kept.name
    with pytest.raises(StudyError, match="no unsent run in this folder"):
        sending.send(kept)


@pytest.mark.attack
def test_a_kept_run_of_another_store_than_the_current_one__is_sent_to_its_own_store(kept, store_uri):
    record = json.loads((kept / "run.json").read_text())
    (kept / "run.json").write_text(json.dumps(record | {"tracking_uri": f"{store_uri}?timeout=9"}))
    assert sending.send(kept) == kept.name
    assert MlflowClient().get_run(kept.name).info.status == "FINISHED"
