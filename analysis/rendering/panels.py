"""Draw rows of a table in a panel: values with intervals or beyond an axis, lines with bands, points, a diagonal.

None of these functions depends on studies. If rows belong to several series, the column `by` names the series of each
row, and `colors` has their colours in the order of the legend.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import BboxTransformTo, ScaledTranslation, blended_transform_factory

from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL, PAPER, axis_limits
from analysis.rendering.picture_text import name_in_legend

SHADES = colormaps["viridis"]
_AROUND = 0.7  # inches, estimated room for the words around a panel, which are laid out later
_BETWEEN = 0.16  # inches, smallest distance between the texts of two triangles
_SHORT = 3  # letters; a longer text beside a triangle at the upper or lower end is written vertically
_GAP = 0.15  # inches, between a panel and its colour bar, and the bar's width


def intervals(
    axes: Axes,
    rows: pd.DataFrame,
    *,
    no_effect: float | None = 0.0,
    upright: bool = False,
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw values with their intervals, and a line where there is no effect.

    Parameters
    ----------
    axes : Axes
    rows : DataFrame
        Columns value, low and high (NaN where there is no interval). Optional columns are place (0, 1, ... by default),
        color, face (fill colour of the mark, by default its color), mark, label (in the legend), and words (written in
        place of a value that is NaN).
    no_effect : float, optional
    upright : bool
        Draw the intervals vertically; by default they are horizontal, and places are heights.
    limits : (float, float), optional
        Ends of the axis of values; values beyond them are marked by `mark_beyond`.
    """
    span, rule, axis = (axes.vlines, axes.axhline, axes.yaxis) if upright else (axes.hlines, axes.axvline, axes.xaxis)
    if no_effect is not None:
        rule(no_effect, color="black", linewidth=0.8)
    axes.grid(axis="y" if upright else "x", alpha=0.3)
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    rows = _complete(rows)
    if limits:
        (axes.set_ylim if upright else axes.set_xlim)(limits)
    shown = rows[rows["value"].between(*limits)] if limits else rows
    known = rows.dropna(subset=["value", "low"])
    if len(known):
        span(known["place"], known["low"], known["high"], colors=list(known["color"]), linewidth=1.6)
    for (mark, label), same in shown.dropna(subset="value").groupby(["mark", "label"], sort=False):
        across, up = (same["place"], same["value"]) if upright else (same["value"], same["place"])
        look: dict[str, Any] = {"facecolors": list(same["face"]), "edgecolors": list(same["color"]), "zorder": 3}
        axes.scatter(
            across, up, s=25, marker=mark, linewidths=1, label=name_in_legend(label), **look, clip_on=not limits
        )
    for row in rows[rows["value"].isna()].itertuples():
        text = axes.text(0.03, row.place, row.words, va="center", fontsize=7.5, color=NEUTRAL)
        text.set(transform=axes.get_yaxis_transform(), bbox=PAPER)
    if len(rows) and rows["value"].isna().all():
        axis.set_ticks([])
    elif limits:
        mark_beyond(axes, rows, upright=upright)


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with all columns that `intervals` draws."""
    usual = {"place": np.arange(len(rows)), "color": BELOW, "mark": "o", "label": "", "words": ""}
    rows = rows.assign(**{name: value for name, value in usual.items() if name not in rows})
    return rows if "face" in rows else rows.assign(face=rows["color"])


def estimates(rows: pd.DataFrame, name: str, *, scale: float = 1) -> pd.DataFrame:
    """Return rows with the columns value, low and high: a quantity and the ends of its interval, times `scale`."""
    ends = {"value": "", "low": "_low", "high": "_high"}
    return rows.assign(**{column: scale * rows[f"{name}{end}"] for column, end in ends.items()})


def interval_limits(rows: pd.DataFrame, no_effect: float) -> tuple[float, float]:
    """Return the ends of an axis for intervals. The axis leaves out interval ends far from most others."""
    ends = rows.loc[np.isfinite(rows["value"].astype(float)), ["value", "low", "high"]].to_numpy(float)
    return axis_limits(pd.Series(ends[np.isfinite(ends)]), through=no_effect)


def side_by_side(rows: pd.DataFrame, by: str, colors: Mapping[str, str], *, apart: float) -> pd.DataFrame:
    """Return rows with the colour and legend label of their series, and shift the series by `apart` from each other."""
    order = {name: index - (len(colors) - 1) / 2 for index, name in enumerate(colors)}
    shown = rows[rows[by].isin(order)]
    shift = shown[by].map(order).astype(float)
    shown = shown.assign(color=shown[by].map(colors), label=shown[by], place=shown["place"] + apart * shift)
    return shown.iloc[shift.argsort(kind="stable")]


def lines(
    axes: Axes,
    rows: pd.DataFrame,
    across: str,
    up: str,
    *,
    by: str,
    colors: Mapping[str, str],
    band: tuple[str, str] | None = None,
    **style: Any,
) -> None:
    """Draw a line for each series, with a band between two columns if `band` is given.

    Parameters
    ----------
    axes : Axes
    rows : DataFrame
    across, up : str
        Columns of the places and the values.
    by, colors
        As described at the top of this module.
    band : (str, str), optional
        Columns of the band's lower and upper end.
    style
        Further arguments of `Axes.plot`.
    """
    for name, color, own in _series(rows, by, colors):
        axes.plot(own[across], own[up], color=color, label=name_in_legend(name), **style)
        if band:
            axes.fill_between(own[across], own[band[0]], own[band[1]], color=color, alpha=0.2, linewidth=0)
    axes.grid(alpha=0.3)


def points(
    axes: Axes, rows: pd.DataFrame, across: str, up: str, *, by: str, colors: Mapping[str, str], **style: Any
) -> None:
    """Draw a dot for each row, in the colour of its series; `style` are further arguments of `Axes.scatter`."""
    for name, color, own in _series(rows, by, colors):
        look = {"s": 14, "color": color, "alpha": 0.7, "linewidths": 0, "label": name_in_legend(name), **style}
        axes.scatter(own[across], own[up], **look)
    axes.grid(alpha=0.3)


def _series(rows: pd.DataFrame, by: str, colors: Mapping[str, str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    for name, color in colors.items():
        if len(own := rows[rows[by].eq(name)]):
            yield name, color, own


def diagonal(axes: Axes, values: Collection[float], **style: Any) -> None:
    """Draw the line on which both coordinates are equal, from the smallest to the largest of some values."""
    ends = [min(values), max(values)]
    axes.plot(ends, ends, **{"color": "black", "linewidth": 0.8, **style})


def name_rows(axes: Axes, names: Sequence[str], *, size: float = 9, bold: Collection[str] = ()) -> None:
    """Write the names of rows, some in bold, the first on top, beside a panel with rows at 0, 1, ...

    If a panel on the left shares the axis, it has the names already, and nothing is written.
    """
    if not _has_names_on_its_left(axes):
        axes.set_yticks(range(len(names)), names, fontsize=size, parse_math=False)
        axes.set_ylim(len(names) - 0.4, -0.6)
        for label in axes.get_yticklabels() if bold else ():
            label.set_fontweight("bold" if label.get_text() in bold else "normal")


def _has_names_on_its_left(axes: Axes) -> bool:
    own = axes.get_subplotspec()
    places = (other.get_subplotspec() for other in axes.get_shared_y_axes().get_siblings(axes))
    return any(
        own and place and place.rowspan == own.rowspan and place.colspan.start < own.colspan.start for place in places
    )


def color_bar(axes: Axes, colors: ScalarMappable, label: str) -> None:
    """Put a colour bar right of a panel. Its width is in inches, so it is known before the panel's width is."""
    figure = axes.figure.figure  # the whole figure, even for a subfigure
    inches_beside = figure.dpi_scale_trans + ScaledTranslation(1, 0, BboxTransformTo(axes.bbox))
    across = blended_transform_factory(inches_beside, axes.transAxes)
    beside = axes.inset_axes((_GAP, 0, _GAP, 1), transform=across)
    ticks = MaxNLocator(5)  # the same number at every height, so that the layout measures the ticks that are drawn
    figure.colorbar(colors, cax=beside, label=label, ticks=ticks)


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
