"""The gallery: the most surprising PIEs of a cell, each with its label and the two modal labels."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.rendering.picture_text import fitted_name, name_in_picture, width_in_picture
from pruning_study.commands.exemplars.cell import PopulationPair
from pruning_study.steps.image_sheet import POINTS, ImageSheet

MOST_IMAGES, COLUMNS = 40, 8
SIDE = 168  # all lengths are in pixels
DENSE, COMPRESSED, TRACK, GREY = "#d4d4d4", "#a9d3ee", "#f4f4f4", "#767676"
_MARGIN, _TOP, _COLUMN, _NAME, _LINE, _GAP = 18, 142, 182, 20, 17, 22
_LETTERS = 8  # points
_RIGHT = "✓\u00a0"  # a no-break space
_BOLD = 1.15  # width of bold letters relative to regular ones


def pies(cell: PopulationPair) -> pd.DataFrame:
    """Return the PIEs of a cell, the most surprising first.

    Returns
    -------
    DataFrame, one row per PIE
        index (of the test image, from 0), label, dense_mode and compressed_mode (the modal labels), dense_share and
        compressed_share (their shares of the votes), and surprise, the product of the two shares, which is 1 if all
        dense networks agree on one class and all compressed networks on another.
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


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
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
    row_height = SIDE + lines * (_NAME + 2 * _LINE) + 6 + _GAP
    rows = -(-len(shown) // COLUMNS)
    sheet = ImageSheet(2 * _MARGIN + COLUMNS * _COLUMN - (_COLUMN - SIDE), _TOP + rows * row_height)
    _write_heading(sheet, title, counts, len(shown), len(table))
    for place, (_, row) in enumerate(shown.iterrows()):
        left, top = _MARGIN + place % COLUMNS * _COLUMN, _TOP + place // COLUMNS * row_height
        sheet.show(images[int(row["index"])], left, top, SIDE)
        _write_votes(sheet, left, top + SIDE + 4, row, classes, lines)
    return sheet.figure


def _name_width() -> float:
    """Return the width available for a name in a bar, in points."""
    return SIDE * POINTS - width_in_picture("100 %", _LETTERS) - 8


def _room(sheet: ImageSheet) -> float:
    """Return the width available for a line of words, in points."""
    return (sheet.width - 2 * _MARGIN) * POINTS


def _write_heading(sheet: ImageSheet, title: str, counts: str, shown: int, there: int) -> None:
    heading = ", ".join(map(name_in_picture, title.split(", ")))
    sheet.write(heading, _MARGIN, 12, fontsize=min(13, 13 * _room(sheet) / width_in_picture(heading, 13)))
    sheet.write(counts, _MARGIN, 42, fontsize=9)
    which = f"The {shown} most surprising of them" if shown < there else "The most surprising first"
    sheet.write(
        f"{which}: dense networks agree most among themselves, as do compressed ones. Below each image is its label.",
        _MARGIN,
        82,
        fontsize=9,
        color=GREY,
    )
    left = float(_MARGIN)
    for color, words in (
        (DENSE, "what most dense networks predict, and their share"),
        (COMPRESSED, "what most compressed networks predict"),
    ):
        sheet.fill(left, 108, 26, 11, color)
        sheet.write(words, left + 33, 106, fontsize=_LETTERS + 0.5)
        left += 33 + width_in_picture(words, _LETTERS + 0.5) / POINTS + 30
    sheet.write("✓ is right", left, 106, fontsize=_LETTERS + 0.5)


def _write_votes(sheet: ImageSheet, left: int, top: int, row: pd.Series, classes: Sequence[str], lines: int) -> None:
    height = lines * _LINE
    label = fitted_name(classes[int(row["label"])], SIDE * POINTS / _BOLD, 9, lines=lines)
    sheet.write(label, left, top, fontsize=9, fontweight="bold")
    for index, (side, color) in enumerate((("dense", DENSE), ("compressed", COMPRESSED))):
        at, share = top + lines * _NAME + index * (height + 3), row[f"{side}_share"]
        mode = int(row[f"{side}_mode"])
        sheet.fill(left, at, SIDE, height, TRACK)
        sheet.fill(left, at, share * SIDE, height, color)
        mark = _RIGHT if mode == row["label"] else ""
        name = fitted_name(mark + classes[mode], _name_width(), _LETTERS, lines=lines)
        middle = at + height / 2
        sheet.write(name, left + 4, middle, fontsize=_LETTERS, va="center_baseline" if lines == 1 else "center")
        sheet.write(
            f"{100 * share:.0f} %", left + SIDE - 3, middle, fontsize=_LETTERS, va="center_baseline", ha="right"
        )
