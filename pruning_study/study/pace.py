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
from pruning_study.training.loop import fit
from pruning_study.training.recipes import Phase

Group = tuple[str, str]  # data set, model


class Pace:
    """Training images per second of one worker, by data set and model."""

    def __init__(self) -> None:
        self._images: dict[Group, float] = defaultdict(float)
        self._seconds: dict[Group, float] = defaultdict(float)

    def add(self, group: Group, images: float, seconds: float) -> None:
        """Take into account that so many images took a worker so long."""
        self._images[group] += images
        self._seconds[group] += seconds

    def seconds(self, steps: Iterable[Step]) -> float | None:
        """How long steps would take one worker; None where nothing is known of one of them."""
        total = 0.0
        for step in steps:
            images = self._images[group(step)]
            if step.images is None or not images:
                return None
            total += step.images * self._seconds[group(step)] / images
        return total


def group(step: Step) -> Group:
    """What steps with one pace have in common."""
    return step.dataset, step.config.model


def duration(seconds: float | None) -> str:
    """Seconds as one reads them: `2 h 05 min`, `3 min`, `12 s`; `unknown` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60:02} min"


def measured_pace(planned: Plan, steps: Sequence[Step]) -> Pace:
    """The pace of a second's training for each data set and model that is here.

    Parameters
    ----------
    planned : Plan
    steps : sequence of Step
        Those that are to be made.
    """
    pace = Pace()
    for step in {group(step): step for step in steps if step.images}.values():
        setting = PruneSetting(replace(step.config, ratio=(1.0,)), planned.data[plan.source(step.config)])
        torch.set_num_threads(1)  # as workers have
        batch = setting.schedule.batch_size
        with suppress(StudyError):  # one that diverges has no pace
            first = _images_per_second(setting, batch)
            pace.add(group(step), _images_per_second(setting, max(batch, int(first))), 1.0)
    return pace


def _images_per_second(setting: PruneSetting, images: int) -> float:
    return fit(
        copy.deepcopy(setting.model).to(setting.device),
        _first(setting.train, images),
        _first(setting.validation, setting.schedule.batch_size),
        replace(setting.schedule, phases=(Phase(1, setting.schedule.learning_rate),)),
        seed=0,
        stream="measurement",
        black=setting.normalization.black,
        engine=setting.engine,
    ).images_per_second


def _first(examples: Examples, count: int) -> Examples:
    return Examples(examples.images[:count], examples.labels[:count])
