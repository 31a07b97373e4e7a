"""Figures of methods compared: every difference with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.drawing import ABOVE, BELOW, NEUTRAL, PAPER, axis_limits, page
from analysis.methods import compare as methods
from analysis.methods.tables import AT_EQUAL_ACCURACY, EQUAL_ACCURACY, TITLES, at_chance, scale
from analysis.runs import schema
from analysis.runs.picture_text import name_in_picture
from analysis.statistics.hypothesis_tests import LEVEL

_PANEL_WIDTH, _ROW_HEIGHT = 2.4, 0.3  # inches
_HIGHER_IS_BETTER = (methods.ACCURACY, methods.WEAKEST)
_COMPARED = {
    methods.SCHEDULE: "gradual pruning minus one shot",
    methods.DISTILLATION: "distillation minus none",
    methods.PRUNER: "each pruner minus {baseline}",
    methods.EPSILON: f"epsilon minus the paper's, {schema.PAPERS_EPSILON}",
    methods.OTHER: "one method minus another",
}
# The outcomes that every figure shows; those of primary comparisons are added.
_SHOWN = (methods.ACCURACY, methods.EXCESS, methods.RAW_SLOPE, methods.ALPHA_NEW)


class _Panel(NamedTuple):
    outcome: str
    column: str  # of the difference
    title: str


def figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Draw a forest plot for each data set, model and kind of comparison, by file name without ending.

    Comparisons with the control are left out: the first screen of a report draws them.

    Parameters
    ----------
    frame : DataFrame
        As `methods.compare` returns it.
    """
    return {
        f"methods_{number}_{comparison}": forest(rows)
        for number, (_, group) in enumerate(frame.groupby([schema.DATASET, schema.MODEL]), start=1)
        for comparison, rows in group.groupby("comparison", sort=False)
        if comparison != methods.AGAINST_CONTROL
    }


def forest(frame: pd.DataFrame) -> Figure:
    """Draw differences with their intervals: a panel for each outcome, in it a row for each ratio and method.

    Parameters
    ----------
    frame : DataFrame
        Rows of `methods.compare` of one data set, model and kind of comparison.
    """
    panels = _panels(frame)
    by_outcome = dict(list(frame.sort_values(schema.RATIO, kind="stable").groupby("outcome")))
    named = by_outcome[methods.ALPHA]
    ratios = named[schema.RATIO].to_numpy()
    # Every ratio has a heading above its methods.
    starts = np.flatnonzero(np.diff(ratios, prepend=np.nan) != 0)
    heights = np.arange(len(named)) + np.searchsorted(starts, np.arange(len(named)), side="right")
    first, baselines = frame.iloc[0], frame["baseline"].unique()
    compared = _COMPARED[first["comparison"]].format(baseline=baselines[0] if len(baselines) == 1 else "the baseline")
    figure, grid = page(
        (1, len(panels)),
        (_PANEL_WIDTH * len(panels) + 1.8, _ROW_HEIGHT * (len(named) + len(starts)) + 1.7),
        f"What differs, {compared}: {first[schema.DATASET]}, {first[schema.MODEL]}",
        "Differences on the same dense networks with their 95 % intervals. A triangle: the value is outside the panel. "
        "Blue: better (more accuracy or recall, a smaller loss, slope or alpha; a smaller slope is no benefit where "
        "accuracy is orange); orange: worse; grey: neither is shown. Filled: p below .05 by Holm's correction; "
        "diamond: primary comparison.",
        sharey=True,
    )
    for axes, panel in zip(grid[0], panels, strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        _draw(axes, heights, by_outcome[panel.outcome].to_dict("records"), panel)
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(axis="x", labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_title(panel.title, fontsize=10)
    headings = [f"ratio {ratio:g}" for ratio in ratios[starts]]
    left = grid[0, 0]
    left.set_yticks([*(heights[starts] - 1), *heights], [*headings, *_names(named)], fontsize=8, parse_math=False)
    for label in left.get_yticklabels()[: len(headings)]:
        label.set_fontweight("bold")
    left.set_ylim(heights[-1] + 0.6, -0.6)
    return figure


def _panels(frame: pd.DataFrame) -> list[_Panel]:
    primary = set(frame.loc[frame["primary"], "outcome"])
    outcomes = [outcome for outcome in methods.OUTCOMES if outcome in _SHOWN or outcome in primary]
    panels = [_Panel(outcome, "difference", TITLES[outcome]) for outcome in outcomes]
    if frame[EQUAL_ACCURACY].notna().any():
        panels.append(_Panel(methods.ALPHA_NEW, EQUAL_ACCURACY, AT_EQUAL_ACCURACY.replace(" at ", "\nat ")))
    return panels


def _names(rows: pd.DataFrame) -> list[str]:
    """Return the methods; the title names what they are compared with, unless it differs."""
    methods_named, baselines = (rows[name].map(name_in_picture) for name in ("method", "baseline"))
    if rows["comparison"].iloc[0] == methods.OTHER:
        return list(methods_named + " − " + baselines)
    return list(methods_named)


def _draw(axes: Axes, heights: np.ndarray, rows: Sequence[Mapping[str, Any]], panel: _Panel) -> None:
    columns = (panel.column, f"{panel.column}_low", f"{panel.column}_high")
    is_tested = panel.column != EQUAL_ACCURACY
    drawn = []
    for height, row in zip(heights, rows, strict=True):
        value, low, high = (scale(panel.outcome) * row[name] for name in columns)
        if np.isnan(value) or at_chance(row):
            missing = "n/a" if is_tested else "not comparable"
            if at_chance(row):
                missing = f"{row['n_at_chance']} of {row['n'] + row['n_at_chance']} at chance"
            said = axes.text(0.03, height, missing, va="center", fontsize=7.5)
            said.set(color=NEUTRAL, transform=axes.get_yaxis_transform(), bbox=PAPER)
            continue
        color = NEUTRAL
        if low > 0 or high < 0:
            color = BELOW if (value > 0) == (panel.outcome in _HIGHER_IS_BETTER) else ABOVE
        is_filled = is_tested and row["p_holm"] < LEVEL
        drawn.append((height, value, low, high, color, "D" if row["primary"] else "o", is_filled))
    if not drawn:
        axes.set_xticks([])
        return
    ends = pd.Series([end for _, value, low, high, *_ in drawn for end in (value, low, high) if np.isfinite(end)])
    left, right = axis_limits(ends, through=0)
    axes.set_xlim(left, right)
    for height, value, low, high, color, mark, is_filled in drawn:
        if np.isfinite(low):
            axes.hlines(height, low, high, color=color, linewidth=1.6)
        mark = "<" if value < left else ">" if value > right else mark
        shown = np.clip(value, left, right)
        face = color if is_filled else "white"
        axes.plot(shown, height, mark, color=color, markerfacecolor=face, markersize=5, zorder=3, clip_on=False)
