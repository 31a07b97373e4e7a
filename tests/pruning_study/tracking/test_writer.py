import errno
import json
import os
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from analysis.common.errors import StudyError
from pruning_study.tracking import connect, scratch, writer


@pytest.fixture
def store(store_uri):
    return connect.connect()


@pytest.fixture
def run(store):
    """The writer of a run that is RUNNING."""
    run_id = store.client.create_run(store.experiment_id).info.run_id
    with scratch.folder() as folder:
        made = writer.Writer(store.client, store.uri, run_id, folder, job_run_id="the job")
        made.ensure_folder()
        yield made


def broken(*_, **__):
    raise MlflowException("no room")


def test_a_finished_run_holds_metrics_tags_and_artifacts(store, run):
    run.epoch(1, {"val_loss": 2.0})
    run.epoch(2, {"val_loss": 1.0})
    run.metrics({"alpha": float("nan"), "test_accuracy": 0.5})
    run.tags({"device": "cpu"})
    (run.folder / "a.txt").write_text("hello")
    run.finish()
    read = store.get(run.run_id)
    assert read.info.status == "FINISHED"
    assert read.data.metrics == {"val_loss": 1.0, "test_accuracy": 0.5}
    assert read.data.tags["device"] == "cpu"
    history = store.client.get_metric_history(run.run_id, "val_loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]
    assert store.missing(run.run_id, ["a.txt"]) == []


def test_more_metrics_than_mlflow_takes_at_once_are_sent_in_parts(store, run):
    for epoch in range(1001):
        run.epoch(epoch, {"val_loss": float(epoch)})
    run.finish()
    assert len(store.client.get_metric_history(run.run_id, "val_loss")) == 1001


def test_metrics_of_epochs_are_sent_once_a_minute(store, run, monkeypatch):
    run.epoch(1, {"val_loss": 2.0})
    assert store.get(run.run_id).data.metrics == {}
    monkeypatch.setattr(writer, "FLUSH_SECONDS", -1)
    run.epoch(2, {"val_loss": 1.0})
    assert store.get(run.run_id).data.metrics == {"val_loss": 1.0}


def test_a_store_that_is_away_for_a_while_loses_no_metric(store, run, monkeypatch, caplog):
    monkeypatch.setattr(writer, "FLUSH_SECONDS", -1)
    with monkeypatch.context() as patch:
        patch.setattr(store.client, "log_batch", broken)
        run.epoch(1, {"val_loss": 2.0})
    assert "no room" in caplog.text
    run.epoch(2, {"val_loss": 1.0})
    history = store.client.get_metric_history(run.run_id, "val_loss")
    assert [metric.step for metric in history] == [1, 2]


def test_a_flush_sends_everything_and_the_run_goes_on(store, run):
    run.tags({"device": "cpu"})
    (run.folder / "a.txt").write_text("hello")
    run.flush()
    read = store.get(run.run_id)
    assert (read.info.status, read.data.tags["device"]) == ("RUNNING", "cpu")
    assert store.missing(run.run_id, ["a.txt"]) == []


def test_a_flush_that_the_store_does_not_take_is_an_error_in_one_line(store, run, monkeypatch):
    run.tags({"device": "cpu"})
    monkeypatch.setattr(store.client, "log_batch", broken)
    with pytest.raises(StudyError, match=r"^sqlite:.*: no room$"):
        run.flush()


def test_a_run_that_the_store_does_not_take_is_kept(store, run, monkeypatch):
    run.metrics({"test_accuracy": 0.5})
    run.tags({"device": "cpu"})
    (run.folder / "a.txt").write_text("hello")
    monkeypatch.setattr(store.client, "log_artifact", broken)
    with pytest.raises(StudyError, match=f"no room.*pruning-study send /.*unsent/{run.run_id}$"):
        run.finish()
    kept = Path("unsent") / run.run_id
    record = json.loads((kept / "run.json").read_text())
    assert (record["job_run_id"], record["tags"], record["metrics"]) == ("the job", {"device": "cpu"}, [])
    assert (kept / "artifacts" / "a.txt").read_text() == "hello"


def test_an_aborted_run_holds_its_metrics_and_the_reason(store, run):
    run.metrics({"val_loss": 2.0})
    run.abort("FAILED", "bad luck")
    read = store.get(run.run_id)
    assert (read.info.status, read.data.tags["error"], read.data.metrics) == ("FAILED", "bad luck", {"val_loss": 2.0})


def test_an_abort_that_the_store_does_not_take_is_logged(store, run, monkeypatch, caplog):
    monkeypatch.setattr(store.client, "set_tag", broken)
    with caplog.at_level("INFO"):
        run.abort("FAILED", "bad luck")
    assert f"run {run.run_id} is left RUNNING: no room" in caplog.messages


def test_a_forgotten_error_is_no_longer_a_tag_and_forgetting_none_is_no_error(store, run):
    run.abort("FAILED", "bad luck")
    for _ in range(2):
        run.forget_error()
        assert "error" not in store.get(run.run_id).data.tags


@pytest.mark.parametrize(
    ("raised", "status", "reason"),
    [(ValueError("bad\nluck"), "FAILED", "bad"), (KeyboardInterrupt(), "KILLED", "interrupted")],
)
def test_a_run_ends_with_its_block(store, run, raised, status, reason):
    with pytest.raises(type(raised)), writer.ending(run):
        raise raised
    read = store.get(run.run_id)
    assert (read.info.status, read.data.tags["error"]) == (status, reason)


@pytest.mark.attack
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_spent_quota_or_a_full_disk_while_a_run_is_made__is_one_line_that_says_to_make_room(store, run, number):
    with pytest.raises(StudyError) as error, writer.ending(run):
        raise OSError(number, os.strerror(number), "a.csv")
    assert str(error.value) == f"a.csv: {os.strerror(number)}; make room and start the command again"
    assert store.get(run.run_id).data.tags["error"] == str(error.value)


@pytest.mark.attack
def test_no_room_for_the_record_when_a_run_begins__is_one_line_before_any_work(store, run):
    (run.folder.parent / "run.part").mkdir()
    with pytest.raises(StudyError, match=r"run\.part: Is a directory$"), writer.ending(run):
        pytest.fail("the work has begun")
    assert store.get(run.run_id).info.status == "FAILED"


@pytest.mark.attack
def test_a_run_that_neither_the_store_nor_the_disk_takes__is_one_line_that_says_what_to_do(store, run, monkeypatch):
    (run.folder / "a.txt").write_text("hello")
    monkeypatch.setattr(store.client, "log_artifact", broken)
    (run.folder.parent / "run.part").mkdir()
    with pytest.raises(StudyError, match=r"no room.*kept either.*make room and start the command again$"):
        run.finish()
    assert not (run.folder.parent / "run.json").exists()


def test_a_run_whose_output_nobody_reads_any_more_ends_as_killed(store, run):
    with pytest.raises(BrokenPipeError), writer.ending(run):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    read = store.get(run.run_id)
    assert (read.info.status, read.data.tags["error"]) == (
        "KILLED",
        "the reader of the command's output stopped reading it",
    )
