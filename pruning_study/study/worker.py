"""What a worker does: makes a step of a study, or finds it, and says how it went."""

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analysis.runs import retries, schema
from analysis.runs.errors import StudyError, first_line
from pruning_study.config import PruneConfig
from pruning_study.data.datasets import Dataset
from pruning_study.steps import dense
from pruning_study.steps import pruned as steps
from pruning_study.steps.dense import Dense
from pruning_study.steps.settings import PruneSetting
from pruning_study.study.plan import Source, Step, source
from pruning_study.tracking.store import Store

if TYPE_CHECKING:
    from pruning_study.study.cluster import StoredArray
    from pruning_study.study.processes import SharedArray

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a step went.

    Parameters
    ----------
    run_id : str
        Empty where it failed.
    found : bool
        Whether it was there already.
    metrics : dict of float
        Final ones.
    seconds : float
    error : str
        Empty where it did not fail.
    """

    run_id: str = ""
    found: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


class SharedDataset:
    """A data set in memory that all workers share.

    Parameters
    ----------
    data : Dataset
        Copied.
    array : callable
        Puts an array where the workers share it.
    """

    def __init__(self, data: Dataset, array: "Callable[[np.ndarray], SharedArray | StoredArray]") -> None:
        self._named = (data.name, data.classes, data.source)
        self._arrays = {name: array(getattr(data, name)) for name in ARRAYS}

    def dataset(self) -> Dataset:
        name, classes, where = self._named
        return Dataset(name, classes, **{key: array.numpy() for key, array in self._arrays.items()}, source=where)


class Maker:
    """Makes steps; between steps it keeps the dense model and the last setting, which the next one often needs too.

    Parameters
    ----------
    tracking_uri, experiment_id : str
        Where runs go.
    study_run_id : str
        The study that asks for them.
    data : mapping of SharedDataset
    """

    def __init__(
        self, tracking_uri: str, experiment_id: str, study_run_id: str, data: Mapping[Source, SharedDataset]
    ) -> None:
        self._where = (tracking_uri, experiment_id)
        self._study_run_id = study_run_id
        self._shared = data
        self._data: dict[Source, Dataset] = {}
        self._store: Store | None = None
        self._setting: tuple[Any, PruneSetting] | None = None
        self._dense: Dense | None = None

    def __call__(self, step: Step) -> Outcome:
        # The last digits depend on the number of threads: with one, how many workers there are changes nothing.
        torch.set_num_threads(1)
        start = time.perf_counter()
        try:
            result = self._made(step)
        except StudyError as error:
            return Outcome(error=first_line(error), seconds=time.perf_counter() - start)
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {first_line(error)}"
            return Outcome(error=reason, seconds=time.perf_counter() - start)
        return Outcome(result.run_id, result.found, result.metrics, time.perf_counter() - start)

    def _made(self, step: Step) -> Dense | steps.Pruned:
        if self._store is None:
            self._store = Store(retries.client(self._where[0]), *self._where, None)
        setting = self._setting_of(step.config)
        if self._dense is None or self._dense.config_hash != step.dense_hash:
            self._dense = None
            self._dense = dense.train(self._store, self._study_run_id, setting)
        if step.kind == schema.DENSE:
            return self._dense
        return steps.prune(self._store, self._study_run_id, setting, self._dense, step.config.ratio[0])

    def _setting_of(self, config: PruneConfig) -> PruneSetting:
        but_ratio = replace(config, ratio=(1.0,))
        if self._setting is None or self._setting[0] != but_ratio:
            self._setting = None
            self._setting = (but_ratio, PruneSetting(but_ratio, self._dataset(source(config))))
        return self._setting[1]

    def _dataset(self, of: Source) -> Dataset:
        if of not in self._data:
            self._data[of] = self._shared[of].dataset()
        return self._data[of]
