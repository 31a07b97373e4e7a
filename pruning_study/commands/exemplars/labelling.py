"""The labelling sheet: equally many PIEs and other images, in random order, with nothing that distinguishes them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.common.errors import StudyError
from analysis.rendering.image_panel import POINTS, ImagePanel
from analysis.rendering.layout import DPI, Panel, draw
from analysis.rendering.picture_text import fitted_name
from pruning_study.commands.exemplars.cell import PopulationPair
from pruning_study.commands.exemplars.questions import INDEX, ITEM, LABELS, PIE, QUESTIONS

COLUMNS, ROWS = 5, 5  # images on a page
SIDE = 168  # all lengths are in pixels
_COLUMN, _LINE = 200, 19
_ROW = SIDE + 5 * _LINE + 10
_GREY = "#767676"
_HOW_TO_ANSWER = "Write 1 for yes and 0 for no in the row of the image's number; leave a cell empty if you cannot say."


def sample(identified: np.ndarray, images: int, seed: int) -> np.ndarray:
    """Draw equally many PIEs and other images at random, and return their shuffled indices.

    Parameters
    ----------
    identified : (images of the data set,), bool
        Whether each image is a PIE.
    images : int
        Number of images to draw; fewer are drawn if either kind has too few.
    seed : int

    Returns
    -------
    int64 [images]

    Raises
    ------
    StudyError
        If there is no PIE, or no other image.
    """
    kinds = np.flatnonzero(identified), np.flatnonzero(~identified)
    half = min(images // 2, *map(len, kinds))
    if not half:
        which, ratio = ("every image", "smaller") if len(kinds[0]) else ("no image", "larger")
        raise StudyError(f"{which} is a PIE: there is nothing to compare, so choose a cell with a {ratio} ratio")
    random = np.random.default_rng(seed)
    return random.permutation(np.concatenate([random.choice(kind, half, replace=False) for kind in kinds]))


def alternatives(cell: PopulationPair, indices: np.ndarray, classes: int) -> np.ndarray:
    """Return the wrong classes most often predicted for each image, which become labels 2 and 3.

    Hooker et al. do not define their labels 2 and 3. Showing the modal labels would give the PIEs away, because the two
    modal labels of a PIE differ. The rule is therefore the same for every image: predictions of dense and compressed
    networks count equally. If classes tie, or if too few wrong classes are predicted, the class that is predicted more
    often for images of the same label comes first.

    Parameters
    ----------
    cell : PopulationPair
    indices : int64 [images]
        Indices of test images.
    classes : int

    Returns
    -------
    int64 [images, 2], or [images, 1] if there are two classes
    """
    sides = cell.dense, cell.compressed
    answers = np.concatenate([cell.label * classes + side for side in sides])
    confused = np.bincount(answers.ravel(), minlength=classes**2).reshape(classes, classes)
    chosen = []
    for workload in indices:
        votes = np.bincount(np.concatenate([side[:, workload] for side in sides]), minlength=classes)
        order = np.lexsort([-confused[cell.label[workload]], -votes])
        chosen.append(order[order != cell.label[workload]][: len(LABELS) - 1])
    return np.array(chosen)


def sheet(cell: PopulationPair, classes: Sequence[str], images: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a labelling sheet and its key.

    Parameters
    ----------
    cell : PopulationPair
    classes : sequence of str
    images, seed : int
        As in `sample`.

    Returns
    -------
    sheet : DataFrame, one row per image
        item (from 1), label_1 (the image's own class), label_2 and label_3 (from `alternatives`), and an empty column
        for each question.
    key : DataFrame, one row per image
        item, the same labels, index (of the test image, from 0) and pie (0 or 1).
    """
    identified = cell.modal_labels.identified
    indices = sample(identified, images, seed)
    names = np.full((len(indices), len(LABELS)), "", dtype=object)
    names[:, 0] = [classes[index] for index in cell.label[indices]]
    others = alternatives(cell, indices, len(classes))
    names[:, 1 : 1 + others.shape[1]] = np.array(classes, dtype=object)[others]
    labelled = pd.DataFrame({ITEM: np.arange(1, 1 + len(indices)), **dict(zip(LABELS, names.T, strict=True))})
    key = labelled.assign(**{INDEX: indices, PIE: identified[indices].astype(int)})
    return labelled.assign(**{question.column: "" for question in QUESTIONS}), key


def pages(images: np.ndarray, sheet: pd.DataFrame, indices: np.ndarray, title: str) -> list[Figure]:
    """Draw the images of a labelling sheet with their numbers and labels, 25 to a page.

    Parameters
    ----------
    images : uint8 [N, C, H, W]
        All test images, in memory or memory-mapped; only those of the sheet are read.
    sheet : DataFrame
        As `sheet` returns it.
    indices : int64 [images]
        Index of each image of the sheet among the test images.
    title : str
    """
    starts = range(0, len(sheet), COLUMNS * ROWS)
    return [
        _page(images, sheet[start : start + COLUMNS * ROWS], indices, f"{title}, page {number} of {len(starts)}")
        for number, start in enumerate(starts, start=1)
    ]


def _page(images: np.ndarray, sheet: pd.DataFrame, indices: np.ndarray, title: str) -> Figure:
    draw_item = partial(_draw_item, images=images)
    return draw(
        [Panel(draw_item, item) for item in sheet.assign(**{INDEX: indices[sheet.index]}).to_dict("records")],
        COLUMNS,
        size=(_COLUMN / DPI, _ROW / DPI),
        title=f"{title}\nThe questions are below the images.",
        note="\n".join([_HOW_TO_ANSWER, *(f"{question.column}: {question.text}" for question in QUESTIONS)]),
    )


def _draw_item(axes: Axes, item: Mapping[str, Any], images: np.ndarray) -> None:
    panel = ImagePanel(axes)
    panel.write(str(item[ITEM]), 0, 0, fontsize=10, fontweight="bold")
    panel.show(images[item[INDEX]], 0, _LINE, SIDE)
    for number, label in enumerate(LABELS, start=1):
        line = SIDE + number * _LINE + 5
        panel.write(str(number), 0, line, fontsize=8.5, color=_GREY)
        panel.write(fitted_name(item[label], (_COLUMN - 30) * POINTS, 8.5), 14, line, fontsize=8.5)
