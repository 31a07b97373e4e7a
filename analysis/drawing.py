"""Colours, axes and pages that all figures share."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.runs.picture_text import name_in_picture
from analysis.runs.printable import printable

# Colours by Okabe and Ito, which colour-blind readers can tell apart.
NEUTRAL, BELOW, ABOVE = "#767676", "#0072b2", "#d55e00"
DPI = 120
_LONGEST_TITLE = 400
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # the box behind words in a panel


def axis_limits(values: pd.Series, through: float) -> tuple[float, float]:
    """Return the ends of an axis that holds `through` and all values but a long tail.

    Nine tenths of the values fill about a fifth of the axis or more; values far off lie beyond its ends.
    """
    low, high = np.quantile([*values, through], [0.05, 0.95])
    far = 2 * (high - low)
    kept = [*values[values.between(low - far, high + far)], through]
    pad = 0.08 * (max(kept) - min(kept)) or 0.1
    return min(kept) - pad, max(kept) + pad


def page(
    shape: tuple[int, int], size: tuple[float, float], title: str, note: str, **subplots: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure with a title, a grid of panels, and a note below, and the grid.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the grid.
    size : (float, float)
        Width and height in inches.
    title, note : str
        Text, maybe with names of unknown origin; lines are broken to fit the width.
    subplots
        Further arguments of `Figure.subplots`.
    """
    figure = Figure(size, dpi=DPI, layout="constrained")
    grid = figure.subplots(*shape, squeeze=False, **subplots)
    figure.suptitle(
        textwrap.fill(name_in_picture(title, _LONGEST_TITLE), int(10 * size[0]), break_on_hyphens=False),
        x=0.01,
        ha="left",
        fontsize=12,
        parse_math=False,
    )
    figure.supxlabel(textwrap.fill(printable(note), int(15 * size[0])), x=0.01, ha="left", fontsize=8, parse_math=False)
    return figure, grid


def draw_edge(axes: Axes, place: float, above: str, below: str) -> None:
    """Write text at the upper and lower edge of the axes, about values that lie beyond it."""
    for text, height, end in ((above, 0.985, "top"), (below, 0.015, "bottom")):
        if text:
            drawn = axes.text(place, height, text, va=end, ha="center", fontsize=8, color=ABOVE)
            drawn.set(transform=axes.get_xaxis_transform(), bbox=PAPER)
