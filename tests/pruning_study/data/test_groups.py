from dataclasses import replace

import numpy as np
import pytest

from analysis.common.errors import StudyError
from pruning_study.data import datasets
from pruning_study.data.groups import distances, groups, ink_lines, tilts


def image(*rows):
    """Return an image [1, 1, H, W] whose ink is written as #."""
    return np.array([[[[255 if pixel == "#" else 0 for pixel in row] for row in rows]]], np.uint8)


def dataset(train, train_labels, test, test_labels, source="made.npz"):
    return datasets.Dataset("made", ("a", "b"), train, train_labels, test, test_labels, source)


@pytest.fixture
def written(tiny, tmp_path):
    """Return a function that reads the small data set from a file with further arrays."""

    def load(**arrays):
        np.savez(tmp_path / "tiny.npz", **tiny, **arrays)
        return datasets.load(str(tmp_path / "tiny.npz"), data_dir=tmp_path)

    return load


@pytest.mark.parametrize(
    ("rows", "slope"),
    [
        (("#..", ".#.", "..#"), 1.0),  # leans to the left
        (("..#", ".#.", "#.."), -1.0),  # leans to the right
        ((".#.", ".#.", ".#."), 0.0),
        (("##.", "...", ".##"), 0.5),
        # Rows 0, 0, 1 and columns 0, 2, 2: covariance 3 * 2 - 1 * 4 = 2, variance 3 * 1 - 1 = 2
        (("#.#", "..#"), 1.0),
        (("###", "..."), np.nan),
        (("...", "..."), np.nan),
    ],
)
def test_tilt_of_an_image_is_columns_per_row(rows, slope):
    assert tilts(image(*rows)) == pytest.approx([slope], nan_ok=True)


def test_the_line_passes_through_the_middle_of_the_ink():
    slopes, first_columns = ink_lines(image("....", "##..", "..##"))
    assert (slopes.tolist(), first_columns.tolist()) == ([2.0], [-1.5])  # columns 0.5 and 2.5 in rows 1 and 2


def test_tilt_is_the_slope_that_numpy_fits_to_the_ink_of_the_mean_channel():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 9, 6), np.uint8)
    ink = images.astype(float).mean(1) > 127
    assert tilts(images) == pytest.approx([np.polyfit(*np.nonzero(each), 1)[0] for each in ink])


def test_ink_is_brighter_than_127():
    images = np.array([[[[128, 0], [0, 127], [0, 128]]]], np.uint8)
    assert tilts(images).tolist() == [0.5]


def test_distance_is_from_the_mean_training_image_of_the_class():
    train = np.array([0, 6, 100], np.uint8).reshape(3, 1, 1, 1) * np.ones((1, 1, 2, 2), np.uint8)
    test = np.array([[[[3, 3], [3, 3]]], [[[103, 104], [100, 100]]], [[[255, 255], [255, 255]]]], np.uint8)
    data = dataset(train, np.array([0, 0, 1]), test, np.array([0, 1, 0]))
    assert distances(data).tolist() == [0.0, 5.0, 504.0]  # 3-4-5, and 4 pixels of 255 - 3


def test_without_groups_of_their_own_test_images_are_grouped_by_class(written):
    data = written()
    table = groups(data)
    measures = ["measure:tilt", "measure:absolute_tilt", "measure:activation", "measure:distance"]
    assert table.columns.tolist() == ["class", *measures]
    assert table["class"].tolist() == [data.classes[label] for label in data.test_labels]
    assert table["measure:absolute_tilt"].tolist() == table["measure:tilt"].abs().tolist()
    assert table["measure:activation"].tolist() == data.test_images.mean((1, 2, 3)).round(2).tolist()


def test_writers_and_series_of_qmnist_are_groups(written):
    writer, series = np.arange(200) // 3 + 2000, np.arange(200) % 2 * 4
    table = groups(written(test_writer=writer, test_hsf=series, train_writer=np.zeros(400, int)))
    assert table.columns.tolist()[:2] == ["writer", "series"]
    assert table.writer.tolist() == [str(number) for number in writer]
    assert table.series.tolist() == ["hsf0", "hsf4"] * 100


def test_a_file_of_qmnist_without_writers_is_to_be_downloaded_again(written, caplog):
    data = written()
    groups(data)
    assert not caplog.text
    assert "class" in groups(replace(data, name="qmnist"))
    assert "tiny.npz has no writers of the digits: delete it" in caplog.text


@pytest.mark.attack
@pytest.mark.parametrize(
    "array", [np.arange(3), np.zeros(200), np.zeros((200, 1), int), np.array(["x"] * 200), np.array(2)]
)
def test_writers_that_are_not_a_number_for_each_test_image__the_file_and_the_array_are_named(written, array):
    data = written(test_writer=array)
    with pytest.raises(StudyError, match=r"tiny\.npz: test_writer is .* each of the 200 test images"):
        groups(data)


@pytest.mark.attack
def test_pickled_writers__are_not_loaded(written):
    data = written(test_hsf=np.array([{}] * 200, dtype=object))
    with pytest.raises(StudyError, match=r"tiny\.npz: .*allow_pickle"):
        groups(data)
