"""Store runs as arrays, and find the rows of each cell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.runs.frames import BY_CLASS, RECALL_AFTER, RECALL_BEFORE, class_names
from analysis.statistics import intensification
from analysis.statistics.intensification import largest_excess_floor
from analysis.statistics.recalls import Recalls
from analysis.statistics.weak_networks import WeakDense, weak_dense
from analysis.study.labels import need_all_digits
from analysis.study.settings import (
    CELL,
    ITERATION,
    cell_columns,
    dense_networks,
    most_frequent,
    shown_settings,
)


@dataclass(frozen=True, eq=False)
class RunArrays:
    """Runs with their class recalls as arrays.

    Parameters
    ----------
    runs : DataFrame
        The runs, without columns for single classes.
    names : (classes of all data sets,), text
    shown : list of str
        As `shown_settings` returns it.
    exact : bool
        As `need_all_digits` returns it.
    before, after, support, both_right : (runs, classes of all data sets)
        NaN for a class that a run does not have.
    accuracy_before, accuracy_after : (runs,)
    at_chance : (runs,), bool
        Whether a network of the run is at chance, before or after pruning. Such runs count in all statistics but slopes
        and growths of the error.
    notes : list of str
        Sentences on runs that were left out.
    """

    runs: pd.DataFrame
    names: np.ndarray
    shown: list[str]
    exact: bool
    before: np.ndarray
    after: np.ndarray
    support: np.ndarray
    both_right: np.ndarray
    accuracy_before: np.ndarray
    accuracy_after: np.ndarray
    at_chance: np.ndarray
    notes: list[str]

    @property
    def cell_key(self) -> list[str]:
        """The columns that identify a cell in tables: `settings.CELL` and the shown settings."""
        return [*CELL, *self.shown]

    def balances(self, rows: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the normalised recall balance before and after, each (rows, classes)."""
        before, after = self.measured(rows, classes)
        return before.balance, after.balance

    def measured(self, rows: np.ndarray, classes: np.ndarray) -> tuple[Recalls, Recalls]:
        """Return the recalls before and after, each (rows, classes), with the accuracies."""
        part = np.ix_(rows, classes)
        before = Recalls(self.before[part], self.accuracy_before[rows])
        return before, Recalls(self.after[part], self.accuracy_after[rows])

    def floors(self, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Compute each row's floor of the largest excess loss, (rows,), by `largest_excess_floor`."""
        part = np.ix_(rows, classes)
        return largest_excess_floor(self.before[part], self.after[part], self.both_right[part], self.support[part])

    @cached_property
    def cells(self) -> list[np.ndarray]:
        """The rows of each cell, in sorted order of the cells."""
        return _positions(_cell_numbers(self.runs, self.shown))

    @cached_property
    def controls(self) -> np.ndarray:
        """The row of each run's control, as `control_rows` returns it."""
        return control_rows(self.runs)

    def with_control(self, rows: np.ndarray) -> np.ndarray:
        """Select the rows that have a control."""
        return rows[self.controls[rows] >= 0]

    def with_sloped_control(self, rows: np.ndarray) -> np.ndarray:
        """Select the rows with a control that is not at chance."""
        rows = self.with_control(rows)
        return rows[~self.at_chance[self.controls[rows]]]

    def class_sets(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each set of classes, the rows of the runs that have it, and the set as a mask."""
        yield from _class_sets(self.before)

    def classes_of(self, rows: np.ndarray) -> np.ndarray:
        """Return a mask of the classes in a cell, (classes of all data sets,), bool."""
        return ~np.isnan(self.before[rows[0]])

    def order_of_labels(self, row: int, classes: np.ndarray) -> np.ndarray:
        """Return the place among the given classes of each label's class in a run, as `frames.order_of_labels`."""
        logged = self.runs[schema.CLASS_NAMES].iloc[row] if schema.CLASS_NAMES in self.runs else None
        return frames.order_of_labels(None if pd.isna(logged) else logged, tuple(map(str, self.names[classes])))

    def sloped(self, rows: np.ndarray) -> np.ndarray:
        """Select the rows of a cell that have slopes: alpha is defined, and neither network of the run is at chance."""
        defined = np.isfinite(intensification.alpha(*self.balances(rows, self.classes_of(rows))))
        return rows[defined & ~self.at_chance[rows]]


def run_arrays(runs: pd.DataFrame) -> RunArrays:
    """Convert runs to arrays, leaving out runs whose classes differ from those of most runs of their cell."""
    names, shown = class_names(runs), shown_settings(runs)
    notes: list[str] = []
    runs = _with_cells_classes(runs, names, shown, notes)
    before, after, support, both_right = _by_class(runs, BY_CLASS)
    return RunArrays(
        runs[[name for name in runs.columns if not name.startswith(BY_CLASS)]],
        np.array(names),
        shown,
        need_all_digits(runs, shown),
        before,
        after,
        support,
        both_right,
        runs[frames.ACCURACY_BEFORE].to_numpy(float),
        runs[frames.ACCURACY_AFTER].to_numpy(float),
        runs_at_chance(runs),
        notes,
    )


def _by_class(runs: pd.DataFrame, groups: Sequence[str]) -> list[np.ndarray]:
    """Return groups of columns as arrays (runs, classes), NaN for classes that a run does not have."""
    names = class_names(runs)
    return [runs.reindex(columns=[group + name for name in names]).to_numpy(float) for group in groups]


def control_rows(runs: pd.DataFrame) -> np.ndarray:
    """Return the row of each run's control, (runs,); -1 for a run that names none."""
    return pd.Index(runs[frames.RUN_ID]).get_indexer(runs.reindex(columns=[schema.CONTROL_RUN_ID]).iloc[:, 0])


def dense_weakness(runs: pd.DataFrame) -> WeakDense:
    """Count the weak dense networks of runs."""
    runs = runs[~dense_networks(runs).duplicated()]
    before, support = _by_class(runs, (RECALL_BEFORE, schema.SUPPORT))
    return weak_dense(
        class_names(runs), before, _at_chance(before, runs[frames.ACCURACY_BEFORE].to_numpy(float), support)
    )


def runs_at_chance(runs: pd.DataFrame) -> np.ndarray:
    """Return whether each run has a network at chance, before or after pruning, (runs,)."""
    before, after, support = _by_class(runs, (RECALL_BEFORE, RECALL_AFTER, schema.SUPPORT))
    accuracies = (runs[name].to_numpy(float) for name in (frames.ACCURACY_BEFORE, frames.ACCURACY_AFTER))
    return _at_chance(before, next(accuracies), support) | _at_chance(after, next(accuracies), support)


def _at_chance(recall: np.ndarray, accuracy: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return whether the network of each run is at chance, (runs,)."""
    is_at_chance = np.zeros(len(recall), dtype=bool)
    for rows, classes in _class_sets(recall):
        supports, place = np.unique(support[np.ix_(rows, classes)], axis=0, return_inverse=True)
        for number, images in enumerate(supports):
            same = rows[place == number]
            recalls = Recalls(recall[np.ix_(same, classes)], accuracy[same])
            is_at_chance[same] = intensification.at_chance(recalls, None if np.isnan(images).any() else images)
    return is_at_chance


def recalls(runs: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return class names, and recalls before and after, (runs, classes), NaN for classes of other data sets."""
    before, after = _by_class(runs, (RECALL_BEFORE, RECALL_AFTER))
    return class_names(runs), before, after


def common_support(support: np.ndarray) -> np.ndarray | None:
    """Return the number of test images per class, (classes,), or None if it is unknown or differs between runs."""
    return support[0] if len(support) and (support == support[0]).all() else None


def _with_cells_classes(runs: pd.DataFrame, names: list[str], shown: list[str], notes: list[str]) -> pd.DataFrame:
    runs = runs.reset_index(drop=True)
    has = runs[[RECALL_BEFORE + name for name in names]].notna().to_numpy()
    class_sets = _row_numbers(has)
    if not class_sets.any():
        return runs
    keys = pd.DataFrame({"cell": _cell_numbers(runs, shown), "class_set": class_sets, "row": runs.index})
    chosen_rows = most_frequent(keys, ["cell"], ["class_set"])["row"]
    if number_left_out := len(runs) - len(chosen_rows):
        notes.append(f"{number_left_out:,} runs left out, because most runs of their cell have other classes")
        runs = runs.loc[np.sort(chosen_rows)].reset_index(drop=True)
    return runs


def _cell_numbers(runs: pd.DataFrame, shown: list[str]) -> np.ndarray:
    columns = cell_columns(runs, shown)
    if ITERATION in columns:
        runs = runs.assign(**{ITERATION: runs[ITERATION].str.zfill(6)})  # 2 before 10
    return runs.groupby(columns, dropna=False).ngroup().to_numpy()


def _class_sets(before: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for each set of classes, the rows of the runs that have it, and the set as a mask."""
    has = ~np.isnan(before)
    for rows in _positions(_row_numbers(has)):
        yield rows, has[rows[0]]


def _row_numbers(has: np.ndarray) -> np.ndarray:
    """Number the distinct rows of a bool array, and return each row's number."""
    packed = np.ascontiguousarray(np.packbits(has, axis=1))
    return np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_inverse=True)[1]


def _positions(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the positions of each distinct number, in ascending order of the numbers."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
