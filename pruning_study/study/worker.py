"""The worker of a study, which finds or makes the run of a step and returns the outcome."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Protocol

import numpy as np
import torch

from analysis.common import masking
from analysis.common.errors import StudyError, first_line
from analysis.runs import retries, schema
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import PruneConfig
from pruning_study.steps import dense, iterated, pruned
from pruning_study.steps.context import JobContext
from pruning_study.steps.iterated import Chain
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import Pruning
from pruning_study.steps.runs import FinishedRun, LoadedRun, load
from pruning_study.study.grid import Config
from pruning_study.study.plan import Source, Step, plan_of, source
from pruning_study.study.queue import FAILED, FOUND, MADE, StepOutcome
from pruning_study.tracking.store import Store

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
# Number of models that a worker keeps in memory: the parent of a step, the run made from it, and one more.
KEPT_MODELS = 3

log = logging.getLogger(__name__)


class SharedArray(Protocol):
    """An array in memory that several processes read."""

    def numpy(self) -> np.ndarray:
        """Return the array itself, not a copy."""


class SharedDataset:
    """A data set in memory that all workers share.

    Parameters
    ----------
    data : Dataset
        Its arrays are passed to `share`.
    share : callable
        Puts an array where all workers can read it.
    """

    def __init__(self, data: Dataset, share: Callable[[np.ndarray], SharedArray]) -> None:
        self._rest: dict[str, Any] = {
            item.name: getattr(data, item.name) for item in fields(data) if item.name not in ARRAYS
        }
        self._arrays = {name: share(getattr(data, name)) for name in ARRAYS}

    def dataset(self) -> Dataset:
        arrays: dict[str, Any] = {name: array.numpy() for name, array in self._arrays.items()}
        return Dataset(**self._rest, **arrays)


class Worker:
    """Make steps. The last plan and the last models stay in memory, because the next step often needs them.

    Parameters
    ----------
    tracking_uri, experiment_id : str
        Store and experiment that runs are written to.
    study, study_run_id : str
        Name and run of the study to which the steps belong.
    data : mapping of SharedDataset
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment_id: str,
        study: str,
        study_run_id: str,
        data: Mapping[Source, SharedDataset],
    ) -> None:
        self._where = (tracking_uri, experiment_id)
        self._study, self._study_run_id = study, study_run_id
        self._shared = data
        self._data: dict[Source, Dataset] = {}
        self._store: Store | None = None
        self._planned: tuple[Config, Pruning, JobContext] | None = None
        self._models: dict[str, LoadedRun] = {}

    def __call__(self, step: Step) -> StepOutcome:
        # The last digits of results depend on the number of threads, which is therefore 1 for any number of workers.
        torch.set_num_threads(1)
        start = time.perf_counter()
        try:
            run = self._run(step)
        except (StudyError, OSError) as error:
            return StepOutcome(FAILED, error=first_line(error), seconds=time.perf_counter() - start)
        except Exception as error:
            masking.print_traceback(error)
            reason = f"{type(error).__name__}: {first_line(error)}"
            return StepOutcome(FAILED, error=reason, seconds=time.perf_counter() - start)
        state = FOUND if run.is_reused else MADE
        return StepOutcome(state, run.run_id, metrics=run.metrics, seconds=time.perf_counter() - start)

    def _run(self, step: Step) -> FinishedRun:
        plan, context = self._plan(step.config)
        if step.kind == schema.DENSE:
            run: FinishedRun = dense.train(plan.dense, context)
        else:
            run = self._pruned(plan, context, self._parent(step.parent_hash, plan, context), step.config)
        self._keep(run)
        return run

    def _pruned(self, plan: Pruning, context: JobContext, parent: LoadedRun, config: Config) -> FinishedRun:
        if isinstance(plan, Chain):
            return iterated.level(plan, context, parent)
        assert isinstance(config, PruneConfig)
        return pruned.prune(plan.at(config.ratio[0]), context, parent)

    def _parent(self, parent_hash: str, plan: Pruning, context: JobContext) -> LoadedRun:
        """Return the run that a step starts from, which is in memory, in the store, or made again.

        A dense run or a level of iterative pruning that is missing or damaged is made again.
        """
        parent = self._models.get(parent_hash)
        if parent is None and parent_hash == plan.dense.hash:
            parent = dense.train(plan.dense, context)
        parent = parent or _load_stored(parent_hash, plan, context)
        parent = parent or _level(parent_hash, plan, context)
        self._keep(parent)
        return parent

    def _keep(self, run: FinishedRun) -> None:
        """Keep a run in memory as the most recently used, and drop the least recently used if there are too many."""
        if isinstance(run, LoadedRun):
            self._models.pop(run.config_hash, None)
            self._models[run.config_hash] = run
            while len(self._models) > KEPT_MODELS:
                del self._models[next(iter(self._models))]

    def _plan(self, config: Config) -> tuple[Pruning, JobContext]:
        but_ratio = replace(config, ratio=(1.0,)) if isinstance(config, PruneConfig) else config
        if self._planned is None or self._planned[0] != but_ratio:
            self._planned = None
            if self._store is None:
                self._store = Store(retries.client(self._where[0]), *self._where)
            in_memory = load_context(but_ratio, self._dataset(source(config)))
            context = JobContext(in_memory, self._store, self._study_run_id, self._study)
            self._planned = (but_ratio, plan_of(but_ratio, context), context)
        return self._planned[1:]

    def _dataset(self, key: Source) -> Dataset:
        if key not in self._data:
            self._data[key] = self._shared[key].dataset()
        return self._data[key]


def _load_stored(config_hash: str, plan: Pruning, context: JobContext) -> LoadedRun | None:
    for run in context.store.find(config_hash):
        try:
            return load(context.store, run, plan.dense, context)
        except StudyError as error:
            log.warning("run %s cannot be loaded: %s", run.info.run_id, error)
    return None


def _level(level_hash: str, plan: Pruning, context: JobContext) -> LoadedRun:
    """Find or make a level of iterative pruning, and all levels before it."""
    if isinstance(plan, Chain):
        for run in iterated.levels(plan, context, dense.train(plan.dense, context)):
            if run.config_hash == level_hash:
                return run
    raise StudyError(
        "the run that this step starts from is missing or damaged: delete that run if it exists, and try again"
    )
