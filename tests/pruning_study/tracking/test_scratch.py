import os
import stat
import tempfile
from pathlib import Path

import pytest

from analysis.common.errors import StudyError
from pruning_study.tracking import scratch
from tests import another_user
from tests.warm_processes import WarmProcess, run_code

HOLD = """
import time
from pruning_study.tracking import scratch
with scratch.folder() as folder:
    (folder / "a.txt").write_text("hello")
    print(folder, flush=True)
    time.sleep(600)
"""


def holder(temporary):
    """Return a process that holds a folder among its temporary files, and that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TMPDIR", raising=False)  # the process's output is another temporary file
        patch.setattr(tempfile, "tempdir", None)
        process = WarmProcess(run_code, HOLD, TMPDIR=str(temporary))
    process.wait_for_output("\n")
    return process, process.output.read_text().strip()


def test_a_folder_exists_while_the_block_runs():
    with scratch.folder() as folder:
        (folder / "a.txt").write_text("hello")
        scratch.remove_dead()
        assert (folder / "a.txt").read_text() == "hello"
    assert list(folder.parent.glob(f"{folder.name}*")) == []


@pytest.mark.slow
def test_the_folders_of_dead_processes_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (dead, of_dead), (alive, of_alive) = holder(tmp_path), holder(tmp_path)
    assert of_dead != of_alive
    dead.kill()
    dead.wait()
    scratch.remove_dead()
    assert sorted(map(str, tmp_path.iterdir())) == [of_alive, f"{of_alive}.lock"]
    alive.kill()
    alive.wait()
    scratch.remove_dead()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.attack
def test_links_and_locks_that_another_user_plants_among_the_temporary_folders__have_nothing_removed(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    names = [tmp_path / "tmp" / f"{scratch.PREFIX}{digit * 32}" for digit in "123"]
    work = [tmp_path / "work", names[1], names[2]]
    for folder in work:
        folder.mkdir(parents=True)
        (folder / "thesis").write_text("months of work")
    names[0].symlink_to(tmp_path / "work")
    names[0].with_suffix(".lock").touch()
    another_user.file(names[1].with_suffix(".lock"))
    names[2].with_suffix(".lock").symlink_to(tmp_path / "work" / "thesis")
    scratch.remove_dead()
    assert [(folder / "thesis").read_text() for folder in work] == ["months of work"] * 3


@pytest.mark.attack
def test_the_temporary_folders__cannot_be_opened_by_others_and_have_names_that_cannot_be_guessed():
    umask = os.umask(0)
    try:
        with scratch.folder() as one, scratch.folder() as other:
            assert {stat.S_IMODE(folder.stat().st_mode) for folder in (one, other)} == {0o700}
            assert {stat.S_IMODE(folder.with_suffix(".lock").stat().st_mode) for folder in (one, other)} == {0o600}
            assert sum(a != b for a, b in zip(one.name, other.name, strict=True)) > 15
    finally:
        os.umask(umask)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.mark.slow
@pytest.mark.attack
def test_a_process_that_is_killed_right_after_it_kept_a_run__leaves_the_run_to_later_commands(temporary):
    process, name = holder(temporary)
    folder = Path(name)
    (folder / "run.json").touch()
    process.kill()
    process.wait()
    scratch.remove_dead()
    assert list(temporary.iterdir()) == [folder]  # the lock is gone
    assert scratch.list_unsent() == [folder]
    scratch.remove_dead()
    assert (folder / "a.txt").is_file()


@pytest.mark.attack
def test_a_link_in_the_folder_of_temporary_files_that_leads_to_a_foreign_run__is_not_sent(temporary):
    (temporary / "foreign").mkdir()
    (temporary / "foreign" / "run.json").touch()
    (temporary / f"{scratch.PREFIX}{'0' * 32}").symlink_to(temporary / "foreign")
    assert scratch.list_unsent() == []


@pytest.mark.attack
def test_a_link_in_place_of_a_run_folder_that_a_cleaner_removed__is_refused(temporary):
    (temporary / "foreign").mkdir()
    (temporary / "mine").symlink_to(temporary / "foreign")
    with pytest.raises(StudyError, match="set TMPDIR to a folder of your own"):
        scratch.ensure(temporary / "mine")
