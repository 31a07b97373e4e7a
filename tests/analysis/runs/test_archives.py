import numpy as np
import pytest

from analysis.runs import archives
from analysis.runs.errors import StudyError


def test_named_arrays_are_read_and_others_left(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1], predicted=[1, 1], more=[2])
    arrays = archives.read(tmp_path / "a.npz", ["label"], ["predicted", "confidence"])
    assert {name: array.tolist() for name, array in arrays.items()} == {"label": [0, 1], "predicted": [1, 1]}


def test_an_array_that_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", label=[0, 1])
    with pytest.raises(StudyError, match=r"a\.npz.*predicted"):
        archives.read(tmp_path / "a.npz", ["label", "predicted"])


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", label=np.array([{}]))
    with pytest.raises(StudyError, match=r"a\.npz.*pickle"):
        archives.read(tmp_path / "a.npz", ["label"])


@pytest.mark.parametrize("size", [0, 1, 30, 100, 200, -30])
def test_a_file_that_is_cut_short_is_refused(tmp_path, size):
    path = tmp_path / "a.npz"
    np.savez(path, label=np.arange(100))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StudyError, match=r"a\.npz.*not a complete"):
        archives.read(path, ["label"])


@pytest.mark.parametrize("content", [b"no archive at all", b"\x80\x04]."])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(StudyError, match=r"a\.npz.*not a complete"):
        archives.read(tmp_path / "a.npz", ["label"])


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"none\.npz"):
        archives.read(tmp_path / "none.npz", ["label"])
