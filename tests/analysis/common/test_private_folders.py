import os
import stat
import subprocess
import threading

import pytest

from analysis.common import private_folders
from analysis.common.errors import StudyError
from analysis.common.private_folders import check_file, private
from tests import another_user

INSTEAD = "use another one"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def loose_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.attack
def test_a_umask_that_lets_everybody_write__makes_no_folder_that_anybody_else_can_open(cache_home, loose_umask):
    made = private_folders.cache("locks/1")
    assert made == cache_home / "pruning-study/locks/1"
    assert {mode(folder) for folder in (*made.parents[:2], made)} == {0o700}


@pytest.mark.attack
def test_a_folder_that_belongs_to_another_user__is_refused_and_its_owner_is_named(tmp_path):
    theirs = another_user.folder(tmp_path / "theirs")
    with pytest.raises(StudyError, match=f"belongs to {another_user.name()}, and this process runs as .*: {INSTEAD}$"):
        private(theirs, INSTEAD)


@pytest.mark.attack
@pytest.mark.parametrize("bits", [0o775, 0o757, 0o777, 0o1777])
def test_a_folder_that_its_group_or_everybody_can_write__is_refused_with_the_command_that_mends_it(tmp_path, bits):
    folder = tmp_path / "a folder"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(StudyError, match="can be written by other users: run `chmod") as refused:
        private(folder, INSTEAD)
    subprocess.run(str(refused.value).split("`")[1], shell=True, check=True)
    assert private(folder, INSTEAD) == folder


def test_a_folder_that_others_can_read_is_used(tmp_path):
    """Former versions made such folders."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    assert private(folder, INSTEAD) == folder
    assert mode(folder) == 0o755


def test_own_symbolic_links_are_followed_and_what_they_lead_to_is_made(tmp_path):
    (tmp_path / "to").symlink_to("other/../there")
    (tmp_path / "from").symlink_to(tmp_path / "to")
    (tmp_path / "other").mkdir()
    assert private(tmp_path / "from" / "cache", INSTEAD) == tmp_path / "there" / "cache"


@pytest.mark.attack
def test_a_file_where_the_folder_should_be__is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StudyError, match=f"cannot be used .*: {INSTEAD}"):
            private(path, INSTEAD)


@pytest.mark.attack
def test_a_home_folder_in_which_nothing_can_be_made__is_one_line_that_names_xdg_cache_home(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc")  # not even root can make a folder there
    with pytest.raises(StudyError, match=r"/proc/.cache/pruning-study cannot be used .*: set XDG_CACHE_HOME"):
        private_folders.cache()


@pytest.mark.attack
def test_a_cache_in_the_current_folder__is_refused_because_its_path_is_not_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for variable, value in (("XDG_CACHE_HOME", "cache"), ("XDG_CACHE_HOME", "~/cache"), ("HOME", ".")):
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv(variable, value)
        with pytest.raises(StudyError, match="not absolute; set XDG_CACHE_HOME"):
            private_folders.cache()
    assert list(tmp_path.iterdir()) == []


def test_many_threads_make_one_folder_at_once(tmp_path):
    found = []
    path = tmp_path / "a" / "b" / "c"
    threads = [threading.Thread(target=lambda: found.append(private(path, INSTEAD))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [path] * 8


@pytest.mark.attack
def test_a_file_of_another_user_in_a_folder_of_ones_own__is_not_used(tmp_path):
    theirs = another_user.file(tmp_path / "file")
    for content in (True, False):
        with pytest.raises(StudyError, match=r"file (belongs to nobody|is not a regular file).*: delete it$"):
            check_file(theirs, content=content)


@pytest.mark.attack
def test_a_link_a_folder_or_a_pipe_in_place_of_a_file__is_not_used(tmp_path):
    (tmp_path / "own").touch()
    (tmp_path / "link").symlink_to("own")
    (tmp_path / "dangling").symlink_to("missing")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "dangling", "folder", "pipe"):
        with pytest.raises(StudyError, match=f"{name} is not a regular file: delete it"):
            check_file(tmp_path / name, content=False)
    check_file(tmp_path / "own")
    check_file(tmp_path / "missing")


@pytest.mark.attack
def test_a_file_whose_content_others_could_change__is_not_used(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for bits in (0o664, 0o646):
        file.chmod(bits)
        check_file(file, content=False)
        with pytest.raises(StudyError, match="file can be written by other users: delete it"):
            check_file(file)
