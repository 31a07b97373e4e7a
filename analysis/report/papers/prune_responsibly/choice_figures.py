"""Figures of sparsity, accuracy and fairness (Paganini 2020, Section 4.2)."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis.rendering.layout import Panel, draw, handle
from analysis.report.ratio_plot import (
    Drawn,
    Lines,
    Styles,
    by_method,
    draw_lines,
    panel_width,
    styles_of,
)
from analysis.report.verdict import places
from analysis.runs import schema
from analysis.study.operating_points import ACCURACY, BELOW_MEAN, DENSE, SPARSITY, UNFAIRNESS
from analysis.study.settings import CONTROL
from analysis.study.study import StudyData

NAMES = {
    SPARSITY: "weights pruned",
    ACCURACY: "accuracy, %",
    UNFAIRNESS: "best minus worst class, points",
    BELOW_MEAN: "mean minus worst class, points",
}
_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_FAR = 0.1  # figures of fronts leave out points whose accuracy is further than this below that of the dense networks
_BEYOND = 3  # an axis in % may go this far below 0 and above 100, so that a mark at an end is fully visible
_PLACES_A_FIGURE = 4


class _TradeOffPanel(NamedTuple):
    title: str
    across: str
    up: str
    front: str  # column that tells which points are marked
    floor: bool = False  # whether only points that are accurate enough are drawn

    @property
    def words(self) -> tuple[str, str, str]:
        """Title and labels of the axes."""
        return self.title, NAMES[self.across], NAMES[self.up]


_PANELS = (
    _TradeOffPanel("accurate enough", SPARSITY, UNFAIRNESS, "on_front_2d", floor=True),
    _TradeOffPanel("three criteria: sparsity and accuracy", SPARSITY, ACCURACY, "on_front_3d"),
    _TradeOffPanel("three criteria: sparsity and fairness", SPARSITY, BELOW_MEAN, "on_front_3d"),
    _TradeOffPanel("three criteria: accuracy and fairness", ACCURACY, BELOW_MEAN, "on_front_3d"),
)


def fronts(points: pd.DataFrame, study: StudyData) -> Figure:
    """Draw the Pareto front of sparsity and fairness, and three views of the front that includes accuracy (Figure 4).

    Parameters
    ----------
    points : DataFrame
        Points of one data set and model, as `operating_points.points` returns them.
    study : StudyData
    """
    first = points.iloc[0]
    dense = points[points[schema.PRUNER] == DENSE]
    near = points[points[ACCURACY] >= dense[ACCURACY].max() - _FAR]
    near = near if len(near) > 1 else points
    lines = _lines(near, study)
    styles, handles = styles_of([lines])
    marks = [
        handle("on the front", color="black", marker="x", linestyle=""),
        handle("recommended", color="black", marker="o", markerfacecolor="none", linestyle=""),
        handle("dense", color="black", marker="*", linestyle=""),
    ]
    named = [one for one in handles if "(control)" not in str(one.get_label())]
    return draw(
        [
            Panel(partial(_draw_points, panel=panel, styles=styles, dense=dense), lines, *panel.words)
            for panel in _PANELS
        ],
        2,
        size=(4.5, 3.4),
        title=f"Sparsity, accuracy and fairness: {first[schema.DATASET]}, {first[schema.MODEL]}",
        note="As Figures 4a and 4b in print. Means over networks, on test images. Star: the dense networks. Black "
        "cross: on the Pareto front, where no other point is at least as good in all criteria and better in one. "
        f"Ring: recommended. Only points with an accuracy of at least {100 * first['min_accuracy']:.1f} % are "
        "candidates; the first panel has only these, with 95 % intervals of those on the front. The other panels "
        f"have all points whose accuracy is at most {100 * _FAR:g} percentage points below that of the dense "
        "networks. Their front has three criteria: sparsity, accuracy, and mean minus worst class. Because a panel "
        "shows only two of them, a point on the front may look worse there than another.",
        legend=[*named, *marks],
    )


def _draw_points(axes: Axes, lines: Lines, panel: _TradeOffPanel, styles: Styles, dense: pd.DataFrame) -> None:
    for method, rows in lines.items():
        drawn = rows[rows["meets_floor"]] if panel.floor else rows
        if method.pruner == CONTROL or drawn.empty:
            continue
        look = {"color": styles[method]["color"], "marker": styles[method]["marker"], "linestyle": ""}
        axes.plot(_along(drawn, panel.across), _along(drawn, panel.up), markersize=4.5, alpha=0.75, **look)
    every = pd.concat(list(lines.values()))
    front = every[every[panel.front]].sort_values(panel.across)
    across, up = _along(front, panel.across), _along(front, panel.up)
    if panel.floor:
        low, high = (100 * front[f"{panel.up}{end}"].clip(0, 1) for end in ("_low", "_high"))
        axes.vlines(across, low, high, color="black", linewidth=0.8, alpha=0.5)
        best = front[front["recommended"]]
        places_of_best = _along(best, panel.across), _along(best, panel.up)
        axes.scatter(*places_of_best, s=170, facecolors="none", edgecolors="black", zorder=4)
    axes.plot(across, up, color="black", marker="x", markersize=6, linestyle="", markeredgewidth=1.4, zorder=4)
    stars = _along(dense, panel.across), _along(dense, panel.up)
    axes.plot(*stars, color="black", marker="*", markersize=11, linestyle="", zorder=4)
    if panel.across == SPARSITY:
        set_sparsities(axes, every[SPARSITY].max())
    axes.grid(alpha=0.3)


def curves(points: pd.DataFrame, study: StudyData) -> list[Figure]:
    """Draw accuracy and unfairness against sparsity, a line for each method and a column for each data set and model.

    The figures are like Figures 3b and 3c in print, and have at most four columns. Parameters are as for `fronts`, but
    `points` has all data sets and models.
    """
    workloads = places(points)
    groups = [workloads[start : start + _PLACES_A_FIGURE] for start in range(0, len(workloads), _PLACES_A_FIGURE)]
    return [_curves(group, study) for group in groups]


def _curves(group: Sequence[tuple[tuple[str, str], pd.DataFrame]], study: StudyData) -> Figure:
    lines = [_lines(rows, study) for _, rows in group]
    styles, handles = styles_of(lines)
    return draw(
        [
            Panel(
                partial(_draw_curves, what=what, styles=styles),
                (rows, drawn),
                "" if what == UNFAIRNESS else ", ".join(name),
                NAMES[SPARSITY],
                NAMES[what],
            )
            for what in (ACCURACY, UNFAIRNESS)
            for (name, rows), drawn in zip(group, lines, strict=True)
        ],
        len(group),
        size=(panel_width(group), 2.9),
        title="Accuracy and unfairness between classes, by sparsity",
        note="As Figures 3b and 3c in print. "
        "Means over networks, on test images, with 95 % intervals. Dashed: the dense networks. Sparsity is the share "
        "of weights that is pruned, on a scale that spreads high shares. Intervals may leave the panel. Noise in "
        "recalls biases differences between classes upward, for the dense networks too.",
        legend=handles,
        sharex="col",
    )


def _draw_curves(axes: Axes, rows_and_lines: tuple[pd.DataFrame, Lines], what: str, styles: Styles) -> None:
    rows, lines = rows_and_lines
    in_points = {method: _in_points(own) for method, own in lines.items()}
    draw_lines(axes, in_points, styles, Drawn(what, f"{what}_low", f"{what}_high"), _kept_once_in)
    for value in _in_points(rows[rows[schema.PRUNER] == DENSE])[what]:
        axes.axhline(value, color="black", linestyle="--", linewidth=1)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -_BEYOND), min(high, 100 + _BEYOND))
    set_sparsities(axes, rows[SPARSITY].max())


def set_sparsities(axes: Axes, greatest: float) -> None:
    """Label an axis of 1 / (share of weights kept) with shares of pruned weights, and make it logarithmic."""
    axes.set_xscale("log")
    ticks = [share for share in _TICKS if share <= greatest] if greatest >= _TICKS[1] else [0.0, greatest]
    axes.set_xticks([1 / (1 - share) for share in ticks], [f"{100 * share:.3g} %" for share in ticks], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())


def _lines(points: pd.DataFrame, study: StudyData) -> Lines:
    """Return the points of each method, sorted by sparsity, without dense networks; the control is last."""
    return by_method(points[points[schema.PRUNER] != DENSE].sort_values(SPARSITY, kind="stable"), study)


def _in_points(rows: pd.DataFrame) -> pd.DataFrame:
    names = [f"{name}{end}" for name in (ACCURACY, UNFAIRNESS) for end in ("", "_low", "_high")]
    return rows.assign(**{name: 100 * rows[name] for name in names})


def _along(rows: pd.DataFrame, good: str) -> np.ndarray:
    """Return the positions of points on the axis of a criterion."""
    values = rows[good].to_numpy(float)
    return 1 / (1 - values) if good == SPARSITY else 100 * values


def _kept_once_in(rows: pd.DataFrame) -> np.ndarray:
    return _along(rows, SPARSITY)
