"""Colours, and functions for the ends of axes and for legends, for all figures."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours by Okabe and Ito, which colour-blind readers can tell apart.
NEUTRAL, BELOW, ABOVE = "#767676", "#0072b2", "#d55e00"
DIFFERENT = "black"  # of a difference that is neither better nor worse
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # the box behind words in a panel


def axis_limits(values: pd.Series, through: float) -> tuple[float, float]:
    """Return the ends of an axis that includes `through` and all values except a long tail.

    The middle nine tenths of the values fill about a fifth of the axis or more; values too far out for this are beyond
    its ends.
    """
    low, high = np.quantile([*values, through], [0.05, 0.95])
    far = 2 * (high - low)
    inliers = [*values[values.between(low - far, high + far)], through]
    pad = 0.08 * (max(inliers) - min(inliers)) or 0.1
    return min(inliers) - pad, max(inliers) + pad


def with_legend(axes: Axes) -> Figure:
    """Put a legend below axes, where it hides nothing, and return the whole figure that contains them."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False)
    figure = axes.figure.figure  # Matplotlib 3.9 has no `get_figure(root=True)`
    assert isinstance(figure, Figure)
    return figure


def share_scale(panels: Iterable[Axes]) -> None:
    """Give the horizontal axes of some panels the same ends, so that everything drawn in them fits."""
    panels = list(panels)
    ends = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
