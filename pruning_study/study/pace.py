"""How long steps take, one by one and together on several workers."""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from analysis.runs import schema
from pruning_study.study.plan import Step

Workload = tuple[str, str]  # data set, model
Key = tuple[object, ...]
Seconds = Callable[[Step], float | None]


class Costs(NamedTuple):
    """Seconds that the parts of a step take with one data set and model, while the other workers are busy too.

    Attributes
    ----------
    dense, pruned : float
        Everything of a run but the images: pictures, files, the tracking store, and the choice of the weights.
    trained : float
        One image in training, or in a gradient.
    predicted : float
        One image in an evaluation.
    """

    dense: float
    pruned: float
    trained: float
    predicted: float

    def seconds(self, step: Step) -> float | None:
        """Return how long a worker takes for a step; None if the step's images are unknown."""
        if step.trained is None:
            return None
        run = self.dense if step.kind == schema.DENSE else self.pruned
        return run + step.trained * self.trained + step.predicted * self.predicted


class MeasuredCosts(NamedTuple):
    """What a short measurement found.

    Attributes
    ----------
    start : float
        Seconds until the workers make their first step, and what that step takes longer than a later one.
    costs : mapping of Costs
        Data sets and models that could not be measured are missing.
    """

    start: float
    costs: Mapping[Workload, Costs]

    def seconds(self, step: Step) -> float | None:
        """Return how long a worker takes for a step; None if that is unknown."""
        costs = self.costs.get(workload(step))
        return costs.seconds(step) if costs else None


class Pace:
    """How long steps took that were made, and how long others will take."""

    def __init__(self) -> None:
        self._units: dict[Key, int] = defaultdict(int)
        self._seconds: dict[Key, float] = defaultdict(float)

    def add(self, step: Step, seconds: float) -> None:
        """Record that a worker took some seconds for a step."""
        for key, units in _units(step):
            self._units[key] += units
            self._seconds[key] += seconds

    def seconds(self, step: Step) -> float | None:
        """Return the mean of the steps that go through as many images.

        Without such a step, each image counts as in the other steps of the data set and model; None if there are none.
        """
        for key, units in _units(step):
            if self._units.get(key):
                return units * self._seconds[key] / self._units[key]
        return None


def workload(step: Step) -> Workload:
    """Return data set and model of a step; steps that agree in both cost the same for an image."""
    return step.dataset, step.config.model


def _units(step: Step) -> list[tuple[Key, int]]:
    """Return what the time of a step is compared by: first with steps that are alike, else image by image."""
    alike = (*workload(step), step.kind, step.trained, step.predicted)
    return [(alike, 1), (workload(step), (step.trained or 0) + step.predicted)]


def together(steps: Iterable[Step], seconds: Seconds) -> float | None:
    """Return how long one worker takes for some steps; None if that is unknown for one of them."""
    each = [seconds(step) for step in steps]
    known = [one for one in each if one is not None]
    return sum(known) if len(known) == len(each) else None


def time_left(steps: Sequence[Step], seconds: Seconds, workers: int) -> float | None:
    """Return how long workers take for some steps, if each worker always has a step where one is ready.

    A step is ready once the run that it starts from is made, and goes before those that start from nothing.

    Parameters
    ----------
    steps : sequence of Step
        A step whose parent is not among them is ready at once.
    seconds : callable
        How long a worker takes for a step; None if that is unknown.
    workers : int

    Returns
    -------
    float ; None if it is unknown for one of the steps.
    """
    left = {step.config_hash: seconds(step) for step in steps}
    waiting: dict[str, list[str]] = defaultdict(list)
    for step in steps:
        waiting[step.parent_hash if step.parent_hash in left else ""].append(step.config_hash)
    ready = deque(waiting.pop("", []))
    busy: list[tuple[float, str]] = []  # the time at which each worker ends, and its step
    now = 0.0
    while ready or busy:
        while ready and len(busy) < workers:
            key = ready.popleft()
            took = left[key]
            if took is None:
                return None
            heapq.heappush(busy, (now + took, key))
        now, key = heapq.heappop(busy)
        ready.extendleft(reversed(waiting.pop(key, [])))
    return now


def duration(seconds: float | None) -> str:
    """Return a duration as text: `2 h 05 min`, `13 min`, `3 min 20 s`, `12 s`; `unknown` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60:02} min"
