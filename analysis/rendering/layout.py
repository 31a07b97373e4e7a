"""Pages of panels: a title and a legend above, the panels in a grid or one below the other, and a note below."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from analysis.common.printable import printable
from analysis.rendering.picture_text import fitted_name, name_in_legend, name_in_picture, width_in_picture

DPI = 120
NARROW = 4.6  # inches, width of a figure for a telephone; its letters are as large as the text of the page
TITLE_SIZE = 10  # points, font size above a panel
_NARROWEST = 5.6  # inches, least width of a page that is not narrow
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
        Labels of the axes. Unless the page is narrow, a label is left out if a panel below (for `across`) or on the
        left (for `up`) has the same label.
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
    narrow: bool = False,
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
    narrow : bool
        Put the panels one below the other, for a narrow window: row by row, or column by column if `sharex` is `col`.
    sharex, sharey : bool, "col" or "row"
        Which panels share an axis, whether or not the page is narrow. Unless the page is narrow, tick labels of a
        shared x axis are only at the lowest panel of a column, and those of a shared y axis only at the leftmost panel
        of a row.
    widths : sequence of float
        Relative widths of the columns, equal by default.
    """
    columns = columns or len(panels)
    present = {divmod(index, columns): panel for index, panel in enumerate(panels) if panel}
    cells = _cells(list(present), narrow=narrow, by_column=sharex == "col")
    shape = 1 + max((row for row, _ in cells.values()), default=0), 1 if narrow else columns
    width = NARROW if narrow else max(size[0] * columns, _NARROWEST)
    figure = Figure((width, size[1] * shape[0]), dpi=DPI)
    spec = figure.add_gridspec(*shape, width_ratios=widths if widths and not narrow else None)
    grid = {place: figure.add_subplot(spec[cells[place]]) for place in present}
    _share(grid, sharex, sharey)
    beside = _BESIDE_TITLE if sharey in (True, "row") else _BESIDE_NUMBERS
    for axes, panel in zip(grid.values(), present.values(), strict=True):
        axes.tick_params(labelsize=8)
        panel.draw(axes, panel.rows)
        _name(axes, panel, 72 * width / shape[1] - beside)
    if not narrow:
        _write_once(grid)
        width += sum(
            max((_names_room(axes) for (_, at), axes in grid.items() if at == column), default=0)
            for column in range(columns)
        )
    entries = _labelled(figure.axes) if legend is None else legend
    _write_words(figure, (width, size[1] * shape[0]), title, note, entries)
    return figure


def _write_words(figure: Figure, size: tuple[float, float], title: str, note: str, entries: Sequence[Any]) -> None:
    """Write the words above and below the panels, whose size is given in inches, and make the figure high enough."""
    width, height = size
    title = "\n".join(
        textwrap.fill(name_in_picture(line, _LONGEST_TITLE), int(10 * width), break_on_hyphens=False)
        for line in title.split("\n")
    )
    note = "\n".join(textwrap.fill(printable(line), int(15 * width)) for line in note.split("\n"))
    across = _entries_across(entries, width) if entries else 1
    above, below = _TITLE * _lines(title) + _PAD, _NOTE * _lines(note) + _PAD
    with_legend = above + _ENTRY * -(-len(entries) // across)
    height += with_legend + below
    figure.set_size_inches(width, height)
    look: dict[str, Any] = {"x": 0.01, "ha": "left", "parse_math": False, "in_layout": False}
    figure.suptitle(title, y=1 - _PAD / height, fontsize=12, **look)
    figure.supxlabel(note, y=_PAD / height, fontsize=8, **look)
    if entries:
        _add_legend(figure, entries, across, 1 - above / height)
    pads = {"w_pad": _PAD, "h_pad": _PAD, "wspace": 0, "hspace": 0}
    rect = (0, below / height, 1, 1 - (with_legend + below) / height)
    figure.set_layout_engine("constrained", rect=rect, **pads)


def handle(label: str, **style: Any) -> Line2D:
    """Return a legend entry."""
    return Line2D([], [], label=name_in_legend(label), **{"markersize": 5, **style})


def _cells(places: Sequence[_Place], *, narrow: bool, by_column: bool) -> dict[_Place, _Place]:
    """Return the place of each panel on the page; a narrow page has the panels one below the other."""
    if not narrow:
        return {place: place for place in places}
    order = sorted(places, key=lambda place: place[::-1]) if by_column else places
    return {place: (index, 0) for index, place in enumerate(order)}


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


def _add_legend(figure: Figure, entries: Sequence[Any], across: int, top: float) -> None:
    look: dict[str, Any] = {"frameon": False, "borderpad": 0, "borderaxespad": 0, "bbox_to_anchor": (0.01, top)}
    legend = figure.legend(handles=list(entries), loc="upper left", ncols=across, fontsize=9, **look)
    legend.set_in_layout(False)
    for text, mark in zip(legend.get_texts(), legend.legend_handles, strict=True):
        text.set_parse_math(False)
        if isinstance(mark, PathCollection):
            mark.set_sizes(np.maximum(mark.get_sizes(), _DOT))
