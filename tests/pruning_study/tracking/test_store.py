import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError

import pruning_study
from analysis.runs import address
from analysis.runs.errors import StudyError
from pruning_study.tracking import connect, unsent, writer
from pruning_study.tracking.store import Store
from tests.mlflow_server import breaking_off, free_port, server
from tests.postgres_server import postgres

DATASET = Dataset("tiny", "0" * 32, "local", "{}")


@contextmanager
def dense_run(store, job):
    with store.run(
        "a run",
        note="a note",
        tags={"kind": "dense"},
        params={"seed": "0"},
        dataset=DATASET,
        job_run_id=job.run_id,
        child=True,
    ) as run:
        yield run


class TestSqlite:
    def test_is_put_into_wal_mode(self, store_uri):
        connect.connect()
        with sqlite3.connect(store_uri.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_several_processes_may_make_it_at_once(self, tmp_path, monkeypatch, store_uri):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
        code = "from pruning_study.tracking import connect; connect.connect('shared').client.search_experiments()"
        processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
        errors = [process.communicate()[1].decode() for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], errors

    def test_in_a_folder_that_cannot_be_made(self, tmp_path, monkeypatch, store_uri):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/a.db")
        with pytest.raises(StudyError, match=r"file/a\.db: the tracking store cannot be used"):
            connect.connect()


class TestExperiment:
    def test_is_the_named_one_made_where_it_is_not_there(self, store_uri):
        store = connect.connect("another")
        assert store.client.get_experiment(store.experiment_id).name == "another"
        assert connect.connect("another").experiment_id == store.experiment_id

    def test_is_mlflows_current_one(self, store_uri, monkeypatch, request):
        store = connect.connect()
        assert store.client.get_experiment(store.experiment_id).name == request.node.name
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
        assert connect.connect().experiment_id == "0"
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", store.experiment_id)
        assert connect.connect().experiment_id == store.experiment_id

    def test_that_another_process_makes_at_the_same_moment(self, store_uri, monkeypatch):
        store = connect.connect()
        seen = store.client.get_experiment_by_name
        answers = [None]  # not there when asked, there when made
        store.client.create_experiment("raced")
        monkeypatch.setattr(
            store.client, "get_experiment_by_name", lambda name: answers.pop() if answers else seen(name)
        )
        assert connect._experiment_id(store.client, "raced") == seen("raced").experiment_id

    def test_that_is_deleted_is_a_usage_error(self, store_uri):
        store = connect.connect("gone")
        store.client.delete_experiment(store.experiment_id)
        with pytest.raises(StudyError, match="'gone' is deleted") as error:
            connect.connect("gone")
        assert error.value.option == "--experiment"

    def test_under_mlflow_run_is_that_of_its_run(self, store_uri, monkeypatch):
        store = connect.connect("of the job")
        run = store.client.create_run(store.experiment_id)
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
        assert connect.connect().experiment_id == store.experiment_id
        assert connect.connect("of the job").experiment_id == store.experiment_id
        with pytest.raises(StudyError, match="--experiment-name other") as error:
            connect.connect("other")
        assert error.value.option == "--experiment"


class TestRun:
    def test_ends_as_finished_with_all_it_holds(self, store_uri):
        store = connect.connect()
        with store.job("a job", {"seed": "auto"}) as job, dense_run(store, job) as run:
            run.epoch(1, {"val_loss": 2.0})
            run.epoch(2, {"val_loss": 1.0})
            run.metrics({"alpha": float("nan"), "test_accuracy": 0.5})
            (run.folder / "a.txt").write_text("hello")
        read = store.get(run.run_id)
        assert read.info.status == "FINISHED"
        assert read.data.metrics == {"val_loss": 1.0, "test_accuracy": 0.5}
        assert read.data.tags["mlflow.note.content"] == "a note"
        assert store.missing(run.run_id, ["a.txt", "b.txt"]) == ["b.txt"]
        assert not run.folder.exists()
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


class TestFinished:
    @pytest.mark.parametrize("kind", ["sqlite", "server", pytest.param("postgres", marks=pytest.mark.postgres)])
    def test_is_the_newest_run_of_a_hash_that_has_all_its_artifacts(self, store_uri, tmp_path, monkeypatch, kind):
        with ExitStack() as stack:
            if kind == "server":
                monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{(port := free_port())}")
                stack.enter_context(server(tmp_path, port))
            elif kind == "postgres":
                monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.enter_context(postgres()))
            store, elsewhere = connect.connect(), connect.connect("elsewhere")

            def make(config_hash, *artifacts, status="FINISHED", where=store):
                run = store.client.create_run(where.experiment_id, tags={"config_hash": config_hash})
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
            wanted = {"one": ["a.txt"], "two": ["a.txt", "b.txt"], "not there": []}
            assert store.finished(wanted) == {"one": complete, "two": made[1]}

    def test_is_said_in_one_line_where_the_artifacts_cannot_be_asked_for(self, store_uri, tmp_path, monkeypatch):
        store = connect.connect()
        run = store.client.create_run(store.experiment_id, tags={"config_hash": "one"})
        store.client.set_terminated(run.info.run_id)
        Path(run.info.artifact_uri).parent.mkdir(parents=True)
        Path(run.info.artifact_uri).write_text("no folder")
        with pytest.raises(StudyError, match=r"^sqlite:.*Not a directory"):
            store.finished({"one": ["a.txt"]})


class TestServer:
    def test_that_accepts_and_says_nothing_is_found_out_within_10_s(self, store_uri, monkeypatch):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
            start = time.monotonic()
            with pytest.raises(StudyError, match="does not answer"):
                connect.connect()
            assert time.monotonic() - start < 10

    def test_that_goes_away_is_asked_again_for_more_than_a_minute(self, store_uri, monkeypatch):
        """The waits between the attempts of the session that a store uses, as MLflow has made it."""
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
        sessions = []

        def request(session, *_, **__):
            sessions.append(session)
            raise requests.ConnectionError

        monkeypatch.setattr(requests.Session, "request", request)
        uri = "http://127.0.0.1:9"
        with pytest.raises(StudyError):
            Store(MlflowClient(uri), uri, "0", None).find("abc")
        retry, seconds = sessions[0].get_adapter(uri).max_retries, 0
        with pytest.raises(MaxRetryError):
            while True:
                retry = retry.increment("POST", "/", error=ConnectTimeoutError())
                seconds += retry.get_backoff_time()
        assert seconds > 60

    def test_that_goes_away_costs_nothing(self, store_uri, monkeypatch, tmp_path):
        """The run is kept in a folder, and `send` sends it once the server is back."""
        port = free_port()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        with server(tmp_path, port):
            store = connect.connect()
            context = store.job("a job", {})
            job = context.__enter__()
            run_context = dense_run(store, job)
            run = run_context.__enter__()
        run.epoch(1, {"val_loss": 2.0})
        run.metrics({"test_accuracy": 0.5})
        run.tags({"more": "tags"})
        (run.folder / "a.txt").write_text("hello")
        with pytest.raises(StudyError, match=f"send it with: pruning-study send /.*unsent/{run.run_id}") as error:
            run_context.__exit__(None, None, None)
        context.__exit__(StudyError, error.value, None)
        kept = writer.UNSENT / run.run_id
        with pytest.raises(StudyError):
            unsent.send(kept)
        with server(tmp_path, port):
            assert unsent.send(kept) == run.run_id
            read = MlflowClient().get_run(run.run_id)
            assert read.info.status == "FINISHED"
            assert read.data.metrics == {"val_loss": 2.0, "test_accuracy": 0.5}
            assert read.data.tags["more"] == "tags"
            assert store.missing(run.run_id, ["a.txt"]) == []
            assert store.get(job.run_id).info.status == "FAILED"
        assert not kept.exists()

    def test_whose_answer_breaks_off_has_deleted_the_tag_all_the_same(self, store_uri, monkeypatch, tmp_path):
        port = free_port()
        with server(tmp_path, port), breaking_off(port) as (broken, asked):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{broken}")
            store = connect.connect()
            experiment = store.experiment_id
            made = [store.client.create_run(experiment, tags={"error": "died"}).info.run_id for _ in range(2)]
            for run_id in made:
                with store.again(run_id):
                    pass
            assert asked["POST", "/api/2.0/mlflow/runs/delete-tag"] == 3
            for run in map(store.get, made):
                assert (run.info.status, "error" in run.data.tags) == ("FINISHED", False)

    def test_kept_runs_that_cannot_be_sent_stop_nothing(self, store_uri, tmp_path, caplog):
        for name, content in (("half", "{"), ("gone", {"run_id": "0" * 32})):
            (tmp_path / "unsent" / name / "artifacts").mkdir(parents=True)
            record = {"tracking_uri": store_uri, "job_run_id": None, "tags": {}, "metrics": []}
            text = content if isinstance(content, str) else json.dumps(record | content)
            (tmp_path / "unsent" / name / "run.json").write_text(text)
        connect.connect()
        assert unsent.send_kept(store_uri) == []
        assert [name in caplog.text for name in ("unsent/half: not sent", "unsent/gone: not sent")] == [True, True]

    @pytest.mark.parametrize("content", [None, "[]", "{}", "{"])
    def test_sending_what_is_no_unsent_run(self, tmp_path, content):
        if content:
            (tmp_path / "run.json").write_text(content)
        with pytest.raises(StudyError, match="no unsent run in it"):
            unsent.send(tmp_path)

    def test_where_the_current_folder_takes_no_files_the_run_is_kept_elsewhere(self, store_uri, tmp_path):
        store = connect.connect()
        (tmp_path / "unsent").write_text("not a folder")
        with pytest.raises(StudyError, match=r"it is kept in .*unsent-") as error, store.job("a job", {}) as job:
            (job.folder / "a.txt").write_text("hello")
            store.client.delete_run(job.run_id)
        kept = Path(str(error.value).rpartition(" ")[2])
        assert (kept / "artifacts" / "a.txt").read_text() == "hello"
        shutil.rmtree(kept)


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
        send = writer.Writer.send
        monkeypatch.setattr(writer.Writer, "send", lambda writer: (seen.append(store.end_dead()), send(writer)))
        with store.job("a job", {}) as job:
            seen.append(store.end_dead())
        assert seen == [[], []]
        assert store.get(job.run_id).info.status == "FINISHED"
        assert "error" not in store.get(job.run_id).data.tags

    def test_a_job_whose_process_died_is_killed(self, store_uri):
        assert subprocess.run([sys.executable, "-c", self.DIES]).returncode == 9
        (dead,) = connect.connect().end_dead()
        assert connect.connect().get(dead).info.status == "KILLED"

    @pytest.mark.parametrize("dead", [True, False])
    def test_what_a_dead_process_has_half_saved_is_removed(self, store_uri, dead):
        writes = """
import sys, time
from pruning_study.tracking.connect import connect
store = connect()
with store.making("abc"):
    store.saved_training("abc").with_suffix(".part").touch()
    print("written", flush=True)
    time.sleep(60)
"""
        store = connect.connect()
        part = store.saved_training("abc").with_suffix(".part")
        process = subprocess.Popen([sys.executable, "-c", writes], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "written\n"
        if dead:
            process.kill()
            process.wait()
        store.end_dead()
        assert part.exists() == (not dead)
        process.kill()
        process.wait()

    def test_on_a_server_only_those_whose_locks_are_seen_from_here_count(self, store_uri, tmp_path, monkeypatch):
        port = free_port()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        (tmp_path / "other").mkdir()
        with server(tmp_path, port):
            subprocess.run([sys.executable, "-c", self.DIES], env={**os.environ, "TMPDIR": str(tmp_path / "other")})
            subprocess.run([sys.executable, "-c", self.DIES])
            store = connect.connect()
            assert len(store.end_dead()) == 1
            assert store.end_dead() == []

    def test_runs_of_a_lost_machine_are_killed_and_those_that_somebody_makes_are_not(self, store_uri):
        store = connect.connect()
        for held in (False, True):
            run = store.client.create_run(store.experiment_id, tags={"config_hash": "abc"})
            with store.making("abc") if held else nullcontext():
                store.end_lost({"abc": "another run"})
            assert store.get(run.info.run_id).info.status == ("RUNNING" if held else "KILLED")
            store.end_lost({"abc": run.info.run_id, "def": "1"})
            assert store.get(run.info.run_id).info.status == ("RUNNING" if held else "KILLED")


def test_load_model_makes_no_store(store_uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(StudyError, match=r"none\.db: no such file"):
        pruning_study.load_model("abc")
    assert not list(tmp_path.glob("none.db*"))


def test_a_password_is_not_shown():
    assert address.without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
