"""The labelling sheet: equally many PIEs and other images, in random order, with nothing that distinguishes them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from pruning_study.commands.exemplars.cell import PopulationPair

INDEX, LABELS, PIE = "index", ("label_1", "label_2", "label_3"), "pie"


class Question(NamedTuple):
    """A question of the human study of Hooker et al. (Appendix C), with its results (Section 3.2).

    Attributes
    ----------
    column : str
        Column of the labelling sheet, for the answers 0 (no) and 1 (yes).
    attribute : str
        Attribute that is counted, in the words of the paper.
    counted : {0, 1}
        The answer that counts as having the attribute.
    non_pies, pies : float
        Published shares of ImageNet's non-PIEs and PIEs that have the attribute; NaN if the paper gives none.
    """

    column: str
    attribute: str
    counted: int
    non_pies: float
    pies: float


QUESTIONS = (
    Question("label_correct", "label incorrect or inadequate", 0, 0.0890, 0.2005),
    Question("single_object", "multiple objects", 0, 0.3953, 0.5915),
    Question("fine_grained", "fine grained classification", 1, 0.089, 0.4355),
    Question("typical", "not typical of its class", 0, np.nan, np.nan),
    Question("corrupted", "corrupted image", 1, 0.1437, 0.1372),
    Question("abstract", "abstract representation", 1, 0.0343, 0.0576),
)


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
        index (of the test image, from 0), label_1 (the image's own class), label_2 and label_3 (from `alternatives`),
        and an empty column for each question.
    key : DataFrame, one row per image
        index, and pie (0 or 1).
    """
    identified = cell.modal_labels.identified
    indices = sample(identified, images, seed)
    shown = np.column_stack([cell.label[indices], alternatives(cell, indices, len(classes))])
    names = np.array(classes, dtype=object)[shown]
    labels = {label: names[:, place] if place < names.shape[1] else "" for place, label in enumerate(LABELS)}
    empty = {question.column: "" for question in QUESTIONS}
    return (
        pd.DataFrame({INDEX: indices, **labels, **empty}),
        pd.DataFrame({INDEX: indices, PIE: identified[indices].astype(int)}),
    )


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
    predicted = np.concatenate([cell.dense, cell.compressed])
    confused = np.bincount((cell.label * classes + predicted).ravel(), minlength=classes**2).reshape(classes, classes)
    chosen = []
    for index in indices:
        own, votes = cell.label[index], np.bincount(predicted[:, index], minlength=classes)
        order = np.lexsort([-confused[own], -votes])
        chosen.append(order[order != own][: len(LABELS) - 1])
    return np.array(chosen)
