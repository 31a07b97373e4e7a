"""Check predictions against the logged recalls of their runs, and refuse predictions that contradict them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.runs import checks, frames, schema
from analysis.runs.frames import RECALL_AFTER, RECALL_BEFORE, RUN_ID, ReadPredictions, class_names

# Logged recalls that were rounded to three digits differ from recalls computed from predictions by at most this.
_ROUNDING = 0.002


class CheckedPredictions:
    """Read predictions, without those that contradict the recalls of their runs.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.
    predictions : callable
        See `frames.ReadPredictions`.
    """

    def __init__(self, runs: pd.DataFrame, predictions: ReadPredictions) -> None:
        self._predictions = predictions
        names = np.array(class_names(runs))
        logged = runs.reindex(columns=[schema.CLASS_NAMES]).astype(object).iloc[:, 0]
        orders = [None if pd.isna(order) else order for order in logged]
        self._recall: dict[str, np.ndarray] = {}
        for column, group in ((schema.DENSE_RUN_ID, RECALL_BEFORE), (RUN_ID, RECALL_AFTER)):
            recalls = runs.reindex(columns=[group + name for name in names]).to_numpy(float)
            for run_id, order, recall in zip(runs[column], orders, recalls, strict=True):
                has = ~np.isnan(recall)
                self._recall[run_id] = recall[has][frames.order_of_labels(order, tuple(map(str, names[has])))]
        self._refused: set[str] = set()

    def __call__(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[str, np.ndarray]]:
        predictions = self._predictions(run_ids)
        sound = {
            run_id: own
            for run_id, own in predictions.items()
            if run_id not in self._recall or _agree(own[schema.LABEL], own[schema.PREDICTED], self._recall[run_id])
        }
        self._refused |= predictions.keys() - sound.keys()
        return sound

    @property
    def notes(self) -> list[str]:
        """A list with a sentence on the predictions that were refused, or an empty list."""
        count = f"{len(self._refused):,} run{'s' if len(self._refused) > 1 else ''}"
        reason = f"they contradict the recalls that the runs have logged: {checks.some(sorted(self._refused))}"
        return [f"{schema.PREDICTIONS} of {count} not used, {reason}"] if self._refused else []


def _agree(label: np.ndarray, predicted: np.ndarray, recall: np.ndarray) -> bool:
    """Return whether the recalls of labels that have images, (labels,), are those of the predictions, (images,)."""
    images, right = np.bincount(label), np.bincount(label, predicted == label)
    shares = right[images > 0] / images[images > 0]
    return shares.shape == recall.shape and bool((np.abs(shares - recall) <= _ROUNDING).all())
