"""Figure of the costs of compression under each corruption."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.rendering.drawing import NEUTRAL
from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import estimates, intervals, name_rows, side_by_side
from analysis.rendering.picture_text import fitted_name
from analysis.report.papers.compressed_networks.naming import LEVEL
from analysis.runs import schema
from analysis.runs.robustness import ALL, CLEAN
from analysis.study.labels import level_label
from analysis.study.settings import CONTROL, ITERATION
from analysis.study.study import StudyData

MOST_METHODS = 6
_ACROSS = 3  # panels in a row
_WIDTH, _NAMES = 2.7, 1.5  # inches, width of a panel, and of the names beside the panels
_NARROWEST = 4.5  # inches, least width of all panels of a row together
_LINE, _MARK = 0.24, 0.05  # inches, minimum height of a corruption, and of each of its levels
_LEVELS_ACROSS, _LEGEND_LINE = 3, 0.16  # number of levels in a line of a legend, and the height of the line in inches
_LETTERS = 9  # points
_WORDS = {CLEAN: "not corrupted", ALL: "mean of corruptions"}
_NOTE = (
    "Change of the top-1 accuracy, in % of the dense networks' accuracy on the same images, averaged over severities: "
    "0 is no difference. Bars: 95 % interval over networks; a bar that reaches the edge continues beyond it. Darker "
    "marks are higher levels. Grey: the same fine-tuning without pruning."
)


def relative_accuracy(study: StudyData, workload: tuple[str, str], means: pd.DataFrame) -> Figure:
    """Draw the change of accuracy under each corruption, a panel for each method and a mark for each level.

    The control is drawn too. If there are more than six methods, the six whose accuracy falls most are drawn.

    Parameters
    ----------
    study : StudyData
    workload : (str, str)
        Data set and model.
    means : DataFrame
        Rows of `robustness.corruptions` for this data set and model, without those of single severities.
    """
    methods = {name: _by_level(rows) for name, rows in _by_method(study, means).items()}
    order = means.groupby("corruption")["top1_norm"].mean().sort_values(ascending=False).index
    names = [*(name for name in _WORDS if name in order)][::-1] + [name for name in order if name not in _WORDS][::-1]
    shown = [fitted_name(_WORDS.get(name, name.replace("_", " ")), 72 * _NAMES, _LETTERS) for name in names]
    levels = max(len(set(_level_labels(rows))) for rows in methods.values())
    across = min(len(methods), _ACROSS)
    lines = max(_LINE, _MARK * levels) * len(names) + _LEGEND_LINE * -(-levels // _LEVELS_ACROSS)
    drawn = pd.concat(methods.values())["top1_norm"]
    low, high = min(drawn.min(), 0), max(drawn.max(), 0)
    pad = 0.1 * (high - low) or 1.0
    draw_panel = partial(_draw, names=names, shown=shown, limits=(low - pad, high + pad))
    return draw(
        [Panel(draw_panel, rows, method) for method, rows in methods.items()],
        across,
        size=(max(_WIDTH, _NARROWEST / across), lines + 0.7),
        title=f"{workload[0]}, {workload[1]}: accuracy on corrupted images, relative to the dense networks",
        note=_NOTE,
        sharey=True,
    )


def _by_method(study: StudyData, means: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each drawn method, by its label: the largest fall of accuracy first, the control last."""
    labels = [study.method(row) for row in means.to_dict("records")]
    cost = means.groupby(labels)["top1_norm"].min().sort_values(kind="stable")
    by_method = {name: means[np.array(labels) == name] for name in cost.index}
    is_control = {name: rows[schema.PRUNER].iloc[0] == CONTROL for name, rows in by_method.items()}
    drawn = [name for name in by_method if not is_control[name]][:MOST_METHODS]
    return {name: by_method[name] for name in [*drawn, *(name for name in by_method if is_control[name])]}


def _by_level(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows by level, and those of the control of iterative pruning, which has one level, by iteration."""
    places = rows.reindex(columns=[LEVEL, ITERATION]).astype(float).fillna(0)
    return rows.loc[places.sort_values([LEVEL, ITERATION], kind="stable").index]


def _level_labels(rows: pd.DataFrame) -> list[str]:
    return [level_label(row, row[LEVEL]) for row in rows.to_dict("records")]


def _draw(
    axes: Axes, rows: pd.DataFrame, names: Sequence[str], shown: Sequence[str], limits: tuple[float, float]
) -> None:
    """Draw a mark for each corruption and level, and a legend of the levels."""
    labels = _level_labels(rows)
    levels = list(dict.fromkeys(labels))
    is_control = rows[schema.PRUNER].iloc[0] == CONTROL
    shades = colormaps["viridis_r"](np.linspace(0.15, 0.95, len(levels)))
    colors = {level: NEUTRAL if is_control else to_hex(shade) for level, shade in zip(levels, shades, strict=True)}
    rows = estimates(rows, "top1_norm").assign(level=labels, place=rows["corruption"].map(names.index))
    intervals(axes, side_by_side(rows, "level", colors, apart=0.5 / max(len(levels) - 1, 1)))
    name_rows(axes, shown, size=_LETTERS)
    axes.axhline(sum(name in _WORDS for name in names) - 0.5, color="black", linewidth=0.5)
    axes.set_xlim(limits)
    # The legend is below the numbers of the axis, so that it hides no mark.
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=2.6,
        ncols=_LEVELS_ACROSS,
        fontsize=7,
        frameon=False,
        handletextpad=0.1,
        columnspacing=0.6,
    )
