import os
import signal
import socket
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing

import pytest
from mlflow import MlflowClient

from analysis.common.errors import StudyError
from pruning_study.tracking import locks
from tests import another_user
from tests.deadline import wait_until
from tests.error_lines import error_line
from tests.warm_processes import WarmProcess, run_code

HOLD = """
import sys, time
from pathlib import Path
from pruning_study.tracking import locks
with locks.held(Path(sys.argv[1]), waiting=""):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def holder(path):
    process = WarmProcess(run_code, HOLD, path)
    process.wait_for_output("held\n")
    return process


@pytest.mark.slow
@pytest.mark.attack
def test_a_process_that_is_killed_while_it_holds_a_lock__holds_it_no_longer(tmp_path, caplog):
    path = tmp_path / "a.lock"
    process = holder(path)
    with locks.held_if_free(path) as held:
        assert not held

    def kill():
        wait_until(lambda: caplog.messages == ["somebody has it"], process)
        process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with locks.held(path, waiting="somebody has it"):
        process.wait()
    assert process.returncode == -signal.SIGKILL
    thread.join()
    assert caplog.messages == ["somebody has it"]


def test_the_file_exists_only_while_the_lock_is_held(tmp_path):
    path = tmp_path / "a.lock"
    with locks.held_if_free(path) as held:
        assert held
        assert path.exists()
    assert not path.exists()


@pytest.mark.slow
def test_one_process_at_a_time_holds_a_lock_whose_file_comes_and_goes(tmp_path):
    """Three processes that each read, wait and write a counter under the lock lose no count."""
    code = """
import sys, time
from pathlib import Path
from pruning_study.tracking import locks
counter = Path(sys.argv[1])
for _ in range(20):
    with locks.held(counter.with_suffix(".lock"), waiting=""):
        count = int(counter.read_text())
        time.sleep(0.001)
        counter.write_text(str(count + 1))
"""
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [WarmProcess(run_code, code, counter) for _ in range(3)]
    for process in processes:
        process.wait()
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert counter.read_text() == "60"


def test_each_store_has_a_folder_of_locks_beside_a_sqlite_file_or_of_its_own(tmp_path, cache_home):
    assert locks.folder(f"sqlite:///{tmp_path}/mlflow.db") == tmp_path / "mlflow.db.locks"
    first, second = (locks.folder(f"http://host:{port}") for port in (1, 2))
    assert first != second
    assert first.parent == second.parent == cache_home / "pruning-study/locks"


def test_a_link_to_a_sqlite_file_has_the_locks_of_the_file(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "mlflow.db").symlink_to("there/mlflow.db")
    assert locks.folder(f"sqlite:///{tmp_path}/mlflow.db") == tmp_path / "there" / "mlflow.db.locks"


def test_machines_that_share_a_home_have_a_folder_each(cache_home, monkeypatch):
    folders = set()
    for name in ("one", "two", "one"):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        folders.add(locks.folder("http://host"))
    assert len(folders) == 2


@pytest.mark.attack
def test_somebody_who_tries_passwords_against_the_name_of_the_folder_of_locks__learns_nothing(cache_home):
    uris = [f"postgresql://me{password}@host/db" for password in (":one", ":two", ":t/w@o")]
    assert len({locks.folder(uri) for uri in uris}) == 1
    owners = {locks.owner(uri) for uri in uris}
    assert len(owners) == 1
    assert [path.name for path in cache_home.rglob("*") if path.is_symlink()] == ["owner"]


@pytest.mark.attack
def test_the_folder_of_locks_that_another_user_made_under_tmp__is_not_looked_at(cache_home, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    another_user.folder(tmp_path / f"pruning-study-locks-{os.getuid()}")
    with locks.held(locks.folder("http://host") / "a.lock", waiting=""):
        assert (cache_home / "pruning-study").is_dir()


@pytest.mark.attack
def test_a_folder_of_locks_beside_the_store_that_belongs_to_another_user__ends_the_command_before_it_makes_a_run(
    store_uri, tmp_path, tiny_npz, run_command, monkeypatch
):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(store_uri).search_experiments()  # makes the store if this is the first test that needs it
    with closing(sqlite3.connect(store_uri.removeprefix("sqlite:///"))) as store:
        store.execute("VACUUM INTO ?", [str(tmp_path / "mlflow.db")])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    another_user.folder(tmp_path / "mlflow.db.locks")
    done = run_command("train", "--dataset", tiny_npz, "--model", "lenet5", "--epochs", 1)
    assert done.exit_code == 1
    line = error_line(done.output)
    assert f"belongs to {another_user.name()}" in line
    assert "run the command as the owner, or use a store of your own (MLFLOW_TRACKING_URI)" in line
    experiment = MlflowClient(uri).get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    assert MlflowClient(uri).search_runs([experiment.experiment_id]) == []


@pytest.mark.attack
def test_a_folder_of_locks_beside_the_store_that_everybody_can_write__is_refused_until_its_mode_is_changed(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    folder = tmp_path / "mlflow.db.locks"
    folder.mkdir()
    folder.chmod(0o777)
    for use in (locks.folder, locks.owner):
        with pytest.raises(StudyError, match=f"run `chmod go-w {folder}`"):
            use(uri)
    assert list(folder.iterdir()) == []
    folder.chmod(0o755)
    assert locks.folder(uri) == folder


@pytest.mark.attack
def test_a_store_in_a_folder_of_ones_group__has_locks_that_the_group_cannot_open(tmp_path):
    """Whoever can write this folder can replace the store itself, so that only the locks are checked."""
    tmp_path.chmod(0o2775)
    folder = locks.folder(f"sqlite:///{tmp_path}/mlflow.db")
    assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700


@pytest.mark.attack
def test_a_cache_that_others_can_write__ends_a_command_for_a_server_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for folder in (tmp_path / "pruning-study" / "locks", tmp_path / "pruning-study"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
        with pytest.raises(StudyError, match=f"run `chmod go-w {folder}`"):
            locks.folder("http://host")


@pytest.mark.attack
def test_another_user_who_wants_to_hold_a_lock_for_ever__cannot_open_its_file(tmp_path):
    umask = os.umask(0)
    try:
        with locks.held(tmp_path / "a.lock", waiting=""):
            assert stat.S_IMODE((tmp_path / "a.lock").stat().st_mode) == 0o600
    finally:
        os.umask(umask)


def test_threads_that_ask_at_once_have_one_mark(tmp_path):
    uri, found = f"sqlite:///{tmp_path}/mlflow.db", []
    threads = [threading.Thread(target=lambda: found.append(locks.owner(uri))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "mlflow.db.locks").iterdir()] == ["owner"]
