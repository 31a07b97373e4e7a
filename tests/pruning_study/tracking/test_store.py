import importlib
import signal
import sqlite3
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from analysis.common.errors import StudyError
from pruning_study.tracking import connect, writer
from pruning_study.tracking.store import context_tags
from tests.mlflow_server import free_port, server
from tests.postgres_server import postgres
from tests.stored_runs import dense_run
from tests.warm_processes import WarmProcess, run_code


@pytest.fixture
def ipython(tmp_path, monkeypatch):
    """Put an IPython in the place of the installed one that says it runs a notebook; nothing has imported it."""
    (tmp_path / "IPython.py").write_text(
        "class ZMQInteractiveShell:\n    user_ns = {'__vsc_ipynb_file__': '/home/me/prune.ipynb'}\n\n"
        "get_ipython = ZMQInteractiveShell\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    context_tags.cache_clear()
    yield
    context_tags.cache_clear()
    sys.modules.pop("IPython", None)


class TestRun:
    def test_ends_as_finished_with_all_it_holds(self, store_uri):
        store = connect.connect()
        with store.job("a job", {"seed": "auto"}) as job, dense_run(store, job) as run:
            run.epoch(1, {"val_loss": 2.0})
            run.epoch(2, {"val_loss": 1.0})
            run.metrics({"alpha": float("nan"), "test_accuracy": 0.5})
            (folder := run.folder).joinpath("a.txt").write_text("hello")
        read = store.get(run.run_id)
        assert read.info.status == "FINISHED"
        assert read.data.metrics == {"val_loss": 1.0, "test_accuracy": 0.5}
        assert read.data.tags["mlflow.note.content"] == "a note"
        assert store.missing(run.run_id, ["a.txt", "b.txt"]) == ["b.txt"]
        assert not folder.exists()
        assert store.get(job.run_id).data.params == {"seed": "auto"}

    @pytest.mark.parametrize(
        ("raised", "status", "reason"),
        [(ValueError("bad\nluck"), "FAILED", "bad"), (KeyboardInterrupt(), "KILLED", "interrupted")],
    )
    def test_ends_with_its_job_where_the_block_raises(self, store_uri, raised, status, reason):
        store = connect.connect()
        with (
            pytest.raises(type(raised)),
            store.job("a job", {}) as job,
            dense_run(store, job) as run,
        ):
            run.epoch(1, {"val_loss": 2.0})
            raise raised
        for ended in (job, run):
            read = store.get(ended.run_id)
            assert (read.info.status, read.data.tags["error"]) == (status, reason)
        assert store.get(run.run_id).data.metrics == {"val_loss": 2.0}

    def test_has_the_tags_it_is_given_and_the_ui_shows_it_below_its_job(self, store_uri):
        store = connect.connect()
        with store.job("a job", {}) as job, dense_run(store, job, dense_run_id="a", parent_run_id="b") as run:
            pass
        tags = store.get(run.run_id).data.tags
        assert (tags["kind"], tags["dense_run_id"], tags["parent_run_id"]) == ("dense", "a", "b")
        assert tags["mlflow.parentRunId"] == job.run_id

    def test_that_goes_on_is_running_without_its_error_and_ends_anew(self, store_uri):
        store = connect.connect()
        run_id = store.client.create_run(store.experiment_id, tags={"error": "died"}).info.run_id
        store.client.set_terminated(run_id, "KILLED")
        with store.again(run_id) as run:
            read = store.get(run_id)
            assert (read.info.status, "error" in read.data.tags) == ("RUNNING", False)
            run.metrics({"test_accuracy": 0.5})
        read = store.get(run_id)
        assert (read.info.status, read.data.metrics) == ("FINISHED", {"test_accuracy": 0.5})

    def test_an_interrupt_while_it_is_made_waits_until_it_can_be_ended(self, store_uri, monkeypatch):
        """A signal that comes while the store makes the run, and before anybody knows its id."""
        store = connect.connect()
        create_run = store.client.create_run

        def interrupted(*arguments, **keywords):
            run = create_run(*arguments, **keywords)
            signal.raise_signal(signal.SIGINT)
            return run

        monkeypatch.setattr(store.client, "create_run", interrupted)
        with pytest.raises(KeyboardInterrupt), store.job("a job", {}):
            pytest.fail("the job should not begin")
        (run,) = store.client.search_runs([store.experiment_id])
        assert (run.info.status, run.data.tags["error"]) == ("KILLED", "interrupted")

    def test_is_found_by_its_hash_the_newest_first_and_only_where_finished(self, store_uri):
        store = connect.connect()
        made = []
        for end in ("FINISHED", "FINISHED", "FAILED"):
            run = store.client.create_run(store.experiment_id, tags={"config_hash": "abc"})
            store.client.set_terminated(run.info.run_id, end)
            made.append(run.info.run_id)
            time.sleep(0.01)
        assert [run.info.run_id for run in store.find("abc")] == [made[1], made[0]]
        assert store.find("other") == []

    @pytest.mark.parametrize("is_notebook", [True, False])
    def test_names_the_notebook_that_it_is_made_in_and_elsewhere_no_ipython_is_imported(
        self, store_uri, ipython, is_notebook
    ):
        if is_notebook:
            importlib.import_module("IPython")
        store = connect.connect()
        with store.job("a job", {}) as job:
            pass
        tags = store.get(job.run_id).data.tags
        assert (tags["mlflow.source.name"] == "prune.ipynb") == is_notebook
        assert ("IPython" in sys.modules) == is_notebook

    def test_takes_up_the_run_that_mlflow_run_made_and_names_it(self, store_uri, monkeypatch):
        store = connect.connect()
        names = (None, "my own name", "resnet-up-10")
        given = [store.client.create_run(store.experiment_id, run_name=name) for name in names]
        for run, name in zip(given, ("a job", *names[1:]), strict=True):
            monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
            with connect.connect().job("a job", {"seed": "1"}) as job:
                assert job.run_id == run.info.run_id
            read = store.get(job.run_id)
            assert (read.info.run_name, read.data.tags["kind"], read.info.status) == (name, "job", "FINISHED")
            assert read.data.params == {}


@pytest.mark.attack
def test_a_run_whose_artifacts_lie_nowhere__no_file_of_the_current_folder_is_taken_for_one(store_uri, tmp_path):
    store = connect.connect()
    run_id = store.client.create_run(store.experiment_id).info.run_id
    with closing(sqlite3.connect(store_uri.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = '' WHERE run_uuid = ?", [run_id])
    (tmp_path / "mask.safetensors").write_text("mine")
    with pytest.raises(StudyError, match=f"{run_id} has no artifact"), store.artifact(run_id, "mask.safetensors"):
        pass


class TestLostAnswers:
    @pytest.mark.parametrize(
        ("error", "status", "calls"),
        [
            (MlflowException("Connection broken"), "FAILED", 1),
            (MlflowException("the data set exists", BAD_REQUEST), "FINISHED", 2),
        ],
    )
    def test_a_data_set_is_logged_again_only_where_another_run_has_made_it(
        self, store_uri, monkeypatch, error, status, calls
    ):
        store, errors, asked = connect.connect(), [error], []

        def log_inputs(*arguments):
            asked.append(arguments)
            if errors:
                raise errors.pop()

        monkeypatch.setattr(store.client, "log_inputs", log_inputs)
        with store.job("a job", {}) as job, suppress(StudyError), dense_run(store, job, config_hash="abc"):
            pass
        assert store.newest("abc").info.status == status
        assert len(asked) == calls


class TestFinished:
    @pytest.mark.parametrize(
        "kind",
        [
            pytest.param("sqlite", marks=pytest.mark.slow),
            pytest.param("server", marks=pytest.mark.slow),
            pytest.param("postgres", marks=pytest.mark.postgres),
        ],
    )
    def test_is_the_newest_run_of_a_hash_that_has_all_its_artifacts(self, store_uri, tmp_path, monkeypatch, kind):
        with ExitStack() as stack:
            if kind == "server":
                monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{(port := free_port())}")
                stack.enter_context(server(tmp_path, port))
            elif kind == "postgres":
                monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.enter_context(postgres()))
            store, elsewhere = connect.connect(), connect.connect("elsewhere")

            def make(config_hash, *artifacts, status="FINISHED", where=store, **tags):
                run = store.client.create_run(where.experiment_id, tags={"config_hash": config_hash, **tags})
                for name in artifacts:
                    store.client.log_text(run.info.run_id, "hello", name)
                if status != "RUNNING":
                    store.client.set_terminated(run.info.run_id, status)
                time.sleep(0.01)
                return run.info.run_id

            made = [make("two", "a.txt", "b.txt", "c.txt") for _ in range(2)]
            complete = make("one", "a.txt")
            make("one")  # its artifact is missing
            make("two", "a.txt")
            for status in ("FAILED", "RUNNING"):
                make("one", "a.txt", status=status)
            make("one", "a.txt", where=elsewhere)
            store.client.delete_run(make("one", "a.txt"))
            make("not asked for", "a.txt")
            gone = make("dense", "a.txt")
            pruned = make("two", "a.txt", "b.txt", dense_run_id=made[0])
            make("two", "a.txt", "b.txt", dense_run_id=gone)
            of_elsewhere = make("three", dense_run_id=make("dense", where=elsewhere))
            make("four", dense_run_id="no run")
            store.client.delete_run(gone)
            wanted = {"one": ["a.txt"], "two": ["a.txt", "b.txt"], "three": [], "four": [], "not there": []}
            assert store.finished(wanted) == {"one": complete, "two": pruned, "three": of_elsewhere}
            assert [run.info.run_id for run in store.find("two")][:1] == [pruned]
            assert store.find("four") == []

    def test_is_said_in_one_line_where_the_artifacts_cannot_be_asked_for(self, store_uri, tmp_path, monkeypatch):
        store = connect.connect()
        run = store.client.create_run(store.experiment_id, tags={"config_hash": "one"})
        store.client.set_terminated(run.info.run_id)
        Path(run.info.artifact_uri).parent.mkdir(parents=True)
        Path(run.info.artifact_uri).write_text("no folder", encoding="utf-8")
        with pytest.raises(StudyError, match=r"^sqlite:.*Not a directory"):
            store.finished({"one": ["a.txt"]})


class TestDead:
    DIES = """
import os
from pruning_study.tracking.connect import connect
job = connect().job("a job", {})
job.__enter__()
os._exit(9)
"""

    def test_a_job_is_never_taken_for_dead_while_it_ends(self, store_uri, monkeypatch):
        store, seen = connect.connect(), []
        finish = writer.Writer.finish
        monkeypatch.setattr(writer.Writer, "finish", lambda writer: (seen.append(store.end_dead()), finish(writer)))
        with store.job("a job", {}) as job:
            seen.append(store.end_dead())
        assert seen == [[], []]
        assert store.get(job.run_id).info.status == "FINISHED"
        assert "error" not in store.get(job.run_id).data.tags

    def test_a_job_whose_process_died_is_killed(self, store_uri):
        process = WarmProcess(run_code, self.DIES)
        process.wait()
        assert process.returncode == 9
        (dead,) = connect.connect().end_dead()
        assert connect.connect().get(dead).info.status == "KILLED"

    @pytest.mark.parametrize("dead", [True, False])
    def test_what_a_dead_process_has_half_saved_is_removed(self, store_uri, dead):
        writes = """
import sys, time
from pruning_study.tracking.connect import connect
store = connect()
with store.making("abc"):
    store.saved_training("abc").with_suffix(".saving").touch()
    print("written", flush=True)
    time.sleep(600)
"""
        store = connect.connect()
        aside = store.saved_training("abc").with_suffix(".saving")
        process = WarmProcess(run_code, writes)
        process.wait_for_output("written\n")
        if dead:
            process.kill()
            process.wait()
        store.end_dead()
        assert aside.exists() == (not dead)
        process.kill()
        process.wait()

    @pytest.mark.slow
    def test_on_a_server_only_those_whose_locks_are_seen_from_here_count(self, store_uri, tmp_path, monkeypatch):
        port = free_port()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        (tmp_path / "other").mkdir()
        with server(tmp_path, port):
            WarmProcess(run_code, self.DIES, TMPDIR=str(tmp_path / "other")).wait()
            WarmProcess(run_code, self.DIES).wait()
            store = connect.connect()
            assert len(store.end_dead()) == 1
            assert store.end_dead() == []
