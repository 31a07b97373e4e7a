"""Which older files may be replaced: those that the list in their folder has, unchanged."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analysis.common import files, written_files
from analysis.common.errors import StudyError
from analysis.common.written_files import LIST
from tests import another_user
from tests.error_lines import refused

REFUSED = r"was not written by this command, or was changed since: name another --output, or move the file away$"


def write(folder, text, names=("report.md", "figures/a.svg"), **how):
    with files.aside(folder, **how) as scratch:
        for name in names:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_text(text)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listed(folder):
    return [line.partition("  ")[2] for line in (folder / LIST).read_text().splitlines()[1:]]


def test_what_was_written_is_replaced_and_files_that_are_gone_leave_the_list(tmp_path):
    write(tmp_path, "older", ["report.md", "figures/a.svg", "cells.csv"])
    assert listed(tmp_path) == ["cells.csv", "figures/a.svg", "report.md"]
    (tmp_path / "cells.csv").unlink()
    write(tmp_path, "newer")
    assert (tmp_path / "figures" / "a.svg").read_text() == "newer"
    assert listed(tmp_path) == ["figures/a.svg", "report.md"]
    write(tmp_path, "other", ["power.csv"])  # of another command
    assert listed(tmp_path) == ["figures/a.svg", "power.csv", "report.md"]


@pytest.mark.parametrize("name", ["a b", "a\nb", "a\\nb", "a\rb", "\\", "\u2028", "\udcff"])
def test_a_file_of_any_name_is_replaced(tmp_path, name):
    for text in ("older", "newer"):
        with files.one_aside(tmp_path / name) as scratch:
            scratch.write_text(text)
    assert (tmp_path / name).read_text() == "newer"
    assert len((tmp_path / LIST).read_bytes().split(b"\n")) == 3  # a comment, a file, and the end


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_sha256sum_reads_the_list_and_finds_what_was_changed(tmp_path):
    write(tmp_path, "text", ["a.md", "a\nb.md", "a\\b.md", "figures/a.svg"])
    command = ["sha256sum", "--check", "--strict", "--quiet", LIST]
    assert subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout == ""
    (tmp_path / "figures" / "a.svg").write_text("mine")
    changed = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (changed.returncode, changed.stdout) == (1, "figures/a.svg: FAILED\n")


@pytest.mark.attack
@pytest.mark.parametrize(
    "make",
    [
        Path.touch,
        Path.mkdir,
        os.mkfifo,
        lambda path: path.write_text("mine"),
        lambda path: path.symlink_to("gone"),
        lambda path: path.symlink_to("mine.txt"),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_what_was_not_written_or_was_changed_since__stays_and_so_does_all_beside_it(tmp_path, make, is_listed):
    (tmp_path / "mine.txt").write_text("mine")
    if is_listed:
        write(tmp_path, "older")
        (tmp_path / "report.md").unlink()
    make(tmp_path / "report.md")
    before, kind = contents(tmp_path), (tmp_path / "report.md").lstat().st_mode
    with pytest.raises(StudyError, match=rf"report\.md {REFUSED}"):
        write(tmp_path, "newer")
    assert contents(tmp_path) == before
    assert (tmp_path / "report.md").lstat().st_mode == kind


@pytest.mark.attack
def test_without_the_list__nothing_is_replaced_but_by_the_same_bytes(tmp_path):
    write(tmp_path, "older")
    (tmp_path / LIST).unlink()
    with pytest.raises(StudyError, match=REFUSED):
        write(tmp_path, "newer")
    assert contents(tmp_path) == {"report.md": b"older", "figures/a.svg": b"older"}
    write(tmp_path, "older")
    write(tmp_path, "newer")
    assert (tmp_path / "report.md").read_text() == "newer"


@pytest.mark.attack
def test_a_file_that_the_user_named__is_replaced_only_if_unchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def save(text):
        with files.one_aside(Path("classes.csv")) as scratch:
            scratch.write_text(text)

    save("one")
    save("two")
    assert (tmp_path / "classes.csv").read_text() == "two"
    (tmp_path / "classes.csv").write_text("mine")
    with pytest.raises(StudyError, match=rf"^classes\.csv {REFUSED}"):
        save("three")
    assert (tmp_path / "classes.csv").read_text() == "mine"
    with refused("output", "a list of written files has this name"), files.one_aside(Path(LIST)):
        pass


DIGEST = "0" * 64


@pytest.mark.attack
@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        Path.touch,
        lambda path: path.symlink_to("gone"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_text("settings = mine\n"),
        lambda path: path.write_bytes(b"\xff\0"),
        lambda path: path.write_text(f"# pruning-study \n{DIGEST[1:]}  a.md\n"),
        lambda path: path.write_text(f"# pruning-study \n{DIGEST}  /etc/passwd\n"),
        lambda path: path.write_text(f"# pruning-study \n{DIGEST}  figures/../../a.md\n"),
        lambda path: path.write_text(f"# pruning-study \n{DIGEST}  a.md\nmine\n"),
    ],
)
def test_what_is_no_list__stays_and_nothing_is_written_beside_it(tmp_path, make):
    make(tmp_path / LIST)
    kind, before = (tmp_path / LIST).lstat().st_mode, contents(tmp_path)
    with pytest.raises(StudyError, match=rf"\{LIST} cannot be read as a list of written files: .* move it away$"):
        write(tmp_path, "newer")
    assert list(tmp_path.iterdir()) == [tmp_path / LIST]
    assert ((tmp_path / LIST).lstat().st_mode, contents(tmp_path)) == (kind, before)


@pytest.mark.attack
def test_a_list_that_is_a_link__is_replaced_and_its_target_stays(tmp_path):
    write(tmp_path / "other", "older")
    theirs = contents(tmp_path / "other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / LIST).symlink_to(tmp_path / "other" / LIST)
    write(tmp_path / "mine", "newer")
    assert contents(tmp_path / "other") == theirs
    assert not (tmp_path / "mine" / LIST).is_symlink()


@pytest.mark.attack
def test_a_list_that_another_user_planted_in_a_sticky_folder__is_not_used(tmp_path):
    tmp_path.chmod(0o1777)
    for text in ("older", "newer"):
        write(tmp_path, text)
    assert {f"{LIST}-{os.geteuid()}", "report.md"} <= contents(tmp_path).keys()
    assert LIST not in contents(tmp_path)
    vouched = f"# pruning-study \n{hashlib.sha256(b'mine').hexdigest()}  report.md\n".encode()
    another_user.file(tmp_path / f"{LIST}-{os.geteuid()}", vouched)
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(StudyError, match="cannot be read as a list of written files"):
        write(tmp_path, "newest")
    assert (tmp_path / "report.md").read_text() == "mine"


KILLED = """
import os, signal, sys
from pathlib import Path
from analysis.common import files

moves, replace = 0, Path.replace

def killing(self, target):
    global moves
    if moves == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    moves += 1
    return replace(self, target)

Path.replace = killing
with files.aside(Path(sys.argv[2])) as scratch:
    for name in ("a.md", "b.md"):
        (scratch / name).write_text("newer")
"""


@pytest.mark.attack
@pytest.mark.parametrize("moves", range(4))  # of the list, of both files, and of the list again
def test_a_kill_between_two_moves__locks_nobody_out_and_loses_no_file(tmp_path, moves):
    write(tmp_path, "older", ["a.md"])
    killed = subprocess.run([sys.executable, "-c", KILLED, str(moves), str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "a.md").read_text() == ("older" if moves < 2 else "newer")
    assert (tmp_path / "b.md").exists() == (moves == 3)
    (tmp_path / "b.md").write_text("mine")
    with pytest.raises(StudyError, match=rf"b\.md {REFUSED}"):
        write(tmp_path, "newest", ["b.md"])
    (tmp_path / "b.md").unlink()
    write(tmp_path, "newest", ["a.md", "b.md"])
    write(tmp_path, "older", ["a.md", "b.md"])
    assert len(listed(tmp_path)) == 2


@pytest.mark.attack
def test_commands_that_write_to_one_folder_at_once__list_all_their_files(tmp_path):
    names = [f"{number}.csv" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write(tmp_path, "text", [name]), names))
    assert listed(tmp_path) == sorted(names)


@pytest.mark.attack
def test_a_lock_that_another_user_never_frees__delays_a_command_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(written_files, "LONGEST_WAIT", 0.1)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    write(tmp_path, "text")
    os.close(descriptor)
    assert listed(tmp_path) == ["figures/a.svg", "report.md"]


def test_an_obsolete_file_is_deleted_if_it_is_listed_and_unchanged(tmp_path):
    write(tmp_path, "older", ["a.csv", "b.csv", "c.csv"])
    (tmp_path / "b.csv").write_text("mine")
    (tmp_path / "d.csv").write_text("mine")
    write(tmp_path, "newer", ["c.csv"], obsolete=["a.csv", "b.csv", "c.csv", "d.csv", "e.csv"])
    assert sorted(contents(tmp_path)) == [LIST, "b.csv", "c.csv", "d.csv"]
    assert listed(tmp_path) == ["b.csv", "c.csv"]


def test_folders_that_become_empty_are_deleted_too(tmp_path):
    write(tmp_path, "older", ["tuning/1/a.csv", "tuning/2/a.csv", "b.csv"])
    write(tmp_path, "newer", ["b.csv"], obsolete=["tuning/1/a.csv"])
    assert sorted(path.name for path in (tmp_path / "tuning").iterdir()) == ["2"]
    write(tmp_path, "newer", ["b.csv"], obsolete=["tuning/2/a.csv"])
    assert not (tmp_path / "tuning").exists()


def test_a_folder_in_git_needs_no_list(tmp_path):
    (tmp_path / "report.md").write_text("older")
    write(tmp_path, "newer", in_git=True)
    assert contents(tmp_path) == {"report.md": b"newer", "figures/a.svg": b"newer"}
