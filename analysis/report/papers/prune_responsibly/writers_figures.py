"""Pictures of groups of test images, such as the writers of digits (Paganini 2020, Figures 1, 2, 8, 9 and 11 to 13)."""

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.rendering.drawing import NEUTRAL, page
from analysis.rendering.picture_text import name_in_picture
from analysis.report.papers.prune_responsibly.writers import ALL, Units
from analysis.report.ratio_plot import add_legend, handle
from analysis.statistics import group_lines

_COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vP"
_COLUMNS = 3
_PANEL = 3.6  # inches
_LONGEST_NAME = 28
_LETTERS_PER_INCH = 10  # at which `page` breaks a title
_MAP = mpl.colormaps["viridis"]
_BINS = 25


def accuracies(units: Units, place: str, networks: str) -> Figure:
    """Draw the accuracy of each unit after pruning against that before (Figure 1).

    Parameters
    ----------
    units : Units
    place : str
        Data set and model, for the title.
    networks : str
        Method and level, for the note.
    """
    size = (6.4, 5.6)
    figure, grid = page(
        (1, 1),
        size,
        _title(f"Accuracy of each {_unit(units)}: {place}", size),
        f"{_points(units, networks)} Lines are least squares. Dotted: no change.",
    )
    axes = grid[0, 0]
    _draw_no_change(axes, units)
    for cohort, color, inside in _cohorts(units):
        _draw_points(axes, 100 * units.before.mean(0), 100 * units.after.mean(0), inside, color, cohort, units)
        _draw_line(axes, 100 * units.before.mean(0)[inside], 100 * units.after[:, inside], color)
    _set_accuracies(axes)
    _name_cohorts(figure, units)
    return figure


def changes(units: Units, place: str, networks: str, *, narrow: bool = False) -> Figure:
    """Draw the change of each unit's accuracy against the mean of each measure (Figure 2)."""
    measures = list(units.measures)
    columns = 1 if narrow else 2 if len(measures) == 4 else min(len(measures), _COLUMNS)
    rows = -(-len(measures) // columns)
    size = max(6.4, _PANEL * columns), 3.3 * rows + 1.3
    figure, grid = page(
        (rows, columns),
        size,
        _title(f"Change of the accuracy of each {_unit(units)}: {place}", size),
        f"{_points(units, networks)} Lines are least squares; group_lines.csv has them with intervals.",
        narrow=narrow,
        sharey=True,
    )
    for axes, measure in zip(grid.flat, measures, strict=False):
        values, change = units.measures[measure], 100 * (units.after - units.before)
        for cohort, color, inside in _cohorts(units):
            has_value = inside & ~np.isnan(values)
            _draw_points(axes, values, change.mean(0), has_value, color, cohort, units)
            _draw_line(axes, values[has_value], change[:, has_value], color)
        axes.axhline(0, color="black", linewidth=0.8)
        _name_axis(axes, measure)
    for axes in grid[:, 0]:
        axes.set_ylabel("change of accuracy, points")
    for axes in grid.flat[len(measures) :]:
        axes.remove()
    _name_cohorts(figure, units)
    return figure


def coloured(units: Units, measure: str, place: str, networks: str, *, narrow: bool = False) -> Figure:
    """Draw accuracy after pruning against that before, coloured by a measure, and its histogram (Figures 8, 9, 12)."""
    values = units.measures[measure]
    has_value = ~np.isnan(values)
    size = (10.0, 4.8)
    figure, grid = page(
        (1, 2),
        size,
        _title(f"Accuracy of each {_unit(units)}, by {measure}: {place}", size),
        f"{_points(units, networks)} Its colour is that of its {measure} in the histogram. Dotted: no change.",
        narrow=narrow,
        width_ratios=(1.2, 1),
    )
    scale = mpl.colors.Normalize(*np.quantile(values[has_value], [0.02, 0.98]))
    axes, histogram = grid.flat
    _draw_no_change(axes, units)
    axes.scatter(
        100 * units.before.mean(0)[has_value],
        100 * units.after.mean(0)[has_value],
        c=_MAP(scale(values[has_value])),
        s=_sizes(units)[has_value],
        edgecolor="white",
        linewidth=0.4,
    )
    _set_accuracies(axes)
    counts, edges = np.histogram(values[has_value], _BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    histogram.bar(middles, counts, width=np.diff(edges), color=_MAP(scale(middles)), edgecolor="white", linewidth=0.5)
    histogram.set_ylabel(f"number of groups ({_unit(units)})", parse_math=False)
    _name_axis(histogram, measure)
    return figure


def distributions(units: Units, measures: list[str], place: str, *, narrow: bool = False) -> Figure:
    """Draw how measures are distributed over the units of each cohort (Figure 11)."""
    size = (max(6.4, 4.8 * len(measures)), 4.4)
    figure, grid = page(
        (1, len(measures)),
        size,
        _title(f"Mean {' and '.join(measures)} of each {_unit(units)}: {place}", size),
        "Each histogram has the area 1. Dashed: the mean of the cohort.",
        narrow=narrow,
    )
    for axes, measure in zip(grid.flat, measures, strict=True):
        values = units.measures[measure]
        edges = np.histogram_bin_edges(values[~np.isnan(values)], _BINS)
        for _, color, inside in _cohorts(units):
            own = values[inside & ~np.isnan(values)]
            axes.hist(own, edges, density=True, color=color, alpha=0.25)
            axes.hist(own, edges, density=True, histtype="step", color=color, linewidth=1.6)
            axes.axvline(own.mean(), color=color, linestyle="--", linewidth=1.2)
        _name_axis(axes, measure)
    for axes in grid[:, 0]:
        axes.set_ylabel("density")
    _name_cohorts(figure, units)
    return figure


def against(units: Units, measure: str, place: str, networks: str, *, narrow: bool = False) -> Figure:
    """Draw accuracy before and after pruning against a measure, with a line for each cohort and all (Figure 13)."""
    values, size = units.measures[measure], (9.6, 4.8)
    figure, grid = page(
        (1, 2),
        size,
        _title(f"Accuracy of each {_unit(units)} and its {measure}: {place}", size),
        f"{_points(units, networks)} Lines are least squares, the black one through all. Each panel has its own scale.",
        narrow=narrow,
    )
    for axes, side in zip(grid.flat, ("before", "after"), strict=True):
        accuracy = 100 * units.side[side]
        for cohort, color, inside in _cohorts(units):
            has_value = inside & ~np.isnan(values)
            _draw_points(axes, values, accuracy.mean(0), has_value, color, cohort, units)
            _draw_line(axes, values[has_value], accuracy[:, has_value], color)
        has_value = ~np.isnan(values)
        _draw_line(axes, values[has_value], accuracy[:, has_value], "black")
        axes.set_title(f"{side} pruning", fontsize=10)
        axes.set_ylabel("accuracy, %")
        _name_axis(axes, measure)
    _name_cohorts(figure, units, [handle(ALL, color="black")])
    return figure


def _title(text: str, size: tuple[float, float]) -> str:
    """Return a title on one line, below which there is room for a legend."""
    return name_in_picture(text, int(_LETTERS_PER_INCH * size[0]))


def _unit(units: Units) -> str:
    return name_in_picture(units.unit, _LONGEST_NAME)


def _points(units: Units, networks: str) -> str:
    seeds = f"the mean of {len(units.after)} networks" if len(units.after) > 1 else "one network"
    return f"{networks}. A point is a {_unit(units)}, {seeds}; its area grows with its number of images."


def _cohorts(units: Units) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield each cohort with its colour and its units; all units in one colour if there are too many cohorts."""
    names = [name for name in units.parts if name != ALL]
    if not 0 < len(names) <= len(_COLORS):
        yield ALL, _COLORS[1], units.parts[ALL]
        return
    for name, color in zip(names, _COLORS, strict=False):
        yield name, color, units.parts[name]


def _marker(units: Units, cohort: str) -> str:
    return _MARKERS[list(units.parts).index(cohort) % len(_MARKERS)]


def _sizes(units: Units) -> np.ndarray:
    """Return the area of each unit's point, in square points."""
    return 8 + 32 * units.images / units.images.max()


def _draw_points(
    axes: Axes, x: np.ndarray, y: np.ndarray, has_value: np.ndarray, color: str, cohort: str, units: Units
) -> None:
    axes.scatter(
        x[has_value],
        y[has_value],
        s=_sizes(units)[has_value],
        color=color,
        marker=_marker(units, cohort),
        alpha=0.6,
        edgecolor="white",
        linewidth=0.4,
        zorder=3 - has_value.mean(),  # small cohorts lie on top
    )


def _draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, color: str) -> None:
    """Draw the least-squares line through points whose heights are means over networks, (networks, points)."""
    line = group_lines.line(x, y)
    if np.isfinite(line.slope.value):
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, line.intercept.value + line.slope.value * ends, color=color, linewidth=1.8)


def _draw_no_change(axes: Axes, units: Units) -> None:
    low = 100 * units.before.mean(0).min()
    axes.plot([low, 100], [low, 100], color=NEUTRAL, linestyle=":", linewidth=1.2, zorder=0)


def _set_accuracies(axes: Axes) -> None:
    axes.set(xlabel="accuracy before pruning, %", ylabel="accuracy after pruning, %")
    axes.grid(alpha=0.3)


def _name_axis(axes: Axes, measure: str) -> None:
    axes.set_xlabel(f"mean {name_in_picture(measure, _LONGEST_NAME)}", parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(alpha=0.3)


def _name_cohorts(figure: Figure, units: Units, more: list[Line2D] | None = None) -> None:
    """Put a legend of the cohorts below the title, where there are any."""
    handles = [
        handle(name_in_picture(cohort, _LONGEST_NAME), color=color, marker=_marker(units, cohort))
        for cohort, color, _ in _cohorts(units)
        if cohort != ALL
    ]
    if handles:
        add_legend(figure, [*handles, *(more or [])])
