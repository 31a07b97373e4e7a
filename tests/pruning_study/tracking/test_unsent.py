import json
import stat
from pathlib import Path

import pytest

from analysis.common.errors import StudyError
from pruning_study.tracking import unsent

RUN = unsent.UnsentRun(
    "http://me:***@host", "abc", "def", {"device": "cpu"}, [("loss", 0.1, 5, 1), ("peak", float("inf"), 6, 2)]
)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The scratch folder of a run with one artifact."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files" / "artifacts").mkdir(parents=True)
    (tmp_path / "files" / "artifacts" / "a.txt").write_text("hello")
    return tmp_path / "files"


def test_a_run_is_read_back_as_it_was_kept(made):
    folder = unsent.keep(RUN, made)
    assert not made.exists()
    assert folder == Path("unsent/abc").absolute()
    assert [path.absolute() for path in unsent.list_unsent()] == [folder]
    read = unsent.read(folder)
    assert [tuple(metric) for metric in read.metrics] == RUN.metrics
    assert (read.tracking_uri, read.run_id, read.job_run_id) == ("http://me:***@host", "abc", "def")
    assert (read.tags, read.sizes) == ({"device": "cpu"}, {"a.txt": 5})
    assert (folder / "artifacts" / "a.txt").read_text() == "hello"


def test_only_its_owner_can_read_the_record(made):
    folder = unsent.keep(RUN, made)
    assert stat.S_IMODE((folder / "run.json").stat().st_mode) == 0o600


@pytest.mark.attack
@pytest.mark.parametrize(
    "changed",
    [
        *({"tracking_uri": 5}, {"run_id": None}, {"tags": []}, {"tags": {"device": 1}}, {"metrics": [1]}),
        *({"metrics": [["loss", 0.1, 5]]}, {"metrics": [["loss", "0.1", 5, 1]]}, {"sizes": {"a.txt": "5"}}),
        *({"sizes": None}, {"more": 1}),
    ],
)
def test_a_record_of_a_kept_run_with_values_of_another_kind__is_refused_in_one_line(made, changed):
    folder = unsent.keep(RUN, made)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | changed))
    with pytest.raises(StudyError, match="no unsent run in this folder") as error:
        unsent.read(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.attack
def test_a_relative_tracking_uri_of_a_kept_run__means_the_same_store_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unsent.address("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.attack
def test_a_run_that_is_kept_a_second_time__stays_where_it_is_beside_the_first(made, tmp_path):
    first = unsent.keep(RUN, made)
    (tmp_path / "files" / "artifacts").mkdir(parents=True)
    second = unsent.keep(RUN, tmp_path / "files")
    assert (second, unsent.read(first).sizes, unsent.read(second).sizes) == (tmp_path / "files", {"a.txt": 5}, {})


@pytest.mark.parametrize(
    "content", [None, "[]", "{}", "{", "[" * 10_000, '{"tracking_uri": "sqlite:///a.db"}', '{"more": 1}']
)
def test_a_folder_without_a_kept_run_is_an_error(tmp_path, content):
    if content:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(StudyError, match=f"{tmp_path}: no unsent run"):
        unsent.read(tmp_path)


def test_where_nothing_is_kept_there_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unsent" / "half").mkdir(parents=True)
    assert unsent.list_unsent() == []
