"""Draw the pictures of good-et-al/details.md: the estimates of an answer, each with its interval."""

from collections.abc import Sequence
from itertools import chain
from textwrap import fill

from answers import NOT_COMPARABLE, WITHOUT_INTERVAL, Answer, Estimate
from matplotlib.figure import Figure

from analysis.rendering.drawing import DrawnInterval, draw_intervals, interval_limits, page
from analysis.report.methods import compare as methods
from analysis.report.methods.figures import color_of
from analysis.report.methods.tables import TITLES

_PANEL_WIDTH, _ROW_HEIGHT = 2.6, 0.35  # inches
_TITLE_WIDTH = 28  # characters
# The beginnings of titles, by which their outcomes are recognised; `alpha (new)` has the scale of `alpha`.
_BEGINNINGS = {
    TITLES[outcome]: outcome for outcome in (methods.ACCURACY, methods.EXCESS, methods.ALPHA, methods.RAW_SLOPE)
}


def forest(answer: Answer, title: str, note: str) -> Figure:
    """Draw the estimates that have intervals: a panel for each title, with a row for each row of the answer.

    Panels of the same outcome have the same scale. If every outcome has the same number of panels, each outcome has a
    line of its own.

    Parameters
    ----------
    answer : Answer
        The title of an estimate begins with its outcome: `alpha (new), unseen networks`.
    title, note : str
        Text above and below.
    """
    names = list(answer.rows)
    titles = [title for title in answer.rows[names[0]] if title not in WITHOUT_INTERVAL]
    lines = _lines(titles)
    columns = len(lines[0])
    size = (_PANEL_WIDTH * columns + 2, (_ROW_HEIGHT * len(names) + 0.7) * len(lines) + 1.0)
    figure, grid = page((len(lines), columns), size, title, note, sharey=True)
    drawn = {
        of: [_interval(_outcome(of), estimates[of], answer.no_effect) for estimates in answer.rows.values()]
        for of in titles
    }
    for axes, of in zip(grid.flat, chain.from_iterable(lines), strict=True):
        same = [row for other in titles if _outcome(other) == _outcome(of) for row in drawn[other]]
        draw_intervals(axes, list(enumerate(drawn[of])), answer.no_effect, interval_limits(same, answer.no_effect))
        axes.set_title(fill(of, _TITLE_WIDTH), fontsize=10, y=1)
    for axes in grid[:, 1:].flat:
        axes.tick_params(axis="y", left=False)
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _lines(titles: Sequence[str]) -> list[list[str]]:
    """Return a line of titles for each outcome if all lines have the same length, above 1; else all in one line."""
    by_outcome: dict[str, list[str]] = {}
    for title in titles:
        by_outcome.setdefault(_outcome(title), []).append(title)
    lines = list(by_outcome.values())
    return lines if {len(line) for line in lines} == {len(lines[0])} != {1} else [list(titles)]


def _outcome(title: str) -> str:
    return next((outcome for beginning, outcome in _BEGINNINGS.items() if title.startswith(beginning)), title)


def _interval(outcome: str, estimate: Estimate, no_effect: int) -> DrawnInterval:
    value, low, high, is_significant = estimate
    color = color_of(outcome, low, high, no_effect)
    return DrawnInterval(value, low, high, color, is_significant, words=NOT_COMPARABLE)
