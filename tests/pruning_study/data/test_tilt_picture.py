import numpy as np
import pytest

from analysis.common.errors import StudyError
from pruning_study.data.datasets import Dataset
from pruning_study.data.groups import tilts
from pruning_study.data.tilt_picture import tilt_picture
from tests.text_boxes import hidden_texts


def dataset(images):
    labels = np.arange(len(images)) % 2
    return Dataset("made", ("a $b_1", "b"), images, labels, images, labels, "made.npz")


def leaning(slope):
    """Return an image [1, 41, 41] with a stroke through the middle that has this slope, in columns per row."""
    made = np.zeros((1, 41, 41), np.uint8)
    rows = np.arange(11, 30)
    made[0, rows, (20 + slope * (rows - 20)).astype(int)] = 255
    return made


def test_images_stand_in_the_order_of_their_tilts_each_with_its_line_and_its_tilt_in_words():
    images = np.stack([leaning(slope) for slope in (2, 0, -1, 1, -2)])
    picture = tilt_picture(dataset(images))
    above, below = picture.axes[:5], picture.axes[5:]
    assert [axes.get_title() for axes in above[:2]] == [
        "class a $b_1\ntest image 4",
        "class a $b_1\ntest image 2",
    ]
    words = ["-2.00: leans to the right", "-1.00: leans to the right", "+0.00: upright"]
    words += ["+1.00: leans to the left", "+2.00: leans to the left"]
    assert [axes.get_title().replace("\n", " ") for axes in below] == [f"tilt {each}" for each in words]
    _, line = below[3].lines
    assert np.polyfit(line.get_ydata(), line.get_xdata(), 1) == pytest.approx([1, 0], abs=1e-9)
    assert not hidden_texts(picture)


def test_the_lines_have_the_tilts_of_the_table():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 9, 9), np.uint8)
    picture = tilt_picture(dataset(images))
    drawn = [np.polyfit(axes.lines[1].get_ydata(), axes.lines[1].get_xdata(), 1)[0] for axes in picture.axes[5:]]
    assert drawn == pytest.approx(np.sort(tilts(images)))


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_images_of_any_number_of_channels_are_drawn_in_colours(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, channels, 9, 9), np.uint8)
    picture = tilt_picture(dataset(images))
    assert [axes.images[0].get_array().shape for axes in picture.axes[:5]] == [(9, 9, 3)] * 5
    assert not hidden_texts(picture)


@pytest.mark.attack
def test_a_picture_of_tilts_of_images_without_ink__is_refused_in_one_line():
    with pytest.raises(StudyError, match="no test image of made has ink in two rows"):
        tilt_picture(dataset(np.zeros((4, 1, 5, 5), np.uint8)))
