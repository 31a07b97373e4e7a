import shutil
import stat
from pathlib import Path

import pytest

from analysis.runs.errors import StudyError
from pruning_study.tracking import unsent

RUN = unsent.UnsentRun(
    "http://me:secret@host", "abc", "def", {"device": "cpu"}, [("loss", 0.1, 5, 1), ("peak", float("inf"), 6, 2)]
)


@pytest.fixture
def artifacts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("hello")
    return tmp_path / "files"


def test_a_run_is_read_back_as_it_was_kept(artifacts):
    folder = unsent.keep(RUN, artifacts)
    assert folder == Path("unsent/abc").absolute()
    assert [path.absolute() for path in unsent.kept()] == [folder]
    read = unsent.read(folder)
    assert [tuple(metric) for metric in read.metrics] == RUN.metrics
    assert (read.tracking_uri, read.run_id, read.job_run_id, read.tags) == (
        "http://me:secret@host",
        "abc",
        "def",
        {"device": "cpu"},
    )
    assert (folder / "artifacts" / "a.txt").read_text() == "hello"


def test_only_its_owner_can_read_the_record_which_may_hold_a_password(artifacts):
    folder = unsent.keep(RUN, artifacts)
    assert stat.S_IMODE((folder / "run.json").stat().st_mode) == 0o600


def test_a_current_folder_that_takes_no_files_is_replaced_by_a_temporary_one(artifacts):
    Path("unsent").write_text("not a folder")
    folder = unsent.keep(RUN, artifacts)
    assert unsent.read(folder).run_id == "abc"
    assert (folder / "artifacts" / "a.txt").read_text() == "hello"
    shutil.rmtree(folder)


@pytest.mark.parametrize("content", [None, "[]", "{}", "{", '{"tracking_uri": "sqlite:///a.db"}', '{"more": 1}'])
def test_a_folder_without_a_kept_run_is_an_error(tmp_path, content):
    if content:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(StudyError, match=f"{tmp_path}: no unsent run"):
        unsent.read(tmp_path)


def test_where_nothing_is_kept_there_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unsent" / "half").mkdir(parents=True)
    assert unsent.kept() == []
