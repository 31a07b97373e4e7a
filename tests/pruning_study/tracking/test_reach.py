import ctypes
import os
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError

from analysis.common.errors import StudyError
from pruning_study.tracking import reach
from tests.deadline import in_time
from tests.mlflow_server import free_port
from tests.warm_processes import WarmProcess, run_code


def said_by_an_ordinary_user(uri):
    """Return the error that a user gets on the way to an experiment of a store, with none of root's rights."""
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        header, no_rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        try:
            assert ctypes.CDLL(None).capset(header, no_rights) == 0
            with reach.one_line_errors(uri):
                reach.client(uri).create_experiment("theirs")
        except BaseException as error:
            os.write(theirs, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    with os.fdopen(ours) as said:
        return said.read()


@pytest.fixture(scope="module")
def new_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "new.db"
    reach.ensure(f"sqlite:///{path}")
    return path


class TestSqlite:
    def test_is_made_in_wal_mode(self, new_store):
        with sqlite3.connect(new_store) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    @pytest.mark.slow
    def test_several_processes_may_make_it_at_once(self, tmp_path):
        code = "import sys; from pruning_study.tracking import reach; reach.client(sys.argv[1]).search_experiments()"
        processes = [WarmProcess(run_code, code, f"sqlite:///{tmp_path}/new.db") for _ in range(3)]
        errors = [process.wait() for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], errors

    def test_a_file_of_another_kind_is_an_error_and_stays_as_it_is(self, tmp_path):
        (tmp_path / "a.db").write_text("no database at all")
        with (
            pytest.raises(StudyError, match="not a database; check"),
            reach.one_line_errors(store := f"sqlite:///{tmp_path}/a.db"),
        ):
            reach.ensure(store)
        assert (tmp_path / "a.db").read_text() == "no database at all"

    @pytest.mark.attack
    def test_another_program_is_writing__the_next_command_turns_wal_mode_on(self, new_store, tmp_path):
        path = Path(shutil.copy(new_store, tmp_path))
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("PRAGMA journal_mode=DELETE")
            writer.execute("BEGIN IMMEDIATE")
            reach.ensure(f"sqlite:///{path}")
            writer.execute("COMMIT")
        reach.ensure(f"sqlite:///{path}")
        with closing(sqlite3.connect(path)) as reader:
            assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    @pytest.mark.attack
    @pytest.mark.parametrize(
        ("file_mode", "folder_mode", "reason"),
        [
            (0o000, 0o777, "unable to open database file"),
            (0o444, 0o777, "attempt to write a readonly database"),
            (0o666, 0o555, "Permission denied"),
        ],
    )
    def test_a_store_that_its_user_may_not_read_or_write__one_line_names_the_rights(
        self, new_store, tmp_path, file_mode, folder_mode, reason
    ):
        (folder := tmp_path / "store").mkdir()
        path = Path(shutil.copy(new_store, folder))
        path.chmod(file_mode)
        folder.chmod(folder_mode)
        said = said_by_an_ordinary_user(f"sqlite:///{path}")
        folder.chmod(0o700)
        assert reason in said
        assert said.endswith("; make the file and its folder readable and writable")

    def test_is_missing_until_it_is_made(self, new_store, tmp_path):
        assert reach.is_missing_file(f"sqlite:///{tmp_path}/new.db")
        assert not reach.is_missing_file("http://127.0.0.1:1")
        assert not reach.is_missing_file(f"sqlite:///{new_store}")


class TestServer:
    def test_that_is_not_there_is_found_out_at_once(self):
        with in_time(), pytest.raises(StudyError, match="does not answer"):
            reach.client(f"http://127.0.0.1:{free_port()}")

    @pytest.mark.slow
    def test_that_accepts_and_says_nothing_is_given_up(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with in_time(), pytest.raises(StudyError, match="does not answer"):
                reach.client(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def test_that_goes_away_is_asked_again_for_more_than_a_minute(self, monkeypatch):
        """The waits between the attempts of the session that a client uses, as MLflow has made it."""
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
        sessions = []

        def request(session, *_, **__):
            sessions.append(session)
            raise requests.ConnectionError

        monkeypatch.setattr(requests.Session, "request", request)
        uri = "http://127.0.0.1:9"
        with pytest.raises(MlflowException):
            MlflowClient(uri).get_run("abc")
        retry, seconds = sessions[0].get_adapter(uri).max_retries, 0
        with pytest.raises(MaxRetryError):
            while True:
                retry = retry.increment("POST", "/", error=ConnectTimeoutError())
                seconds += retry.get_backoff_time()
        assert seconds > 60


@pytest.mark.parametrize("error", [MlflowException("bad\nluck"), OSError("bad\nluck"), requests.Timeout("bad\nluck")])
def test_an_error_of_a_store_fits_on_one_line_without_the_password(error):
    with pytest.raises(StudyError) as raised, reach.one_line_errors("http://me:secret@host"):
        raise error
    assert str(raised.value) == "http://me:***@host: bad"


def test_another_error_stays_as_it_is():
    with pytest.raises(ZeroDivisionError), reach.one_line_errors("http://host"):
        1 / 0  # noqa: B018
