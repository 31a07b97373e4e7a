"""The figures of what each class loses beyond the accuracy, with mitigations and without."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import ABOVE, BELOW, page
from analysis.method_lines import add_legend, handle
from analysis.mitigation.figures import by_ratio, kind_label
from analysis.mitigation.networks import NOTHING, Cell, Cells
from analysis.published import rank
from analysis.runs import frames, schema
from analysis.runs.picture_text import name_in_picture, width_in_picture
from analysis.settings import CONTROL

_ROW, _PANEL, _ABOVE = 0.42, 2.9, 2.0  # inches
_MOST_CLASSES = 10  # of a data set
_LONGEST = 20  # characters of a class
_LETTERS = 9.0  # points, of the names of classes
_APART = 0.17  # rows, between marks of one class
_NOTE = (
    "Excess loss: the loss of recall of a class minus the loss of accuracy, from the dense network on, in points of "
    "test images. Each dot is a network, each line the mean over networks. At 0 a class lost what the accuracy lost; "
    "on the right it lost more. The further the dots of a class lie apart, the more its loss differs from network to "
    "network."
)
_OF_CONTROL, _OF_PLAIN = "#a0a0a0", "black"
_OF_MITIGATIONS = (BELOW, ABOVE)  # those with the smallest largest excess loss: more are hard to tell apart


def by_class(cells: Cells) -> Iterator[Figure]:
    """Yield a figure for each model and kind of pruning that has a mitigation, with a panel for each data set."""
    kinds: dict[tuple[str, float, str], dict[tuple[str, str], Cell]] = {}
    for cell in cells.all:
        if cell.run[schema.PRUNER] != CONTROL and len(cell.networks):
            place = dict(zip(map(frames.param, cells.columns), cell.place, strict=True))
            kind = kind_label(place, list(place)[2:])
            found = kinds.setdefault((cell.run[schema.MODEL], cell.run[schema.RATIO], kind), {})
            found[cell.run[schema.DATASET], cell.mitigation] = cell
    for model, ratio, kind in sorted(kinds, key=lambda key: (key[0], by_ratio(key[1:]))):
        found = kinds[model, ratio, kind]
        datasets = [dataset for dataset, mitigation in found if mitigation == NOTHING]
        datasets.sort(key=lambda name: (rank(name), name))
        if datasets and (shown := _best(found, datasets)):
            rows = [_rows(cells, found, dataset, shown) for dataset in datasets]
            yield _figure(datasets, rows, f"What each class loses beyond the accuracy: {model}, {kind}")


def _best(found: Mapping[tuple[str, str], Cell], datasets: Sequence[str]) -> list[str]:
    """Return the mitigations with the smallest largest excess loss, of those that all data sets have."""
    mitigations = dict.fromkeys(mitigation for _, mitigation in found if mitigation != NOTHING)
    everywhere = [name for name in mitigations if all((dataset, name) in found for dataset in datasets)]
    largest = {
        name: np.mean([found[dataset, name].largest_excess.mean() for dataset in datasets]) for name in everywhere
    }
    return sorted(everywhere, key=lambda name: largest[name])[: len(_OF_MITIGATIONS)]


# What is drawn of a data set: cells with their colours, by what the legend calls them.
_Rows = dict[str, tuple[Cell, str]]


def _rows(cells: Cells, found: Mapping[tuple[str, str], Cell], dataset: str, shown: Sequence[str]) -> _Rows:
    plain = found[dataset, NOTHING]
    control = cells.plain_control(plain)
    rows = (
        {"control: fine-tuned alike, not pruned": (control, _OF_CONTROL)} if control and len(control.networks) else {}
    )
    rows["no mitigation"] = (plain, _OF_PLAIN)
    return rows | {name: (found[dataset, name], color) for name, color in zip(shown, _OF_MITIGATIONS, strict=False)}


def _figure(datasets: Sequence[str], rows: Sequence[_Rows], title: str) -> Figure:
    orders = [np.argsort(-of["no mitigation"][0].excess.mean(0), kind="stable")[:_MOST_CLASSES] for of in rows]
    names = [
        [name_in_picture(of["no mitigation"][0].classes[label], _LONGEST) for label in order]
        for of, order in zip(rows, orders, strict=True)
    ]
    beside = sum(max(width_in_picture(name, _LETTERS) for name in of) for of in names) / 72
    size = max(_PANEL * len(datasets) + beside, 6.5), _ROW * max(map(len, names)) + _ABOVE
    figure, grid = page((1, len(datasets)), size, title, _NOTE)
    for axes, dataset, of, order, classes in zip(grid[0], datasets, rows, orders, names, strict=True):
        _draw(axes, of, order)
        axes.set_title(dataset, fontsize=10, parse_math=False)
        axes.set_yticks(range(len(classes)), classes, fontsize=_LETTERS, parse_math=False)
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_xlabel("excess loss, points", fontsize=9)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", left=False)
    colors = {label: color for of in rows for label, (_, color) in of.items()}
    entries = [handle(label, color=color, marker="o", linestyle="") for label, color in colors.items()]
    add_legend(figure, entries, size)
    return figure


def _draw(axes: Axes, rows: _Rows, order: np.ndarray) -> None:
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    for place, (cell, color) in enumerate(rows.values()):
        heights = np.arange(len(order)) + _APART * (place - (len(rows) - 1) / 2)
        excess = 100 * cell.excess[:, order]
        at = np.broadcast_to(heights, excess.shape)
        axes.scatter(excess, at, s=9, color=color, alpha=0.45, linewidths=0)
        axes.vlines(excess.mean(0), heights - _APART / 2, heights + _APART / 2, color=color, linewidth=2)
