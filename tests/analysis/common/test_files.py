import errno
import os
import resource
from contextlib import contextmanager

import pytest

from analysis.common import files
from analysis.common.errors import StudyError
from tests.error_lines import refused


@contextmanager
def full_disk():
    """Let no file grow above 1,000 bytes within a block, as if the disk were full.

    A fixture would end later, when pytest has already written to its own output, which may be a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(folder, size):
    with files.aside(folder) as scratch:
        (scratch / "figures").mkdir()
        (scratch / "figures" / "a.svg").write_text("new")
        (scratch / "report.md").write_text("x" * size)


def test_files_are_moved_when_the_block_ends_and_others_stay(tmp_path):
    (tmp_path / "mine.txt").touch()
    write(tmp_path, 5)
    assert (tmp_path / "figures" / "a.svg").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "mine.txt", "report.md"]


def test_files_of_the_same_names_are_replaced_and_obsolete_ones_deleted_with_their_folders(tmp_path):
    (tmp_path / "report.md").symlink_to("mine.txt")
    for name in ("mine.txt", "metrics.csv", "tuning/1/a.csv", "tuning/2/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    with files.aside(tmp_path, obsolete=["metrics.csv", "report.md", "tuning/1/a.csv", "none.csv"]) as scratch:
        (scratch / "report.md").write_text("new")
    left = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"mine.txt": "old", "report.md": "new", "tuning/2/a.csv": "old"}
    assert not (tmp_path / "tuning" / "1").exists()


@pytest.mark.attack
def test_a_disk_that_is_full_when_a_report_is_written__leaves_no_half_report_and_no_new_folder(tmp_path):
    message = r"report: File too large; make room and start the command again$"
    with pytest.raises(StudyError, match=message) as error, full_disk():
        write(tmp_path / "report", 2000)
    assert error.value.option is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.attack
def test_a_disk_that_is_full_when_a_report_is_written_again__leaves_the_former_report_as_it_was(tmp_path):
    write(tmp_path, 5)
    with pytest.raises(StudyError), full_disk():
        write(tmp_path, 2000)
    assert (tmp_path / "report.md").read_text() == "xxxxx"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "report.md"]


def test_an_output_that_is_no_folder_is_the_fault_of_the_option(tmp_path):
    (tmp_path / "report").touch()
    with refused("output", "File exists"):
        write(tmp_path / "report", 5)


def test_a_fault_names_the_file_or_else_the_folder(tmp_path):
    named = OSError(errno.EACCES, os.strerror(errno.EACCES), "a.csv")
    assert files.fault(named, tmp_path) == "a.csv: Permission denied"
    assert files.fault(OSError(errno.EIO, os.strerror(errno.EIO)), tmp_path) == f"{tmp_path}: Input/output error"
