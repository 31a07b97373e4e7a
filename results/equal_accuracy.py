"""Answers 1 and 5 of README.md: methods whose networks are a point less accurate than the control's."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import folders
import numpy as np
import pandas as pd
from answers import Answer, Estimate, estimate

from analysis.methods import compare as methods
from analysis.methods.same_accuracy import BELOW
from analysis.runs import schema

# The methods of a question, by their names in equal_accuracy.csv.
_METHODS = {
    "1": {"up": "UP"},
    "5": {"mp cubic": "gradual MP", "mp distill 0.5": "MP with a teacher", "gp": "GP", "rp": "RP"},
}
_OUTCOMES = {"alpha (new)": methods.ALPHA_NEW, "largest excess loss, points": methods.EXCESS}
_HALVES = {"": folders.EQUAL, ", unseen networks": folders.EQUAL_UNSEEN}
_FEWEST_PAIRS = 10  # as equal-accuracy/README.md says
NOT_EQUAL = " †"


def answers(results: Path) -> dict[str, Answer]:
    """Return the answers by the number of their question: differences from MP.

    `NOT_EQUAL` stands behind the name of a row if, in one half of the study, the accuracy is not shown to be equal. An
    estimate of fewer than ten pairs of networks is left out.

    Raises
    ------
    StudyError
        A table of a study is missing.
    """
    compared = {half: _by_comparison(results, study) for half, study in _HALVES.items()}
    return {question: Answer(dict(_rows(compared, names)), no_effect=0) for question, names in _METHODS.items()}


def _by_comparison(results: Path, study: str) -> pd.DataFrame:
    """Return the rows a point below the control, by data set, method and outcome."""
    found = folders.table(results, study, "equal_accuracy.csv")
    nearest = found[found[BELOW].eq(1) & found["baseline"].eq("mp")]
    return nearest.set_index([schema.DATASET, "method", "outcome"]).sort_index()


def _rows(compared: Mapping[str, pd.DataFrame], names: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Estimate]]]:
    """Yield the name of a method on a data set, and its estimates by their titles."""
    datasets = compared[""].index.unique(schema.DATASET)
    for dataset, (method, name) in product(datasets, names.items()):
        halves = {half: rows.loc[dataset, method] for half, rows in compared.items()}
        mark = "" if all(rows["is_equal"].eq(True).all() for rows in halves.values()) else NOT_EQUAL
        yield (
            f"{name}, {dataset}{mark}",
            {
                title + half: _estimate(rows, outcome)
                for (title, outcome), (half, rows) in product(_OUTCOMES.items(), halves.items())
            },
        )


def _estimate(rows: pd.DataFrame, outcome: str) -> Estimate:
    row = rows.loc[outcome].to_dict() | {"outcome": outcome}
    return estimate(row, "difference") if row["n"] >= _FEWEST_PAIRS else Estimate(np.nan, np.nan, np.nan)
