"""The picture of each class's recall before and after compression."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.layout import Panel, draw
from analysis.rendering.panels import name_rows
from analysis.rendering.picture_text import name_in_picture
from pruning_study.study.compression.judgement import POINTS

_MOST_NAMED = 60


def classes(table: pd.DataFrame, title: str, networks: int) -> Figure:
    """Draw the recall of each class in the dense network and in the compressed network.

    Parameters
    ----------
    table : DataFrame
        As `report.Tested.classes`: class, recall_before, recall_after.
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
        note=f"Recall on test images{mean}.",
    )


def _draw(axes: Axes, ordered: pd.DataFrame) -> None:
    axes.hlines(
        ordered.index, POINTS * ordered["recall_before"], POINTS * ordered["recall_after"], colors="#cccccc", zorder=0
    )
    before, after = (POINTS * ordered[f"recall_{side}"] for side in ("before", "after"))
    axes.scatter(before, ordered.index, 200, marker="|", c="black", zorder=3, label="dense")  # seen through the diamond
    axes.scatter(after, ordered.index, 35, marker="D", c="#0072b2", label="compressed")
    name_rows(axes, [name_in_picture(name, 30) for name in ordered["class"]])
    if len(ordered) > _MOST_NAMED:
        axes.set_yticks([])
