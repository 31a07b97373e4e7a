"""Colours, axes and pages that all figures share."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from analysis.common.printable import printable
from analysis.rendering.picture_text import name_in_picture

# Colours by Okabe and Ito, which colour-blind readers can tell apart.
NEUTRAL, BELOW, ABOVE = "#767676", "#0072b2", "#d55e00"
DIFFERENT = "black"  # where neither side is better
DPI = 120
NARROW = 4.6  # inches, of a figure for a telephone; its letters are as large as the page's
_LONGEST_TITLE = 400
_PAD = 0.04  # inches, around a panel
_WORDS = 1.4  # inches, of a page's title, legend and note
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # the box behind words in a panel


def axis_limits(values: pd.Series, through: float) -> tuple[float, float]:
    """Return the ends of an axis that holds `through` and all values but a long tail.

    Nine tenths of the values fill about a fifth of the axis or more; values far off lie beyond its ends.
    """
    low, high = np.quantile([*values, through], [0.05, 0.95])
    far = 2 * (high - low)
    inliers = [*values[values.between(low - far, high + far)], through]
    pad = 0.08 * (max(inliers) - min(inliers)) or 0.1
    return min(inliers) - pad, max(inliers) + pad


def page(
    shape: tuple[int, int],
    size: tuple[float, float],
    title: str,
    note: str,
    *,
    narrow: bool = False,
    **subplots: Any,
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
    narrow : bool
        Put the panels one below the other, for a narrow window. The grid then has one column: that of the rows, or that
        of the columns if `sharex` is `col`; `columns` takes it apart.
    subplots
        Further arguments of `Figure.subplots`.
    """
    if narrow:
        size = _narrow_size(shape, size, title, note)
        figure = Figure(size, dpi=DPI)
        grid = _folded(figure, shape, **subplots)
        subplots = {}
    else:
        figure = Figure(size, dpi=DPI)
        grid = figure.subplots(*shape, squeeze=False, **subplots)
    above = figure.suptitle(
        textwrap.fill(name_in_picture(title, _LONGEST_TITLE), int(10 * size[0]), break_on_hyphens=False),
        x=0.01,
        ha="left",
        fontsize=12,
        parse_math=False,
    )
    below = figure.supxlabel(
        textwrap.fill(printable(note), int(15 * size[0])), x=0.01, ha="left", fontsize=8, parse_math=False
    )
    widths = subplots.get("width_ratios")
    across = np.ones(grid.shape[1]) if widths is None else np.array(widths)
    figure.set_layout_engine(_Layout(grid, across, above, below))
    return figure, grid


def columns(grid: np.ndarray, rows: int) -> np.ndarray:
    """Return the panels of each column, (columns, rows), of a page that has so many rows if it is not narrow."""
    return grid.T if len(grid) == rows else grid.reshape(-1, rows)


def _narrow_size(shape: tuple[int, int], size: tuple[float, float], title: str, note: str) -> tuple[float, float]:
    """Return the size of a narrow page whose panels are as high as those of a page of this shape and size."""
    more = [int(len(text) * (1 / NARROW - 1 / size[0]) / letters) for text, letters in ((title, 10), (note, 15))]
    return NARROW, _WORDS + shape[1] * (size[1] - _WORDS) + max(0.2 * more[0] + 0.13 * more[1], 0)


def _folded(
    figure: Figure,
    shape: tuple[int, int],
    *,
    sharex: bool | str = False,
    sharey: bool | str = False,
    **_: Any,
) -> np.ndarray:
    """Make the panels of a narrow page, which share axes as those of the wide page do, and have one width."""
    grid = figure.subplots(shape[0] * shape[1], 1, squeeze=False)
    wide = columns(grid, shape[0]).T if sharex == "col" else grid.reshape(shape)
    for share, name in ((sharex, "sharex"), (sharey, "sharey")):
        groups = {"col": list(wide.T), "row": list(wide), True: [wide.ravel()]}.get(share, [])
        for first, *others in groups:
            for axes in others:
                getattr(axes, name)(first)
    return grid


class _Layout(LayoutEngine):
    """Room for the words around each row and column of panels, between a title and a note.

    Matplotlib's constrained layout gives the same pictures, and takes 1.5 times as long: it measures all words twice.
    """

    _adjust_compatible = False
    _colorbar_gridspec = False

    def __init__(self, grid: np.ndarray, widths: np.ndarray, title: Text, note: Text) -> None:
        super().__init__()
        self._grid, self._widths, self._title, self._note = grid, widths, title, note

    def execute(self, fig: Figure) -> None:
        # Words that are measured by the renderer of a canvas are not measured again when they are drawn.
        canvas = fig.canvas if isinstance(fig.canvas, FigureCanvasAgg) else FigureCanvasAgg(fig)
        renderer = canvas.get_renderer()
        panels = {place: axes for place, axes in np.ndenumerate(self._grid) if axes in fig.axes}
        ticks = _ticks(panels)
        self._place(fig, panels, renderer)
        if _ticks(panels) != ticks:  # panels of another size have other ticks, whose words may be longer
            self._place(fig, panels, renderer)

    def _place(self, fig: Figure, panels: Mapping[tuple[Any, ...], Axes], renderer: RendererBase) -> None:
        size, pad = fig.bbox.size, _PAD * fig.dpi
        margins = np.zeros((4, *self._grid.shape))  # left, right, top and bottom
        for place, axes in panels.items():
            inside, around = axes.bbox, _measured(axes, renderer)
            sides = inside.x0 - around.x0, around.x1 - inside.x1, around.y1 - inside.y1, inside.y0 - around.y0
            margins[:, *place] = np.array(sides) + pad
        above, below = (
            text.get_window_extent(renderer).height + 2 * pad if text.get_text() else 0
            for text in (self._title, self._note)
        )
        self._title.set_y(1 - pad / size[1])
        self._note.set_y(pad / size[1])
        left, width = _placed(margins[:2].max(1), 0, size[0], self._widths)
        top, height = _placed(margins[2:].max(2), above, size[1] - below, np.ones(len(self._grid)))
        for (row, column), axes in panels.items():
            x, y = left[column], size[1] - top[row]
            box = Bbox([[x, y - height[row]], [x + width[column], y]])
            axes.set_position(box.transformed(fig.transFigure.inverted()))
            axes.set_in_layout(True)  # `set_position` has turned it off


def _ticks(panels: Mapping[tuple[Any, ...], Axes]) -> list[list[float]]:
    return [list(axis.get_ticklocs()) for axes in panels.values() for axis in (axes.xaxis, axes.yaxis)]


def _measured(axes: Axes, renderer: RendererBase) -> Bbox:
    """Return the box of a panel with its words, legend and colour bar."""
    for axis, place in ((axes.xaxis, (0.5, 0)), (axes.yaxis, (0, 0.5))):
        if not axis.get_label_text():
            axis.set_label_coords(*place)  # or the place of no text is worked out from all ticks
    legend = axes.get_legend()
    outside = [*axes.child_axes, *([legend] if legend and legend.get_in_layout() else [])]
    return axes.get_tightbbox(renderer, for_layout_only=True, bbox_extra_artists=outside) or axes.bbox


def _placed(margins: np.ndarray, start: float, end: float, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and lengths of panels that stand between two ends, with margins, (2, panels), around each."""
    room = max(end - start - margins.sum(), 1.0)
    lengths = room * ratios / ratios.sum()
    return start + np.cumsum(margins[0]) + np.cumsum([0, *(lengths + margins[1])[:-1]]), lengths


def with_legend(axes: Axes) -> Figure:
    """Put a legend below axes, where it hides nothing, and return the whole figure that they are in."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False)
    figure = axes.figure.figure  # Matplotlib 3.9 has no `get_figure(root=True)`
    assert isinstance(figure, Figure)
    return figure


def share_scale(panels: Iterable[Axes]) -> None:
    """Give the horizontal axes of some panels the same ends, so that all that is drawn has room."""
    panels = list(panels)
    ends = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))


def draw_edge(axes: Axes, place: float, above: str, below: str) -> None:
    """Write text at the upper and lower edge of the axes, about values that lie beyond it."""
    for text, height, end in ((above, 0.985, "top"), (below, 0.015, "bottom")):
        if text:
            drawn = axes.text(place, height, text, va=end, ha="center", fontsize=8, color=ABOVE)
            drawn.set(transform=axes.get_xaxis_transform(), bbox=PAPER)


class DrawnInterval(NamedTuple):
    """A value with the ends of its interval, NaN where it has none, and how it is drawn.

    `words` stand in place of a value that is NaN. A mark that is not filled is white.
    """

    value: float
    low: float
    high: float
    color: str
    is_filled: bool = True
    mark: str = "o"
    words: str = ""


def interval_limits(rows: Sequence[DrawnInterval], no_effect: float) -> tuple[float, float]:
    """Return the ends of an axis for intervals. It leaves out what is far from the others."""
    ends = [end for row in rows if np.isfinite(row.value) for end in row[:3] if np.isfinite(end)]
    return axis_limits(pd.Series(ends, dtype=float), through=no_effect)


def draw_intervals(
    axes: Axes, rows: Sequence[tuple[float, DrawnInterval]], no_effect: float, limits: tuple[float, float] | None = None
) -> None:
    """Draw an interval with a mark at each height, and a line where there is no effect.

    A triangle at the end of the axis stands for a value beyond it.

    Parameters
    ----------
    axes : Axes
    rows : sequence of (float, DrawnInterval)
        Heights and intervals.
    no_effect : float
    limits : (float, float), optional
        The ends of the axis; by default those of `interval_limits`.
    """
    axes.axvline(no_effect, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    drawn = [(height, row) for height, row in rows if np.isfinite(row.value)]
    for height, row in rows:
        if not np.isfinite(row.value):
            text = axes.text(0.03, height, row.words, va="center", fontsize=7.5, color=NEUTRAL)
            text.set(transform=axes.get_yaxis_transform(), bbox=PAPER)
    if not drawn:
        axes.set_xticks([])
        return
    left, right = limits or interval_limits([row for _, row in drawn], no_effect)
    axes.set_xlim(left, right)
    if intervals := [(height, *row[1:4]) for height, row in drawn if np.isfinite(row.low)]:
        heights, lows, highs, line_colors = zip(*intervals, strict=True)
        axes.hlines(heights, lows, highs, colors=line_colors, linewidth=1.6)
    by_mark: dict[str, list[tuple[float, DrawnInterval]]] = {}
    for height, row in drawn:
        mark = "<" if row.value < left else ">" if row.value > right else row.mark
        by_mark.setdefault(mark, []).append((height, row))
    for mark, same in by_mark.items():
        colors = [row.color for _, row in same]
        faces = [row.color if row.is_filled else "white" for _, row in same]
        values = np.clip([row.value for _, row in same], left, right)
        look: dict[str, Any] = {
            "s": 25,
            "facecolors": faces,
            "edgecolors": colors,
            "linewidths": 1,
            "zorder": 3,
            "clip_on": False,
        }
        axes.scatter(values, [height for height, _ in same], marker=mark, **look)
