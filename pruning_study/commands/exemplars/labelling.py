"""The labelling sheet: equally many PIEs and other images, in random order, with nothing that distinguishes them."""

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.common.errors import StudyError
from analysis.rendering.picture_text import fitted_name
from pruning_study.commands.exemplars.cell import PopulationPair
from pruning_study.commands.exemplars.questions import INDEX, ITEM, LABELS, PIE, QUESTIONS
from pruning_study.steps.image_sheet import POINTS, ImageSheet

COLUMNS, ROWS = 5, 5  # images on a page
SIDE = 168  # all lengths are in pixels
_MARGIN, _COLUMN, _LINE = 26, 200, 19
_ROW = SIDE + 5 * _LINE + 10
_GREY = "#767676"
_LONGEST_LINE = 132  # maximum number of characters in a line of a question


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
    networks count equally, and ties, or too few wrong predictions, are resolved by the classes most often predicted for
    images of the same label.

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


@mpl.rc_context({"text.parse_math": False})  # a class's name may contain $
def _page(images: np.ndarray, sheet: pd.DataFrame, indices: np.ndarray, title: str) -> Figure:
    question_lines = [textwrap.wrap(question.text, _LONGEST_LINE) for question in QUESTIONS]
    top = 76 + _LINE * sum(map(len, question_lines)) + 16
    drawn = ImageSheet(2 * _MARGIN + COLUMNS * _COLUMN - (_COLUMN - SIDE), top + -(-len(sheet) // COLUMNS) * _ROW)
    drawn.write(fitted_name(title, (drawn.width - 2 * _MARGIN) * POINTS, 13), _MARGIN, 12, fontsize=13)
    drawn.write(
        "Write 1 for yes and 0 for no in the row of the image's number; leave a cell empty if you cannot say.",
        _MARGIN,
        44,
        fontsize=9,
    )
    _write_questions(drawn, question_lines)
    for index, (row, at) in enumerate(zip(sheet.itertuples(), indices[sheet.index], strict=True)):
        left, upper = _MARGIN + index % COLUMNS * _COLUMN, top + index // COLUMNS * _ROW
        drawn.write(str(row.item), left, upper, fontsize=10, fontweight="bold")
        drawn.show(images[at], left, upper + _LINE, SIDE)
        for number, name in enumerate((row.label_1, row.label_2, row.label_3), start=1):
            line = upper + SIDE + number * _LINE + 5
            drawn.write(str(number), left, line, fontsize=8.5, color=_GREY)
            drawn.write(fitted_name(name, (_COLUMN - 20) * POINTS, 8.5), left + 14, line, fontsize=8.5)
    return drawn.figure


def _write_questions(drawn: ImageSheet, question_lines: Sequence[Sequence[str]]) -> None:
    top = 76
    for question, lines in zip(QUESTIONS, question_lines, strict=True):
        drawn.write(question.column, _MARGIN, top, fontsize=8, fontweight="bold")
        for line in lines:
            drawn.write(line, _MARGIN + 116, top, fontsize=8)
            top += _LINE
