"""Draw lines of methods against the pruning ratio, with consistent colours and marks.

A method is a pruner with its settings, or a number format, which is drawn as a point if the axis is the model size. A
method has the same colour and mark in all panels of a figure, and one legend names each method once. The control
`none`, whose ratio is always 1, is drawn as a horizontal line with a band or, in iterative pruning, level by level.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from analysis.rendering.drawing import BELOW, NEUTRAL
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import mark_beyond
from analysis.report.published import rank
from analysis.report.verdict import places
from analysis.runs import schema
from analysis.study.decision import mostly_sound, ratio_of
from analysis.study.labels import TEACHER
from analysis.study.settings import CONTROL, ITERATION, is_iterated, is_mitigated, is_pruned
from analysis.study.study import StudyData

_AS_IN_PRINT = "as in print"
_PARTS: tuple[Callable[["PlottedMethod"], str], ...] = (attrgetter("pruner"), attrgetter("setting"))
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#9a6324")
_MARKERS = "osD^vPX*"
_DASHES = ("-", "--", ":", "-.")
_PLACES_A_FIGURE = 4
_PANEL, _NARROWEST = 4.2, 7.0  # inches, widths of a panel and of a figure
_AXIS = 3.5  # inches, width of a panel from the first ratio to the last
_PALE = 0.3  # opacity of intervals in panels with many methods, so that the lines stand out
_DIGIT = 0.08  # inches, width of a digit below an axis
_BETWEEN = 0.06  # inches, smallest distance between two labels below an axis


class PlottedMethod(NamedTuple):
    """A pruner and the text of its setting, which is empty if the setting is that of the papers."""

    pruner: str
    setting: str

    @property
    def label(self) -> str:
        """Name of the method in a legend."""
        return (", " if self.setting.startswith(TEACHER) else " ").join(filter(None, self))


Lines: TypeAlias = dict[PlottedMethod, pd.DataFrame]  # the cells of each method
Styles: TypeAlias = dict[PlottedMethod, dict[str, Any]]


class PlottedWorkload(NamedTuple):
    """Data of a column of panels: a data set and model, with all their cells, and the methods that are drawn.

    If there are too many methods for one column, the name ends with the pruner or the setting that the methods of the
    column share.
    """

    name: tuple[str, ...]
    cells: pd.DataFrame
    lines: Lines


class Column(NamedTuple):
    """Content of a column of panels: the cells of a data set and model, and the style of each of their methods.

    `leading` is the ratio that the verdict is about, or infinite if no network is pruned.
    """

    cells: pd.DataFrame
    lines: Lines
    styles: Styles
    leading: float


class Drawn(NamedTuple):
    """Names of the table columns to draw: a value, the ends of its interval, and the value of the dense networks.

    `bounds` are the smallest and the largest possible value.
    """

    value: str
    low: str | None = None
    high: str | None = None
    dense: str | None = None
    bounds: tuple[float, float] = (-np.inf, np.inf)


def groups(cells: pd.DataFrame, study: StudyData) -> Iterator[list[PlottedWorkload]]:
    """Yield the columns of each figure, at most four, each for a data set and model.

    A data set and model with more than eight methods are split into a column for each pruner or for each setting,
    unless this makes more than eight columns or leaves more than eight methods in one.

    Parameters
    ----------
    cells : DataFrame
        As `cells.cells` returns them. Data sets and models are left out if most networks of every cell are at chance.
    study : StudyData
    """
    group: list[PlottedWorkload] = []
    for name, rows in places(cells):
        columns = _columns(name, rows, study) if mostly_sound(rows).any() else []
        if group and len(group) + len(columns) > _PLACES_A_FIGURE:
            yield group
            group = []
        group += columns
        while len(group) > _PLACES_A_FIGURE:
            yield group[:_PLACES_A_FIGURE]
            group = group[_PLACES_A_FIGURE:]
    if group:
        yield group


def _columns(name: tuple[str, str], cells: pd.DataFrame, study: StudyData) -> list[PlottedWorkload]:
    """Return a column for all methods or, if they are too many, one for each pruner or for each setting."""
    lines = lines_of(cells, study)
    pruned_methods = [method for method in lines if method.pruner != CONTROL]
    counts = {part: Counter(map(part, pruned_methods)) for part in _PARTS}
    splits = [part for part in _PARTS if 1 < len(counts[part]) <= len(_COLORS) >= max(counts[part].values())]
    if len(pruned_methods) <= len(_COLORS) or not splits:
        return [PlottedWorkload(name, cells, lines)]
    part = min(splits, key=lambda part: len(counts[part]))
    return [PlottedWorkload((*name, of or _AS_IN_PRINT), cells, _alike(lines, part, of)) for of in counts[part]]


def _alike(lines: Lines, part: Callable[[PlottedMethod], str], of: str) -> Lines:
    """Return the methods that have the pruner or setting `of`, and their controls.

    The controls are those with `of` or, if no control has it, all controls.
    """
    pruned_lines = {method: cells for method, cells in lines.items() if method.pruner != CONTROL and part(method) == of}
    controls = {method: cells for method, cells in lines.items() if method.pruner == CONTROL}
    return pruned_lines | ({method: cells for method, cells in controls.items() if part(method) == of} or controls)


def against_ratio(
    group: Sequence[PlottedWorkload],
    rows: Mapping[str, Callable[[Axes, Column], None]],
    study: StudyData,
    title: str,
    note: str,
    handles: Sequence[Line2D] = (),
) -> Figure:
    """Draw a column of panels for each data set and model, against the ratio. A stripe marks the verdict's ratio.

    Parameters
    ----------
    group : sequence of PlottedWorkload
        As `groups` yields it.
    rows : dict of label -> function
        For each row of panels, the label of its vertical axis, and the function that draws a panel.
    study : StudyData
    title, note : str
    handles : sequence of Line2D
        Further legend entries, after those of the methods.
    """
    styles, method_handles = styles_of([workload.lines for workload in group])
    panels_of = [_panels_of(workload, rows, styles, study) for workload in group]
    figure = draw(
        [panel for row in zip(*panels_of, strict=True) for panel in row],
        len(group),
        size=(panel_width(group), 2.9),
        title=title,
        note=note,
        legend=[*method_handles, *handles],
        sharex="col",
    )
    for start in range(0, len(figure.axes), len(group)):
        show_beyond(figure.axes[start : start + len(group)], group)
    return figure


def _panels_of(
    workload: PlottedWorkload, rows: Mapping[str, Callable[[Axes, Column], None]], styles: Styles, study: StudyData
) -> list[Panel]:
    """Return the panels of a column, with the name of the column above the first."""
    has_pruned = is_pruned(workload.cells).any()
    leading = ratio_of(study, (workload.name[0], workload.name[1])) if has_pruned else np.inf
    column, title = Column(workload.cells, workload.lines, styles, leading), ", ".join(workload.name)
    return [
        Panel(partial(_draw_column, draw_panel=draw_panel), column, "" if index else title, "pruning ratio", label)
        for index, (label, draw_panel) in enumerate(rows.items())
    ]


def _draw_column(axes: Axes, column: Column, draw_panel: Callable[[Axes, Column], None]) -> None:
    draw_panel(axes, column)
    if np.isfinite(column.leading):
        draw_stripe(axes, column.leading)
    _set_ratios(axes, column)


def show_beyond(row: Sequence[Axes], group: Sequence[PlottedWorkload]) -> None:
    """Give all panels of a data set and model the same limits, and mark values beyond these at the axis ends.

    Parameters
    ----------
    row : sequence of Axes
        A panel for each workload, with its lines.
    group : sequence of PlottedWorkload
    """
    for name in dict.fromkeys(workload.name[:2] for workload in group):
        panels = [axes for axes, workload in zip(row, group, strict=True) if workload.name[:2] == name]
        lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
        marks = [_marks(axes) for axes in panels]
        values = np.concatenate([own["value"] for own in marks])
        for axes, own in zip(panels, marks, strict=True):
            axes.set_ylim(*_with_near(values, min(lows), max(highs)))
            mark_beyond(axes, own)


def _marks(axes: Axes) -> pd.DataFrame:
    """Return place, value and color of the marks on a panel's lines."""
    marks = [
        {"place": point[0], "value": point[1], "color": line.get_color()}
        for line in axes.lines
        if str(line.get_marker()) in _MARKERS
        for point in np.column_stack(line.get_data())
        if np.isfinite(point).all()
    ]
    return pd.DataFrame(marks, columns=["place", "value", "color"]).astype({"place": float, "value": float})


def _with_near(values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Return axis limits, moved outward if a mark would be at a limit or just beyond it."""
    near, margin = 0.1 * (high - low), 0.05 * (high - low)
    above = values[(values > high - margin) & (values < high + near)]
    below = values[(values < low + margin) & (values > low - near)]
    return min([low, *(below - margin)]), max([high, *(above + margin)])


def lines_of(cells: pd.DataFrame, study: StudyData) -> Lines:
    """Return the cells to draw for each method, sorted by ratio.

    Controls with a mitigation are left out if there are controls without one.
    """
    of_control, spared = cells[schema.PRUNER] == CONTROL, is_mitigated(cells)
    left_out = of_control & spared & (of_control & ~spared).any()
    return by_method(cells[mostly_sound(cells) & ~left_out].sort_values(schema.RATIO, kind="stable"), study)


def by_method(cells: pd.DataFrame, study: StudyData) -> Lines:
    """Return the cells of each method, in the papers' order; the control is last."""
    methods = [PlottedMethod(cell[schema.PRUNER], study.setting(cell)) for cell in cells.to_dict("records")]
    order = sorted(set(methods), key=lambda method: (method.pruner == CONTROL, rank(method.pruner), method.setting))
    return {each: cells[[method == each for method in methods]] for each in order}


def styles_of(lines: Sequence[Lines]) -> tuple[Styles, list[Line2D]]:
    """Return each method's style, and legend entries: for methods or, if these are many, for pruners and settings.

    Parameters
    ----------
    lines : sequence of Lines
        Lines of each column of a figure.
    """
    methods = list(dict.fromkeys(method for own_lines in lines for method in own_lines))
    pruned_methods = [method for method in methods if method.pruner != CONTROL]
    controls = [method for method in methods if method.pruner == CONTROL]
    styles: Styles = {
        method: {"color": NEUTRAL, "linestyle": _DASHES[index % len(_DASHES)]} for index, method in enumerate(controls)
    }
    pruners, settings = (
        (list(dict.fromkeys(values)) for values in zip(*pruned_methods, strict=True)) if pruned_methods else ([], [])
    )
    # If there are few methods, or more settings than markers, each method has its own style and legend entry.
    own = len(pruned_methods) <= len(_COLORS) or len(settings) > len(_MARKERS)
    for index, method in enumerate(pruned_methods):
        color = index if own else pruners.index(method.pruner)
        shape = index + index // len(_COLORS) if own else settings.index(method.setting)
        dashes = index // len(_COLORS) if own else shape
        styles[method] = {
            "color": _COLORS[color % len(_COLORS)],
            "marker": _MARKERS[shape % len(_MARKERS)],
            "linestyle": _DASHES[dashes % len(_DASHES)],
        }
    if own:
        handles = [handle(method.label, **styles[method]) for method in pruned_methods]
    else:
        handles = [handle(name, color=_COLORS[index % len(_COLORS)]) for index, name in enumerate(pruners)]
        handles += [
            handle(
                name or _AS_IN_PRINT,
                color="black",
                marker=_MARKERS[index % len(_MARKERS)],
                linestyle=_DASHES[index % len(_DASHES)],
            )
            for index, name in enumerate(settings)
        ]
    return styles, [*handles, *(handle(f"{method.label} (control)", **styles[method]) for method in controls)]


def panel_width(group: Sequence[Any]) -> float:
    """Return the width, in inches, of one panel of a figure with a column for each data set and model."""
    return max(_PANEL, _NARROWEST / len(group))


def draw_lines(
    axes: Axes,
    lines: Lines,
    styles: Styles,
    drawn: Drawn,
    places_of: Callable[[pd.DataFrame], np.ndarray] | None = None,
) -> None:
    """Draw the values of each method with their intervals, and the control as a horizontal line or along its levels.

    Parameters
    ----------
    axes : Axes
    lines, styles
        As `lines_of` and `styles_of` return them.
    drawn : Drawn
    places_of : callable, optional
        Returns the positions of cells on the axis; by default their ratios.
    """
    opacity = 1.0 if len(styles) <= len(_COLORS) else _PALE
    for index, (method, cells) in enumerate(lines.items()):
        value = cells[drawn.value].to_numpy(float)
        low, high = (cells[name].to_numpy(float) if name else np.full(len(cells), np.nan) for name in drawn[1:3])
        if method.pruner == CONTROL and is_iterated(cells).all():
            across = _places_of_levels(cells, lines, places_of or _ratios)
            axes.plot(across, value, linewidth=1.5, **styles[method])
            axes.fill_between(across, low, high, color=NEUTRAL, alpha=0.15, linewidth=0)
            continue
        if method.pruner == CONTROL:
            axes.axhline(value[0], linewidth=1.5, **styles[method])
            if np.isfinite(low[0]):
                axes.axhspan(low[0], high[0], color=NEUTRAL, alpha=0.15, linewidth=0)
            continue
        # Marks are shifted a little, so that intervals do not hide one another.
        across = (places_of or _ratios)(cells) * 1.012 ** (index - (len(lines) - 1) / 2)
        axes.plot(across, value, markersize=4.5, linewidth=1.4, **styles[method])
        if drawn.low:
            intervals = [
                [(position, bottom), (position, top)] for position, bottom, top in zip(across, low, high, strict=True)
            ]
            bars = LineCollection(intervals, colors=styles[method]["color"], linewidths=1.2, alpha=opacity)
            axes.add_collection(bars, autolim=False)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(alpha=0.3)


def _places_of_levels(
    control: pd.DataFrame, lines: Lines, places_of: Callable[[pd.DataFrame], np.ndarray]
) -> np.ndarray:
    """Return the position of each level of an iterated control: the median position of pruned cells of that level."""
    pruned_cells = pd.concat([cells for method, cells in lines.items() if method.pruner != CONTROL] or [control])
    pruned_cells = pruned_cells[is_iterated(pruned_cells)]
    positions = pd.Series(places_of(pruned_cells), index=pruned_cells[ITERATION]).groupby(level=0).median()
    return positions.reindex(control[ITERATION]).to_numpy()


def draw_stripe(axes: Axes, position: float) -> None:
    """Mark the ratio of the verdict with a vertical stripe."""
    axes.axvline(position, color=BELOW, alpha=0.12, linewidth=14)


def _ratios(cells: pd.DataFrame) -> np.ndarray:
    return cells[schema.RATIO].to_numpy(float)


def ratio_labels(ratios: Sequence[float]) -> list[str]:
    """Return a label for each ratio on a logarithmic axis, empty if it would touch the label before."""
    inches_each = _AXIS / max(np.log(ratios[-1] / ratios[0]), 1e-9)
    labels, end = [], -np.inf
    for ratio in ratios:
        label = f"{ratio:.3g}"
        position, half = inches_each * np.log(ratio), _DIGIT * len(label) / 2
        has_room = position - half >= end + _BETWEEN
        labels.append(label if has_room else "")
        end = position + half if has_room else end
    return labels


def _set_ratios(axes: Axes, column: Column) -> None:
    drawn = (cells for method, cells in column.lines.items() if method.pruner != CONTROL)
    # If all pruned networks are at chance, only the verdict's ratio, which a stripe marks, is on the axis.
    ratios = sorted({ratio for cells in drawn for ratio in cells["ratio"]}) or [column.leading]
    axes.set_xscale("log")
    if np.isfinite(ratios).all():
        axes.set_xticks(ratios, ratio_labels(ratios), fontsize=9)
        if len(ratios) == 1:
            axes.set_xlim(ratios[0] / 1.5, 1.5 * ratios[0])
    axes.xaxis.set_minor_locator(NullLocator())
