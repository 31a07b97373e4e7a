"""What tests take as given: the plan of some options and what is in memory for it."""

from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from pruning_study.data.datasets import Dataset
from pruning_study.options.config import IterateConfig, PruneConfig, TrainConfig
from pruning_study.steps import dense, measured
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.iterated import plan_chain
from pruning_study.steps.loaded import load_context
from pruning_study.steps.plan import TrainPlan, plan_pruning, plan_training
from pruning_study.tracking.store import Store
from pruning_study.training.setup import TrainingSetup


class Planned(NamedTuple):
    """A plan and its context, in the order in which steps take them."""

    plan: Any
    context: Context

    @property
    def dense(self) -> tuple[Any, Context]:
        """The plan of the dense network, and the context."""
        return getattr(self.plan, "dense", self.plan), self.context

    @property
    def params(self) -> dict[str, str]:
        """The params of the dense run."""
        return dict(self.dense[0].params)

    def at(self, **options: Any) -> "Planned":
        """Return the plan of other options of pruning in the same context."""
        return Planned(plan_pruning(replace(self.plan.options, **options), self.context), self.context)

    def at_ratio(self, ratio: float) -> "Planned":
        """Return the plan at another ratio."""
        return Planned(self.plan.at(ratio), self.context)

    def in_job(self, store: Store, job_run_id: str = "0") -> "Planned":
        """Return the same plan, and the context of a job."""
        return Planned(self.plan, JobContext(self.context, store, job_run_id))

    def kept_numbers(self, ratio: float, remaining: int | None = None) -> tuple[int, ...]:
        """Return the numbers of weights that are kept one after the other."""
        return tuple(self.plan.at(ratio, remaining=remaining).kept_numbers.values())


def planned(options: TrainConfig, data: Dataset | None = None) -> Planned:
    """Plan the run of some options, with data that have been read already or are read now."""
    context = load_context(options, data)
    if isinstance(options, IterateConfig):
        return Planned(plan_chain(options, context), context)
    return Planned((plan_pruning if isinstance(options, PruneConfig) else plan_training)(options, context), context)


def train_with_batches_in_another_order(patch: pytest.MonkeyPatch) -> None:
    """Make dense networks differ from those that the same options make otherwise."""

    def training_setup(plan: TrainPlan, context: Context) -> TrainingSetup:
        return measured.training_setup(replace(plan, stream="another"), context)

    patch.setattr(dense, "training_setup", training_setup)
