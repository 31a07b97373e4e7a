"""Figures of each class's loss beyond the accuracy, with and without mitigations."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.drawing import ABOVE, BELOW, share_scale
from analysis.rendering.layout import Panel, draw, handle
from analysis.rendering.panels import name_rows
from analysis.rendering.picture_text import name_in_picture
from analysis.report.mitigation.figures import by_ratio, kind_label
from analysis.report.mitigation.networks import NOTHING, Cells, MitigationCell
from analysis.report.published import rank
from analysis.runs import frames, schema
from analysis.study.settings import CONTROL

_ROW, _PANEL, _WORDS = 0.42, 2.9, 0.7  # inches
_MOST_CLASSES = 20  # maximum number of classes in a panel
_LONGEST = 20  # characters of a class name
_LETTERS = 9.0  # points, of the names of classes
_APART = 0.17  # rows, between marks of one class
_NOTE = (
    "Excess loss is a class's loss of recall minus the loss of accuracy, relative to the dense network, in points on "
    "test images. Each dot is a network, each line the mean over networks. At 0, a class lost as much as the accuracy; "
    "on the right, it lost more. The wider the dots of a class spread, the more its loss differs between networks. If "
    "there are more than two mitigations, the two that reduce the largest excess loss most are drawn."
)
_CONTROL, _PLAIN = "control: same fine-tuning, not pruned", "no mitigation"
_GREY, _BLACK = "#a0a0a0", "black"
_OF_MITIGATIONS = (BELOW, ABOVE)  # more than two are hard to tell apart
# The cells in a data set's panel and their colours, by legend label.
_Rows = dict[str, tuple[MitigationCell, str]]


def by_class(cells: Cells, orders: Mapping[str, Sequence[str]]) -> list[Figure]:
    """Return a figure for each model and kind of pruning that has a mitigation, with a panel for each data set.

    All panels have the same scale.

    Parameters
    ----------
    cells : Cells
    orders : dict of data set -> classes
        All classes, from top to bottom.
    """
    kinds: dict[tuple[Any, ...], list[_MitigationComparison]] = {}
    for comparison in _comparisons(cells):
        kinds.setdefault(comparison.plain.place[1:], []).append(comparison)
    labels = {workload: (workload[0], workload[2], _label(cells, workload)) for workload in kinds}
    drawn = []
    for workload in sorted(kinds, key=lambda workload: (labels[workload][0], by_ratio(labels[workload][1:]))):
        model, _, label = labels[workload]
        title = f"What each class loses beyond the accuracy: {model}, {label}"
        drawn.append(_figure(kinds[workload], title, orders))
    share_scale(axes for figure in drawn for axes in figure.axes)
    return drawn


class _MitigationComparison(NamedTuple):
    """A data set's cell without a mitigation, the cell of its control, and the cell of each mitigation by name."""

    plain: MitigationCell
    control: MitigationCell | None
    mitigated: dict[str, MitigationCell]


def _comparisons(cells: Cells) -> list[_MitigationComparison]:
    """Return a comparison for each `place`. Data sets of the papers come first, in their order, then others by name."""
    comparisons: dict[tuple[Any, ...], _MitigationComparison] = {}
    mitigated = [cell for cell in cells.all if cell.run[schema.PRUNER] != CONTROL and cell.mitigation != NOTHING]
    for cell in mitigated:
        plain = cells.plain(cell)
        if plain and len(plain.networks.intersection(cell.networks)):
            comparison = comparisons.setdefault(
                cell.place, _MitigationComparison(plain, cells.plain_control(plain), {})
            )
            comparison.mitigated[cells.in_words(cell.mitigation)] = cell
    return sorted(comparisons.values(), key=lambda each: (rank(each.plain.place[0]), each.plain.place[0]))


def _label(cells: Cells, workload: tuple[Any, ...]) -> str:
    """Return a kind of pruning in words; `workload` is a cell's `place` without its data set."""
    columns = list(map(frames.param, cells.columns))
    return kind_label(dict(zip(columns[1:], workload, strict=True)), columns[2:])


def _best(comparisons: Sequence[_MitigationComparison]) -> list[str]:
    """Return the two mitigations that reduce the largest excess loss most, on average over data sets."""
    parts: dict[str, list[float]] = {}
    for each in comparisons:
        for name, cell in each.mitigated.items():
            common_networks = each.plain.networks.intersection(cell.networks)
            after, before = (part.at(common_networks).largest_excess.mean() for part in (cell, each.plain))
            parts.setdefault(name, []).append(after / before if before > 0 else np.inf)
    return sorted(parts, key=lambda name: np.mean(parts[name]))[: len(_OF_MITIGATIONS)]


def _rows(comparison: _MitigationComparison, mitigations: Sequence[str]) -> _Rows:
    """Return the cells in the panel of a data set; empty if it has none of the mitigations shown."""
    mitigated_cells = {name: comparison.mitigated[name] for name in mitigations if name in comparison.mitigated}
    common_networks = comparison.plain.networks
    for cell in mitigated_cells.values():
        common_networks = common_networks.intersection(cell.networks)
    if not mitigated_cells or not len(common_networks):
        return {}
    rows = {_PLAIN: (comparison.plain.at(common_networks), _BLACK)}
    if comparison.control and len(of_control := common_networks.intersection(comparison.control.networks)):
        rows = {_CONTROL: (comparison.control.at(of_control), _GREY), **rows}
    colors = dict(zip(mitigations, _OF_MITIGATIONS, strict=False))
    return rows | {name: (cell.at(common_networks), colors[name]) for name, cell in mitigated_cells.items()}


def _order(rows: _Rows, classes: Sequence[str], order: Sequence[str]) -> np.ndarray:
    """Return the indices of the classes with the largest mean excess loss over the pruned cells, in the given order.

    If the classes were chosen by their losses without a mitigation, chance alone would make a mitigation look good.
    """
    means = [cell.excess.mean(0) for name, (cell, _) in rows.items() if name != _CONTROL]
    most = np.argsort(-np.mean(means, axis=0), kind="stable")[:_MOST_CLASSES]
    return np.array(sorted(most, key=lambda index: order.index(classes[index])))


def _figure(
    comparisons: Sequence[_MitigationComparison], title: str, class_orders: Mapping[str, Sequence[str]]
) -> Figure:
    mitigations = _best(comparisons)
    panels = [(each.plain, rows) for each in comparisons if (rows := _rows(each, mitigations))]
    orders = [_order(rows, plain.classes, class_orders[plain.run[schema.DATASET]]) for plain, rows in panels]
    names = [
        [name_in_picture(plain.classes[label], _LONGEST) for label in order]
        for (plain, _), order in zip(panels, orders, strict=True)
    ]
    most = max(map(len, names))
    colors = {label: color for _, rows in panels for label, (_, color) in rows.items()}
    return draw(
        [
            Panel(partial(_draw, order=order, names=of), rows, _panel_title(plain, order), "excess loss, points")
            for (plain, rows), order, of in zip(panels, orders, names, strict=True)
        ],
        size=(_PANEL, _ROW * most + _WORDS),
        title=title,
        note=_NOTE,
        legend=[handle(label, color=color, marker="o", linestyle="") for label, color in colors.items()],
    )


def _panel_title(plain: MitigationCell, order: np.ndarray) -> str:
    of_all = f"\n{len(order)} of {len(plain.classes)} classes" if len(order) < len(plain.classes) else ""
    return f"{plain.run[schema.DATASET]}{of_all}"


def _draw(axes: Axes, rows: _Rows, order: np.ndarray, names: Sequence[str]) -> None:
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    for index, (cell, color) in enumerate(rows.values()):
        heights = np.arange(len(order)) + _APART * (index - (len(rows) - 1) / 2)
        excess = 100 * cell.excess[:, order]
        at = np.broadcast_to(heights, excess.shape)
        axes.scatter(excess, at, s=9, color=color, alpha=0.45, linewidths=0)
        axes.vlines(excess.mean(0), heights - _APART / 2, heights + _APART / 2, color=color, linewidth=2)
    name_rows(axes, names, size=_LETTERS)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", left=False)
