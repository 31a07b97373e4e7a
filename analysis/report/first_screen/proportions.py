"""Compare each class's loss with its loss if the error of every class grew by the same factor."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.compare.proportion_text import beyond_proportion, growth
from analysis.rendering.page import Block, Caption
from analysis.report.verdict import class_rows
from analysis.runs import schema
from analysis.study.study import StudyData

EXPECTATIONS = (
    "Losses are compared with two expectations. Equal losses: every class loses as much recall as the accuracy. "
    "Proportional errors: the error of every class (1 minus its recall) grows by the same factor, so twice the error "
    "means twice the loss. Which expectation is fair is your choice. The loss beyond proportion averages 0 over all "
    "images, so some class always loses more than its proportion: only the size of this loss and its test are "
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
            return [Caption(title, " ".join(sentences(cell, rows)))]
    return []


def sentences(cell: pd.Series, rows: pd.DataFrame) -> Sequence[str]:
    """Describe the growth of the error, and the classes shown to lose more than it explains.

    Parameters
    ----------
    cell : Series
        A row of `study.cells`.
    rows : DataFrame
        The cell's rows of `study.classes`.
    """
    return [_growth(cell), beyond_proportion(rows, rows["class"])]


def _growth(cell: pd.Series) -> str:
    start = growth(cell["error_growth"], "control")
    ends = [100 * cell[f"proportionality{end}"] for end in ("", "_low", "_high")]
    if np.isnan(ends[0]):
        return f"{start}: the two expectations cannot be told apart."
    share, low, high = ends
    if high < 0 and cell["error_growth"] > 1:
        return f"{start}. Gaps between classes narrowed, although proportional errors would have widened them."
    return (
        f"{start}. The change of the gaps between classes is {share:.0f} % ({low:.0f} to {high:.0f}) of the change "
        "that proportional errors would give; equal losses would give 0 %."
    )
