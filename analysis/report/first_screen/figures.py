"""Figures of alpha and the raw slope against the ratio."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.ratio_plot import (
    Column,
    Drawn,
    against_ratio,
    draw_lines,
    groups,
)
from analysis.runs import schema
from analysis.study.decision import mostly_sound
from analysis.study.settings import CONTROL, in_number_format, is_random
from analysis.study.study import StudyData

_FAR = 1  # intervals are clipped where they exceed the range of the means by this multiple of the range
_BEYOND = "Triangle: values outside the panel, with the value or the range beside it."
_READING = f"Grey band: the same fine-tuning without pruning. Blue stripe: the ratio of the verdict. {_BEYOND}"
_SLOPES = {
    "alpha": Drawn("alpha_mean", "ci_low", "ci_high"),
    "raw slope": Drawn("raw_slope_mean", "raw_slope_low", "raw_slope_high"),
}


def slopes(study: StudyData) -> list[Figure]:
    """Draw alpha and the raw slope against the ratio, a column for each data set and model, at most four a figure."""
    title = "Alpha and raw slope against the pruning ratio"
    note = (
        "Means over networks that are not at chance, with their intervals. Dashed: no change from the dense networks. "
        f"{_READING} If alpha rises and the raw slope does not, the accuracy fell."
    )
    return _against_ratio(study.cells, _SLOPES, study, title, note)


def _against_ratio(
    cells: pd.DataFrame, rows: dict[str, Drawn], study: StudyData, title: str, note: str
) -> list[Figure]:
    panels = {label: partial(_draw_panel, drawn=drawn, study=study) for label, drawn in rows.items()}
    with_ratio = cells[~in_number_format(cells)]
    return [against_ratio(group, panels, study, title, note) for group in groups(with_ratio, study)]


def _draw_panel(axes: Axes, column: Column, drawn: Drawn, study: StudyData) -> None:
    cells = column.cells
    draw_lines(axes, column.lines, column.styles, drawn)
    dense = _draw_dense(axes, cells, drawn, study)
    axes.set_ylim(_limits(cells[mostly_sound(cells) & (cells[schema.RATIO] <= column.leading)], drawn, dense))


def _draw_dense(axes: Axes, cells: pd.DataFrame, drawn: Drawn, study: StudyData) -> float:
    """Draw a line at the dense networks' value and return it; if cells share no dense networks, only return NaN."""
    dense = float(cells[drawn.dense].mean()) if drawn.dense else 1.0
    if drawn.dense and not study.share_dense_networks(cells):
        return float("nan")
    axes.axhline(dense, color="black", linestyle="--", linewidth=1)
    return dense


def _limits(cells: pd.DataFrame, drawn: Drawn, dense: float, *, pad: float = 0.35) -> tuple[float, float]:
    """Return axis limits that contain the means of all methods but random pruning, with some room.

    Intervals of few networks may be so wide that they would hide all differences: they are clipped.
    """
    random = is_random(cells)
    shown_cells = cells if cells.loc[~random, schema.PRUNER].eq(CONTROL).all() else cells[~random]
    means = shown_cells[drawn.value].dropna()
    lowest, highest = min([dense, *means]), max([dense, *means])
    far = _FAR * (highest - lowest) or np.inf
    ends = shown_cells[list(drawn[1:3])].clip(lowest - far, highest + far).clip(*drawn.bounds)
    values = [value for value in (dense, *means, *ends.stack()) if np.isfinite(value)]
    room = pad * (max(values) - min(values)) or 0.01
    beyond = room / 7  # so that a mark at a bound is fully visible
    least, most = drawn.bounds
    return max(min(values) - room, least - beyond), min(max(values) + room, most + beyond)
