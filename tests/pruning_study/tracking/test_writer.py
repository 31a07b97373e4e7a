import errno
import os

import pytest
from mlflow.exceptions import MlflowException

from analysis.common.errors import StudyError
from pruning_study.tracking import connect, writer


@pytest.fixture
def store(store_uri):
    return connect.connect()


@pytest.fixture
def run(store):
    """The writer of a run that is RUNNING."""
    run_id = store.client.create_run(store.experiment_id).info.run_id
    made = writer.Writer(store.client, store.uri, run_id)
    yield made
    made.close()


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


def test_a_run_that_the_store_does_not_take_is_failed_in_one_line_that_says_what_to_do(store, run, monkeypatch):
    with pytest.raises(StudyError) as error, monkeypatch.context() as patch, writer.ending(run):
        run.metrics({"test_accuracy": 0.5})
        (folder := run.folder).joinpath("a.txt").write_text("hello")
        patch.setattr(store.client, "log_artifact", broken)
    assert str(error.value) == f"{store.uri}: run {run.run_id} was not accepted (no room); start the same command again"
    assert store.get(run.run_id).info.status == "FAILED"
    assert not folder.exists()


def test_a_cleaner_of_temporary_files_that_removes_the_folder_costs_no_later_artifact(store, run):
    run.folder.rmdir()
    (run.folder / "a.txt").write_text("hello")
    run.finish()
    assert store.missing(run.run_id, ["a.txt"]) == []


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


def test_a_run_whose_output_nobody_reads_any_more_ends_as_killed(store, run):
    with pytest.raises(BrokenPipeError), writer.ending(run):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    read = store.get(run.run_id)
    assert (read.info.status, read.data.tags["error"]) == (
        "KILLED",
        "the reader of the command's output stopped reading it",
    )
