"""The picture of what a compressed network costs each class."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.rendering.drawing import page
from analysis.rendering.picture_text import name_in_picture
from pruning_study.study.compression.judgement import POINTS, SIDES

_MOST_NAMED = 60


def classes(table: pd.DataFrame, title: str) -> Figure:
    """Draw the recall of each class before, in the control and after.

    Parameters
    ----------
    table : DataFrame
        As `report.Tested.classes`: class, recall_before, recall_control, recall_after.
    title : str
    """
    ordered = table.sort_values("recall_before", ignore_index=True)
    places = np.arange(len(ordered))
    note = "Recall on test images. Control: the dense network after the same fine-tuning, without pruning."
    figure, grid = page((1, 1), (8, 1.8 + 0.3 * min(len(ordered), _MOST_NAMED)), title, note)
    axes = grid[0, 0]
    sides = (POINTS * ordered[name] for name in ("recall_control", "recall_after"))
    axes.hlines(places, *sides, colors="#cccccc", zorder=0)
    # Marks that lie on each other are all seen: a ring around a diamond, and a line through both.
    for side, size, shape, color in (
        ("before", 200, "|", {"c": "black", "zorder": 3}),
        ("control", 110, "o", {"facecolors": "none", "edgecolors": "#767676"}),
        ("after", 35, "D", {"c": "#0072b2"}),
    ):
        recalls = POINTS * ordered[f"recall_{side}"]
        axes.scatter(recalls, places, size, marker=shape, label=SIDES[side], **color)
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    if len(ordered) <= _MOST_NAMED:
        axes.set_yticks(places, [name_in_picture(name, 30) for name in ordered["class"]], parse_math=False)
    axes.set(xlabel="recall, in percent", ylabel="class" if len(ordered) > _MOST_NAMED else "")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure
