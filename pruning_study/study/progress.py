"""Show a study's progress on the terminal, with an estimate of the time that is left."""

import math
import sys
import time
from collections.abc import Hashable
from typing import Self

from tqdm import tqdm

from analysis.common.printable import printable
from analysis.runs import schema
from pruning_study.study.pace import Pace, duration, time_left, workload
from pruning_study.study.plan import Step
from pruning_study.study.queue import FAILED, FOUND, MADE, Queue, StepOutcome

SHOWN = {"accuracy": schema.TEST_ACCURACY, "alpha": schema.ALPHA}


class Progress:
    """Progress of a study: on a terminal, a bar and a line with each worker's step; elsewhere, a line for each run.

    Parameters
    ----------
    queue : Queue
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._pace = Pace()
        self._doing: dict[int, str] = {}
        self._time_left, self._estimated = "", -math.inf
        self._bar = tqdm(
            total=len(queue.steps),
            initial=len(queue.outcomes),
            disable=None,
            leave=False,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar}| {n}/{total} {desc}",
        )
        self._line = tqdm(disable=None, leave=False, dynamic_ncols=True, position=1, bar_format="{desc}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._line.close()
        self._bar.close()

    def doing(self, worker: int, step: Step | None) -> None:
        """Show the step that a worker is making now."""
        self._doing[worker] = printable(step.name) if step else "idle"
        self._line.set_description_str(" | ".join(self._doing.values()))

    def ended(self, step: Step, outcome: StepOutcome) -> None:
        """Show that a step has ended, with counts and time left; call this after `Queue.end`."""
        if outcome.state == MADE:
            self._pace.add(outcome.seconds, *_keys(step))
        if time.monotonic() - self._estimated > 1:
            self._estimated = time.monotonic()
            seconds = time_left(
                self._queue.steps_left(), lambda step: self._pace.seconds(*_keys(step)), len(self._doing)
            )
            self._time_left = "" if seconds is None else f"{duration(seconds)} left"
        counts = self._queue.counts
        self._bar.n = len(self._queue.outcomes)
        self._bar.set_description_str(
            ", ".join([*(f"{counts[state]:,} {state}" for state in (FOUND, MADE, FAILED)), self._time_left])
        )
        if self._bar.disable or outcome.error:
            self.say(
                f"[{self._bar.n:,}/{self._bar.total:,}] {step.name}: {_how(outcome)}; {self._time_left}".rstrip("; ")
            )

    def say(self, line: str) -> None:
        """Write a permanent line above the bar."""
        tqdm.write(printable(line), file=sys.stderr)


def _keys(step: Step) -> tuple[Hashable, ...]:
    """Return a step's keys in `Pace`, most specific first: settings; data set, model and kind; data set and model."""
    return step.settings_hash, (*workload(step), step.kind), workload(step)


def _how(outcome: StepOutcome) -> str:
    if outcome.error:
        return f"failed, {outcome.error}"
    numbers = [f"{name} {outcome.metrics[key]:.3f}" for name, key in SHOWN.items() if key in outcome.metrics]
    return ", ".join(["found" if outcome.state == FOUND else f"made in {outcome.seconds:.1f} s", *numbers])
