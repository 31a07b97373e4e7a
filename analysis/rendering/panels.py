"""Draw rows of a table in a panel: values with intervals, lines with bands, points, and a diagonal.

None of these functions depends on studies. If rows belong to several series, the column `by` names the series of each
row, and `colors` has their colours in the order of the legend.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import BboxTransformTo, ScaledTranslation, blended_transform_factory

from analysis.rendering.beyond import mark_beyond
from analysis.rendering.drawing import BELOW, NEUTRAL, PAPER, axis_limits
from analysis.rendering.picture_text import name_in_legend

SHADES = colormaps["viridis"]
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
