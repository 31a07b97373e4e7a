"""Draw the estimates of an answer, each with its interval, as in the pictures of good-et-al/details.md."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import pandas as pd
from answers import NOT_COMPARABLE, WITHOUT_INTERVAL, Answer, Estimate
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import interval_limits, intervals, name_rows
from analysis.report.methods import compare as methods
from analysis.report.methods.figures import color_of
from analysis.report.methods.tables import TITLES

_PANEL_WIDTH, _ROW_HEIGHT = 2.6, 0.35  # inches
# The beginnings of titles, by which their outcomes are recognised; `alpha (new)` has the scale of `alpha`.
_BEGINNINGS = {
    TITLES[outcome]: outcome for outcome in (methods.ACCURACY, methods.EXCESS, methods.ALPHA, methods.RAW_SLOPE)
}


def forest(answer: Answer, title: str, note: str) -> Figure:
    """Draw the estimates that have intervals, with a panel for each title and a line for each row of the answer.

    Panels of the same outcome have the same scale. If every outcome has the same number of panels, above 1, the panels
    of an outcome are side by side, below those of the previous outcome.

    Parameters
    ----------
    answer : Answer
        The title of an estimate begins with its outcome, for example `alpha (new), unseen networks`.
    title, note : str
        Texts above and below the picture.
    """
    names = list(answer.rows)
    titles = [title for title in answer.rows[names[0]] if title not in WITHOUT_INTERVAL]
    lines = _lines(titles)
    rows = {
        of: pd.DataFrame([_interval(of, estimates[of], answer.no_effect) for estimates in answer.rows.values()])
        for of in titles
    }
    panels = []
    for of in chain.from_iterable(lines):
        same = pd.concat([rows[other] for other in titles if _outcome(other) == _outcome(of)])
        limits = interval_limits(same, answer.no_effect)
        panels.append(Panel(partial(_draw, names=names, no_effect=answer.no_effect, limits=limits), rows[of], of))
    size = (_PANEL_WIDTH, _ROW_HEIGHT * len(names) + 0.7)
    return draw(panels, len(lines[0]), size=size, title=title, note=note, sharey=True)


def _draw(axes: Axes, rows: pd.DataFrame, names: Sequence[str], no_effect: float, limits: tuple[float, float]) -> None:
    intervals(axes, rows, no_effect=no_effect, limits=limits)
    name_rows(axes, names, size=8)


def _lines(titles: Sequence[str]) -> list[list[str]]:
    """Return a list of titles for each outcome if these lists have one length, above 1; else one list of all titles."""
    by_outcome: dict[str, list[str]] = {}
    for title in titles:
        by_outcome.setdefault(_outcome(title), []).append(title)
    lines = list(by_outcome.values())
    return lines if {len(line) for line in lines} == {len(lines[0])} != {1} else [list(titles)]


def _outcome(title: str) -> str:
    return next((outcome for beginning, outcome in _BEGINNINGS.items() if title.startswith(beginning)), title)


def _interval(title: str, estimate: Estimate, no_effect: int) -> dict[str, Any]:
    value, low, high, is_significant = estimate
    color = color_of(_outcome(title), low, high, no_effect)
    face = color if is_significant else "white"
    return {"value": value, "low": low, "high": high, "color": color, "face": face, "words": NOT_COMPARABLE}
