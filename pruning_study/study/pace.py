"""How fast workers train, and how long the rest of a study takes."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import torch

from analysis.runs.errors import StudyError
from pruning_study.data.examples import Examples
from pruning_study.steps.settings import PruneSetting
from pruning_study.study import plan
from pruning_study.study.plan import Plan, Step
from pruning_study.training.loop import Training, fit
from pruning_study.training.recipes import Phase

Workload = tuple[str, str]  # data set, model


class Pace:
    """Training images that one worker goes through in a second, by data set and model."""

    def __init__(self) -> None:
        self._images: dict[Workload, float] = defaultdict(float)
        self._seconds: dict[Workload, float] = defaultdict(float)

    def add(self, workload: Workload, images: float, seconds: float) -> None:
        """Record that a worker took some seconds for some images."""
        self._images[workload] += images
        self._seconds[workload] += seconds

    def seconds(self, steps: Iterable[Step]) -> float | None:
        """Return how long one worker would take for some steps; None if the pace of one of them is unknown."""
        total = 0.0
        for step in steps:
            images = self._images[workload(step)]
            if step.images is None or not images:
                return None
            total += step.images * self._seconds[workload(step)] / images
        return total


def workload(step: Step) -> Workload:
    """Return data set and model of a step; steps that agree in both have the same pace."""
    return step.dataset, step.config.model


def duration(seconds: float | None) -> str:
    """Return a duration as text: `2 h 05 min`, `3 min`, `12 s`; `unknown` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60:02} min"


def measured_pace(planned: Plan, steps: Sequence[Step]) -> Pace:
    """Measure the pace of each data set and model that is on this machine, by a second of training.

    Parameters
    ----------
    planned : Plan
    steps : sequence of Step
        The steps that are to be made.
    """
    pace = Pace()
    for step in {workload(step): step for step in steps if step.images}.values():
        setting = PruneSetting(replace(step.config, ratio=(1.0,)), planned.data[plan.source(step.config)])
        torch.set_num_threads(1)  # as workers have
        batch = setting.training.hyperparameters.batch_size
        with suppress(StudyError):  # a training that diverges has no pace
            first = _images_per_second(setting, batch)
            pace.add(workload(step), _images_per_second(setting, max(batch, int(first))), 1.0)
    return pace


def _images_per_second(setting: PruneSetting, images: int) -> float:
    training = Training(
        _first(setting.train, images),
        _first(setting.validation, setting.training.hyperparameters.batch_size),
        replace(setting.training.hyperparameters, phases=(Phase(1, setting.training.hyperparameters.learning_rate),)),
        seed=0,
        stream="measurement",
        black=setting.normalization.black,
        engine=setting.engine,
    )
    return fit(copy.deepcopy(setting.model).to(setting.device), training).images_per_second


def _first(examples: Examples, count: int) -> Examples:
    return Examples(examples.images[:count], examples.labels[:count])
