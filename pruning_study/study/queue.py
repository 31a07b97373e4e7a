"""Queue of a study's steps: it records which steps have ended, and picks the step a worker should make next."""

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pruning_study.study.plan import Step

FOUND, MADE, FAILED, NOT_MADE = "found", "made", "failed", "not made"


@dataclass(frozen=True)
class StepOutcome:
    """The outcome of a step.

    Parameters
    ----------
    state : {"found", "made", "failed", "not made"}
        `not made` if a step that this one depends on failed.
    run_id : str
        Empty if the step has no run.
    error : str
        Empty if nothing failed.
    metrics : mapping of float
        Final metrics of the run.
    seconds : float
        Time that a worker spent on the step.
    """

    state: str
    run_id: str = ""
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class Queue:
    """The steps of a study. A step is ready once the run that it starts from is found or made.

    Parameters
    ----------
    steps : sequence of Step
        All steps must have a hash.
    run_ids : mapping of str
        Run ids by config hash, for the steps whose run is in the store already.

    Raises
    ------
    ValueError
        If a step starts from a run that is not among the steps.
    """

    def __init__(self, steps: Sequence[Step], run_ids: Mapping[str, str]) -> None:
        self.steps = {step.config_hash: step for step in steps}
        self.outcomes = {key: StepOutcome(FOUND, run_ids[key]) for key in self.steps if key in run_ids}
        self.counts = Counter({FOUND: len(self.outcomes)})
        if orphan := next((step for step in steps if step.parent_hash and step.parent_hash not in self.steps), None):
            raise ValueError(f"{orphan.name}: the run that it starts from is not among the steps")
        # Parent hash -> the steps that start from that run; "" -> the steps that start from nothing.
        self._waiting: dict[str, deque[Step]] = {}
        for step in steps:
            if step.config_hash not in run_ids:
                self._waiting.setdefault(step.parent_hash, deque()).append(step)

    def steps_left(self) -> list[Step]:
        """Return the steps that have not ended."""
        return [step for key, step in self.steps.items() if key not in self.outcomes]

    @property
    def is_done(self) -> bool:
        """Whether every step has ended."""
        return len(self.outcomes) == len(self.steps)

    def next(self, own_models: Sequence[str], other_models: Collection[str]) -> Step | None:
        """Take the step that a worker should make now; return None if every step that is left has to wait.

        A worker first gets a step whose parent it holds in memory, the most recently used parent first, so that it
        makes the levels of a network in turn. Next come steps whose parent no worker holds, and then steps without a
        parent. A step whose parent another worker holds comes last.

        Parameters
        ----------
        own_models : sequence of str
            Hashes of the runs that the worker holds in memory, the most recently used last.
        other_models : collection of str
            Hashes of the runs that other workers hold in memory.
        """

        def rank(parent_hash: str) -> int:
            if parent_hash in own_models:
                return -own_models.index(parent_hash)
            return 2 if parent_hash in other_models else 1

        nearest = min(filter(self._is_there, self._waiting), key=rank, default=None)
        if nearest is not None and (rank(nearest) < 2 or "" not in self._waiting):
            return self._take(nearest)
        return self._take("") if "" in self._waiting else None

    def end(self, step: Step, outcome: StepOutcome) -> None:
        """Record the outcome of a step. If the step failed, mark all steps that depend on it as not made."""
        self.outcomes[step.config_hash] = outcome
        self.counts[outcome.state] += 1
        if outcome.state in (FAILED, NOT_MADE):
            for child in self._waiting.pop(step.config_hash, ()):
                self.end(child, StepOutcome(NOT_MADE, error="the run that it starts from failed"))

    def _take(self, parent_hash: str) -> Step:
        waiting = self._waiting[parent_hash]
        step = waiting.popleft()
        if not waiting:
            del self._waiting[parent_hash]
        return step

    def _is_there(self, parent_hash: str) -> bool:
        return parent_hash in self.outcomes and self.outcomes[parent_hash].state in (FOUND, MADE)
