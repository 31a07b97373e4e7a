"""Say how the errors of classes grew, and which classes lose more than in proportion to their errors."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from analysis.compare import proportion_text
from analysis.compare.proportion_text import ErrorGrowth
from analysis.rendering.page import Block, Caption
from analysis.report.verdict import class_rows
from analysis.runs import schema
from analysis.statistics.proportion import Ratio
from analysis.study.decision import run_rows
from analysis.study.study import StudyData

EXPECTATIONS = (
    "Losses are compared with two expectations. Equal losses: every class loses as much recall as the accuracy. "
    "Proportional errors: the error of every class (1 minus its recall) grows as much as that of all images, so twice "
    "the error means twice the loss. Which expectation is fair is your choice. The loss beyond proportion averages 0 "
    "over all images, so some class always loses more than its proportion: only the size of this loss and its test are "
    "informative. Black ticks show the second expectation."
)


def in_proportion(study: StudyData, cells: pd.DataFrame) -> list[Block]:
    """Describe the first cell for which the losses beyond proportion are known.

    Parameters
    ----------
    study : StudyData
    cells : DataFrame
        As `decision.at_the_ratio` returns them.

    Returns
    -------
    list of blocks
        Empty if no cell has predictions and controls of the same dense networks.
    """
    for _, cell in cells.iterrows():
        rows = class_rows(study, cell)
        if rows["disproportionate"].notna().any():
            title = f"{cell[schema.DATASET]}, {cell[schema.MODEL]}, {study.method(cell)}."
            return [Caption(title, " ".join(sentences(cell, rows, _pairs(study, cell))))]
    return []


class Pairs(NamedTuple):
    """Number of a cell's networks that have a control, and how many of these pairs have a network at chance."""

    number: int
    at_chance: int


def _pairs(study: StudyData, cell: pd.Series) -> Pairs:
    arrays = study.arrays
    rows = arrays.with_control(run_rows(cell, study))
    return Pairs(len(rows), int((arrays.at_chance[rows] | arrays.at_chance[arrays.controls[rows]]).sum()))


def sentences(cell: pd.Series, rows: pd.DataFrame, pairs: Pairs) -> Sequence[str]:
    """Describe the growth of the error, and the classes shown to lose more than it explains.

    Pairs with a network at chance are included, except in the change of the gaps between classes.

    Parameters
    ----------
    cell : Series
        A row of `study.cells`.
    rows : DataFrame
        The cell's rows of `study.classes`.
    pairs : Pairs
    """
    proportionality = Ratio(*(cell[f"proportionality{end}"] for end in ("", "_low", "_high")))
    errors = ErrorGrowth(_growth(rows), rows, cell["equal_factors_p"], proportionality, *pairs)
    return [*proportion_text.sentences(errors), proportion_text.beyond_proportion(rows, rows["class"])]


def _growth(rows: pd.DataFrame) -> float:
    """Return the growth of the error over all images; in proportion, a class loses (growth - 1) times its error."""
    expected_losses, errors = rows["loss_from_control"] - rows["disproportionate"], 1 - rows["recall_control"]
    return float(1 + expected_losses.sum() / errors.sum())
