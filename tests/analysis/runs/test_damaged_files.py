"""Files of searches and of studies that are damaged or made to deceive."""

import shutil
import warnings
from pathlib import Path

import pytest

from analysis.common.errors import StudyError
from analysis.rendering import tuning_text
from analysis.runs import exports, tunings
from analysis.study.study import StudyData
from tests import made_up_tuning
from tests.damage import LONGEST_MESSAGE, read_damaged
from tests.memory_limit import memory_limit

RESULTS = Path(__file__).parents[3] / "results"
PARTS = [bytes([byte]) for byte in b"[]{}\",:'=+-@\\\0\xff\n\r"]
PARTS += [b"null", b"true", b"NaN", b"1e999", b"9" * 5000, b"[" * 3000, b"\\ud800", b'"int64"', b'"../x"', b"x" * 300]


@pytest.fixture
def search(tmp_path):
    """Return a folder with the artifacts of a search."""
    for name, content in made_up_tuning.files(made_up_tuning.tuning()).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def described(folder):
    """Read a search, and write about it what a report does."""
    found = {name: {"1": (folder / name).read_bytes()} for name in tunings.FILES}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for tuning in tunings.of_artifacts(found):
            assert tuning_text.summary(tuning)
            assert len(tuning_text.table(tuning))


@pytest.mark.attack
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tuning.json", b"[" * 100_000),
        ("tuning.json", b"[]"),
        ("tuning.json", b'{"study_name": 1, "objective": null, "reason": []}'),
        ("tuning.json", b"\xff" * 10_000),
        ("trials.csv", b""),
        ("trials.csv", b"winner\nTrue\n"),
        ("finalists.csv", b"\0\n"),
        ("comparisons.csv", b"primary,new\n1,2\n"),
    ],
)
def test_a_search_with_a_file_of_another_content__is_named_in_one_line(search, name, content):
    described(search)
    (search / name).write_bytes(content)
    with pytest.raises(StudyError, match="run 1: not what a search writes") as caught:
        described(search)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LONGEST_MESSAGE


@pytest.mark.attack
def test_a_search_without_a_winner_or_with_a_finalist_without_a_trial__is_named(search):
    for name, old, new in (
        ("trials.csv", b"True,True,True", b"True,True,False"),
        ("finalists.csv", b"lambda,", b"nobody,"),
    ):
        sound = (search / name).read_bytes()
        assert old in sound
        (search / name).write_bytes(sound.replace(old, new))
        with pytest.raises(StudyError, match="run 1: not what a search writes"):
            described(search)
        (search / name).write_bytes(sound)


@pytest.mark.slow
@pytest.mark.attack
@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_files_of_searches_with_seeded_random_damage__are_read_or_refused_in_one_line(search, count):
    with memory_limit(500):
        for path in sorted(search.iterdir()):
            sound = path.read_bytes()
            assert 0 < read_damaged(lambda _: described(search), path, [sound], PARTS, count) < 0.9 * count
            path.write_bytes(sound)


@pytest.mark.slow
@pytest.mark.attack
def test_500_contents_of_exported_studies_with_seeded_random_damage__are_read_or_refused_in_one_line(tmp_path):
    folder = tmp_path / "study"
    shutil.unpack_archive(RESULTS / "resnet20-short-gradual" / "frames.zip", folder)
    exports.read([folder])
    with memory_limit(500):
        path = folder / "runs.parquet"
        assert read_damaged(lambda _: StudyData.from_frames([folder]), path, [path.read_bytes()], PARTS, 500) < 400
