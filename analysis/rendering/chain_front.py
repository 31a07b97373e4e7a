"""Plot of a search over chains: the cost of each chain and the largest possible loss of its worst class."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullFormatter

from analysis.rendering.layout import Panel, draw
from analysis.runs.chain_searches import FILTERS, NOTHING, WEIGHTS, ChainTrials

_COLORS = {NOTHING: "#767676", FILTERS[0]: "#0072b2", FILTERS[1]: "#56b4e9", WEIGHTS: "#e69f00"}
_KINDS = {NOTHING: "not pruned", WEIGHTS: f"{WEIGHTS}: weights"} | {name: f"{name}: filters" for name in FILTERS}
_SHAPES = {"float32": "o", "float16": "s", "dynamic-int8": "^", "fixed-int8": "D"}
_COST = {
    "size": "size of the ONNX file, in kilobytes",
    "latency": "time for an image, as a share of the dense network's",
    "macs": "multiply-accumulate operations, in thousands",
}
_POINTS = 100
_BEYOND, _CHOSEN = "#d55e00", "#009e73"


def front(search: ChainTrials, on_front: np.ndarray, best: int | None, by_accuracy: int | None) -> Figure:
    """Plot the possible loss of each chain's worst class against the quantity that the search minimises.

    The Pareto front and the choice are marked.

    Parameters
    ----------
    search : ChainTrials
    on_front : (chains,), bool
        Whether each chain is on the Pareto front of this quantity and the worst class's bound.
    best, by_accuracy : int, optional
        Indices of the chosen chain and of the one that accuracy alone would choose.
    """
    note = (
        "Each mark is a chain. Its height is the upper 95 % bound of the worst class's loss since the dense network on "
        "validation images. Line: the Pareto front. Hollow: the loss of accuracy may exceed its limit."
    )
    trials, minimize = search.trials, search.minimize
    shown = trials.assign(
        cost=trials["cost"] / (1 if minimize == "latency" else 1000),
        lost=_POINTS * trials["class_loss_upper"],
        accurate=trials["accuracy_loss_upper"] < search.max_accuracy_loss,
    )
    chosen = {by_accuracy: (_BEYOND, "by accuracy alone"), best: (_CHOSEN, "the choice")}
    draw_panel = partial(_draw, on_front=on_front, limit=_POINTS * search.max_class_loss, chosen=chosen)
    return draw(
        [Panel(draw_panel, shown, "", _COST[minimize], "largest possible loss of the worst class, in points")],
        size=(8.4, 4.2),
        title=f"{search.name}: cost and loss of {len(trials)} chains",
        note=note,
    )


def _draw(
    axes: Axes,
    shown: pd.DataFrame,
    on_front: np.ndarray,
    limit: float,
    chosen: Mapping[int | None, tuple[str, str]],
) -> None:
    line = shown[on_front].sort_values("cost")
    axes.plot(line["cost"], line["lost"], color="black", linewidth=0.8, zorder=0)
    axes.axhline(limit, color=_BEYOND, linewidth=1, linestyle="--", label="limit of a class")
    _draw_chains(axes, shown)
    for place, (color, name) in chosen.items():
        if place is not None:
            at = shown.loc[place]
            axes.scatter(at["cost"], at["lost"], 180, edgecolors=color, c="none", linewidths=2, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(_locator(*axes.get_xlim()))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _locator(low: float, high: float) -> Locator:
    """Return a locator that gives a logarithmic axis at least two ticks, without overlap."""
    if high > 100 * low:
        return LogLocator()
    return LogLocator(subs=(1, 2, 5)) if high > 5 * low else MaxNLocator(5)


def _draw_chains(axes: Axes, shown: pd.DataFrame) -> None:
    """Draw a mark for each chain: its colour shows the pruner, its shape the number format."""
    for (pruner, number_format, accurate), marks in shown.groupby(["pruner", "number_format", "accurate"]):
        color, shape = _COLORS[pruner], _SHAPES[number_format]
        filled = color if accurate else "none"
        axes.scatter(marks["cost"], marks["lost"], 45, marker=shape, edgecolors=color, c=filled)
    for pruner in shown["pruner"].unique():
        axes.scatter([], [], 45, c=_COLORS[pruner], label=_KINDS[pruner])
    for number_format in shown["number_format"].unique():
        axes.scatter([], [], 45, marker=_SHAPES[number_format], c="black", label=number_format)
