"""Pictures of groups of test images, such as the writers of digits (Paganini 2020, Figures 1, 2, 8, 9 and 11 to 13)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import SHADES
from analysis.rendering.picture_text import name_in_picture
from analysis.report.papers.prune_responsibly import writers_statistics
from analysis.report.papers.prune_responsibly.writers import ALL, Units

_COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vP"
_COLUMNS = 3
_PANEL = 3.6  # inches
_LONGEST_NAME = 28
_EDGE: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.4}
_ACCURACIES = "accuracy before pruning, %", "accuracy after pruning, %"
_CHANGE = "change of accuracy, points"
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
    return draw(
        [Panel(_draw_accuracies, units, "", *_ACCURACIES)],
        size=(5.8, 4.4),
        title=f"Accuracy of each {_unit(units)}: {place}",
        note=f"{_points(units, networks)} Lines are least-squares fits. Dotted: no change.",
        legend=_cohort_entries(units),
    )


def _draw_accuracies(axes: Axes, units: Units) -> None:
    _draw_no_change(axes, units)
    _draw_cohorts(axes, units, 100 * units.before.mean(0), 100 * units.after)


def changes(units: Units, place: str, networks: str) -> Figure:
    """Draw the change of each unit's accuracy against the mean of each measure (Figure 2)."""
    change = 100 * (units.after - units.before)
    return draw(
        [
            Panel(partial(_draw_changes, change=change, measure=name), units, "", _mean(name), _CHANGE)
            for name in units.measures
        ],
        2 if len(units.measures) == 4 else min(len(units.measures), _COLUMNS),
        size=(_PANEL, 3.0),
        title=f"Change of the accuracy of each {_unit(units)}: {place}",
        note=f"{_points(units, networks)} Lines are least-squares fits; group_lines.csv has them with intervals.",
        legend=_cohort_entries(units),
        sharey=True,
    )


def _draw_changes(axes: Axes, units: Units, change: np.ndarray, measure: str) -> None:
    _draw_cohorts(axes, units, units.measures[measure], change)
    axes.axhline(0, color="black", linewidth=0.8)


def coloured(units: Units, measure: str, place: str, networks: str) -> Figure:
    """Draw accuracy after against before, coloured by a measure, and the measure's histogram (Figures 8, 9, 12)."""
    values = units.measures[measure]
    has_value = ~np.isnan(values)
    scale = Normalize(*np.quantile(values[has_value], [0.02, 0.98]))
    return draw(
        [
            Panel(partial(_draw_coloured, values=values, scale=scale), units, "", *_ACCURACIES),
            Panel(
                partial(_draw_histogram, scale=scale),
                values[has_value],
                "",
                _mean(measure),
                f"number of groups ({_unit(units)})",
            ),
        ],
        size=(4.7, 3.8),
        title=f"Accuracy of each {_unit(units)}, by {measure}: {place}",
        note=f"{_points(units, networks)} The histogram shows which {measure} has which colour. Dotted: no change.",
        widths=(1.2, 1),
    )


def _draw_coloured(axes: Axes, units: Units, values: np.ndarray, scale: Normalize) -> None:
    has_value = ~np.isnan(values)
    across, up = (100 * side.mean(0)[has_value] for side in (units.before, units.after))
    _draw_no_change(axes, units)
    axes.scatter(across, up, c=SHADES(scale(values[has_value])), s=_sizes(units)[has_value], **_EDGE)
    axes.grid(alpha=0.3)


def _draw_histogram(axes: Axes, values: np.ndarray, scale: Normalize) -> None:
    counts, edges = np.histogram(values, _BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    axes.bar(middles, counts, width=np.diff(edges), color=SHADES(scale(middles)), edgecolor="white", linewidth=0.5)
    axes.grid(alpha=0.3)


def distributions(units: Units, measures: list[str], place: str) -> Figure:
    """Draw the distribution of measures over the units of each cohort (Figure 11)."""
    return draw(
        [
            Panel(partial(_draw_distribution, values=units.measures[name]), units, "", _mean(name), "density")
            for name in measures
        ],
        size=(4.8, 3.4),
        title=f"Mean {' and '.join(measures)} of each {_unit(units)}: {place}",
        note="Each histogram has area 1. Dashed: the mean of the cohort.",
        legend=_cohort_entries(units),
    )


def _draw_distribution(axes: Axes, units: Units, values: np.ndarray) -> None:
    edges = np.histogram_bin_edges(values[~np.isnan(values)], _BINS).tolist()
    for _, color, inside in _cohorts(units):
        if (own := values[inside & ~np.isnan(values)]).size:
            axes.hist(own, edges, density=True, color=color, alpha=0.25)
            axes.hist(own, edges, density=True, histtype="step", color=color, linewidth=1.6)
            axes.axvline(own.mean(), color=color, linestyle="--", linewidth=1.2)
    axes.grid(alpha=0.3)


def against(units: Units, measure: str, place: str, networks: str) -> Figure:
    """Draw accuracy before and after pruning against a measure, with lines for each cohort and for all (Figure 13)."""
    return draw(
        [
            Panel(partial(_draw_against, measure=measure, side=side), units, f"{side} pruning", _mean(measure), up)
            for side, up in (("before", "accuracy, %"), ("after", "accuracy, %"))
        ],
        size=(4.5, 3.8),
        title=f"Accuracy of each {_unit(units)} and its {measure}: {place}",
        note=f"{_points(units, networks)} Lines are least-squares fits, the black one to all groups. Each panel has "
        "its own scale.",
        legend=_cohort_entries(units, [handle(ALL, color="black")]),
    )


def _draw_against(axes: Axes, units: Units, measure: str, side: str) -> None:
    values, accuracy = units.measures[measure], 100 * units.side[side]
    has_value = ~np.isnan(values)
    _draw_cohorts(axes, units, values, accuracy)
    _draw_line(axes, values[has_value], accuracy[:, has_value], "black")


def _unit(units: Units) -> str:
    return name_in_picture(units.unit, _LONGEST_NAME)


def _points(units: Units, networks: str) -> str:
    seeds = f"averaged over {len(units.after)} networks" if len(units.after) > 1 else "in one network"
    return f"{networks}. Each point is a {_unit(units)}, {seeds}; its area grows with its number of images."


def _cohorts(units: Units) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield each cohort with its colour and its units; all units in one colour if there are none or too many."""
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


def _draw_cohorts(axes: Axes, units: Units, x: np.ndarray, y: np.ndarray) -> None:
    """Draw each unit's mean of `y`, (networks, units), against `x`, and a line through the points of each cohort."""
    for cohort, color, inside in _cohorts(units):
        shown = inside & ~np.isnan(x)
        look = {"color": color, "marker": _marker(units, cohort), "alpha": 0.6, **_EDGE}
        on_top = 3 - shown.mean()  # small cohorts in front
        axes.scatter(x[shown], y.mean(0)[shown], s=_sizes(units)[shown], zorder=on_top, **look)
        _draw_line(axes, x[shown], y[:, shown], color)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(alpha=0.3)


def _draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, color: str) -> None:
    """Draw the least-squares line through points; `y` has the values of each network, (networks, points)."""
    line = writers_statistics.line(x, y)
    if np.isfinite(line.slope.value):
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, line.intercept.value + line.slope.value * ends, color=color, linewidth=1.8)


def _draw_no_change(axes: Axes, units: Units) -> None:
    low = 100 * units.before.mean(0).min()
    axes.plot([low, 100], [low, 100], color=NEUTRAL, linestyle=":", linewidth=1.2, zorder=0)


def _mean(measure: str) -> str:
    return f"mean {name_in_picture(measure, _LONGEST_NAME)}"


def _cohort_entries(units: Units, more: Sequence[Line2D] = ()) -> list[Line2D]:
    """Return legend entries of the cohorts, then `more` entries; empty if there are no cohorts."""
    entries = [
        handle(name_in_picture(cohort, _LONGEST_NAME), color=color, marker=_marker(units, cohort))
        for cohort, color, _ in _cohorts(units)
        if cohort != ALL
    ]
    return [*entries, *more] if entries else []
