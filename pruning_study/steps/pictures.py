"""Pictures among the artifacts of a run. Each is a function of tables that returns a Figure."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.runs.picture_text import name_in_picture

BEFORE, AFTER, LOST, GAINED = "#767676", "#0072b2", "#d55e00", "#009e73"
LARGEST_ANNOTATED = 20  # classes of a confusion matrix with a number in each cell
MOST_NAMED = 4
DPI = 120
_LONGEST_NAME, _LONGEST_TITLE = 40, 120


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def confusion(table: pd.DataFrame, title: str) -> Figure:
    """Draw a confusion matrix whose rows are shares of their true class.

    Parameters
    ----------
    table : DataFrame (classes, classes)
        Numbers of images, rows by true class, columns by predicted class.
    title : str
    """
    shares = table.to_numpy() / table.to_numpy().sum(1, keepdims=True)
    count = len(table)
    annotated = count <= LARGEST_ANNOTATED
    side = min(4 + 0.4 * count, 14)
    figure = Figure((side + 1, side), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, label="share of the true class", fraction=0.046)
    size = 9 if annotated else max(1400 / (14 * count), 3)
    names = [name_in_picture(name, _LONGEST_NAME) for name in table.columns]
    axes.set_xticks(range(count), names, rotation=45 if annotated else 90, ha="right", fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set(xlabel="predicted class", ylabel="true class", title=name_in_picture(title, _LONGEST_TITLE))
    for row, column in np.argwhere(shares >= 0.005) if annotated else ():
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=color, fontsize=8)
    return figure


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def recall_change(
    before: pd.DataFrame, after: pd.DataFrame, *, accuracy: tuple[float, float], alpha: float, title: str
) -> Figure:
    """Draw the recall of each class before and after pruning, and the recall balances whose slope is alpha.

    Parameters
    ----------
    before, after : DataFrame with columns class and recall, a row for each class
    accuracy : (before, after)
    alpha : float
        NaN if it is undefined.
    title : str
    """
    count = len(before)
    figure = Figure((12, max(5.5, 0.16 * count + 1.5)), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.suptitle(name_in_picture(title, _LONGEST_TITLE))
    _recalls(left, before, after, accuracy)
    _balances(right, before, after, accuracy, alpha)
    return figure


def _recalls(axes: Axes, before: pd.DataFrame, after: pd.DataFrame, accuracy: tuple[float, float]) -> None:
    change = (after["recall"] - before["recall"]).to_numpy()
    order = np.argsort(-change, kind="stable")
    places = np.arange(len(order))
    start, end = before["recall"].to_numpy()[order], after["recall"].to_numpy()[order]
    colors = [LOST if value < 0 else GAINED for value in change[order]]
    axes.hlines(places, start, end, colors=colors, linewidth=2)
    axes.scatter(start, places, color=BEFORE, s=22, zorder=3, label="recall before pruning")
    axes.scatter(end, places, color=colors, marker="D", s=22, zorder=3, label="recall after, orange where lost")
    for value, color, name in zip(accuracy, (BEFORE, AFTER), ("before", "after"), strict=True):
        axes.axvline(value, color=color, linestyle="--", linewidth=1, label=f"accuracy {name}, {value:.3f}")
    size = 9 if len(order) <= 30 else 6
    labels = [
        f"{name_in_picture(name, _LONGEST_NAME)}  {100 * change[index]:+.1f}"
        for index, name in zip(order, before["class"].iloc[order], strict=True)
    ]
    axes.set_yticks(places, labels, fontsize=size)
    axes.set(xlabel="recall", title="What each class lost, in points")
    axes.margins(y=0.02 if len(order) > 30 else 0.06)
    axes.legend(loc="best", fontsize=8)
    axes.grid(axis="x", alpha=0.3)


def _balances(
    axes: Axes, before: pd.DataFrame, after: pd.DataFrame, accuracy: tuple[float, float], alpha: float
) -> None:
    start, end = (
        (table["recall"].to_numpy() - mean) / mean if mean else np.zeros(len(table))
        for table, mean in zip((before, after), accuracy, strict=True)
    )
    reach = 1.1 * max(np.abs(start).max(), np.abs(end).max(), 0.01)
    line = np.array([-reach, reach])
    axes.plot(line, line, color=BEFORE, linestyle="--", linewidth=1, label="no change of balance")
    if np.isfinite(alpha):
        axes.plot(line, alpha * line, color=AFTER, linewidth=1.5, label=f"slope alpha = {alpha:.2f}")
    axes.scatter(start, end, color=AFTER, s=24, zorder=3)
    for index in np.argsort(-np.abs(end - start), kind="stable")[:MOST_NAMED]:
        place = (start[index], end[index])
        name = name_in_picture(before["class"].iloc[index], _LONGEST_NAME)
        axes.annotate(name, place, xytext=(6, -3), textcoords="offset points", fontsize=8)
    axes.set(
        xlim=(-reach, reach),
        ylim=(-reach, reach),
        xlabel="recall balance before, (R - A) / A",
        ylabel="recall balance after",
        title="Above slope 1 pruning intensifies" if np.isfinite(alpha) else "Alpha is undefined here",
    )
    axes.legend(loc="best", fontsize=8)
    axes.grid(alpha=0.3)
