"""Check predictions against the logged recalls of their runs, and refuse predictions that contradict them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import checks, frames, schema
from analysis.runs.frames import BY_CLASS, RUN_ID, ReadPredictions, class_names

# Logged recalls that were rounded to three digits differ from recalls computed from predictions by at most this.
_ROUNDING = 0.002
_OTHER_LABELS = "the labels of their test images are not those of other runs of the data set"
_OTHER_RECALLS = "they contradict the recalls that the runs have logged"
_OTHER_ORDER = f"they contradict {schema.BOTH_RIGHT}<class>, as predictions in another order of the images would"


class _DataSet(NamedTuple):
    """The test images of a data set.

    Attributes
    ----------
    label : (images,)
    images : (labels,)
        Number of images of each label.
    """

    label: np.ndarray
    images: np.ndarray

    def right(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return whether a network classifies each image correctly, (images,)."""
        return arrays[schema.PREDICTED] == self.label

    def shares(self, right: np.ndarray) -> np.ndarray:
        """Compute the share of correct predictions for each label that has images; `right` is (images,)."""
        counts = np.bincount(self.label, right, minlength=len(self.images))
        return (counts / np.maximum(self.images, 1))[self.images > 0]


class CheckedPredictions:
    """Read predictions, without those that contradict their runs or the other predictions of the data set.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.
    predictions : callable
        See `frames.ReadPredictions`.
    """

    def __init__(self, runs: pd.DataFrame, predictions: ReadPredictions) -> None:
        self._predictions = predictions
        columns = [frames.column(name) for name in (schema.DATASET, schema.DATASET_DIGEST)]
        number = runs.groupby([name for name in columns if name in runs], dropna=False).ngroup()
        names = class_names(runs)
        before, after, _, both_right = (
            runs.reindex(columns=[group + name for name in names]).to_numpy(float) for group in BY_CLASS
        )
        logged = runs.reindex(columns=[schema.CLASS_NAMES]).astype(object).iloc[:, 0]
        classes = [(None if pd.isna(order) else order, np.array(names)) for order in logged]
        before, after, both_right = (
            [_by_label(*own, values) for own, values in zip(classes, side, strict=True)]
            for side in (before, after, both_right)
        )
        dense, run_ids = runs[schema.DENSE_RUN_ID], runs[RUN_ID]
        self._data_set = dict(zip([*dense, *run_ids], [*number, *number], strict=True))
        self._recall = dict(zip([*dense, *run_ids], [*before, *after], strict=True))
        self._pairs = dict(zip(run_ids, zip(dense, both_right, strict=True), strict=True))
        self._data_sets: dict[int, _DataSet] = {}
        self._accepted: set[str] = set()
        self._refused: dict[str, set[str]] = defaultdict(set)

    def __call__(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[str, np.ndarray]]:
        predictions = dict(self._predictions(run_ids))
        own = defaultdict(list)
        for run_id in predictions:
            if run_id in self._data_set:
                own[self._data_set[run_id]].append(run_id)
        for data_set, members in own.items():
            refused_ids = self._check(data_set, {run_id: predictions[run_id] for run_id in members})
            predictions = {run_id: arrays for run_id, arrays in predictions.items() if run_id not in refused_ids}
        return predictions

    @property
    def notes(self) -> list[str]:
        """Sentences on the predictions that were refused."""
        return [
            f"{schema.PREDICTIONS} of {len(run_ids):,} run{'s' if len(run_ids) > 1 else ''} not used, {reason}: "
            f"{checks.some(sorted(run_ids))}"
            for reason, run_ids in self._refused.items()
        ]

    def _check(self, data_set: int, predictions: Mapping[str, Mapping[str, np.ndarray]]) -> set[str]:
        """Return the runs of one data set whose predictions are refused."""
        if data_set not in self._data_sets:
            self._data_sets[data_set] = _data_set(predictions)
        reference = self._data_sets[data_set]
        new = [run_id for run_id in predictions if run_id not in self._accepted]
        with_same_labels = [
            run_id for run_id in new if np.array_equal(predictions[run_id][schema.LABEL], reference.label)
        ]
        sound = [
            run_id
            for run_id in with_same_labels
            if _near(reference.shares(reference.right(predictions[run_id])), self._recall[run_id])
        ]
        known_dense = self._accepted.union(sound)
        fits = [
            run_id
            for run_id in sound
            if self._dense_run(run_id) not in known_dense.intersection(predictions)
            or self._fits(run_id, predictions, reference)
        ]
        self._accepted.update(fits)
        for reason, before, after in (
            (_OTHER_LABELS, new, with_same_labels),
            (_OTHER_RECALLS, with_same_labels, sound),
            (_OTHER_ORDER, sound, fits),
        ):
            if refused_ids := set(before) - set(after):
                self._refused[reason] |= refused_ids
        return set(new) - set(fits)

    def _dense_run(self, run_id: str) -> str:
        return self._pairs[run_id][0] if run_id in self._pairs else ""

    def _fits(self, run_id: str, predictions: Mapping[str, Mapping[str, np.ndarray]], reference: _DataSet) -> bool:
        """Return whether predictions match the logged share of images that the run and its dense run both get right."""
        dense, both_right = self._pairs[run_id]
        right = reference.right(predictions[run_id]) & reference.right(predictions[dense])
        return not len(both_right) or _near(reference.shares(right), both_right)


def _data_set(predictions: Mapping[str, Mapping[str, np.ndarray]]) -> _DataSet:
    """Make a data set with the labels that most of these runs have."""
    labels = {run_id: arrays[schema.LABEL].tobytes() for run_id, arrays in predictions.items()}
    (most, _), *_ = Counter(labels.values()).most_common(1)
    first = next(run_id for run_id, label in labels.items() if label == most)
    label = predictions[first][schema.LABEL]
    return _DataSet(label, np.bincount(label))


def _by_label(logged: str | None, names: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the values of a run's classes in the order of their labels."""
    has = ~np.isnan(values)
    return values[has][frames.order_of_labels(logged, tuple(map(str, names[has])))]


def _near(values: np.ndarray, references: np.ndarray) -> bool:
    return values.shape == references.shape and bool((np.abs(values - references) <= _ROUNDING).all())
