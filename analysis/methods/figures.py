"""Figures of methods compared: every difference with its interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.drawing import ABOVE, BELOW, NEUTRAL, PAPER, page
from analysis.methods import compare as methods
from analysis.runs import schema
from analysis.runs.picture_text import name_in_picture
from analysis.statistics.hypothesis_tests import LEVEL

_PANEL_WIDTH, _ROW_HEIGHT = 2.15, 0.3  # inches
_HIGHER_IS_BETTER = (methods.ACCURACY, methods.WEAKEST)
_COMPARED = {
    methods.SCHEDULE: "gradual pruning minus one shot",
    methods.DISTILLATION: "distillation minus none",
    methods.PRUNER: "pruners minus magnitude pruning",
    methods.EPSILON: f"epsilon minus the paper's, {schema.PAPERS_EPSILON}",
    methods.AGAINST_CONTROL: "pruning minus the same fine-tuning without it",
}


def figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Draw a forest plot for each data set, model and kind of comparison, by file name without ending.

    Parameters
    ----------
    frame : DataFrame
        As `methods.compare` returns it.
    """
    return {
        f"methods_{number}_{comparison}": forest(rows)
        for number, (_, group) in enumerate(frame.groupby([schema.DATASET, schema.MODEL]), start=1)
        for comparison, rows in group.groupby("comparison", sort=False)
    }


def forest(frame: pd.DataFrame) -> Figure:
    """Draw differences with their intervals: a column of panels for each outcome, a row for each ratio.

    Parameters
    ----------
    frame : DataFrame
        Rows of `methods.compare` of one data set, model and kind of comparison.
    """
    by_ratio = [(ratio, dict(list(rows.groupby("outcome")))) for ratio, rows in frame.groupby(schema.RATIO)]
    counts = [len(rows[methods.ALPHA]) + 1.5 for _, rows in by_ratio]
    first = frame.iloc[0]
    figure, grid = page(
        (len(by_ratio), len(methods.OUTCOMES)),
        (_PANEL_WIDTH * len(methods.OUTCOMES) + 2.4, _ROW_HEIGHT * sum(counts) + 1.7),
        f"What differs, {_COMPARED[first['comparison']]}: {first[schema.DATASET]}, {first[schema.MODEL]}",
        "Differences on the same dense networks with their 95 % intervals, each panel on a scale of its own. Blue: "
        "better, more accuracy and recall, a smaller loss, a smaller alpha; orange: worse; grey: the interval holds 0. "
        "Filled: p below .05 by Holm's correction; diamond: the primary comparison, corrected by itself. Largest loss: "
        "the most that a class's recall fell. Alpha (new): on new images. At chance: pairs with such a network, which "
        "have no alpha.",
        sharey="row",
        height_ratios=counts,
    )
    for row, (ratio, by_outcome) in zip(grid, by_ratio, strict=True):
        for axes, outcome in zip(row, methods.OUTCOMES, strict=True):
            rows = by_outcome[outcome]
            axes.axvline(0, color="black", linewidth=0.8)
            for place, result in enumerate(rows.to_dict("records")):
                _draw(axes, place, result, outcome)
            axes.grid(axis="x", alpha=0.3)
            axes.tick_params(axis="x", labelsize=8)
            axes.margins(x=0.08)
            if rows["difference"].isna().all():
                axes.set_xticks([])
        names = [
            f"{name_in_picture(a)} − {name_in_picture(b)}"
            for a, b in zip(rows["method"], rows["baseline"], strict=True)
        ]
        row[0].set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
        row[0].set_ylim(len(names) - 0.4, -0.6)
        row[0].set_ylabel(f"ratio {ratio:g}", fontsize=10)
    for axes, outcome in zip(grid[0], methods.OUTCOMES, strict=True):
        axes.set_title(methods.TITLES[outcome], fontsize=10)
    return figure


def _draw(axes: Axes, place: int, row: Mapping[str, Any], outcome: str) -> None:
    value, low, high = (
        methods.scale(outcome) * row[name] for name in ("difference", "difference_low", "difference_high")
    )
    if np.isnan(value):
        left_out = f"n/a, {row['n_at_chance']} at chance" if row["n_at_chance"] else "n/a"
        said = axes.text(0.03, place, left_out, va="center", fontsize=7.5, color=NEUTRAL)
        said.set(transform=axes.get_yaxis_transform(), bbox=PAPER)
        return
    color = NEUTRAL
    if low > 0 or high < 0:
        color = BELOW if (value > 0) == (outcome in _HIGHER_IS_BETTER) else ABOVE
    if np.isfinite(low):
        axes.hlines(place, low, high, color=color, linewidth=1.6)
    axes.plot(
        value,
        place,
        "D" if row["primary"] else "o",
        color=color,
        markerfacecolor=color if row["p_holm"] < LEVEL else "white",
        markersize=5,
        zorder=3,
    )
