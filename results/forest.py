"""The pictures of README.md: the estimates of an answer, each with its interval."""

from textwrap import fill

from answers import NOT_COMPARABLE, WITHOUT_INTERVAL, Answer, Estimate
from matplotlib.figure import Figure

from analysis.drawing import BELOW, NEUTRAL, Interval, draw_intervals, page

_PANEL_WIDTH, _ROW_HEIGHT = 2.6, 0.35  # inches
_TITLE_WIDTH = 28  # characters


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
        rows = [_interval(estimates[of], answer.no_effect) for estimates in answer.rows.values()]
        draw_intervals(axes, list(enumerate(rows)), answer.no_effect)
        axes.set_title(fill(of, _TITLE_WIDTH), fontsize=10, y=1)
    for axes in grid[0, 1:]:
        axes.tick_params(axis="y", left=False)
    grid[0, 0].set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _interval(estimate: Estimate, no_effect: int) -> Interval:
    value, low, high, is_significant = estimate
    color = BELOW if low > no_effect or high < no_effect else NEUTRAL
    return Interval(value, low, high, color, is_significant, words=NOT_COMPARABLE)
