"""Images as tiles of a sheet, and where a sheet draws what."""

import numpy as np
import pytest

from pruning_study.steps.image_sheet import ImageSheet, tile
from tests.text_boxes import ink


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((1, 28, 28), (84, 84)),
        ((3, 32, 32), (96, 96)),
        ((1, 97, 97), (96, 96)),
        ((3, 224, 112), (96, 48)),
        ((2, 1, 4000), (1, 96)),
        ((5, 8, 16), (48, 96)),
        ((1, 1, 1), (96, 96)),
    ],
)
def test_images_of_any_size_and_channels_fit_a_square(shape, drawn):
    drawn_tile = tile(np.full(shape, 7, np.uint8), 96)
    assert drawn_tile.shape == (*drawn, 3)
    assert (drawn_tile == 7).all()


def test_channels_are_colours_as_far_as_there_are_three():
    assert tile(np.array([10, 20, 30, 40], np.uint8).reshape(4, 1, 1), 96)[0, 0].tolist() == [10, 20, 30]
    assert tile(np.array([10, 20], np.uint8).reshape(2, 1, 1), 96)[0, 0].tolist() == [15, 15, 15]


def test_places_are_pixels_from_the_upper_left_corner():
    sheet = ImageSheet(60, 40)
    sheet.fill(10, 5, 20, 4, "#ff0000")
    sheet.show(np.full((1, 4, 4), 77, np.uint8), 30, 20, 8)
    pixels = ink(sheet.figure)
    assert pixels.shape == (40, 60, 3)
    for color, rows, columns in (([255, 0, 0], (5, 8), (10, 29)), ([77, 77, 77], (20, 27), (30, 37))):
        found = np.argwhere((pixels == color).all(-1))
        assert found.min(0).tolist() == [rows[0], columns[0]]
        assert found.max(0).tolist() == [rows[1], columns[1]]
