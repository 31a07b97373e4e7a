"""Estimate the time of steps from the times of earlier runs."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from statistics import fmean

from pruning_study.study.plan import Step

Seconds = Callable[[Step], float | None]


class Pace:
    """Times of runs, grouped by keys that similar runs share."""

    def __init__(self) -> None:
        self._times: dict[Hashable, list[float]] = defaultdict(list)

    def add(self, seconds: float, *keys: Hashable) -> None:
        """Record the time of a run under each of its keys."""
        for key in keys:
            self._times[key].append(seconds)

    def seconds(self, *keys: Hashable) -> float | None:
        """Return the mean time of the runs under the first key that has runs; None if no key has any."""
        return next((fmean(self._times[key]) for key in keys if key in self._times), None)


def workload(step: Step) -> tuple[str, str]:
    """Return the data set and model of a step."""
    return step.dataset, step.config.model


def together(steps: Iterable[Step], seconds: Seconds) -> float | None:
    """Return the time that one worker takes for some steps; None if the time of one of them is unknown."""
    each = [seconds(step) for step in steps]
    durations = [step_seconds for step_seconds in each if step_seconds is not None]
    return sum(durations) if len(durations) == len(each) else None


def time_left(steps: Sequence[Step], seconds: Seconds, workers: int) -> float | None:
    """Return the time that workers need: the work divided by `workers`, or the time of a chain of steps if longer.

    Parameters
    ----------
    steps : sequence of Step
        A parent comes before its children.
    seconds : callable
        Returns the time that a worker takes for a step; None if it is unknown.
    workers : int

    Returns
    -------
    float ; None if the time of one of the steps is unknown.
    """
    whole = together(steps, seconds)
    if whole is None:
        return None
    chains: dict[str, float] = {}  # config hash -> seconds until that run is made, if no step waits for a worker
    for step in steps:
        chains[step.config_hash] = chains.get(step.parent_hash, 0.0) + (seconds(step) or 0.0)
    return max(whole / workers, *chains.values(), 0.0)


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
