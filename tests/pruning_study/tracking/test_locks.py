import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from pruning_study.tracking import locks

HOLD = """
import sys, time
from pathlib import Path
from pruning_study.tracking import locks
with locks.held(Path(sys.argv[1]), waiting=""):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_the_kernel_frees_the_lock_of_a_killed_holder(tmp_path, caplog):
    path = tmp_path / "folder" / "a.lock"
    process = holder(path)
    with locks.held_if_free(path) as held:
        assert not held
    threading.Timer(0.3, process.send_signal, [signal.SIGKILL]).start()
    start = time.monotonic()
    with locks.held(path, waiting="somebody has it"):
        assert 0.2 < time.monotonic() - start < 10
    assert caplog.messages == ["somebody has it"]
    assert process.wait() == -signal.SIGKILL


def test_the_file_exists_only_while_the_lock_is_held(tmp_path):
    path = tmp_path / "a.lock"
    with locks.held_if_free(path) as held:
        assert held
        assert path.exists()
    assert not path.exists()


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
    processes = [subprocess.Popen([sys.executable, "-c", code, str(counter)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert counter.read_text() == "60"


def test_each_store_has_a_folder_of_locks_beside_a_sqlite_file_or_of_its_own():
    assert locks.folder("sqlite:////there/mlflow.db") == Path("/there/mlflow.db.locks")
    first, second = (locks.folder(f"http://host:{port}") for port in (1, 2))
    assert first != second
    assert first.parent == second.parent
