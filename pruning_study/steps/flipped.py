"""A sheet of test images that were right before compression and are wrong after it, worst class first."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.compare.comparison import Comparison
from analysis.rendering.picture_text import fitted_name
from pruning_study.steps.image_sheet import POINTS, ImageSheet
from pruning_study.training.evaluation import Predictions

MOST_CLASSES, MOST_IMAGES = 6, 8
SIDE = 96  # all lengths are in pixels
_MARGIN, _TOP, _LABEL, _COLUMN, _ROW = 14, 92, 190, 108, 146
_GREY = "#767676"


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def flipped(images: np.ndarray, before: Predictions, after: Predictions, changes: Comparison, title: str) -> Figure:
    """Draw test images that were right before compression and are wrong after it.

    Each row shows one of the classes that lost most recall, with the lost images of which the network was most
    confident before compression. If there is no such image, the sheet says so.

    Parameters
    ----------
    images : uint8 [N, C, H, W]
        All test images, in memory or memory-mapped; only the images drawn are read.
    before, after : Predictions
        Predictions for these images.
    changes : Comparison
        Comparison of the two networks.
    title : str
    """
    is_lost, is_won = before.right & ~after.right, after.right & ~before.right
    table = changes.table.assign(lost=np.bincount(before.label[is_lost], minlength=len(changes.table)))
    worst = table[table["lost"] > 0].sort_values("change", kind="stable", key=lambda change: change.round(9))
    rows = worst.head(MOST_CLASSES)
    sheet = _Sheet(title, _counts(int(is_lost.sum()), int(is_won.sum()), len(is_lost)), len(rows))
    if len(rows):
        selection = f"; the {len(rows)} of {len(worst)} classes that lost most" if len(rows) < len(worst) else ""
        sheet.note(
            f"Worst class first{selection}. Before compression, these images had the highest confidence; below is the "
            "class now predicted."
        )
    for position, (index, row) in enumerate(rows.iterrows()):
        class_images = np.flatnonzero(is_lost & (before.label == index))
        image_indices = class_images[np.argsort(-before.confidence[class_images], kind="stable")][:MOST_IMAGES]
        sheet.name_row(position, row, len(image_indices))
        for column, image in enumerate(image_indices):
            sheet.show_lost(position, column, images[image], table["class"].iloc[after.predicted[image]])
    return sheet.figure


class _Sheet(ImageSheet):
    """Rows of images below a title."""

    def __init__(self, title: str, counts: str, rows: int) -> None:
        super().__init__(2 * _MARGIN + _LABEL + MOST_IMAGES * _COLUMN, _TOP + rows * _ROW)
        self.write(fitted_name(title, (self.width - 2 * _MARGIN) * POINTS, 11), _MARGIN, 10, fontsize=11)
        self.write(counts, _MARGIN, 36, fontsize=9)

    def note(self, text: str) -> None:
        self.write(text, _MARGIN, 60, fontsize=8, color=_GREY)

    def name_row(self, position: int, row: pd.Series, count: int) -> None:
        """Write a class's name, its recalls, and its number of lost images."""
        name = fitted_name(row["class"], (_LABEL - 10) * POINTS, 10, lines=2)
        of = f"{count} of " if count < row["lost"] else ""
        more = f"recall {row['recall_before']:.3f} → {row['recall_after']:.3f}\n{of}{_images(row['lost'])}"
        top = _TOP + position * _ROW
        self.write(name, _MARGIN, top, fontsize=10)
        self.write(more, _MARGIN, top + 20 * (1 + name.count("\n")), fontsize=8, color=_GREY)

    def show_lost(self, position: int, column: int, image: np.ndarray, taken_for: str) -> None:
        """Draw an image, and below it a class's name."""
        x, y = _MARGIN + _LABEL + column * _COLUMN, _TOP + position * _ROW
        self.show(image, x, y, SIDE)
        name = fitted_name(taken_for, (_COLUMN - 6) * POINTS, 8, lines=2)
        self.write(name, x + SIDE / 2, y + SIDE + 3, fontsize=8, ha="center")


def _counts(n_lost: int, n_won: int, images: int) -> str:
    if not n_lost:
        return f"No test image that was right before is wrong after; {n_won:,} that were wrong are right."
    were = "was right before and is" if n_lost == 1 else "were right before and are"
    return f"{n_lost:,} of {images:,} test images {were} wrong after; {n_won:,} the other way round."


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
