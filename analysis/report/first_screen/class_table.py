"""A table of the classes of one cell: recall, precision and F1, costs, and the growth of errors."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.common.points import points
from analysis.rendering.formats import NOT_AVAILABLE, decimals, with_interval
from analysis.rendering.page import Block, Caption
from analysis.report.first_screen.class_figures import MOST_CLASSES
from analysis.report.verdict import class_rows
from analysis.runs import schema
from analysis.study.study import StudyData

_READING = (
    "Recall and precision in %, losses and costs in points. F1 cost: the loss of F1 minus its mean over classes; if it "
    "is below the cost, the class is also predicted less often. Factor: the class's error divided by that of the "
    "control."
)


def class_table(study: StudyData, cell: pd.Series) -> list[Block]:
    """Return a table of the classes with the largest costs, the costliest first; columns without values are left out.

    Parameters
    ----------
    study : StudyData
    cell : Series
        A row of `study.cells`.
    """
    rows = class_rows(study, cell).sort_values("cost", ascending=False, kind="stable").head(MOST_CLASSES)
    columns = {
        "class": rows["class"],
        "recall": _change(rows, "recall"),
        "precision": _change(rows, "precision"),
        "F1 lost since dense": rows["f1_loss"].map(_points),
        "cost": _intervals(rows, "cost", points),
        "F1 cost": rows["f1_cost"].map(_points),
        "factor": _intervals(rows, "error_factor", decimals(2)),
        "proportionality without it": _intervals(rows, "proportionality_without", decimals(2)),
    }
    table = pd.DataFrame({name: list(values) for name, values in columns.items()})
    title = f"{cell[schema.DATASET]}, {cell[schema.MODEL]}, {study.method(cell)}."
    return [Caption(title, _READING), table.loc[:, (table != NOT_AVAILABLE).any()]]


def _points(share: float) -> str:
    return points(share) if np.isfinite(share) else NOT_AVAILABLE


def _change(rows: pd.DataFrame, name: str) -> list[str]:
    pairs = rows[[f"{name}_before", f"{name}_after"]].to_numpy(float)
    return [f"{points(before)} to {points(after)}" if np.isfinite(before) else NOT_AVAILABLE for before, after in pairs]


def _intervals(rows: pd.DataFrame, name: str, write: Callable[[float], str]) -> list[str]:
    values = rows[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
    return [
        with_interval(value, low, high, write) if np.isfinite(value) else NOT_AVAILABLE for value, low, high in values
    ]
