"""The picture of a comparison: the loss of each class with its interval and its bound."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare.comparison import Comparison, row_names
from analysis.compare.sentences import images_of
from analysis.rendering.drawing import ABOVE, BELOW, NEUTRAL
from analysis.rendering.layout import DPI
from analysis.rendering.picture_text import name_in_picture

MOST_DRAWN = 100


def figure(comparison: Comparison) -> Figure:
    """Draw the loss of each class with its interval and its bound, of at most `MOST_DRAWN` classes."""
    count = min(len(comparison.ranked), MOST_DRAWN)
    picture = Figure((8, max(3, 0.17 * count + 1.8)), dpi=DPI, layout="constrained")
    axes = picture.subplots()
    draw(axes, comparison)
    picture.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return picture


def draw(axes: Axes, comparison: Comparison) -> None:
    """Draw what `figure` does, without a legend; the class that lost most is coloured even if no loss is shown."""
    table = comparison.ranked.head(MOST_DRAWN)
    damaged_rows = comparison.damaged_rows.head(MOST_DRAWN)
    others = table.drop(damaged_rows.index)
    most = others[others["loss"] > 0].nlargest(1 if damaged_rows.empty else 0, "loss")
    _draw_losses(axes, others.drop(most.index), fmt="o", color=BELOW, label="no loss shown")
    hollow = {"markerfacecolor": "white", "label": f"the {comparison.one_kind} that lost most, no loss shown"}
    _draw_losses(axes, most, fmt="D", color=ABOVE, **hollow)
    _draw_losses(axes, damaged_rows, fmt="D", color=ABOVE, label="lost recall (Holm-corrected p ≤ .05)")
    if comparison.basis != "pair":
        bounds = 100 * table["loss_upper_all"]
        axes.plot(
            bounds,
            table.index,
            "|",
            color="black",
            markersize=7,
            label=f"at most, all {comparison.kind} together (95 %)",
        )
    axes.axvline(0, color="black", linewidth=1)
    start, after = (float(comparison.right[side].mean()) for side in (comparison.reference, "after"))
    loss = 100 * (start - after)
    axes.axvline(loss, color=NEUTRAL, linestyle="--", linewidth=1, label=f"loss of accuracy, {loss:.1f}")
    axes.set_yticks(
        range(len(table)),
        row_names(table).map(name_in_picture),
        fontsize=9 if len(table) <= 30 else 6,
        parse_math=False,
    )
    axes.set_ylim(len(table) - 0.5, -0.5)
    selection = f"each {comparison.one_kind}"
    selection = selection if len(comparison.ranked) <= MOST_DRAWN else f"the worst {MOST_DRAWN} {comparison.kind}"
    beyond = " beyond the control" if comparison.basis == "control" else ""
    axes.set(
        xlabel=f"loss of recall{beyond}, points, with 95 % interval",
        title=f"Loss of recall of {selection}, {images_of(comparison.ranked):,} images",
    )
    axes.grid(axis="x", alpha=0.3)


def _draw_losses(axes: Axes, table: pd.DataFrame, **look: Any) -> None:  # noqa: ANN401
    if len(table):
        loss, *ends = (100 * table[name].to_numpy() for name in ("loss", "loss_low", "loss_high"))
        axes.errorbar(loss, table.index, xerr=np.abs(np.array(ends) - loss), markersize=4, **look)
