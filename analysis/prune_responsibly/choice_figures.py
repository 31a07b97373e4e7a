"""Figures of sparsity, accuracy and fairness, each a function of a study's frames (Paganini 2020, Section 4.2)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis import arrays
from analysis.drawing import page
from analysis.method_lines import (
    TITLE_SIZE,
    Drawn,
    Lines,
    Method,
    Styles,
    add_legend,
    draw_lines,
    figure_width,
    handle,
    name_panel,
    styles_of,
    title_room,
)
from analysis.operating_points import ACCURACY, BELOW_MEAN, DENSE, SPARSITY, UNFAIRNESS, sparsity
from analysis.published import rank
from analysis.runs import schema
from analysis.runs.picture_text import fitted_name
from analysis.settings import CONTROL
from analysis.study import AnalyzedStudy
from analysis.verdict import places

_NAMES = {
    SPARSITY: "weights pruned",
    ACCURACY: "accuracy, %",
    UNFAIRNESS: "best minus worst class, points",
    BELOW_MEAN: "mean minus worst class, points",
}
_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_FAR = 0.1  # below the dense networks' accuracy: pictures of fronts leave out what is less accurate
_CLASS_COLORS = colormaps["viridis"]
_PANELS_A_ROW = 4
_PLACES_A_FIGURE = 4


class _Panel(NamedTuple):
    title: str
    across: str
    up: str
    front: str  # column of the points that are marked
    floor: bool = False  # whether only points that are accurate enough are drawn


_PANELS = (
    _Panel("accurate enough", SPARSITY, UNFAIRNESS, "on_front_2d", floor=True),
    _Panel("three goods: sparsity and accuracy", SPARSITY, ACCURACY, "on_front_3d"),
    _Panel("three goods: sparsity and fairness", SPARSITY, BELOW_MEAN, "on_front_3d"),
    _Panel("three goods: accuracy and fairness", ACCURACY, BELOW_MEAN, "on_front_3d"),
)


def fronts(points: pd.DataFrame, study: AnalyzedStudy) -> Figure:
    """Draw the Pareto front of sparsity and fairness, and that with accuracy in three projections (Figure 4).

    Parameters
    ----------
    points : DataFrame
        Of one data set and model, as `operating_points.points` returns them.
    study : AnalyzedStudy
    """
    first = points.iloc[0]
    dense = points[points[schema.PRUNER] == DENSE].iloc[0]
    near = points[points[ACCURACY] >= dense[ACCURACY] - _FAR]
    near = near if len(near) > 1 else points
    lines = _lines(near, study)
    styles, handles = styles_of([lines])
    size = 9.6, 8.2
    figure, grid = page(
        (2, 2),
        size,
        f"Sparsity, accuracy and fairness: {first[schema.DATASET]}, {first[schema.MODEL]}",
        "As Figures 4a and 4b in print. "
        "Means of test images over networks. Star: the dense networks. Black cross: on the Pareto front, where no "
        "other point is at least as good in all and better in one. Ring: recommended. Only points with an "
        f"accuracy of at least {100 * first['min_accuracy']:.1f} % count. Upper left: they alone, lines for 95 % "
        f"intervals of the front. Other panels: points within {100 * _FAR:g} points of the dense networks' accuracy; "
        "their front is of sparsity, accuracy and mean minus worst class, so that a point may be beaten in one panel "
        "and not in all.",
    )
    for axes, panel in zip(grid.flat, _PANELS, strict=True):
        _draw_points(axes, panel, lines, styles, dense)
    marks = [
        handle("on the front", color="black", marker="x", linestyle=""),
        handle("recommended", color="black", marker="o", markerfacecolor="none", linestyle=""),
        handle("dense", color="black", marker="*", linestyle=""),
    ]
    named = [one for one in handles if "(control)" not in str(one.get_label())]
    add_legend(figure, [*named, *marks], size)
    return figure


def _draw_points(axes: Axes, panel: _Panel, lines: Lines, styles: Styles, dense: pd.Series) -> None:
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
        low, high = (100 * front[f"{panel.up}{end}"] for end in ("_low", "_high"))
        axes.vlines(across, low, high, color="black", linewidth=0.8, alpha=0.5)
        best = front[front["recommended"]]
        places_of_best = _along(best, panel.across), _along(best, panel.up)
        axes.scatter(*places_of_best, s=170, facecolors="none", edgecolors="black", zorder=4)
    axes.plot(across, up, color="black", marker="x", markersize=6, linestyle="", markeredgewidth=1.4, zorder=4)
    one = dense.to_frame().T
    axes.plot(_along(one, panel.across), _along(one, panel.up), color="black", marker="*", markersize=11, zorder=4)
    if panel.across == SPARSITY:
        _set_sparsities(axes, every[SPARSITY].max())
    axes.set_title(panel.title, fontsize=TITLE_SIZE)
    axes.set_xlabel(_NAMES[panel.across])
    axes.set_ylabel(_NAMES[panel.up])
    axes.grid(alpha=0.3)


def curves(points: pd.DataFrame, study: AnalyzedStudy) -> list[Figure]:
    """Draw accuracy and unfairness against sparsity, a line for each method and a column for each data set and model.

    As Figures 3b and 3c, at most four columns a figure. Parameters are as for `fronts`, of all data sets and models.
    """
    found = places(points)
    groups = [found[start : start + _PLACES_A_FIGURE] for start in range(0, len(found), _PLACES_A_FIGURE)]
    return [_curves(group, study) for group in groups]


def _curves(group: Sequence[tuple[tuple[str, str], pd.DataFrame]], study: AnalyzedStudy) -> Figure:
    lines = [_lines(rows, study) for _, rows in group]
    styles, handles = styles_of(lines)
    size = figure_width(group), 7.4
    figure, grid = page(
        (2, len(group)),
        size,
        "Accuracy and unfairness between classes, by sparsity",
        "As Figures 3b and 3c in print. "
        "Means of test images over networks, with 95 % intervals. Dashed: the dense networks. Sparsity is the share of "
        "weights that is pruned, on a scale that spreads high shares. Noise in recalls makes the lower panel's values "
        "too large, those of the dense networks as well.",
        sharex="col",
    )
    for panels, (name, rows), drawn in zip(grid.T, group, lines, strict=True):
        shares = {method: _in_points(own) for method, own in drawn.items()}
        dense = _in_points(rows[rows[schema.PRUNER] == DENSE])
        for axes, what in zip(panels, (ACCURACY, UNFAIRNESS), strict=True):
            draw_lines(axes, shares, styles, Drawn(what, f"{what}_low", f"{what}_high"), _kept_once_in)
            axes.axhline(dense[what].iloc[0], color="black", linestyle="--", linewidth=1)
        name_panel(panels[0], name, title_room(group))
        _set_sparsities(panels[-1], rows[SPARSITY].max())
        panels[-1].set_xlabel(_NAMES[SPARSITY])
    for axes, what in zip(grid[:, 0], (ACCURACY, UNFAIRNESS), strict=True):
        axes.set_ylabel(_NAMES[what])
    add_legend(figure, handles, size)
    return figure


def class_curves(runs: pd.DataFrame, study: AnalyzedStudy) -> Figure:
    """Draw the mean recall of each class against sparsity, a panel for each method (Figures 3a, 5 and 7).

    Parameters
    ----------
    runs : DataFrame
        Pruned runs of one data set and model.
    study : AnalyzedStudy
    """
    _, before, after = arrays.recalls(runs)
    has = ~np.isnan(before).all(axis=0)
    recall = pd.DataFrame(after[:, has], index=runs.index).assign(**{SPARSITY: sparsity(runs)})
    ratio = runs[schema.RATIO]
    labels = pd.Series([study.method(run) for run in runs.to_dict("records")], index=runs.index)
    methods = sorted(labels.unique(), key=lambda label: (rank(label.split()[0]), label))
    dense = np.nanmean(before[~runs.duplicated(schema.DENSE_RUN_ID).to_numpy()][:, has], axis=0)
    colors = Normalize(float(dense.min()), float(dense.max()))
    across = min(len(methods), _PANELS_A_ROW)
    down = -(-len(methods) // across)
    first = runs.iloc[0]
    figure, grid = page(
        (down, across),
        (max(3.1 * across + 1.2, 6.4), 2.6 * down + 1.5),
        f"Recall of each class, by sparsity: {first[schema.DATASET]}, {first[schema.MODEL]}",
        "As Figures 3a, 5 and 7 in print. "
        f"Means of test images over networks, a line for each of {int(has.sum()):,} classes; dark: low recall before "
        "pruning. Dashed: the mean of the classes.",
        sharex=True,
        sharey=True,
    )
    for axes, method in zip(grid.flat, methods, strict=False):
        levels = recall[labels == method].groupby(ratio).mean().sort_values(SPARSITY)
        _draw_classes(axes, levels.set_index(SPARSITY), dense, colors)
        axes.set_title(fitted_name(method, 200, 9), fontsize=9, parse_math=False)
    for axes in list(grid.flat)[len(methods) :]:
        figure.delaxes(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("recall")
    for place in range(across):
        lowest = grid[(len(methods) - 1 - place) // across, place]
        lowest.set_xlabel(_NAMES[SPARSITY])
        lowest.tick_params(labelbottom=True)
    beside = grid[0, -1].inset_axes((1.04, 0, 0.05, 1))
    figure.colorbar(ScalarMappable(colors, _CLASS_COLORS), cax=beside, label="recall before")
    return figure


def _draw_classes(axes: Axes, levels: pd.DataFrame, dense: np.ndarray, colors: Normalize) -> None:
    place = 1 / (1 - np.array([0.0, *levels.index]))
    recalls = np.vstack([dense, levels.to_numpy()])
    each = [np.column_stack([place, recall]) for recall in recalls.T]
    axes.add_collection(LineCollection(each, colors=_CLASS_COLORS(colors(dense)), linewidths=1.3, alpha=0.9))
    axes.plot(place, recalls.mean(axis=1), color="black", linestyle="--", linewidth=1.2)
    _set_sparsities(axes, levels.index.max())
    axes.grid(alpha=0.3)


def _lines(points: pd.DataFrame, study: AnalyzedStudy) -> Lines:
    """Return the points of each method, by sparsity; the control is last, and dense networks are none."""
    rows = points[points[schema.PRUNER] != DENSE].sort_values(SPARSITY, kind="stable")
    methods = [Method(row[schema.PRUNER], study.setting(row)) for row in rows.to_dict("records")]
    order = sorted(set(methods), key=lambda method: (method.pruner == CONTROL, rank(method.pruner), method.setting))
    return {each: rows[[method == each for method in methods]] for each in order}


def _in_points(rows: pd.DataFrame) -> pd.DataFrame:
    names = [f"{name}{end}" for name in (ACCURACY, UNFAIRNESS) for end in ("", "_low", "_high")]
    return rows.assign(**{name: 100 * rows[name] for name in names})


def _along(rows: pd.DataFrame, good: str) -> np.ndarray:
    """Return where points stand on the axis of a good."""
    values = rows[good].to_numpy(float)
    return 1 / (1 - values) if good == SPARSITY else 100 * values


def _kept_once_in(rows: pd.DataFrame) -> np.ndarray:
    return _along(rows, SPARSITY)


def _set_sparsities(axes: Axes, greatest: float) -> None:
    """Write shares of pruned weights below an axis that has one over the share that is kept, logarithmically."""
    axes.set_xscale("log")
    ticks = [share for share in _TICKS if share <= greatest] if greatest >= _TICKS[1] else [0.0, greatest]
    axes.set_xticks([1 / (1 - share) for share in ticks], [f"{100 * share:.3g} %" for share in ticks], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
