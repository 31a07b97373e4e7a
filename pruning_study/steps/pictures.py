"""Pictures among the artifacts of a run."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.common.points import points
from analysis.compare import blocks, sentences
from analysis.compare.comparison import Comparison
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import color_bar
from analysis.rendering.picture_text import fitted_name, name_in_legend, name_in_picture
from analysis.statistics.hypothesis_tests import LEVEL

BEFORE, AFTER, LOSS, GAIN = "#767676", "#0072b2", "#d55e00", "#009e73"
LARGEST_ANNOTATED = 20  # maximum number of classes for which a confusion matrix has numbers in its cells
MOST_NAMED = 4
MOST_CLASSES = 100  # maximum number of classes that are named in a picture
_LONGEST_NAME, _LONGEST_TITLE = 40, 120
_NAME_SIZE, _NAME_ROOM = 8, 80.0  # font size and width, in points, of the names beside the recall balances
_NAME_GAP = 0.1  # distance from one of these names to the next, as a share of half the panel's height


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def pruned_confusion(after: pd.DataFrame, change: pd.DataFrame, title: str) -> Figure:
    """Draw the confusion matrix of a pruned network, and beside it the change from the network before pruning.

    Parameters
    ----------
    after, change : DataFrame (classes, classes)
        Numbers of images after pruning, and the numbers after minus those before; rows by true class, columns by
        predicted class.
    title : str
    """
    reach = max(int(change.abs().to_numpy().max()), 1)
    return draw(
        [
            Panel(_draw_shares, after, "after pruning", *_matrix_labels(after)),
            Panel(partial(_draw_change, reach=reach), change, "change: where lost images went", *_matrix_labels(after)),
        ],
        size=(_matrix_side(after) + 1, _matrix_side(after)),
        title=title,
    )


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def confusion(table: pd.DataFrame, title: str) -> Figure:
    """Draw a confusion matrix in which each row shows shares of the images of its true class.

    Parameters
    ----------
    table : DataFrame (classes, classes)
        Numbers of images, rows by true class, columns by predicted class.
    title : str
    """
    side = _matrix_side(table)
    return draw([Panel(_draw_shares, table, "", *_matrix_labels(table))], size=(side, side), title=title)


def _matrix_side(table: pd.DataFrame) -> float:
    return float(min(4 + 0.4 * len(table), 14))


def _matrix_labels(table: pd.DataFrame) -> tuple[str, str]:
    by_number = "" if len(table) <= MOST_CLASSES else ", by number"
    return f"predicted class{by_number}", f"true class{by_number}"


def _draw_shares(axes: Axes, table: pd.DataFrame) -> None:
    shares = table / table.to_numpy().sum(1, keepdims=True)
    _draw_matrix(axes, shares, "share of the true class", "Blues", (0, 1))


def _draw_change(axes: Axes, change: pd.DataFrame, reach: int) -> None:
    _draw_matrix(axes, change, "test images, after minus before", "PuOr_r", (-reach, reach))


def _draw_matrix(axes: Axes, table: pd.DataFrame, meaning: str, colors: str, limits: tuple[float, float]) -> None:
    """Draw a matrix of classes; if the classes are few, write the values that do not round to 0 in their cells."""
    count, values = len(table), table.to_numpy()
    annotated = count <= LARGEST_ANNOTATED
    color_bar(axes, axes.imshow(values, cmap=colors, vmin=limits[0], vmax=limits[1]), meaning)
    if count <= MOST_CLASSES:
        size = 9 if annotated else max(1400 / (14 * count), 3)
        names = [name_in_picture(name, _LONGEST_NAME) for name in table.columns]
        axes.set_xticks(range(count), names, rotation=45 if annotated else 90, ha="right", fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
    write = "{:+d}" if values.dtype.kind == "i" else "{:.2f}"
    for row, column in np.argwhere(np.abs(values) >= 0.005) if annotated else ():
        color = "white" if abs(values[row, column]) > 0.5 * limits[1] else "black"
        text = write.format(values[row, column])
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def recall_change(changes: Comparison, title: str) -> Figure:
    """Draw the recall of each class before and after pruning, and the recall balances whose slope is alpha.

    Parameters
    ----------
    changes : Comparison
        If there are several networks, recalls are means over them.
    title : str
    """
    means = "" if changes.networks == 1 else f"\nMeans of {changes.networks} networks"
    return draw(
        [Panel(recalls, changes), Panel(_balances, changes)],
        size=(5.7, _height(changes)),
        title=f"{name_in_picture(title, _LONGEST_TITLE)}{means}",
        widths=(3, 2),
    )


def recall_picture(changes: Comparison) -> Figure:
    """Draw `recalls` in a figure of its own."""
    return draw([Panel(recalls, changes)], size=(7.4, _height(changes)))


def _height(changes: Comparison) -> float:
    """Return the height of a panel with a row for each class, in inches."""
    return max(4.7, 0.16 * min(len(changes.table), MOST_CLASSES) + 0.7)


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def recalls(axes: Axes, changes: Comparison) -> None:
    """Draw each class's recall before and after pruning, and of the control; the class that lost most is coloured.

    Parameters
    ----------
    axes : Axes
    changes : Comparison
        If there are several networks, recalls are means over them.
    """
    table = changes.table.sort_values("loss", kind="stable")
    selection = "each class"
    if len(table) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        table = pd.concat([table.head(half), table.tail(half)])
        selection = f"the {half} best and the {half} worst classes"
    positions = np.arange(len(table))
    _draw_losses(axes, table)
    if _shows_control(changes):
        label = "recall of the control"
        axes.scatter(table["recall_control"], positions, s=22, color=BEFORE, marker="x", linewidths=1, label=label)
    for side, color in (("before", BEFORE), ("after", AFTER)):
        value = changes.accuracy[side]
        axes.axvline(value, color=color, linestyle="--", linewidth=1, label=f"accuracy {side}, {value:.3f}")
    names = table["class"].map(lambda name: name_in_picture(name, _LONGEST_NAME))
    labels = [f"{name}  {points(loss)}" for name, loss in zip(names, table["loss"], strict=True)]
    axes.set_yticks(positions, labels, fontsize=9 if len(table) <= 30 else 6)
    least, most = table["images"].min(), table["images"].max()
    images = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    axes.set_xlabel(f"recall, {images} test images a class")
    outcome = name_in_picture(blocks.outcome(changes), _LONGEST_TITLE)
    axes.set_title(f"Loss of {selection} in points:\n{outcome}", fontsize=10)
    axes.margins(y=0.02 if len(table) > 30 else 0.06)
    axes.grid(axis="x", alpha=0.3)


def _shows_control(changes: Comparison) -> bool:
    return changes.has_control and not changes.is_unretrained


def _draw_losses(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the recalls before and after, and the intervals of the losses."""
    positions, start, end, loss = np.arange(len(table)), table["recall_before"], table["recall_after"], table["loss"]
    is_shown = ((table["p_holm"] <= LEVEL) | table["damaged"]).to_numpy()
    is_coloured = is_shown | ((loss == loss.max()) & (loss > 0)).to_numpy()
    colors = np.where(is_coloured, np.where(loss > 0, LOSS, GAIN), BEFORE).tolist()
    low, high = ((start - table[f"loss_{side}"]).clip(0, 1) for side in ("high", "low"))
    axes.hlines(positions, low, high, colors=colors, linewidth=6, alpha=0.25, label="95 % interval of the loss")
    axes.hlines(positions, start, end, colors=colors, linewidth=2)
    axes.scatter(start, positions, color=BEFORE, s=22, zorder=3, label="recall before pruning")
    faces = np.where(is_shown, colors, "white").tolist()
    look = {"edgecolors": colors, "marker": "D", "s": 22, "zorder": 3}
    axes.scatter(end, positions, c=faces, label="recall after, filled if shown to differ", **look)


def _balances(axes: Axes, changes: Comparison) -> None:
    alpha, accuracies = changes.slopes.alpha, [changes.accuracy[side] for side in ("before", "after")]
    start, end = (
        (changes.table[f"recall_{name}"].to_numpy() - mean) / mean if mean else np.zeros(len(changes.table))
        for name, mean in zip(("before", "after"), accuracies, strict=True)
    )
    reach = 1.1 * max(np.abs(start).max(), np.abs(end).max(), 0.01)
    line = np.array([-reach, reach])
    axes.plot(line, line, color=BEFORE, linestyle="--", linewidth=1, label="no change of balance")
    if np.isfinite(alpha) and not changes.at_chance:
        style = "-" if changes.identified else ":"
        axes.plot(line, alpha * line, style, color=AFTER, linewidth=1.5, label=_slope_label(changes))
    axes.scatter(start, end, color=AFTER, s=24, zorder=3)
    labelled = np.argsort(-np.abs(end - start), kind="stable")[:MOST_NAMED]
    names = [fitted_name(str(name), _NAME_ROOM, _NAME_SIZE) for name in changes.table["class"].iloc[labelled]]
    _name_points(axes, names, np.column_stack([start, end])[labelled], reach)
    axes.set(
        xlim=(-reach, reach),
        ylim=(-reach, reach),
        xlabel="recall balance before, (R - A) / A",
        ylabel="recall balance after",
    )
    statement = sentences.differences(changes) if np.isfinite(alpha) or changes.at_chance else "alpha is undefined here"
    axes.set_title(textwrap.fill(statement[0].upper() + statement[1:], 56), fontsize=10)
    axes.locator_params(nbins=5)
    axes.legend(loc="best", fontsize=8)
    axes.grid(alpha=0.3)


def _name_points(axes: Axes, names: list[str], points: np.ndarray, reach: float) -> None:
    """Write names in a column to the right of a panel, joined to their points; the panel spans -reach to reach."""
    order = np.argsort(points[:, 1], kind="stable")
    steps = _NAME_GAP * reach * np.arange(len(order))
    highest = reach - _NAME_GAP * reach * (len(order) - 1)
    heights = np.maximum.accumulate(points[order, 1] - steps).clip(-reach, highest) + steps
    ends = np.column_stack([np.full(len(order), 1.04 * reach), heights])
    segments = np.stack([points[order], ends], axis=1)
    axes.add_collection(LineCollection(list(segments), colors=BEFORE, linewidths=0.6, alpha=0.6, clip_on=False))
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(heights, [names[index] for index in order], fontsize=_NAME_SIZE)
    beside.tick_params(length=0, pad=6)
    beside.spines[:].set_visible(False)


def _slope_label(changes: Comparison) -> str:
    alpha, new, raw = changes.slopes.alpha, changes.slopes.new, changes.slopes.raw_new
    if not changes.identified or new is None or raw is None:
        return f"slope alpha = {alpha:.2f}, which may be noise"
    return (
        f"slope alpha = {alpha:.2f}\non new images {new.estimate:.2f} ({new.low:.2f} to {new.high:.2f})\n"
        f"raw slope there {raw.estimate:.2f} ({raw.low:.2f} to {raw.high:.2f})"
    )


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def over_ratios(changes: Mapping[float, Comparison], title: str) -> Figure:
    """Draw accuracy and the recall of each class against the ratio.

    The class that lost most is named, and so is each class that is the weakest at a ratio, before pruning or in the
    control.

    Parameters
    ----------
    changes : mapping of float to Comparison
        Comparisons with the same dense networks and the same controls, by ratio.
    title : str
    """
    return _over(changes, [f"{ratio:g}" for ratio in changes], "before", "pruning ratio", title)


@mpl.rc_context({"text.parse_math": False})
def over_iterations(changes: Mapping[int, Comparison], title: str) -> Figure:
    """Draw accuracy and recalls against the iterations of iterative pruning; iteration 0 is the dense network."""
    return _over(changes, [str(iteration) for iteration in changes], "0", "iteration", title)


def _over(changes: Mapping[Any, Comparison], ticks: list[str], start: str, axis: str, title: str) -> Figure:
    first, *_ = changes.values()
    control = ["control"] if _shows_control(first) else []
    sides = [(first, side) for side in ("before", *control)] + [(each, "after") for each in changes.values()]
    recalls = np.array([each.table[f"recall_{side}"] for each, side in sides])
    losses = np.max([each.table["loss"] for each in changes.values()], axis=0)
    lost_most = int(losses.argmax()) if losses.max() > 0 else None
    lines = pd.DataFrame(
        {
            "class": first.table["class"],
            "recalls": list(recalls.T),
            "named": np.isin(np.arange(len(losses)), [*recalls.argmin(axis=1), lost_most]),
            "suffix": np.where(np.arange(len(losses)) == lost_most, ", which lost most", ""),
        }
    )
    accuracies = [each.accuracy[side] for each, side in sides]
    draw_panel = partial(_draw_over, accuracies=accuracies, ticks=[start, *control, *ticks])
    return draw([Panel(draw_panel, lines, "", axis, "recall, accuracy")], size=(7.4, 4.0), title=title)


def _draw_over(axes: Axes, lines: pd.DataFrame, accuracies: Sequence[float], ticks: Sequence[str]) -> None:
    """Draw the recall of each class and the accuracy as lines; the legend names some of the classes."""
    for row in lines.itertuples():
        label = name_in_legend(f"recall of {name_in_picture(row[1], _LONGEST_NAME)}{row.suffix}")
        look: dict[str, Any] = {"color": BEFORE, "alpha": 0.3, "linewidth": 1}
        if row.suffix:
            look = {"color": LOSS, "marker": "D", "label": label}
        elif row.named:
            look = {"marker": "D", "markersize": 4, "label": label}
        axes.plot(row.recalls, **look)
    axes.plot(accuracies, color="black", marker="o", linewidth=2, label="accuracy")
    axes.set_xticks(range(len(ticks)), ticks)
    axes.grid(alpha=0.3)
