"""A sheet of test images that were right before compression and are wrong after it, worst class first."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare.comparison import Comparison
from analysis.rendering.image_panel import POINTS, ImagePanel
from analysis.rendering.layout import DPI, Panel, draw
from analysis.rendering.picture_text import fitted_name
from pruning_study.training.evaluation import Predictions

MOST_CLASSES, MOST_IMAGES = 6, 8
SIDE = 96  # all lengths are in pixels
_LABEL, _COLUMN, _ROW, _WIDTH = 190, 108, 146, 1074
_GREY = "#767676"


def flipped(images: np.ndarray, before: Predictions, after: Predictions, changes: Comparison, title: str) -> Figure:
    """Draw test images that were right before compression and are wrong after it.

    Each row shows one of the classes that lost most recall, with those lost images of which the network was most
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
    worst = table[table["lost"] > 0].sort_values("loss", kind="stable", key=lambda loss: -loss.round(9))
    rows = worst.head(MOST_CLASSES)
    selection = f"; {len(rows)} of {len(worst)} classes with lost images are drawn" if len(rows) < len(worst) else ""
    note = (
        f"Worst class first{selection}. In a row, the images with the highest confidence before compression come "
        "first; below each is the class now predicted."
    )
    panels = []
    for index, row in rows.iterrows():
        class_images = np.flatnonzero(is_lost & (before.label == index))
        image_indices = class_images[np.argsort(-before.confidence[class_images], kind="stable")][:MOST_IMAGES]
        lost = [(images[image], table["class"].iloc[after.predicted[image]]) for image in image_indices]
        panels.append(Panel(partial(_draw_class, lost=lost), row))
    return draw(
        panels,
        columns=1,
        size=(_WIDTH / DPI, _ROW / DPI if panels else 0),
        title=f"{title}\n{_counts(int(is_lost.sum()), int(is_won.sum()), len(is_lost))}",
        note=note if panels else "",
    )


def _draw_class(axes: Axes, row: pd.Series, lost: list[tuple[np.ndarray, str]]) -> None:
    """Draw a class's name, recalls and number of lost images, and some of the images, each above its new prediction."""
    panel = ImagePanel(axes)
    name = fitted_name(row["class"], (_LABEL - 10) * POINTS, 10, lines=2)
    of = f"{len(lost)} of " if len(lost) < row["lost"] else ""
    more = f"recall {row['recall_before']:.3f} → {row['recall_after']:.3f}\n{of}{_images(row['lost'])}"
    panel.write(name, 0, 0, fontsize=10)
    panel.write(more, 0, 20 * (1 + name.count("\n")), fontsize=8, color=_GREY)
    for position, (image, taken_for) in enumerate(lost):
        left = _LABEL + position * _COLUMN
        panel.show(image, left, 0, SIDE)
        name = fitted_name(taken_for, (_COLUMN - 6) * POINTS, 8, lines=2)
        panel.write(name, left + SIDE / 2, SIDE + 3, fontsize=8, ha="center")


def _counts(n_lost: int, n_won: int, images: int) -> str:
    if not n_lost:
        return f"No test image that was right before is wrong after; {n_won:,} wrong ones are right after."
    were = "was right before and is" if n_lost == 1 else "were right before and are"
    return f"{n_lost:,} of {images:,} test images {were} wrong after; {n_won:,} the other way round."


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
