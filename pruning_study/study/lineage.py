"""Find or make networks: a dense network, and then those that are pruned from it.

`lineage` does this for every command. A study hands the lineages of its grid to processes, which call `make`.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from typing import NamedTuple

import torch

from analysis.common import masking
from analysis.common.errors import StudyError, first_line
from analysis.common.interrupts import raise_if_interrupted
from analysis.runs import retries
from pruning_study.data.datasets import Dataset
from pruning_study.options.config import PruneConfig, TrainConfig
from pruning_study.steps import dense, iterated, pruned
from pruning_study.steps.context import JobContext
from pruning_study.steps.iterated import Chain
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import Pruning
from pruning_study.steps.runs import FinishedRun, LoadedRun
from pruning_study.study.plan import Config, Source, Step, plan_of, source, training_options
from pruning_study.tracking.store import Store

FOUND, MADE, FAILED, NOT_MADE = "found", "made", "failed", "not made"
STATES = (MADE, FOUND, FAILED, NOT_MADE)


def lineage(
    plan: Pruning,
    context: JobContext,
    start: LoadedRun | None = None,
    announce: Callable[[], None] | None = None,
) -> Iterator[FinishedRun]:
    """Find or make the dense run of a plan, and in turn the runs that the plan prunes from it; yield each.

    Parameters
    ----------
    plan : Pruning
        A run is pruned at each ratio of its options; a Chain prunes level after level.
    context : JobContext
    start : LoadedRun, optional
        The run to prune, in place of the plan's dense run.
    announce : callable, optional
        Called before a run at a ratio is made; not called if the run is found.

    Raises
    ------
    StudyError
        If scores are not finite, if training diverges, or if the store rejects a run.
    """
    start = start or dense.train(plan.dense, context)
    yield start
    if isinstance(plan, Chain):
        yield from iterated.levels(plan, context, start)
    else:
        yield from (pruned.prune(plan.at(ratio), context, start, announce) for ratio in plan.options.ratio)


class Outcome(NamedTuple):
    """The outcome of a step.

    Attributes
    ----------
    state : {"found", "made", "failed", "not made"}
        `not made` if the run that the step starts from failed, so that it has no other outcome.
    run_id, error : str
        Empty if the step has no run, and if nothing failed.
    seconds : float
        Time since the step before it in the same process.
    metrics : mapping of float
        Final metrics of the run.
    """

    state: str
    run_id: str = ""
    error: str = ""
    seconds: float = 0.0
    metrics: Mapping[str, float] = {}


PARENT_FAILED = Outcome(NOT_MADE, error="the run that it starts from failed")
Task = tuple[Step, ...]


def lineages(steps: Sequence[Step], found: Collection[str], workers: int) -> list[list[Task]]:
    """Group steps by the dense network that they descend from, and split the groups if there are too few.

    Parameters
    ----------
    steps : sequence of Step
        Parents come before their children.
    found : collection of str
        Hashes of runs that the store has. A network all of whose runs are found is left out.
    workers : int
        Number of tasks to reach. A chain is never split.

    Returns
    -------
    list of lists of tuples
        A list for each dense network. Each tuple is a task for `make`: the dense step first, and then the steps of each
        config that has runs to make. The tasks after a network's first need its dense run.
    """
    roots: dict[str, Step] = {}
    groups: dict[Step, dict[Config, list[Step]]] = {}
    for step in steps:
        roots[step.config_hash] = root = roots.get(step.parent_hash, step)
        of_config = groups.setdefault(root, {}).setdefault(step.config, [])
        of_config += [step] if step is not root else []
    missing = {
        root: [each for each in configs.values() if any(step.config_hash not in found for step in each)]
        for root, configs in groups.items()
    }
    missing = {root: configs for root, configs in missing.items() if configs or root.config_hash not in found}
    parts = ceil(workers / max(len(missing), 1))
    return [
        [
            (root, *(step for of_config in configs[part::parts] for step in of_config))
            for part in range(max(1, min(parts, len(configs))))
        ]
        for root, configs in missing.items()
    ]


@dataclass(frozen=True)
class Site:
    """Where a study's processes find data and write runs.

    Parameters
    ----------
    uri, experiment_id : str
    study, job_run_id : str
        Name and run of the study.
    data : mapping of functions that return a Dataset
    """

    uri: str
    experiment_id: str
    study: str
    job_run_id: str
    data: Mapping[Source, Callable[[], Dataset]] = field(repr=False)

    def context(self, config: Config) -> JobContext:
        """Return a context for the networks that share a config's options of training."""
        store = Store(retries.client(self.uri), self.uri, self.experiment_id)
        return JobContext(load_context(config, self.data[source(config)]()), store, self.job_run_id, self.study)


def make(steps: Task, site: Site) -> Iterator[tuple[Step, Outcome]]:
    """Find or make the runs of steps that `lineages` groups, and yield the outcome of each step.

    A run that fails ends only the steps that start from it, which have no outcome.
    """
    # The last digits of results depend on the number of threads, which is therefore 1 for any number of workers.
    torch.set_num_threads(1)
    first = steps[0]
    by_config: dict[Config, dict[str, Step]] = {}
    for step in steps[1:] or steps:
        by_config.setdefault(step.config, {} if by_config else {first.config_hash: first})[step.config_hash] = step
    contexts: dict[TrainConfig, JobContext] = {}
    start: LoadedRun | None = None

    @cache
    def planned(config: Config, context: JobContext) -> Pruning:
        return plan_of(config, context)

    def runs(config: Config) -> Iterator[FinishedRun]:
        nonlocal start
        training = training_options(config)
        context = contexts.get(training) or contexts.setdefault(training, site.context(config))
        if isinstance(config, PruneConfig):
            plan = planned(replace(config, ratio=(1.0,)), context)
            plan = replace(plan, options=replace(plan.options, ratio=config.ratio))
        else:
            plan = planned(config, context)
        for run in lineage(plan, context, start):
            if start is None:
                assert isinstance(run, LoadedRun)
                start = run
            yield run

    for place, (config, left) in enumerate(by_config.items()):
        if place == 0 or start:
            yield from _outcomes(left, runs(config))


def _outcomes(left: dict[str, Step], runs: Iterator[FinishedRun]) -> Iterator[tuple[Step, Outcome]]:
    """Yield the outcomes of steps, given their runs, which are made as they are asked for."""
    since = time.perf_counter()
    try:
        for run in runs:
            if step := left.pop(run.config_hash, None):
                seconds = time.perf_counter() - since
                yield step, Outcome(FOUND if run.is_reused else MADE, run.run_id, "", seconds, run.metrics)
                since = time.perf_counter()
    except (StudyError, OSError) as error:
        yield next(iter(left.values())), Outcome(FAILED, error=first_line(error))
    except Exception as error:
        raise_if_interrupted()
        masking.print_traceback(error)
        reason = f"{type(error).__name__}: {first_line(error)}"
        yield next(iter(left.values())), Outcome(FAILED, error=reason)
