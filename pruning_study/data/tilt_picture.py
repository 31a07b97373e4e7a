"""A picture of what tilt is: a few test images, and the least-squares line through the ink of each."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.common.errors import StudyError
from analysis.rendering.picture_text import name_in_picture
from pruning_study.data.datasets import Dataset
from pruning_study.data.groups import INK, ink_lines, ink_of

_QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)  # of the tilts, for the images that are shown
_UPRIGHT = 0.1  # columns per row; about six degrees
_NOTE = (
    "As Figure 10 of Paganini (2020). Above: test images, from one that leans far to the right to one that leans "
    "far to the left.\n"
    f"Below: their ink, which is pixels above {INK}. The line is least squares, column on row. Tilt is its slope; the "
    "dotted line has the slope 0."
)


def tilt_picture(data: Dataset) -> Figure:
    """Draw some test images, from those that lean to the right to those that lean to the left (Paganini, Figure 10).

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
    figure = Figure((11, 5.6), dpi=120, layout="constrained")
    above, below = figure.subplots(2, len(chosen))
    figure.suptitle(name_in_picture(f"Tilt of test images: {data.name}"), x=0.01, ha="left", parse_math=False)
    figure.supxlabel(_NOTE, x=0.01, ha="left", fontsize=8)
    for axes, index in zip(above, chosen, strict=True):
        shown = data.test_images[index].transpose(1, 2, 0)
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255)
        name = name_in_picture(data.classes[data.test_labels[index]], 20)
        axes.set_title(f"class {name}\ntest image {index:,}", fontsize=9, parse_math=False)
        axes.set(xticks=[], yticks=[])
    inks = ink_of(data.test_images[chosen])
    for axes, ink, slope, first_column in zip(below, inks, slopes[chosen], first_columns[chosen], strict=True):
        _draw_line(axes, ink, slope, first_column)
    return figure


def _draw_line(axes: Axes, ink: np.ndarray, slope: float, first_column: float) -> None:
    height, width = ink.shape
    rows = np.array([-0.5, height - 0.5])
    middle = np.nonzero(ink)[1].mean()
    axes.imshow(ink, cmap="gray")
    axes.plot([middle, middle], rows, color="#56b4e9", linestyle=":", linewidth=1.5)
    axes.plot(first_column + slope * rows, rows, color="#d55e00", linewidth=2.5)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_title(f"tilt {slope:+.2f}: {in_words(slope)}", fontsize=9)


def in_words(tilt: float) -> str:
    """Say in words where an image leans.

    Examples
    --------
    >>> in_words(-0.3), in_words(0.01), in_words(0.3)
    ('leans to the right', 'upright', 'leans to the left')
    """
    if abs(tilt) < _UPRIGHT:
        return "upright"
    return "leans to the right" if tilt < 0 else "leans to the left"
