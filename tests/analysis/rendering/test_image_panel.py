"""Images in panels: their size, their colours and their pixels, and where a panel draws what."""

import numpy as np
import pytest

from analysis.rendering.image_panel import ImagePanel, in_colors
from analysis.rendering.layout import DPI, Panel, draw
from tests.text_boxes import ink

SIDE = 130  # pixels, of a panel


def drawn(*panels):
    drawing = [Panel(lambda axes, make: make(ImagePanel(axes)), panel) for panel in panels]
    return ink(draw(drawing, size=(SIDE / DPI, SIDE / DPI)))


def box(pixels, color):
    """Return the first and last row and column of a colour."""
    places = np.argwhere((pixels == color).all(-1))
    return [*places.min(0).tolist(), *places.max(0).tolist()], len(places)


@pytest.mark.parametrize(
    ("shape", "sides"),
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
def test_images_of_any_size_and_channels_fit_a_square(shape, sides):
    (top, left, bottom, right), count = box(drawn(lambda panel: panel.show(np.full(shape, 7, np.uint8), 0, 0, 96)), 7)
    assert (bottom - top + 1, right - left + 1) == sides
    assert count == sides[0] * sides[1]


@pytest.mark.parametrize("side", [28, 32, 96])
def test_pixels_of_a_small_image_are_squares_of_one_size_in_every_panel(side):
    images = np.random.default_rng(0).integers(0, 250, (20, 3, side, side), np.uint8)
    images[:, :, [0, -1], [0, -1]] = 251  # two corners that nothing else has
    pixels = drawn(*(lambda panel, image=image: panel.show(image, 3, 5, 96) for image in images))
    times = 96 // side
    for place, image in enumerate(images):
        part = pixels[:, SIDE * place : SIDE * (place + 1)]
        (top, left, bottom, right), _ = box(part, 251)
        enlarged = image.transpose(1, 2, 0).repeat(times, axis=0).repeat(times, axis=1)
        np.testing.assert_array_equal(part[top : bottom + 1, left : right + 1], enlarged)


def test_channels_are_colours_as_far_as_there_are_three():
    assert in_colors(np.array([10, 20, 30, 40], np.uint8).reshape(4, 1, 1))[0, 0].tolist() == [10, 20, 30]
    assert in_colors(np.array([10, 20], np.uint8).reshape(2, 1, 1))[0, 0].tolist() == [15, 15, 15]


def test_places_are_pixels_from_one_corner():
    def panel(panel):
        panel.fill(0, 0, 1, 1, "#0000ff")
        panel.fill(10, 5, 20, 4, "#ff0000")
        panel.show(np.full((1, 4, 4), 77, np.uint8), 30, 20, 8)

    pixels = drawn(panel)
    (top, left, *_), _ = box(pixels, [0, 0, 255])
    for color, rows, columns in (([255, 0, 0], (5, 8), (10, 29)), (77, (20, 27), (30, 37))):
        found, count = box(pixels, color)
        assert found == [top + rows[0], left + columns[0], top + rows[1], left + columns[1]]
        assert count == (rows[1] - rows[0] + 1) * (columns[1] - columns[0] + 1)
