"""Which steps of a study are done, and which one a worker should do next."""

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analysis.runs import schema
from pruning_study.study.plan import Step

FOUND, MADE, FAILED, NOT_MADE = "found", "made", "failed", "not made"


@dataclass(frozen=True)
class Result:
    """How a step ended.

    Parameters
    ----------
    state : {"found", "made", "failed", "not made"}
        Not made: its dense run failed.
    run_id : str
        Empty where there is none.
    error : str
        Empty where nothing failed.
    """

    state: str
    run_id: str = ""
    error: str = ""


class Board:
    """The steps of a study; a run is pruned once its dense run is there.

    Parameters
    ----------
    steps : sequence of Step
        All with hashes.
    found : mapping of str
        Run ids of the hashes whose runs are there already.
    """

    def __init__(self, steps: Sequence[Step], found: Mapping[str, str]) -> None:
        self.steps = {step.config_hash: step for step in steps}
        self.results = {key: Result(FOUND, found[key]) for key in self.steps if key in found}
        self.counts = Counter({FOUND: len(self.results)})
        self._dense: deque[Step] = deque()
        self._pruned: dict[str, deque[Step]] = {}
        for step in steps:
            if step.config_hash not in found and step.kind == schema.DENSE:
                self._dense.append(step)
            elif step.config_hash not in found:
                self._pruned.setdefault(step.dense_hash, deque()).append(step)

    def left(self) -> list[Step]:
        """The steps that have not ended."""
        return [step for key, step in self.steps.items() if key not in self.results]

    @property
    def done(self) -> bool:
        return len(self.results) == len(self.steps)

    def next(self, held: str | None, held_by_others: Collection[str]) -> Step | None:
        """Take the step that a worker should do now; None where all that is left has to wait.

        First what is pruned from the dense model that it holds in memory, then from one that nobody holds, then
        the next dense model, so that workers do not share one as long as there are others.

        Parameters
        ----------
        held : str, optional
            Hash of the dense run that the worker holds.
        held_by_others : collection of str
        """

        def rank(dense_hash: str) -> int:
            return 0 if dense_hash == held else 2 if dense_hash in held_by_others else 1

        ready = [key for key in self._pruned if self._there(key)]
        nearest = min(ready, key=rank, default=None)
        if nearest is not None and (rank(nearest) < 2 or not self._dense):
            step = self._pruned[nearest].popleft()
            if not self._pruned[nearest]:
                del self._pruned[nearest]
            return step
        return self._dense.popleft() if self._dense else None

    def end(self, step: Step, result: Result) -> None:
        """Note how a step ended; where a dense run failed, so ends what was to be pruned from it."""
        self._note(step, result)
        if step.kind == schema.DENSE and result.state == FAILED:
            for pruned in self._pruned.pop(step.config_hash, ()):
                self._note(pruned, Result(NOT_MADE, error="its dense run failed"))

    def _note(self, step: Step, result: Result) -> None:
        self.results[step.config_hash] = result
        self.counts[result.state] += 1

    def _there(self, dense_hash: str) -> bool:
        return dense_hash in self.results and self.results[dense_hash].state in (FOUND, MADE)
