import subprocess
import sys
import tempfile

from pruning_study.tracking import scratch

HOLD = """
import time
from pruning_study.tracking import scratch
with scratch.folder() as folder:
    (folder / "a.txt").write_text("hello")
    print(folder, flush=True)
    time.sleep(60)
"""


def holder():
    return subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)


def test_a_folder_exists_while_the_block_runs():
    with scratch.folder() as folder:
        (folder / "a.txt").write_text("hello")
        scratch.remove_dead()
        assert (folder / "a.txt").read_text() == "hello"
    assert list(folder.parent.glob(f"{folder.name}*")) == []


def test_the_folders_of_dead_processes_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    dead, alive = holder(), holder()
    folders = [process.stdout.readline().strip() for process in (dead, alive)]
    dead.kill()
    dead.wait()
    scratch.remove_dead()
    assert sorted(map(str, tmp_path.iterdir())) == [folders[1], f"{folders[1]}.lock"]
    alive.kill()
    alive.wait()
    scratch.remove_dead()
    assert list(tmp_path.iterdir()) == []
