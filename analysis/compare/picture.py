"""The picture of a comparison: the loss of each class with its interval and its bound."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.compare.comparison import Comparison, row_names
from analysis.rendering import layout
from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.panels import estimates, intervals, name_rows
from analysis.rendering.picture_text import name_in_picture

MOST_DRAWN = 100
_ACROSS = "loss of recall since the network before, points, with 95 % interval"
_WIDTH, _ROW, _AROUND = 7.4, 0.17, 0.75  # inches: width; height of a row, and of everything above and below the rows
_MOST_LARGE = 30  # with more rows, their names are written in small type


def figure(comparison: Comparison) -> Figure:
    """Draw the losses of up to `MOST_DRAWN` classes, each with its interval and its bound."""
    rows = _rows(comparison)
    panel = layout.Panel(partial(_draw_losses, comparison=comparison), rows, across=_ACROSS)
    return layout.draw([panel], size=(_WIDTH, _ROW * len(rows) + _AROUND), title=_title(comparison))


def draw(axes: Axes, comparison: Comparison) -> None:
    """Draw on the given axes what `figure` draws, without a legend."""
    _draw_losses(axes, _rows(comparison), comparison)
    axes.set(xlabel=_ACROSS, title=_title(comparison))


def _rows(comparison: Comparison) -> pd.DataFrame:
    """Return the rows to draw, with the columns that `intervals` reads, of which value, low and high are in points.

    The class that lost most is coloured even if no loss is shown.
    """
    rows = estimates(comparison.ranked.head(MOST_DRAWN), "loss", scale=100)
    is_damaged = rows["damaged"]
    is_most = (rows.index == 0) & (rows["loss"] > 0) & (not is_damaged.any())
    looks = [is_damaged, is_most]
    labels = "lost recall (Holm-corrected p ≤ .05)", f"the {comparison.one_kind} that lost most, no loss shown"
    return rows.assign(
        place=rows.index,
        color=np.where(is_damaged | is_most, ABOVE, BELOW),
        face=np.select(looks, [ABOVE, "white"], BELOW),
        mark=np.where(is_damaged | is_most, "D", "o"),
        label=np.select(looks, labels, "no loss shown"),
    )


def _draw_losses(axes: Axes, rows: pd.DataFrame, comparison: Comparison) -> None:
    intervals(axes, rows)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))  # more ticks than in a narrow panel
    label = f"at most, all {comparison.kind} together (95 %)"
    axes.plot(100 * rows["loss_upper_all"], rows["place"], "|", color="black", markersize=7, label=label)
    loss = 100 * (comparison.accuracy_of("before") - comparison.accuracy_of("after"))
    axes.axvline(loss, color=NEUTRAL, linestyle="--", linewidth=1, label=f"loss of accuracy, {loss:.1f}")
    name_rows(axes, row_names(rows).map(name_in_picture).tolist(), size=9 if len(rows) <= _MOST_LARGE else 6)


def _title(comparison: Comparison) -> str:
    has_all = len(comparison.ranked) <= MOST_DRAWN
    selection = f"each {comparison.one_kind}" if has_all else f"the worst {MOST_DRAWN} {comparison.kind}"
    return f"Loss of recall of {selection}, {len(comparison.label):,} images"
