"""The dense networks that a search prunes: a network for each seed, all with one data set in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import Pruning, plan_pruning
from pruning_study.steps.runs import LoadedRun
from pruning_study.study.lineage import lineage


@dataclass(frozen=True)
class SearchedNetwork:
    """A dense network that a search prunes.

    Parameters
    ----------
    plan : Pruning
        A plan that prunes this network; plans of trials differ from it in pruning and fine-tuning.
    context : JobContext
    dense : LoadedRun
    """

    plan: Pruning
    context: JobContext
    dense: LoadedRun

    @classmethod
    def trained(cls, plan: Pruning, context: JobContext) -> Self:
        """Find or train the dense network of a plan."""
        return cls(plan, context, next(lineage(plan, context)))  # type: ignore[arg-type]


Network = TypeVar("Network", bound=SearchedNetwork)


def of_seed(plan: Pruning, context: Context, seed: int) -> tuple[Pruning, Context]:
    """Return the plan and the context of the network of another seed, with the same data in memory."""
    options = replace(plan.options, seed=seed, dense_run_id=None)
    other = load_context(options, context.data)
    return plan_pruning(options, other), other


def new_networks(networks: Sequence[Network], count: int) -> Iterator[Network]:
    """Find or train networks with the seeds that follow those of a search, and yield each as soon as it is ready."""
    first = networks[0]
    start = max(network.plan.options.seed for network in networks) + 1
    for seed in range(start, start + count):
        plan, in_memory = of_seed(first.plan, first.context, seed)
        yield type(first).trained(plan, JobContext(in_memory, first.context.store, first.context.job_run_id))
