"""Answers 1 and 5 of good-et-al/details.md: methods at an accuracy one point below that of the control."""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import folders
import numpy as np
import pandas as pd
from answers import Answer, Estimate, estimate

from analysis.common import csv_text, files
from analysis.rendering.formats import NOT_AVAILABLE
from analysis.report.methods import compare as methods
from analysis.report.methods.same_accuracy import BELOW, same_accuracy
from analysis.runs import schema, validation_counts
from analysis.runs.validation_counts import ValidationRecalls

# The methods of each question, by their names in equal_accuracy.csv.
_METHODS = {
    "1": {"up": "UP"},
    "5": {"mp cubic": "gradual MP", "mp distill 0.5": "MP with a teacher", "gp": "GP", "rp": "RP"},
}
_OUTCOMES = {"alpha (new)": methods.ALPHA_NEW, "chance movement, points": methods.EXCESS}
# The tables of each half of the networks, and of both halves together.
_TABLES = {
    "seeds 0 to 29": Path(folders.EQUAL, "equal_accuracy.csv"),
    "seeds 30 to 59": Path(folders.EQUAL_UNSEEN, "equal_accuracy.csv"),
    "all": Path(folders.EQUAL, "equal_accuracy_pooled.csv"),
}
_FEWEST_PAIRS = 10  # as equal-accuracy/plan.md says
NOT_EQUAL = " †"


def write_pooled(results: Path) -> None:
    """Compare methods on the networks of both studies, seeds 0 to 59; write the table beside that of seeds 0 to 29.

    Raises
    ------
    StudyError
        If a study has no frames, or they cannot be read.
    """
    runs, predictions = folders.runs(results, folders.EQUAL, folders.EQUAL_UNSEEN)
    counts = validation_counts.TABLE.read(folders.exported(results, folders.EQUAL, folders.EQUAL_UNSEEN))
    path = results / _TABLES["all"]
    with files.aside(path.parent, in_git=True) as folder:
        csv_text.write(
            same_accuracy(runs, ValidationRecalls(counts), predictions), folder / path.name, missing=NOT_AVAILABLE
        )


def answers(results: Path) -> dict[str, Answer]:
    """Return the answer to each question by its number: differences from MP, in each half of the seeds and in all.

    `NOT_EQUAL` is appended to the name of a row if the accuracies are not shown to be equal. Estimates from fewer than
    ten pairs of networks are left out.

    Raises
    ------
    StudyError
        If a table of a study is missing.
    """
    compared = {name: _by_comparison(results, path) for name, path in _TABLES.items()}
    return {question: Answer(dict(_rows(compared, names)), no_effect=0) for question, names in _METHODS.items()}


def _by_comparison(results: Path, path: Path) -> pd.DataFrame:
    """Return the comparisons with MP one point below the control's accuracy, by data set, method and outcome."""
    rows = folders.table(results, str(path.parent), path.name)
    nearest = rows[rows[BELOW].eq(1) & rows["baseline"].eq("mp")]
    return nearest.set_index([schema.DATASET, "method", "outcome"]).sort_index()


def _rows(compared: Mapping[str, pd.DataFrame], names: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Estimate]]]:
    """Yield each row's name (a method, data set and half) and its estimates by their titles."""
    datasets = next(iter(compared.values())).index.unique(schema.DATASET)
    for dataset, (method, name), (half, table) in product(datasets, names.items(), compared.items()):
        rows = table.loc[dataset, method]
        mark = "" if rows["is_equal"].eq(True).all() else NOT_EQUAL
        estimates = {title: _estimate(rows, outcome) for title, outcome in _OUTCOMES.items()}
        yield f"{name}, {dataset}, {half}{mark}", estimates


def _estimate(rows: pd.DataFrame, outcome: str) -> Estimate:
    row = rows.loc[outcome].to_dict() | {"outcome": outcome}
    return estimate(row, "difference") if row["n"] >= _FEWEST_PAIRS else Estimate(np.nan, np.nan, np.nan)
