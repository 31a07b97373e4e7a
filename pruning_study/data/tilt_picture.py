"""Illustrate tilt: a few test images, and the least-squares line through the ink of each."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.common.errors import StudyError
from analysis.rendering.image_panel import in_colors
from analysis.rendering.layout import Panel, draw
from analysis.rendering.picture_text import name_in_picture
from pruning_study.data.datasets import Dataset
from pruning_study.data.groups import INK, ink_lines, ink_of

_QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)  # the images with these quantiles of tilt are shown
_UPRIGHT = 0.1  # columns per row; about six degrees
_NOTE = (
    "After Figure 10 of Paganini (2020). Above: test images, from one that leans far to the right to one that leans "
    "far to the left. "
    f"Below: their ink (pixels with values above {INK}). The solid line is the least-squares fit of column on row. "
    "Tilt is its slope, in columns per row; the dotted line is upright (tilt 0)."
)


def tilt_picture(data: Dataset) -> Figure:
    """Draw five test images, from right-leaning to left-leaning, and their tilt lines (Paganini 2020, Figure 10).

    Raises
    ------
    StudyError
        If no test image has two rows of ink.
    """
    slopes, first_columns = ink_lines(data.test_images)
    with_slope = np.flatnonzero(~np.isnan(slopes))
    if not len(with_slope):
        raise StudyError(f"no test image of {data.name} has ink in two rows: leave --picture out", option="picture")
    by_tilt = with_slope[slopes[with_slope].argsort(kind="stable")]
    chosen = by_tilt[[round(quantile * (len(by_tilt) - 1)) for quantile in _QUANTILES]]
    inks = ink_of(data.test_images[chosen])
    images = [
        Panel(
            _draw_image,
            data.test_images[index],
            f"class {name_in_picture(data.classes[data.test_labels[index]], 20)}\ntest image {index:,}",
        )
        for index in chosen
    ]
    lines = [
        Panel(partial(_draw_line, slope=slope, first_column=first_column), ink, f"tilt {slope:+.2f}: {in_words(slope)}")
        for ink, slope, first_column in zip(inks, slopes[chosen], first_columns[chosen], strict=True)
    ]
    title = f"Tilt of test images: {data.name}"
    return draw([*images, *lines], len(chosen), size=(2.1, 2.3), title=title, note=_NOTE)


def _draw_image(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(in_colors(image))
    axes.set(xticks=[], yticks=[])


def _draw_line(axes: Axes, ink: np.ndarray, slope: float, first_column: float) -> None:
    height, width = ink.shape
    rows = np.array([-0.5, height - 0.5])
    middle = np.nonzero(ink)[1].mean()
    axes.imshow(ink, cmap="gray")
    axes.plot([middle, middle], rows, color="#56b4e9", linestyle=":", linewidth=1.5)
    axes.plot(first_column + slope * rows, rows, color="#d55e00", linewidth=2.5)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])


def in_words(tilt: float) -> str:
    """Describe in words which way an image leans.

    Examples
    --------
    >>> in_words(-0.3), in_words(0.01), in_words(0.3)
    ('leans to the right', 'upright', 'leans to the left')
    """
    if abs(tilt) < _UPRIGHT:
        return "upright"
    return "leans to the right" if tilt < 0 else "leans to the left"
