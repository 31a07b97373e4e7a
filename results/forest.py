"""The pictures of README.md: the estimates of an answer, each with its interval."""

import numpy as np
import pandas as pd
from answers import NOT_COMPARABLE, WITHOUT_INTERVAL, Answer, Estimate
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.drawing import BELOW, NEUTRAL, PAPER, axis_limits, page

_PANEL_WIDTH, _ROW_HEIGHT = 2.6, 0.35  # inches


def forest(answer: Answer, title: str, note: str) -> Figure:
    """Draw the estimates that have intervals: a panel for each title, in it a row for each thing that they are of.

    Parameters
    ----------
    answer : Answer
    title, note : str
        Text above and below.
    """
    names = list(answer.rows)
    titles = [title for title in answer.rows[names[0]] if title not in WITHOUT_INTERVAL]
    size = (_PANEL_WIDTH * len(titles) + 2, _ROW_HEIGHT * len(names) + 1.7)
    figure, grid = page((1, len(titles)), size, title, note, sharey=True)
    for axes, of in zip(grid[0], titles, strict=True):
        axes.axvline(answer.no_effect, color="black", linewidth=0.8)
        _draw(axes, [estimates[of] for estimates in answer.rows.values()], answer.no_effect)
        axes.set_title(of.replace(" at ", "\nat "), fontsize=10)
        axes.grid(axis="x", alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(axis="x", labelsize=8)
    grid[0, 0].set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _draw(axes: Axes, estimates: list[Estimate], no_effect: int) -> None:
    ends = pd.Series([end for of in estimates for end in of[:3] if np.isfinite(end)], dtype=float)
    axes.set_xlim(axis_limits(ends, through=no_effect))
    for height, (value, low, high, is_significant) in enumerate(estimates):
        if np.isnan(value):
            said = axes.text(0.03, height, NOT_COMPARABLE, va="center", fontsize=7.5, color=NEUTRAL)
            said.set(transform=axes.get_yaxis_transform(), bbox=PAPER)
            continue
        color = BELOW if low > no_effect or high < no_effect else NEUTRAL
        if np.isfinite(low):
            axes.hlines(height, low, high, color=color, linewidth=1.6)
        axes.plot(value, height, "o", color=color, markerfacecolor=color if is_significant else "white", markersize=5)
