"""Figures of alpha and the raw slope against the ratio, and of the weakest class's recall against model size."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import TITLE_SIZE, Panel, draw, handle
from analysis.rendering.picture_text import fitted_name, width_in_picture
from analysis.report.first_screen.weakest import WEAKEST, WEAKEST_BEFORE
from analysis.report.ratio_plot import (
    Column,
    Drawn,
    Lines,
    PlottedWorkload,
    Styles,
    against_ratio,
    draw_lines,
    draw_stripe,
    groups,
    panel_width,
    show_beyond,
    styles_of,
)
from analysis.runs import schema
from analysis.study.decision import at_the_ratio, mostly_sound
from analysis.study.settings import CONTROL, bits, in_number_format, is_iterated, is_pruned, is_random
from analysis.study.study import StudyData

_BITS_OF_DENSE = schema.BITS[schema.FLOAT32]
_MOST_RATIOS = 6  # maximum number of ratios with labels below an axis
_USEFUL = 0.8  # share of the dense networks' weakest recall; the axis limits of size panels ignore recalls below it
_NAME_ROOM = 230  # points, above a panel
_FAR = 1  # intervals are clipped where they exceed the range of the means by this multiple of the range
_BEYOND = "Triangle: values outside the panel, with the value or the range beside it."
_READING = f"Grey band: the same fine-tuning without pruning. Blue stripe: the ratio of the verdict. {_BEYOND}"
_MINIMUM = (
    "The weakest class of each network is chosen by noisy recalls, which biases the mean downward, for the control "
    "too: compare with the grey band."
)


_SHARE = (0.0, 1.0)
_WEAKEST = Drawn(WEAKEST, "weakest_low", "weakest_high", WEAKEST_BEFORE, _SHARE)
_SLOPES = {
    "alpha": Drawn("alpha_mean", "ci_low", "ci_high"),
    "raw slope": Drawn("raw_slope_mean", "raw_slope_low", "raw_slope_high"),
}


def sizes(study: StudyData, cells: pd.DataFrame, *, narrow: bool = False) -> list[Figure]:
    """Draw the recall of the weakest class against the size of the model, a panel for each data set and model.

    Dense networks are drawn slightly below 100 %, and the control slightly above.

    Parameters
    ----------
    study : StudyData
    cells : DataFrame
        As `weakest.with_weakest` returns them.
    narrow : bool
        Draw the panels one below the other, for a narrow window.
    """
    return [
        _against_size(group, study, narrow=narrow) for group in groups(cells, study) if any(map(_has_compressed, group))
    ]


def slopes(study: StudyData, *, narrow: bool = False) -> list[Figure]:
    """Draw alpha and the raw slope against the ratio, a column for each data set and model, at most four a figure.

    For a narrow window, all panels are one below the other.
    """
    title = "Alpha and raw slope against the pruning ratio"
    note = (
        "Means over networks that are not at chance, with their intervals. Dashed: no change from the dense networks. "
        f"{_READING} If alpha rises and the raw slope does not, the accuracy fell."
    )
    return _against_ratio(study.cells, _SLOPES, study, title, note, narrow=narrow)


def _has_compressed(workload: PlottedWorkload) -> bool:
    return bool((workload.cells[schema.PRUNER] != CONTROL).any())


def _against_ratio(
    cells: pd.DataFrame, rows: dict[str, Drawn], study: StudyData, title: str, note: str, *, narrow: bool
) -> list[Figure]:
    panels = {label: partial(_draw_panel, drawn=drawn, study=study) for label, drawn in rows.items()}
    with_ratio = cells[~in_number_format(cells)]
    return [against_ratio(group, panels, study, title, note, narrow=narrow) for group in groups(with_ratio, study)]


def _draw_panel(axes: Axes, column: Column, drawn: Drawn, study: StudyData) -> None:
    cells = column.cells
    draw_lines(axes, column.lines, column.styles, drawn)
    dense = _draw_dense(axes, cells, drawn, study)
    axes.set_ylim(_limits(cells[mostly_sound(cells) & (cells[schema.RATIO] <= column.leading)], drawn, dense))


def _against_size(group: Sequence[PlottedWorkload], study: StudyData, *, narrow: bool) -> Figure:
    styles, handles = styles_of([workload.lines for workload in group])
    note = (
        "Mean recall of each network's weakest class, with 95 % intervals over networks. Star: the dense networks. "
        "Diamond and grey band: the same fine-tuning without pruning. Blue stripe: the ratio of the verdict; above the "
        f"panel, the class that is most often the weakest at this ratio. {_BEYOND} {_MINIMUM}"
    )
    figure = draw(
        [_size_panel(workload, styles, study) for workload in group],
        size=(panel_width(group), 3.3),
        title="Model size against the recall of the weakest class",
        note=note,
        legend=[*handles, handle("dense", color="black", marker="*", linestyle="--")],
        narrow=narrow,
    )
    show_beyond(figure.axes, group)
    return figure


def _size_panel(workload: PlottedWorkload, styles: Styles, study: StudyData) -> Panel:
    name, cells, lines = workload
    pruned_cells = cells[is_pruned(cells)]
    best = at_the_ratio(study, pruned_cells).head(1) if len(pruned_cells) else pruned_cells

    def draw_panel(axes: Axes, cells: pd.DataFrame) -> None:
        _draw_sizes(axes, cells, lines, styles, study)
        for share in _shares(best):
            draw_stripe(axes, share)
        _set_shares(axes, lines)

    in_full = all((bits(of_method) == _BITS_OF_DENSE).all() for of_method in lines.values())
    share = f"share of the {'parameters' if in_full else 'bits of all parameters'} that is kept"
    title = "\n".join([", ".join(name), *_weakest_class(best)])
    return Panel(draw_panel, cells, title, share, "weakest class's recall")


def _draw_sizes(
    axes: Axes,
    cells: pd.DataFrame,
    lines: Lines,
    styles: Styles,
    study: StudyData,
) -> None:
    draw_lines(axes, lines, styles, _WEAKEST, _shares)
    dense = _draw_dense(axes, cells, _WEAKEST, study)
    # Slightly below and above 100 %, so that neither mark hides the other.
    axes.plot(94, dense, color="black", marker="*", markersize=11, zorder=4)
    for method, control in lines.items():
        if method.pruner == CONTROL and not is_iterated(control).any():
            axes.plot(106, control[WEAKEST].iloc[0], color=NEUTRAL, marker="D", markersize=6, zorder=3)
    sound = cells[mostly_sound(cells)]
    useful = sound[sound[WEAKEST] >= _USEFUL * sound[WEAKEST_BEFORE]]
    axes.set_ylim(_limits(useful if len(useful) else sound, _WEAKEST, dense, pad=0.1))


def _weakest_class(cells: pd.DataFrame) -> list[str]:
    """Return a line of text for each cell, which names its weakest class."""
    lines = []
    for _, cell in cells.iterrows():
        is_weakest = " is the weakest class"
        if cell["n"] > 1:
            is_weakest = f" is weakest in {cell['weakest_count']:g} of {cell['n']} networks"
        width = _NAME_ROOM - width_in_picture(is_weakest, TITLE_SIZE)
        lines.append(fitted_name(cell["weakest_class"], width, TITLE_SIZE) + is_weakest)
    return lines


def _draw_dense(axes: Axes, cells: pd.DataFrame, drawn: Drawn, study: StudyData) -> float:
    """Draw a line at the dense networks' value and return it; if cells share no dense networks, only return NaN."""
    dense = float(cells[drawn.dense].mean()) if drawn.dense else 1.0
    if drawn.dense and not study.share_dense_networks(cells):
        return float("nan")
    axes.axhline(dense, color="black", linestyle="--", linewidth=1)
    return dense


def _shares(cells: pd.DataFrame) -> np.ndarray:
    """Return the share of the bits of all parameters that each cell keeps, in percent."""
    realized = cells.get(schema.REALIZED_RATIO, cells[schema.RATIO]).fillna(cells[schema.RATIO])
    return 100 / realized.to_numpy(float) * bits(cells) / _BITS_OF_DENSE


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


def _set_shares(axes: Axes, lines: Lines) -> None:
    """Label an axis with shares of parameters and, if there is room, with the corresponding ratios."""
    least = min((_shares(cells).min() for cells in lines.values()), default=50.0)
    axes.set_xscale("log")
    in_full = all((bits(cells) == _BITS_OF_DENSE).all() for cells in lines.values())
    steps = (1, 2, 5) if in_full else (1, 2.5, 5)  # 8 of 32 bits are 25 %
    decades = (step * 10.0**power for power in range(-4, 3) for step in steps)
    ticks = [share for share in decades if 0.9 * least <= share <= 100]
    ratios = [f"\nratio {100 / share:g}" if len(ticks) <= _MOST_RATIOS and in_full else "" for share in ticks]
    labels = [f"{share:g} %{ratio}" for share, ratio in zip(ticks, ratios, strict=True)]
    axes.set_xticks(ticks, labels, fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.85 * least, 130)
