"""Measure what steps cost: workers train, evaluate and log a few small runs, which are then thrown away."""

import copy
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from analysis.common.errors import StudyError
from analysis.runs import retries
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import ONE_SHOT, IterateConfig, PruneConfig
from pruning_study.steps import dense, pruned
from pruning_study.steps.resolved import resolve_training
from pruning_study.steps.settings import PruneSetting
from pruning_study.study import plan
from pruning_study.study.grid import Config
from pruning_study.study.pace import Costs, MeasuredCosts, workload
from pruning_study.study.plan import Plan, Source, Step, source
from pruning_study.study.processes import Processes, SharedMemory
from pruning_study.study.worker import SharedDataset
from pruning_study.tracking import reach, scratch
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import loss_and_accuracy
from pruning_study.training.loop import Training, fit
from pruning_study.training.recipes import Phase

SECONDS = 0.5  # of training, and of evaluation
FEW = 3  # images of each class in a run that is made to see what a run costs

log = logging.getLogger(__name__)


def measured_costs(planned: Plan, steps: Sequence[Step], workers: int, since: float) -> MeasuredCosts:
    """Measure what each data set and model costs, with as many workers as the study will have.

    Parameters
    ----------
    planned : Plan
    steps : sequence of Step
        The steps that are to be made.
    workers : int
    since : float
        `time.monotonic()` when the command was called, from which the start is counted.
    """
    configs = {workload(step): step.config for step in reversed(steps) if step.trained is not None}
    if not configs:
        return MeasuredCosts(0.0, {})
    data = {source(config): SharedDataset(_batch(planned, config), SharedMemory) for config in configs.values()}
    with scratch.folder() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        with reach.one_line_errors(uri):
            experiment_id = reach.client(uri).create_experiment("probe", (folder / "artifacts").as_uri())
        start = time.monotonic() - since
        with Processes(workers, _Probe(uri, experiment_id, data), log.info) as pool:
            measured = {key: _measured(pool, config, workers) for key, config in configs.items()}
    starts = [start + probed.start for probed in next(iter(measured.values()))]
    return MeasuredCosts(max(starts, default=start), {key: _mean(each) for key, each in measured.items() if each})


class _Probed(NamedTuple):
    start: float
    costs: Costs


def _mean(probed: Sequence[_Probed]) -> Costs:
    return Costs(*map(mean, zip(*(each.costs for each in probed), strict=True)))


def _measured(pool: Processes, config: Config, workers: int) -> list[_Probed]:
    """Let all workers measure the same at once; what a worker cannot measure is left out."""
    now = time.time()
    for number in pool.idle():
        pool.give(number, _Task(config, number, now))
    results: list[object] = []
    while len(results) < workers:
        results += [result for _, _, result in pool.results()]
    return [result for result in results if isinstance(result, _Probed)]


def _batch(planned: Plan, config: Config) -> Dataset:
    """Return images for one batch, and for validation and testing."""
    data = planned.data[source(config)]
    batch_size = resolve_training(config).hyperparameters.batch_size
    return _sample(data, max(FEW, math.ceil(1.5 * batch_size / len(data.classes))))


def _sample(data: Dataset, count: int) -> Dataset:
    """Return the first images of each class, as many of the training images as of the test images."""
    train, test = (_first(labels, count, len(data.classes)) for labels in (data.train_labels, data.test_labels))
    return replace(
        data,
        train_images=data.train_images[train],
        train_labels=data.train_labels[train],
        test_images=data.test_images[test],
        test_labels=data.test_labels[test],
        validation_indices=None,
        train_entropies=None,
    )


def _first(labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """Return the indices of the first images of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(classes)]))


@dataclass(frozen=True)
class _Task:
    """What a worker measures: a config, the worker's number, and the time at which it was asked."""

    config: Config
    number: int
    asked: float


@dataclass
class _Probe:
    """What a worker does: measure a task, with runs in a store of the measurement's own."""

    uri: str
    experiment_id: str
    data: Mapping[Source, SharedDataset]

    def __call__(self, task: _Task) -> _Probed | None:
        begun = time.time()
        torch.set_num_threads(1)  # as workers have
        try:
            return self._probed(task, begun)
        except (StudyError, OSError) as error:  # a training that diverges costs nothing that is known
            log.info("%s: %s", task.config.model, error)
            return None

    def _probed(self, task: _Task, begun: float) -> _Probed:
        data = self.data[source(task.config)].dataset()
        store = Store(retries.client(self.uri), self.uri, self.experiment_id)
        trained, predicted = _seconds_per_image(PruneSetting(_short(task.config, 0), data))
        few = _sample(data, FEW)
        first, second = (PruneSetting(_short(task.config, 2 * task.number + again), few) for again in range(2))
        cold, warm = _seconds_of_runs(store, first), _seconds_of_runs(store, second)
        of_images = Costs(0.0, 0.0, trained, predicted)
        dense_run, pruned_run = (
            max(took - (of_images.seconds(step) or 0), 0) for took, step in zip(warm, _steps(second), strict=True)
        )
        start = begun - task.asked + sum(cold) - sum(warm)
        return _Probed(start, Costs(dense_run, pruned_run, trained, predicted))


def _short(config: Config, seed: int) -> PruneConfig:
    """Return options of a run that trains for one epoch, in which there is no room for gradual pruning.

    Its few images of each class are too few for class offsets and data quotas too.
    """
    return replace(
        config.pruning if isinstance(config, IterateConfig) else config,
        seed=seed,
        weights=None,
        epochs=1,
        fine_tune_epochs=1,
        schedule=ONE_SHOT,
        start="dense",
        begin=None,
        end=None,
        frequency=None,
        distill=0.0,
        data_quotas="none",
        class_offsets="none",
        force=False,
    )


def _steps(setting: PruneSetting) -> tuple[Step, Step]:
    step = plan.dense_step(setting.config, setting)
    return step, plan.pruned_step(setting.config, setting, step)


def _seconds_of_runs(store: Store, setting: PruneSetting) -> tuple[float, float]:
    """Make a dense run and a pruned one, and return what each took."""
    start = time.perf_counter()
    parent = dense.train(store, "0", setting)
    middle = time.perf_counter()
    pruned.prune(store, "0", setting, parent, setting.config.ratio[0])
    return middle - start, time.perf_counter() - middle


def _seconds_per_image(setting: PruneSetting) -> tuple[float, float]:
    """Return what an image takes in training and in evaluation."""
    model = copy.deepcopy(setting.model).to(setting.device)
    speed = _images_per_second(model, setting, epochs=1)  # the first epoch takes longer
    speed = _images_per_second(model, setting, epochs=max(1, int(SECONDS * speed / len(setting.train))))
    loss_and_accuracy(model, setting.test, setting.engine)
    start, images = time.perf_counter(), 0
    while time.perf_counter() < start + SECONDS:
        loss_and_accuracy(model, setting.test, setting.engine)
        images += len(setting.test)
    return 1 / speed, (time.perf_counter() - start) / images


def _images_per_second(model: nn.Module, setting: PruneSetting, epochs: int) -> float:
    hyperparameters = setting.training.hyperparameters
    training = Training(
        setting.train,
        setting.validation,
        replace(hyperparameters, phases=(Phase(epochs, hyperparameters.learning_rate),)),
        seed=0,
        stream="probe",
        black=setting.normalization.black,
        engine=setting.engine,
    )
    return fit(model, training).images_per_second
