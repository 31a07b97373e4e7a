"""The picture of what a compressed network costs each class."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.rendering.drawing import page
from analysis.rendering.picture_text import name_in_legend, name_in_picture
from pruning_study.study.compression.judgement import POINTS

_MOST_NAMED = 60


def classes(table: pd.DataFrame, title: str) -> Figure:
    """Draw the recall of each class before, in the control and after.

    Parameters
    ----------
    table : DataFrame
        As `report.class_rows` returns it: class, recall_before, recall_control, recall_after.
    title : str
    """
    ordered = table.sort_values("recall_before", ignore_index=True)
    places = np.arange(len(ordered))
    note = "Recall on test images. Control: the dense network after the same fine-tuning, without pruning."
    figure, grid = page((1, 1), (8, 1.8 + 0.3 * min(len(ordered), _MOST_NAMED)), title, note)
    axes = grid[0, 0]
    axes.hlines(places, *(POINTS * ordered[name] for name in ("recall_control", "recall_after")), colors="#cccccc")
    for name, shape, color, label in (
        ("recall_before", "|", "black", "dense"),
        ("recall_control", "o", "#767676", "control"),
        ("recall_after", "D", "#0072b2", "compressed"),
    ):
        axes.scatter(POINTS * ordered[name], places, 40, marker=shape, c=color, label=name_in_legend(label))
    if len(ordered) <= _MOST_NAMED:
        axes.set_yticks(places, [name_in_picture(name, 30) for name in ordered["class"]], parse_math=False)
    axes.set(xlabel="recall, in percent", ylabel="class" if len(ordered) > _MOST_NAMED else "")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure
