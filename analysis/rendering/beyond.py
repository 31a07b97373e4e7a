"""Mark values beyond the ends of an axis: a triangle at the end, with the value beside it."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.rendering.drawing import ABOVE, PAPER

_AROUND = 0.7  # inches, estimated room for the words around a panel, which are laid out later
_BETWEEN = 0.16  # inches, smallest distance between the texts of two triangles
_SHORT = 3  # letters; a longer text beside a triangle at the upper or lower end is written vertically


def value_or_range(values: np.ndarray) -> str:
    """Write a value, or the lowest and the highest of several."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def mark_beyond(
    axes: Axes, rows: pd.DataFrame, *, upright: bool = True, text: Callable[[np.ndarray], str] = value_or_range
) -> None:
    """Draw a triangle at the end of an axis for each value beyond it, with the value beside the triangle.

    Parameters
    ----------
    axes : Axes
        A panel of a page. Its axis of values has its final limits.
    rows : DataFrame
        Columns place and value, and optionally color (of the triangle's edge) and face (of its inside, by default
        the same). Values within the axis are left out.
    upright : bool
        Whether values are on the vertical axis and places on the horizontal one. If false, it is the reverse.
    text : function of an array
        Returns one text for all values whose places are so near that separate texts would touch.
    """
    rows = rows.assign(color=ABOVE) if "color" not in rows else rows
    rows = rows.assign(face=rows["color"]) if "face" not in rows else rows
    along = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
    low, high = axes.get_ylim() if upright else axes.get_xlim()
    for end, own in enumerate((rows[rows["value"] < low], rows[rows["value"] > high])):
        if own.empty:
            continue
        places, ends = own["place"].to_numpy(), np.full(len(own), end)
        axes.scatter(
            places if upright else ends,
            ends if upright else places,
            s=28,
            marker=("v^" if upright else "<>")[end],
            facecolors=list(own["face"]),
            edgecolors=list(own["color"]),
            linewidths=1,
            transform=along,
            clip_on=False,
            zorder=4,
        )
        for near in _near_rows(axes, own, upright=upright):
            _write_beside(axes, float(near["place"].min()), end, text(near["value"].to_numpy()), upright=upright)


def _near_rows(axes: Axes, rows: pd.DataFrame, *, upright: bool) -> Iterator[pd.DataFrame]:
    """Yield groups of rows at places so near that their texts would touch."""
    spec = axes.get_subplotspec()
    assert spec is not None
    side = 0 if upright else 1
    panels = spec.get_gridspec().get_geometry()[1 - side]
    inches = axes.figure.figure.get_size_inches()[side] / panels - _AROUND  # the whole figure, even for a subfigure
    start = (axes.get_xlim() if upright else axes.get_ylim())[0]  # reading the limits also updates the transform
    rows = rows.sort_values("place", kind="stable")
    points = np.full((len(rows), 2), start, dtype=float)
    points[:, side] = rows["place"]
    shares = (axes.transData + axes.transAxes.inverted()).transform(points)[:, side]
    is_apart = np.abs(np.diff(inches * shares)) > _BETWEEN
    yield from (near for _, near in rows.groupby(np.concatenate([[0], np.cumsum(is_apart)])))


def _write_beside(axes: Axes, place: float, end: int, words: str, *, upright: bool) -> None:
    """Write words left of a triangle at the upper or lower end of an axis, or above one at the left or right end."""
    inward = abs(end - 0.02)
    axes.annotate(
        words,
        (place, inward) if upright else (inward, place),
        xycoords=axes.get_xaxis_transform() if upright else axes.get_yaxis_transform(),
        xytext=(-5, 0) if upright else (0, 3),  # points
        textcoords="offset points",
        ha="right" if upright or end else "left",
        va=("top" if end else "bottom") if upright else "bottom",
        fontsize=7,
        rotation=90 if upright and len(words) > _SHORT else 0,
        bbox=PAPER,
    )
