"""Picture of what compression costs under each corruption."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.rendering.drawing import NEUTRAL, page
from analysis.rendering.picture_text import fitted_name
from analysis.report.papers.compressed_networks.naming import LEVEL
from analysis.report.ratio_plot import handle
from analysis.runs import schema
from analysis.runs.robustness import ALL, CLEAN
from analysis.study.labels import level_label
from analysis.study.settings import CONTROL
from analysis.study.study import StudyData

MOST_METHODS = 6
_ACROSS = 3  # panels in a row
_WIDTH, _NAMES = 2.7, 1.5  # inches of a panel, and of the names beside the panels
_NARROWEST = 4.5  # inches of all panels of a row together
_LINE, _MARK = 0.24, 0.05  # inches, at least, of a corruption, and of each of its levels
_LEVELS_ACROSS, _LEGEND_LINE = 3, 0.16  # levels in a line of a legend, and the inches of the line
_LETTERS = 9  # points
_WORDS = {CLEAN: "not corrupted", ALL: "mean of corruptions"}
_NOTE = (
    "Change of the top-1 accuracy in % of that of the dense networks on the same images, the mean over severities: 0 "
    "is no difference. Bars: 95 % interval over networks; one that meets the edge goes on. Darker marks are higher "
    "levels. Grey: the same fine-tuning without pruning."
)


def relative_accuracy(
    study: StudyData, workload: tuple[str, str], means: pd.DataFrame, *, narrow: bool = False
) -> Figure:
    """Draw the change of accuracy under each corruption, a panel for each method and a mark for each level.

    The control is drawn too. Of more than six methods those are drawn that cost most.

    Parameters
    ----------
    study : StudyData
    workload : (str, str)
        Data set and model.
    means : DataFrame
        Rows of `robustness.corruptions` of this data set and model: of each corruption the mean over severities.
    narrow : bool
        Draw the panels one below the other, for a narrow window.
    """
    methods = _by_method(study, means)
    order = means.groupby("corruption")["top1_norm"].mean().sort_values(ascending=False).index
    names = [*(name for name in order if name not in _WORDS), *(name for name in _WORDS if name in order)]
    across = 1 if narrow else min(len(methods), _ACROSS)
    down = -(-len(methods) // across)
    levels = max(rows[LEVEL].nunique() for rows in methods.values())
    panel = max(_LINE, _MARK * levels) * len(names) + _LEGEND_LINE * -(-levels // _LEVELS_ACROSS)
    size = (_NAMES + max(_WIDTH * across, _NARROWEST), 1.1 + down * (0.9 + panel))
    title = f"{workload[0]}, {workload[1]}: accuracy on corrupted images, relative to the dense networks"
    drawn = pd.concat(methods.values())["top1_norm"]
    low, high = min(drawn.min(), 0), max(drawn.max(), 0)
    pad = 0.1 * (high - low) or 1.0
    figure, grid = page((down, across), size, title, _NOTE, narrow=narrow, sharex=True, sharey=True)
    for (method, rows), axes in zip(methods.items(), grid.flat, strict=False):
        _draw(axes, rows, names)
        axes.set_xlim(low - pad, high + pad)
        axes.set_title(fitted_name(method, 72 * _WIDTH, 10), fontsize=10, parse_math=False)
    for axes in grid.flat[len(methods) :]:
        axes.remove()
    for axes in grid[:, 0]:
        shown = [fitted_name(_WORDS.get(name, name.replace("_", " ")), 72 * _NAMES, _LETTERS) for name in names]
        axes.set_yticks(np.arange(len(names)), shown, fontsize=_LETTERS, parse_math=False)
    return figure


def _by_method(study: StudyData, means: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each method that is drawn, by its label, the costliest first and the control last."""
    labels = [study.method(row) for row in means.to_dict("records")]
    cost = means.groupby(labels)["top1_norm"].min().sort_values(kind="stable")
    by_method = {name: means[np.array(labels) == name] for name in cost.index}
    is_control = {name: rows[schema.PRUNER].iloc[0] == CONTROL for name, rows in by_method.items()}
    drawn = [name for name in by_method if not is_control[name]][:MOST_METHODS]
    return {name: by_method[name] for name in [*drawn, *(name for name in by_method if is_control[name])]}


def _draw(axes: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw a mark for each corruption and level, and a legend of the levels."""
    levels = sorted(rows[LEVEL].unique())
    colors = colormaps["viridis_r"](np.linspace(0.15, 0.95, len(levels)))
    if rows[schema.PRUNER].iloc[0] == CONTROL:
        colors[:] = to_rgba(NEUTRAL)
    spread = np.linspace(-0.25, 0.25, len(levels)) if len(levels) > 1 else [0.0]
    axes.axvline(0, color="black", linewidth=0.8)
    for level, color, offset in zip(levels, colors, spread, strict=True):
        here = rows[rows[LEVEL] == level]
        heights = np.array([names.index(name) for name in here["corruption"]]) + offset
        axes.hlines(heights, here["top1_norm_low"], here["top1_norm_high"], color=color, linewidth=1, alpha=0.6)
        axes.scatter(here["top1_norm"], heights, color=color, s=16, zorder=3)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="x", labelsize=8, labelbottom=True)
    axes.grid(axis="x", alpha=0.3)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.axhline(len(names) - sum(name in _WORDS for name in names) - 0.5, color="black", linewidth=0.5)
    named = {row[LEVEL]: level_label(row, row[LEVEL]) for row in rows.to_dict("records")}
    marks = [
        handle(named[level], color=color, marker="o", linestyle="") for level, color in zip(levels, colors, strict=True)
    ]
    # Below the numbers of the axis, so that it hides no mark
    axes.legend(
        handles=marks,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=2.6,
        ncols=_LEVELS_ACROSS,
        fontsize=7,
        frameon=False,
        handletextpad=0.1,
        columnspacing=0.6,
    )
