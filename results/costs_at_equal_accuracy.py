"""What each method costs each class, at an accuracy one point below that of the control."""

from collections.abc import Iterator
from pathlib import Path

import folders
import numpy as np
import pandas as pd

from analysis.report.methods.same_accuracy import choose_networks
from analysis.runs import schema, validation_counts
from analysis.runs.frames import RUN_ID
from analysis.runs.validation_counts import ValidationRecalls
from analysis.statistics import class_costs, class_table
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.costs import recall_changes
from analysis.study.predictions import StudyPredictions

NAME = "class_costs_at_equal_accuracy"
POINTS_BELOW = 1.0
BASELINE, CONTROL = "mp", "control"
_SHOWN = ("loss", "loss_upper_all", "cost", "cost_low", "cost_high", "cost_p")
_HALVES = {
    "seeds 0 to 29": (folders.EQUAL,),
    "seeds 30 to 59": (folders.EQUAL_UNSEEN,),
    "all": (folders.EQUAL, folders.EQUAL_UNSEEN),
}


def write(results: Path) -> None:
    """Write the cost of each class in each half of the study and in both together, if both have frames."""
    if all(folders.has_frames(results, study) for study in _HALVES["all"]):
        tables = [_half(results, studies).assign(half=half) for half, studies in _HALVES.items()]
        folders.write(results / folders.EQUAL, {NAME: pd.concat(tables, ignore_index=True)})


def _half(results: Path, studies: tuple[str, ...]) -> pd.DataFrame:
    runs, predictions = folders.runs(results, *studies)
    counts = validation_counts.TABLE.read(folders.exported(results, *studies))
    return table(runs, ValidationRecalls(counts), StudyPredictions(predictions))


def table(
    runs: pd.DataFrame, validation: ValidationRecalls, predictions: StudyPredictions | None = None
) -> pd.DataFrame:
    """Return the loss of each class with each method, compared with the controls and with the networks of MP.

    Returns
    -------
    DataFrame
        Losses and costs are shares of 1. Networks with a teacher are compared only with MP, because no control of the
        study has a teacher.

        - dataset, method, class, and n (networks);
        - minus: what the method is compared with, the control or MP at the same accuracy;
        - accuracy_loss; and loss, loss_upper_all, cost, cost_low, cost_high and cost_p as in `classes.csv`.
    """
    chosen = choose_networks(runs, validation, POINTS_BELOW)
    arrays = run_arrays(runs)
    places = pd.Series(np.arange(len(arrays.runs)), arrays.runs[RUN_ID])
    chosen = chosen.assign(place=chosen[RUN_ID].map(places))
    rows: list[dict[str, object]] = []
    for dataset, own in chosen.groupby(schema.DATASET):
        by_network = own.pivot_table("place", schema.DENSE_RUN_ID, "method")
        for method, minus, after, before in _comparisons(by_network, arrays):
            key = {schema.DATASET: dataset, "method": method, "minus": minus, "n": len(after)}
            rows += [key | each for each in _classes(arrays, after, before, predictions)]
    return pd.DataFrame(rows)


def _comparisons(by_network: pd.DataFrame, arrays: RunArrays) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield a method, what it is compared with (`BASELINE` or `CONTROL`), and the paired rows of both in `arrays`."""
    for method in by_network:
        places = by_network[method].dropna().to_numpy(int)
        controlled = places[arrays.controls[places] >= 0]
        if len(controlled):
            yield str(method), CONTROL, controlled, arrays.controls[controlled]
        if method != BASELINE:
            pairs = by_network[[method, BASELINE]].dropna().to_numpy(int)
            yield str(method), BASELINE, pairs[:, 0], pairs[:, 1]


def _classes(
    arrays: RunArrays, after: np.ndarray, before: np.ndarray, predictions: StudyPredictions | None
) -> Iterator[dict[str, object]]:
    """Yield the row of each class, without the columns that identify the comparison."""
    has = ~np.isnan(arrays.before[after[0]])
    changes = recall_changes(arrays, after, before, has, predictions)
    if changes.label is not None and changes.right is not None:
        columns = class_table.costs(changes.label, *changes.right).columns
    else:
        losses, costs = (class_costs.bounds(each.moderated, each.weights) for each in (changes.loss, changes.excess))
        columns = dict(zip(class_costs.LOSS_COLUMNS, losses, strict=False))
        columns |= dict(zip(class_costs.COST_COLUMNS, costs, strict=True))
    accuracy_loss = (arrays.accuracy_after[before] - arrays.accuracy_after[after]).mean()
    for place, name in enumerate(arrays.names[has]):
        yield {
            "accuracy_loss": accuracy_loss,
            "class": name,
            **{column: columns[column][place] for column in _SHOWN},
        }
