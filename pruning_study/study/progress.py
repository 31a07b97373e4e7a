"""What a study shows while it runs, and how long the rest will take."""

import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterable

from tqdm import tqdm

from analysis.runs import schema
from pruning_study.study.plan import Step
from pruning_study.study.queue import FAILED, FOUND, MADE, Board
from pruning_study.study.worker import Outcome

SHOWN = {"accuracy": schema.TEST_ACCURACY, "alpha": schema.ALPHA}

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


class Progress:
    """One bar, and a line that says what each worker does, on a terminal; elsewhere a line for each run.

    Parameters
    ----------
    board : Board
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._pace = Pace()
        self._doing: dict[int, str] = {}
        self._left, self._estimated = "", -math.inf
        self._bar = tqdm(
            total=len(board.steps),
            initial=len(board.results),
            disable=None,
            leave=False,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar}| {n}/{total} {desc}",
        )
        self._line = tqdm(disable=None, leave=False, dynamic_ncols=True, position=1, bar_format="{desc}")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *raised: object) -> None:
        self._line.close()
        self._bar.close()

    def doing(self, worker: int, step: Step | None) -> None:
        """Show what a worker does now."""
        self._doing[worker] = step.name if step else "idle"
        self._line.set_description_str(" | ".join(self._doing.values()))

    def ended(self, step: Step, outcome: Outcome) -> None:
        """Show that a step has ended, and how things stand; the board knows of it already."""
        if not outcome.error and not outcome.found and step.images:
            self._pace.add(group(step), step.images, outcome.seconds)
        if time.monotonic() - self._estimated > 1:
            self._estimated = time.monotonic()
            seconds = self._pace.seconds(self._board.left())
            self._left = "" if seconds is None else f"{duration(seconds / len(self._doing))} left"
        counts = self._board.counts
        self._bar.n = len(self._board.results)
        self._bar.set_description_str(
            ", ".join([*(f"{counts[state]:,} {state}" for state in (FOUND, MADE, FAILED)), self._left])
        )
        if self._bar.disable or outcome.error:
            self.say(f"[{self._bar.n:,}/{self._bar.total:,}] {step.name}: {_how(outcome)}; {self._left}".rstrip("; "))

    def say(self, line: str) -> None:
        """Write a line that stays, above the bar."""
        tqdm.write(line, file=sys.stderr)


def _how(outcome: Outcome) -> str:
    if outcome.error:
        return f"failed, {outcome.error}"
    numbers = [f"{name} {outcome.metrics[key]:.3f}" for name, key in SHOWN.items() if key in outcome.metrics]
    return ", ".join(["found" if outcome.found else f"made in {outcome.seconds:.1f} s", *numbers])
