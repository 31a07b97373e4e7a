"""Pages of panels: a title and a legend above, the panels in a grid, and a note below."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

from analysis.common.printable import printable
from analysis.rendering.picture_text import fitted_name, name_in_legend, name_in_picture, width_in_picture

DPI = 120
TITLE_SIZE = 10  # points, font size above a panel
_NARROWEST = 5.6  # inches, least width of a page
_LONGEST_TITLE = 400
_PAD = 0.04  # inches, around a panel and between the words above and below the panels
_TITLE, _ENTRY, _NOTE = 0.22, 0.2, 0.14  # inches, height of a line of the title, the legend and the note
_LETTER, _MARK = 0.085, 0.6  # inches, width of a letter and of a mark in a legend
_DOT = 25  # square points, least area of a dot in a legend
# Points of a panel's width that its title leaves free: the first if there are no numbers on the left of the panel, the
# second if there are.
_BESIDE_TITLE, _BESIDE_NUMBERS = 14, 36

_Place: TypeAlias = tuple[int, int]  # row and column


class Panel(NamedTuple):
    """A panel: the function that draws it, its rows, and the words around it.

    Attributes
    ----------
    draw : function of (Axes, rows)
    rows : Any
        Second argument of `draw`, mostly rows of a DataFrame.
    title : str
        May contain names of unknown origin; lines too long for the panel are broken and cut.
    across, up : str
        Labels of the axes. A label is left out if a panel below (for `across`) or on the left (for `up`) has the same
        label.
    """

    draw: Callable[[Axes, Any], None]
    rows: Any
    title: str = ""
    across: str = ""
    up: str = ""


def draw(
    panels: Sequence[Panel | None],
    columns: int | None = None,
    *,
    size: tuple[float, float],
    title: str = "",
    note: str = "",
    legend: Sequence[Line2D] | None = None,
    sharex: bool | str = False,
    sharey: bool | str = False,
    widths: Sequence[float] = (),
) -> Figure:
    """Draw panels on a page. The axes of the figure are in the order of the panels.

    Parameters
    ----------
    panels : sequence of Panel or None
        Row by row; None leaves its place empty.
    columns : int, optional
        By default all panels are in one row.
    size : (float, float)
        Width and height of a panel with its words, in inches; names on its left are added to the width.
    title, note : str
        Text above and below the panels. It may contain names of unknown origin; lines are broken to fit the width.
    legend : sequence of Line2D, optional
        Entries of the legend, as `handle` makes them. By default, one for each label used in panels that have no legend
        themselves.
    sharex, sharey : bool, "col" or "row"
        Which panels share an axis. Tick labels of a shared x axis are only at the lowest panel of a column, and those
        of a shared y axis only at the leftmost panel of a row.
    widths : sequence of float
        Relative widths of the columns, equal by default.
    """
    columns = columns or len(panels)
    present = {divmod(index, columns): panel for index, panel in enumerate(panels) if panel}
    rows = 1 + max((row for row, _ in present), default=0)
    width = max(size[0] * columns, _NARROWEST)
    figure = Figure((width, size[1] * rows), dpi=DPI)
    spec = figure.add_gridspec(rows, columns)
    grid = {place: figure.add_subplot(spec[place]) for place in present}
    _share(grid, sharex, sharey)
    beside = _BESIDE_TITLE if sharey in (True, "row") else _BESIDE_NUMBERS
    for axes, panel in zip(grid.values(), present.values(), strict=True):
        axes.tick_params(labelsize=8)
        panel.draw(axes, panel.rows)
        _name(axes, panel, 72 * width / columns - beside)
    _write_once(grid)
    width += sum(
        max((_names_room(axes) for (_, at), axes in grid.items() if at == column), default=0)
        for column in range(columns)
    )
    above, below, height = _write_words(
        figure, width, title, note, _labelled(figure.axes) if legend is None else legend
    )
    figure.set_size_inches(width, size[1] * rows + height)
    figure.set_layout_engine(_Layout(grid, rows, np.array(widths or [1.0] * columns), above, below))
    return figure


def _write_words(
    figure: Figure, width: float, title: str, note: str, entries: Sequence[Any]
) -> tuple[list[Text | Legend], Text, float]:
    """Write the words above and below the panels, and return them, and the height that they take, in inches."""
    title = "\n".join(
        textwrap.fill(name_in_picture(line, _LONGEST_TITLE), int(10 * width), break_on_hyphens=False)
        for line in title.split("\n")
    )
    note = "\n".join(textwrap.fill(printable(line), int(15 * width)) for line in note.split("\n"))
    height = _TITLE * _lines(title) + _NOTE * _lines(note) + 2 * _PAD
    above: list[Text | Legend] = [figure.suptitle(title, x=0.01, ha="left", fontsize=12, parse_math=False)]
    below = figure.supxlabel(note, x=0.01, ha="left", fontsize=8, parse_math=False)
    if entries:
        across = _entries_across(entries, width)
        above.append(_add_legend(figure, entries, across))
        height += _ENTRY * -(-len(entries) // across)
    return above, below, height


def handle(label: str, **style: Any) -> Line2D:
    """Return a legend entry."""
    return Line2D([], [], label=name_in_legend(label), **{"markersize": 5, **style})


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _share(grid: Mapping[_Place, Axes], sharex: bool | str, sharey: bool | str) -> None:
    for share, name in ((sharex, "sharex"), (sharey, "sharey")):
        groups: dict[object, list[Axes]] = {}
        for (row, column), axes in grid.items() if share else ():
            groups.setdefault({"row": row, "col": column}.get(str(share)), []).append(axes)
        for first, *others in groups.values():
            for axes in others:
                getattr(axes, name)(first)


def _name(axes: Axes, panel: Panel, room: float) -> None:
    if panel.title:
        lines = (fitted_name(line, room, TITLE_SIZE, lines=3) for line in panel.title.split("\n"))
        axes.set_title("\n".join(lines), fontsize=TITLE_SIZE, parse_math=False)
    for name, write in ((panel.across, axes.set_xlabel), (panel.up, axes.set_ylabel)):
        if name:
            write(name, fontsize=9, parse_math=False)


def _write_once(grid: Mapping[_Place, Axes]) -> None:
    """Keep repeated labels, and numbers of shared axes, only at a column's lowest and a row's leftmost panel."""
    for (row, column), axes in grid.items():
        for (other_row, other_column), other in grid.items():
            if other_column == column and other_row > row:
                if axes.get_shared_x_axes().joined(axes, other):
                    axes.tick_params(axis="x", labelbottom=False)
                if other.get_xlabel() == axes.get_xlabel():
                    axes.set_xlabel("")
            if other_row == row and other_column < column:
                if axes.get_shared_y_axes().joined(axes, other):
                    axes.tick_params(axis="y", labelleft=False, left=False)
                if other.get_ylabel() == axes.get_ylabel():
                    axes.set_ylabel("")


def _names_room(axes: Axes) -> float:
    """Return the width of the names on the left of a panel, in inches."""
    axis = axes.yaxis
    if not isinstance(axis.get_major_locator(), FixedLocator) or not axis.get_tick_params()["labelleft"]:
        return 0
    labels = ((line, label.get_fontsize()) for label in axes.get_yticklabels() for line in label.get_text().split("\n"))
    return max((width_in_picture(text, size) / 72 for text, size in labels), default=0)


def _labelled(panels: Sequence[Axes]) -> list[Any]:
    """Return one labelled artist for each label used in panels that have no legend themselves."""
    pairs = (zip(*axes.get_legend_handles_labels(), strict=True) for axes in panels if not axes.get_legend())
    return list({label: drawn for of_panel in pairs for drawn, label in of_panel}.values())


def _entries_across(entries: Sequence[Any], width: float) -> int:
    longest = max(len(str(entry.get_label())) for entry in entries)
    return min(len(entries), max(1, int(width / (_LETTER * longest + _MARK))))


def _add_legend(figure: Figure, entries: Sequence[Any], across: int) -> Legend:
    legend = figure.legend(
        handles=list(entries), loc="upper left", ncols=across, fontsize=9, frameon=False, borderpad=0, borderaxespad=0
    )
    for text, mark in zip(legend.get_texts(), legend.legend_handles, strict=True):
        text.set_parse_math(False)
        if isinstance(mark, PathCollection):
            mark.set_sizes(np.maximum(mark.get_sizes(), _DOT))
    return legend


class _Layout(LayoutEngine):
    """Place panels with room for the words around them, below the title and the legend, and above the note.

    Matplotlib's constrained layout gives the same pictures but takes 1.5 times as long, because it measures all words
    twice.
    """

    _adjust_compatible = False
    _colorbar_gridspec = False

    def __init__(
        self, panels: Mapping[_Place, Axes], rows: int, widths: np.ndarray, above: Sequence[Text | Legend], note: Text
    ) -> None:
        super().__init__()
        self._panels, self._widths, self._above, self._note = panels, widths, above, note
        self._shape = rows, len(widths)

    def execute(self, fig: Figure) -> None:
        # Words that are measured by the renderer of a canvas are not measured again when they are drawn.
        canvas = fig.canvas if isinstance(fig.canvas, FigureCanvasAgg) else FigureCanvasAgg(fig)
        renderer = canvas.get_renderer()
        above, below = self._place_words(fig, renderer)
        ticks = _ticks(self._panels)
        self._place(fig, renderer, above, below)
        if _ticks(self._panels) != ticks:  # panels of a different size have different ticks, whose labels may be longer
            self._place(fig, renderer, above, below)

    def _place_words(self, fig: Figure, renderer: RendererBase) -> tuple[float, float]:
        """Put the title, the legend and the note at the edges, and return the room that they take, in pixels."""
        above, pad = 0.0, _PAD * fig.dpi
        for words in self._above:
            top = 1 - (above + pad) / fig.bbox.height
            if isinstance(words, Legend):
                words.set_bbox_to_anchor((0.01, top), fig.transFigure)
            else:
                words.set_y(top)
            above += _height(words, renderer, pad)
        self._note.set_y(pad / fig.bbox.height)
        return above, _height(self._note, renderer, pad)

    def _place(self, fig: Figure, renderer: RendererBase, above: float, below: float) -> None:
        size, pad = fig.bbox.size, _PAD * fig.dpi
        margins = np.zeros((4, *self._shape))  # left, right, top and bottom
        for place, axes in self._panels.items():
            inside, around = axes.bbox, _measured(axes, renderer)
            sides = inside.x0 - around.x0, around.x1 - inside.x1, around.y1 - inside.y1, inside.y0 - around.y0
            margins[:, *place] = np.array(sides) + pad
        left, width = _placed(margins[:2].max(1), 0, size[0], self._widths)
        top, height = _placed(margins[2:].max(2), above, size[1] - below, np.ones(self._shape[0]))
        for (row, column), axes in self._panels.items():
            x, y = left[column], size[1] - top[row]
            box = Bbox([[x, y - height[row]], [x + width[column], y]])
            axes.set_position(box.transformed(fig.transFigure.inverted()))
            axes.set_in_layout(True)  # `set_position` has turned it off


def _height(words: Text | Legend, renderer: RendererBase, pad: float) -> float:
    if isinstance(words, Text) and not words.get_text():
        return 0
    return words.get_window_extent(renderer).height + 2 * pad


def _ticks(panels: Mapping[_Place, Axes]) -> list[list[float]]:
    return [list(axis.get_ticklocs()) for axes in panels.values() for axis in (axes.xaxis, axes.yaxis)]


def _measured(axes: Axes, renderer: RendererBase) -> Bbox:
    """Return the box of a panel with its words, legend and colour bar."""
    for axis, place in ((axes.xaxis, (0.5, 0)), (axes.yaxis, (0, 0.5))):
        if not axis.get_label_text():
            axis.set_label_coords(*place)  # without this, the place of an empty label is computed from all ticks
    legend = axes.get_legend()
    outside = [*axes.child_axes, *([legend] if legend and legend.get_in_layout() else [])]
    return axes.get_tightbbox(renderer, for_layout_only=True, bbox_extra_artists=outside) or axes.bbox


def _placed(margins: np.ndarray, start: float, end: float, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and lengths of panels between two ends, with margins, (2, panels), before and after each."""
    room = max(end - start - margins.sum(), 1.0)
    lengths = room * ratios / ratios.sum()
    return start + np.cumsum(margins[0]) + np.cumsum([0, *(lengths + margins[1])[:-1]]), lengths
