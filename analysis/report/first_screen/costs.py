"""The first picture of a report: the costs of each method beyond its control, against the pruning ratio."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import DPI, TITLE_SIZE, Panel, draw, handle
from analysis.rendering.picture_text import fitted_name, width_in_picture
from analysis.report.ratio_plot import (
    Lines,
    PlottedWorkload,
    Styles,
    by_method,
    groups,
    ratio_labels,
    styles_of,
)
from analysis.runs import schema
from analysis.study.decision import class_rows, mostly_sound
from analysis.study.settings import CONTROL, in_number_format, is_pruned
from analysis.study.study import StudyData

# A share. Values farther from 0 than this, and than three times their median distance from 0, are marked at an edge.
FAR = 0.1
_FEWEST = 3  # fewest networks with an interval: an interval of two is so wide that nothing else could be seen
_WIDTH = 12.0  # inches, the width of the page
_HEIGHT = 3.3  # inches, height of a row of panels
_MOST_MARKS = 70  # maximum number of marks side by side in a panel
_SAME_RATIO = 1.05  # Levels of iterative pruning have ratios that differ a little.
_LARGEST_MARK = 6.0  # points
_TITLE_ROOM = 72 * 3.6  # points
_NAME_SIZE, _NAME_ROOM, _NAME_PITCH = 6.5, 60, 8.0  # points; the pitch is the distance between vertical names


class CostOutcome(NamedTuple):
    """An outcome that a panel shows: its columns of `study.cells`, with a control and without a control.

    `worse` is the sign of a harmful change. `of_classes` is the column of `study.classes` that is drawn as dots at each
    mark; if it is empty, there are no dots.
    """

    label: str
    beyond_control: str
    beyond_dense: str
    worse: int
    of_classes: str = ""


OUTCOMES = (
    CostOutcome("change of accuracy, points", "accuracy_minus_none", "accuracy_change", -1),
    CostOutcome("cost beyond the accuracy, points", "worst_class_cost", "worst_class_cost", 1, of_classes="cost"),
)


def costs(study: StudyData) -> list[Figure]:
    """Draw the change of accuracy and the costs of the classes, in at most four rows a figure.

    There is a row for each data set and model, or several if there are many methods.

    Changes and costs are relative to the control, network by network, or to the dense networks if there is no control.
    The second panel has a dot for each class, and a mark for the class that costs most, which is named if its cost is
    shown to be above 0. Marks of at least three networks have an interval, which always fits in the panel. Cells at
    chance, and values farther from 0 than `FAR` and than three times their median distance from 0, are marked at an
    edge.

    Parameters
    ----------
    study : StudyData
    """
    with_ratio = study.cells[~in_number_format(study.cells)]
    pruned_groups = (
        [workload for workload in group if is_pruned(workload.cells).any()] for group in groups(with_ratio, study)
    )
    return [_figure(workloads, study) for workloads in pruned_groups if workloads]


def _figure(workloads: Sequence[PlottedWorkload], study: StudyData) -> Figure:
    lines = [_pruned_lines(workload, study) for workload in workloads]
    styles, handles = styles_of(lines)
    outcomes = [outcome for outcome in OUTCOMES if any(_has_marks(methods, outcome, study) for methods in lines)]
    panels = [
        Panel(
            partial(_draw, styles=styles, outcome=outcome, study=study),
            methods,
            "" if index else _title(workload, methods),
            "pruning ratio",
            outcome.label,
        )
        for workload, methods in zip(workloads, lines, strict=True)
        for index, outcome in enumerate(outcomes)
    ]
    has_control = any((cells["n_none"] > 0).any() for methods in lines for cells in methods.values())
    return draw(
        panels,
        len(outcomes),
        size=(_WIDTH / len(outcomes), _HEIGHT),
        legend=[*handles, handle(f"{CONTROL} (control)" if has_control else "dense", color="black")],
    )


def _has_marks(lines: Lines, outcome: CostOutcome, study: StudyData) -> bool:
    """Return whether a panel has any mark; cells of a single network have none for the cost, which is undefined."""
    values = pd.concat(_values(cells, outcome, study) for cells in lines.values())
    return bool((values["value"].notna() | values["at_chance"]).any())


def _pruned_lines(workload: PlottedWorkload, study: StudyData) -> Lines:
    """Return the cells of each method of a data set and model, sorted by ratio, including those at chance."""
    cells = workload.cells[is_pruned(workload.cells)].sort_values(schema.RATIO, kind="stable")
    lines = by_method(cells, study)
    methods = [method for method in workload.lines if method.pruner != CONTROL]
    if len(workload.name) == 2:  # The workload is not split by pruner or setting.
        methods += sorted(lines.keys() - set(methods))
    return {each: lines[each] for each in methods}


def _title(workload: PlottedWorkload, lines: Lines) -> str:
    counts = pd.concat(lines.values())["n"]
    least, most = int(counts.min()), int(counts.max())
    networks = "1 network" if most == 1 else f"{most} networks" if least == most else f"{least} to {most} networks"
    return f"{fitted_name(', '.join(workload.name), _TITLE_ROOM, TITLE_SIZE)}: {networks}"


def _draw(axes: Axes, lines: Lines, styles: Styles, outcome: CostOutcome, study: StudyData) -> None:
    axes.axhline(0, color="black", linewidth=1)
    ratios = sorted({ratio for cells in lines.values() for ratio in cells[schema.RATIO]})
    slots = _slots(ratios)
    pitch = 1 / (len(lines) + 1)
    side_by_side = (slots[-1] + 1) / pitch <= _MOST_MARKS
    positions = np.array(slots if side_by_side else np.log(ratios), dtype=float)
    mark = min(_LARGEST_MARK, 0.8 * _points_across(axes) * pitch / (slots[-1] + 1)) if side_by_side else 4.0
    of_methods = {method: _values(cells, outcome, study) for method, cells in lines.items()}
    values = pd.concat(of_methods.values())
    far = max(100 * FAR, 3 * float(values["value"].abs().median()))
    for of_method in (values, *of_methods.values()):
        of_method["classes"] = [of_classes[np.abs(of_classes) <= far] for of_classes in of_method["classes"]]
    across = []
    for index, (method, cells) in enumerate(lines.items()):
        dodge = pitch * (index - (len(lines) - 1) / 2) if side_by_side else 0.0
        across.append(positions[np.searchsorted(ratios, cells[schema.RATIO])] + dodge)
        _draw_method(axes, across[-1], of_methods[method], styles[method], mark, far, outcome.worse)
    _set_ratios(axes, ratios, slots, positions, side_by_side=side_by_side)
    is_inside = (values["value"].abs() <= far).to_numpy()
    has_edge = bool((values["at_chance"].to_numpy() | (values["value"].abs() > far).to_numpy()).any())
    axes.set_ylim(_limits(values[is_inside], outcome.worse if has_edge else 0))
    if outcome.of_classes:
        _name_classes(axes, np.concatenate(across)[is_inside], values[is_inside])
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _points_across(axes: Axes) -> float:
    """Return the width of a panel in points; laying out its labels later does not make it narrower."""
    return 72 * axes.bbox.width / DPI


def _slots(ratios: Sequence[float]) -> list[int]:
    """Return the slot of each ratio along the axis; ratios that differ little share a slot."""
    starts = [later > _SAME_RATIO * former for former, later in pairwise(ratios)]
    return [0, *np.cumsum(starts).tolist()]


def _values(cells: pd.DataFrame, outcome: CostOutcome, study: StudyData) -> pd.DataFrame:
    """Return value, low and high of an outcome in points for each cell; NaN for cells at chance.

    With few networks, low and high are NaN too. The other columns are at_chance, worst_class (its name), is_shown
    (whether an interval is drawn, and the cost of this class is shown), and classes (the values of all classes).
    """
    has_control, sound = cells["n_none"].to_numpy() > 0, mostly_sound(cells).to_numpy()
    has_interval = sound & (np.where(has_control, cells["n_none"], cells["n"]) >= _FEWEST)
    columns = {}
    for name, end, has_value in (("value", "", sound), ("low", "_low", has_interval), ("high", "_high", has_interval)):
        values_in_points = (100 * cells[f"{column}{end}"].to_numpy(float) for column in outcome[1:3])
        columns[name] = np.where(has_value, np.where(has_control, *values_in_points), np.nan)
    of_classes = [
        100 * class_rows(study, cell)[outcome.of_classes].to_numpy(float) if outcome.of_classes else np.empty(0)
        for _, cell in cells.iterrows()
    ]
    is_shown = has_interval & cells["worst_class_shown"].to_numpy(bool)
    further = {"at_chance": ~sound, "worst_class": cells["worst_class"].to_numpy(), "is_shown": is_shown}
    return pd.DataFrame({**columns, **further, "classes": of_classes})


def _name_classes(axes: Axes, across: np.ndarray, values: pd.DataFrame) -> None:
    """Write the name of each worst class whose cost is shown vertically above its interval; none if one has no room."""
    is_shown = values["is_shown"].to_numpy(bool)
    across, values = across[is_shown], values[is_shown]
    if not len(values):
        return
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    gap = np.diff(np.sort(across)).min(initial=right - left) * _points_across(axes) / (right - left)
    if gap < _NAME_PITCH:
        return
    names = [fitted_name(str(name), _NAME_ROOM, _NAME_SIZE) for name in values["worst_class"]]
    ends = values["high"].fillna(values["value"]).to_numpy()
    height = 72 * axes.bbox.height / DPI
    shares = np.array([(width_in_picture(name, _NAME_SIZE) + 6) / height for name in names])
    axes.set_ylim(low, max(high, *((ends - low * shares) / (1 - shares))))
    for place, end, name in zip(across, ends, names, strict=True):
        axes.annotate(
            name,
            (place, end),
            xytext=(0, 3),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=_NAME_SIZE,
            parse_math=False,
        )


def _draw_method(
    axes: Axes, across: np.ndarray, values: pd.DataFrame, style: dict[str, str], mark: float, far: float, worse: int
) -> None:
    look: dict[str, Any] = {"color": style["color"], "clip_on": False}
    value = values["value"].to_numpy()
    inside, chance = np.abs(value) <= far, values["at_chance"].to_numpy()
    for place, of_classes in zip(across[inside], values["classes"][inside], strict=True):
        dots = np.full(len(of_classes), place)
        axes.plot(dots, of_classes, linestyle="", marker=".", markersize=4, alpha=0.5, color=NEUTRAL, zorder=1)
    axes.plot(across[inside], value[inside], linewidth=0.8, alpha=0.35, color=style["color"])
    axes.vlines(across[inside], values["low"][inside], values["high"][inside], color=style["color"], linewidth=1.4)
    axes.plot(across[inside], value[inside], linestyle="", marker=style["marker"], markersize=mark, **look)
    for at_this_edge, marker in ((np.abs(value) > far, "^" if worse > 0 else "v"), (chance, "x")):
        height = np.full(at_this_edge.sum(), 0.5 + 0.46 * worse)
        at_edge = axes.plot(across[at_this_edge], height, linestyle="", marker=marker, markersize=mark, **look)
        at_edge[0].set_transform(axes.get_xaxis_transform())


def _limits(inside: pd.DataFrame, edge: int) -> tuple[float, float]:
    """Return limits of an axis with room for all intervals, 0, and the marks at an edge, if any."""
    ends = np.concatenate([inside[["value", "low", "high"]].to_numpy().ravel(), *inside["classes"]])
    low, high = min([0, *ends[np.isfinite(ends)]]), max([0, *ends[np.isfinite(ends)]])
    height = high - low or 1.0
    return low - height * (0.15 if edge < 0 else 0.06), high + height * (0.15 if edge > 0 else 0.06)


def _set_ratios(
    axes: Axes, ratios: Sequence[float], slots: Sequence[int], positions: np.ndarray, *, side_by_side: bool
) -> None:
    if side_by_side:
        axes.set_xticks(range(slots[-1] + 1), list(_slot_labels(ratios, slots)), fontsize=9)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.5, slots[-1] + 0.5)
        for between in np.arange(slots[-1]) + 0.5:
            axes.axvline(between, color=NEUTRAL, alpha=0.25, linewidth=0.8)
    else:
        axes.set_xticks(positions, ratio_labels(ratios), fontsize=9)


def _slot_labels(ratios: Sequence[float], slots: Sequence[int]) -> Iterator[str]:
    for _, ratios_in_slot in pd.Series(ratios).groupby(list(slots)):
        yield f"{ratios_in_slot.mean():.3g}"
