"""Read the predictions of a study's networks once, and cache results for pairs of networks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.runs.frames import ReadPredictions
from analysis.statistics import intensification
from analysis.statistics.new_images import PooledSlope, SlopeParts, pooled_slope, slope_parts
from analysis.statistics.recalls import class_metrics
from analysis.statistics.votes import Modes, modes

OTHER_METRICS = ("precision", "f1")


class StudyPredictions:
    """The predictions of a study's networks.

    Parameters
    ----------
    read : callable
        Takes run ids and returns the runs' predictions, as `analysis.runs.pull.predictions` does. It is called for all
        networks of a cell at once.
    """

    def __init__(self, read: ReadPredictions) -> None:
        self._read = read
        self._networks: dict[str, NetworkPredictions | None] = {}
        self._images: dict[bytes, LabelledImages] = {}
        self._pairs: dict[tuple[tuple[str, ...], tuple[str, ...]], Pairs | None] = {}
        self._modes: dict[tuple[str, ...], Modes] = {}

    @classmethod
    def shared(cls, predictions: "ReadPredictions | StudyPredictions | None") -> "StudyPredictions | None":
        """Wrap a reader to cache its predictions; None and a reader that is already wrapped are returned unchanged."""
        return predictions if predictions is None or isinstance(predictions, StudyPredictions) else cls(predictions)

    def of_runs(self, runs: pd.DataFrame) -> "Pairs | None":
        """Return the predictions of the given runs (after) and of their dense runs (before), as `of_pairs` does."""
        return self.of_pairs(runs[schema.DENSE_RUN_ID], runs[frames.RUN_ID])

    def of_pairs(self, before: Iterable[str], after: Iterable[str]) -> "Pairs | None":
        """Return the predictions of pairs of runs, or None if some are missing or not for the same images."""
        ids = tuple(before), tuple(after)
        if ids not in self._pairs:
            self._pairs[ids] = self._paired(*ids)
        return self._pairs[ids]

    def modes(self, run_ids: Iterable[str]) -> Modes:
        """Return the most frequent predictions of networks that `of_pairs` has already read."""
        ids = tuple(run_ids)
        if ids not in self._modes:
            networks = [network for network in map(self._networks.get, ids) if network]
            self._modes[ids] = modes(np.stack([network.predicted for network in networks]))
        return self._modes[ids]

    @property
    def missing(self) -> list[str]:
        """Ids of the runs whose predictions were not found, or an empty list if no run's predictions were found."""
        missing = [run_id for run_id, network in self._networks.items() if network is None]
        return missing if len(missing) < len(self._networks) else []

    @property
    def none_found(self) -> bool:
        """Whether no run's predictions were found."""
        return not any(self._networks.values())

    def lack(self, runs: pd.DataFrame) -> bool:
        """Return whether `of_runs` did not find the predictions of some of the given runs or of their dense runs."""
        ids = runs[[schema.DENSE_RUN_ID, frames.RUN_ID]].to_numpy().ravel()
        return any(self._networks[run_id] is None for run_id in ids)

    def _paired(self, before: Sequence[str], after: Sequence[str]) -> "Pairs | None":
        run_ids = list(dict.fromkeys([*before, *after]))
        if any(run_id not in self._networks for run_id in run_ids):
            networks = self._read(run_ids)  # all, because a pruned run is checked with its dense run
            for run_id in run_ids:
                if run_id not in self._networks:
                    self._networks[run_id] = self._network(networks[run_id]) if run_id in networks else None
        sides = [[self._networks[run_id] for run_id in side] for side in (before, after)]
        present = [[network for network in side if network] for side in sides]
        if sides != present or len({id(network.images) for side in present for network in side}) != 1:
            return None
        return Pairs(present[0][0].images, *present)

    def _network(self, arrays: Mapping[str, np.ndarray]) -> "NetworkPredictions":
        label, predicted = np.asarray(arrays[schema.LABEL]), arrays[schema.PREDICTED]
        key = label.tobytes()
        if key not in self._images:
            self._images[key] = LabelledImages(label, np.unique(label, return_inverse=True)[1])
        metrics = class_metrics(label, predicted, int(max(label.max(), predicted.max())) + 1)
        tested = metrics.support > 0
        return NetworkPredictions(
            self._images[key],
            predicted.astype(np.min_scalar_type(predicted.max())),
            predicted == label,
            metrics.precision[tested],
            metrics.f1[tested],
            arrays.get(frames.IN_TOP5),
        )


class LabelledImages(NamedTuple):
    """The test images of a data set, whose labels may skip numbers.

    Attributes
    ----------
    label : (images,)
    place : (images,)
        The labels renumbered from 0 without gaps.
    """

    label: np.ndarray
    place: np.ndarray


class NetworkPredictions(NamedTuple):
    """The predictions of a network.

    Attributes
    ----------
    images : LabelledImages
    predicted : (images,), integers
    right : (images,), bool
    precision, f1 : (labels,)
        For the labels that have images.
    in_top5 : (images,), bool, optional
        Whether the label is among the network's five most probable classes.
    """

    images: LabelledImages
    predicted: np.ndarray
    right: np.ndarray
    precision: np.ndarray
    f1: np.ndarray
    in_top5: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Pairs:
    """The predictions of pairs of networks, before and after, for the same images."""

    images: LabelledImages
    before: Sequence[NetworkPredictions]
    after: Sequence[NetworkPredictions]

    @property
    def predicted(self) -> tuple[np.ndarray, np.ndarray]:
        """The class that each network predicts for each image, before and after, each (networks, images)."""
        before, after = (np.stack([network.predicted for network in side]) for side in (self.before, self.after))
        return before, after

    @property
    def dense(self) -> np.ndarray:
        """Predictions of the networks before pruning, without duplicate networks, (distinct networks, images)."""
        return np.stack([network.predicted for network in self._once])

    @property
    def _once(self) -> Sequence[NetworkPredictions]:
        return list({id(each): each for each in self.before}.values())

    @property
    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether each network classifies each image correctly, before and after, each (networks, images)."""
        before, after = (np.stack([network.right for network in side]) for side in (self.before, self.after))
        return before, after

    @property
    def in_top5(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Share of networks with each image's label in their top five, before (each network once) and after.

        Each is (images,). None unless known for all networks.
        """
        sides = [[network.in_top5 for network in side] for side in (self._once, self.after)]
        present = [[answers for answers in side if answers is not None] for side in sides]
        if list(map(len, present)) != list(map(len, sides)):
            return None
        before, after = (np.mean(side, axis=0) for side in present)
        return before, after

    @property
    def other_slopes(self) -> dict[str, np.ndarray]:
        """Slopes of precision and F1, each (networks,), to compare with slopes of recall (Good et al., Section 4)."""
        balances = {name: map(intensification.mean_balance, self.metric(name)) for name in OTHER_METRICS}
        return {name: intensification.alpha(*both) for name, both in balances.items()}

    @cached_property
    def slope_parts(self) -> SlopeParts:
        """The parts of alpha_new for every pair."""
        return slope_parts(self.images.label, *self.right)

    @cached_property
    def pooled(self) -> PooledSlope:
        """alpha_new pooled over all pairs."""
        return pooled_slope(self.slope_parts)

    def metric(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return precision or f1 of each label that has images, before and after, each (networks, labels)."""
        sides = ([getattr(network, name) for network in side] for side in (self.before, self.after))
        # This order in memory makes sums over labels round as in the stored results.
        before, after = (np.column_stack(values).T for values in sides)
        return before, after
