"""The picture of each class's recall before and after compression."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import name_rows
from analysis.rendering.picture_text import name_in_picture
from pruning_study.study.compression.judgement import POINTS, SIDES

_MOST_NAMED = 60


def classes(table: pd.DataFrame, title: str, networks: int) -> Figure:
    """Draw the recall of each class in the dense network, in the control and in the compressed network.

    Parameters
    ----------
    table : DataFrame
        As `report.Tested.classes`: class, recall_before, recall_control, recall_after.
    title : str
    networks : int
        Number of networks over which the recalls are means.
    """
    mean = f", mean over {networks} networks" if networks > 1 else ""
    ordered = table.sort_values("recall_before", ascending=False, ignore_index=True)
    has_few = len(ordered) <= _MOST_NAMED
    return draw(
        [Panel(_draw, ordered, "", "recall, in percent", "" if has_few else "class")],
        size=(7.4, 0.6 + 0.3 * min(len(ordered), _MOST_NAMED)),
        title=title,
        note=f"Recall on test images{mean}. Control: the dense network after the same fine-tuning, without pruning.",
    )


def _draw(axes: Axes, ordered: pd.DataFrame) -> None:
    axes.hlines(
        ordered.index, POINTS * ordered["recall_control"], POINTS * ordered["recall_after"], colors="#cccccc", zorder=0
    )
    # Overlapping marks all stay visible: a ring around a diamond, and a line through both.
    for side, size, shape, color in (
        ("before", 200, "|", {"c": "black", "zorder": 3}),
        ("control", 110, "o", {"facecolors": "none", "edgecolors": "#767676"}),
        ("after", 35, "D", {"c": "#0072b2"}),
    ):
        recalls = POINTS * ordered[f"recall_{side}"]
        axes.scatter(recalls, ordered.index, size, marker=shape, label=SIDES[side], **color)
    name_rows(axes, [name_in_picture(name, 30) for name in ordered["class"]])
    if len(ordered) > _MOST_NAMED:
        axes.set_yticks([])
