"""The gallery: the most surprising PIEs of a cell, each with its label and the two modal labels."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.rendering.image_panel import POINTS, ImagePanel
from analysis.rendering.layout import DPI, Panel, draw, handle
from analysis.rendering.picture_text import fitted_name, width_in_picture
from pruning_study.commands.exemplars.cell import PopulationPair

MOST_IMAGES, COLUMNS = 40, 8
SIDE = 168  # pixels, like the four lengths below
DENSE, COMPRESSED, TRACK = "#d4d4d4", "#a9d3ee", "#f4f4f4"
_COLUMN, _NAME, _LINE, _GAP = 184, 20, 17, 22
_BAR: dict[str, Any] = {"linewidth": 7, "solid_capstyle": "butt"}  # in the legend
_LETTERS = 8  # points
_RIGHT = "✓\u00a0"  # a no-break space
_BOLD = 1.15  # width of bold letters relative to regular ones


def pies(cell: PopulationPair) -> pd.DataFrame:
    """Return the PIEs of a cell, the most surprising first.

    Returns
    -------
    DataFrame, one row per PIE
        index (of the test image, from 0), label, dense_mode and compressed_mode (the modal labels), dense_share and
        compressed_share (the shares of networks that predict them), and surprise, the product of the two shares, which
        is 1 if all dense networks agree on one class and all compressed networks on another.
    """
    modal_labels = cell.modal_labels
    indices = np.flatnonzero(modal_labels.identified)
    table = pd.DataFrame(
        {
            "index": indices,
            "label": cell.label[indices],
            "dense_mode": modal_labels.dense.label[indices],
            "compressed_mode": modal_labels.compressed.label[indices],
            "dense_share": modal_labels.dense.share[indices],
            "compressed_share": modal_labels.compressed.share[indices],
        }
    )
    table["surprise"] = table["dense_share"] * table["compressed_share"]
    return table.sort_values("surprise", ascending=False, kind="stable", ignore_index=True)


def gallery(images: np.ndarray, table: pd.DataFrame, classes: Sequence[str], title: str, counts: str) -> Figure:
    """Draw the first PIEs of a table.

    Below each image are its label and two bars, one for the dense and one for the compressed networks. The length of a
    bar is the share of networks that predict the modal label, whose name is written in the bar.

    Parameters
    ----------
    images : uint8 [N, C, H, W]
        All test images, in memory or memory-mapped; only the images drawn are read.
    table : DataFrame
        As `pies` returns it.
    classes : sequence of str
    title, counts : str
        Title of the picture, and one or two lines below the title.
    """
    shown = table.head(MOST_IMAGES)
    names = [classes[index] for index in np.unique(shown[["label", "dense_mode", "compressed_mode"]])]
    lines = 1 if all(width_in_picture(f"{_RIGHT}{name}", _LETTERS) <= _name_width() for name in names) else 2
    draw_pie = partial(_draw_pie, images=images, classes=classes, lines=lines)
    which = f"The {len(shown)} most surprising PIEs" if len(shown) < len(table) else "The most surprising PIEs first"
    return draw(
        [Panel(draw_pie, pie) for pie in shown.to_dict("records")],
        COLUMNS,
        size=(_COLUMN / DPI, (SIDE + lines * (_NAME + 2 * _LINE) + 6 + _GAP) / DPI),
        title=f"{title}\n{counts}",
        note=f"{which}: those on which dense networks agree most on one class, and compressed networks on another. "
        "Below each image is its label. ✓: the prediction is right.",
        legend=[
            handle("most frequent prediction of dense networks, and its share", color=DENSE, **_BAR),
            handle("most frequent prediction of compressed networks", color=COMPRESSED, **_BAR),
        ],
    )


def _name_width() -> float:
    """Return the width available for a name in a bar, in points."""
    return SIDE * POINTS - width_in_picture("100 %", _LETTERS) - 8


def _draw_pie(axes: Axes, pie: Mapping[str, Any], images: np.ndarray, classes: Sequence[str], lines: int) -> None:
    panel, height = ImagePanel(axes), lines * _LINE
    panel.show(images[pie["index"]], 0, 0, SIDE)
    label = fitted_name(classes[pie["label"]], SIDE * POINTS / _BOLD, 9, lines=lines)
    panel.write(label, 0, SIDE + 4, fontsize=9, fontweight="bold")
    for index, (side, color) in enumerate((("dense", DENSE), ("compressed", COMPRESSED))):
        top, mode, share = SIDE + 4 + lines * _NAME + index * (height + 3), pie[f"{side}_mode"], pie[f"{side}_share"]
        panel.fill(0, top, SIDE, height, TRACK)
        panel.fill(0, top, share * SIDE, height, color)
        mark = _RIGHT if mode == pie["label"] else ""
        name = fitted_name(mark + classes[mode], _name_width(), _LETTERS, lines=lines)
        middle = top + height / 2
        panel.write(name, 4, middle, fontsize=_LETTERS, va="center_baseline" if lines == 1 else "center")
        panel.write(f"{100 * share:.0f} %", SIDE - 3, middle, fontsize=_LETTERS, va="center_baseline", ha="right")
