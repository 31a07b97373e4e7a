"""A sheet of test images that the network recognised before pruning and no longer does, worst class first."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.rendering.picture_text import fitted_name
from pruning_study.steps.class_changes import ClassChanges
from pruning_study.steps.image_sheet import POINTS, ImageSheet
from pruning_study.training.evaluation import Predictions

MOST_CLASSES, MOST_IMAGES = 6, 8
SIDE = 96  # all lengths are in pixels
_MARGIN, _TOP, _LABEL, _COLUMN, _ROW = 14, 92, 190, 108, 146
_GREY = "#767676"


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def flipped(images: np.ndarray, before: Predictions, after: Predictions, changes: ClassChanges, title: str) -> Figure:
    """Draw test images that were right before pruning and are wrong after.

    There is a row for each of the classes that lost most recall, and in it the images that the network before was
    surest of. Without any such image the sheet says so.

    Parameters
    ----------
    images : uint8 [N, C, H, W]
        All test images, in memory or mapped; only those drawn are read.
    before, after : Predictions
        Of these images.
    changes : ClassChanges
        From before to after.
    title : str
    """
    lost, won = before.right & ~after.right, after.right & ~before.right
    table = changes.table.assign(lost=np.bincount(before.label[lost], minlength=len(changes.table)))
    worst = table[table["lost"] > 0].sort_values("change", kind="stable", key=lambda change: change.round(9))
    rows = worst.head(MOST_CLASSES)
    sheet = _Sheet(title, _counts(int(lost.sum()), int(won.sum()), len(lost)), len(rows))
    if len(rows):
        which = f"; the {len(rows)} of {len(worst)} classes that lost most" if len(rows) < len(worst) else ""
        sheet.note(
            f"Worst class first{which}. The images are those that the network before was surest of; below each "
            "stands what it is taken for now."
        )
    for place, (index, row) in enumerate(rows.iterrows()):
        found = np.flatnonzero(lost & (before.label == index))
        shown = found[np.argsort(-before.confidence[found], kind="stable")][:MOST_IMAGES]
        sheet.name_row(place, row, len(shown))
        for column, image in enumerate(shown):
            sheet.show_lost(place, column, images[image], table["class"].iloc[after.predicted[image]])
    return sheet.figure


class _Sheet(ImageSheet):
    """Rows of images below a title."""

    def __init__(self, title: str, counts: str, rows: int) -> None:
        super().__init__(2 * _MARGIN + _LABEL + MOST_IMAGES * _COLUMN, _TOP + rows * _ROW)
        self.write(fitted_name(title, (self.width - 2 * _MARGIN) * POINTS, 11), _MARGIN, 10, fontsize=11)
        self.write(counts, _MARGIN, 36, fontsize=9)

    def note(self, text: str) -> None:
        self.write(text, _MARGIN, 60, fontsize=8, color=_GREY)

    def name_row(self, place: int, row: pd.Series, shown: int) -> None:
        """Write a class's name, its recalls, and how many images it lost."""
        name = fitted_name(row["class"], (_LABEL - 10) * POINTS, 10, lines=2)
        of = f"{shown} of " if shown < row["lost"] else ""
        more = f"recall {row['recall_before']:.3f} → {row['recall_after']:.3f}\n{of}{_images(row['lost'])}"
        top = _TOP + place * _ROW
        self.write(name, _MARGIN, top, fontsize=10)
        self.write(more, _MARGIN, top + 20 * (1 + name.count("\n")), fontsize=8, color=_GREY)

    def show_lost(self, place: int, column: int, image: np.ndarray, taken_for: str) -> None:
        """Draw an image, and below it a class's name."""
        left, top = _MARGIN + _LABEL + column * _COLUMN, _TOP + place * _ROW
        self.show(image, left, top, SIDE)
        name = fitted_name(taken_for, (_COLUMN - 6) * POINTS, 8, lines=2)
        self.write(name, left + SIDE / 2, top + SIDE + 3, fontsize=8, ha="center")


def _counts(lost: int, won: int, images: int) -> str:
    if not lost:
        return f"No test image that was right before is wrong after; {won:,} are right that were wrong."
    were = "was right before and is" if lost == 1 else "were right before and are"
    return f"{lost:,} of {images:,} test images {were} wrong after; {won:,} the other way round."


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
