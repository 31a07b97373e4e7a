"""The control of a pruned network."""

from dataclasses import replace

from analysis.runs import schema
from pruning_study.steps.context import Context
from pruning_study.steps.plan import PrunePlan, plan_pruning
from pruning_study.steps.runs import FinishedRun
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions


def retrains(plan: PrunePlan) -> bool:
    """Return whether the trained network is trained further after pruning, which changes classes by itself."""
    return plan.hyperparameters.epochs > 0 and not plan.options.starts_anew


def has_control(plan: PrunePlan) -> bool:
    """Return whether a pruned network can have a control, which is fine-tuned equally long without pruning."""
    return plan.pruner.prunes and retrains(plan)


def without_training(plan: PrunePlan, dense: Predictions) -> list[Predictions]:
    """Return the dense network's predictions as those of its control if only pruning changed it; otherwise none."""
    return [dense] if plan.pruner.prunes and not retrains(plan) else []


def plan_control(plan: PrunePlan, context: Context) -> PrunePlan:
    """Plan the run that `--pruner none` makes with the same options.

    Parameters
    ----------
    plan : PrunePlan
        Plan of the pruned network, for which `has_control` is true.
    context : Context
    """
    return plan_pruning(replace(plan.options, pruner=schema.CONTROL, ratio=(1.0,)), context)


def is_described_with(store: Store, run: FinishedRun, control: FinishedRun) -> bool:
    """Return whether the description of a pruned run compares it with this control."""
    return store.get(run.run_id).data.tags.get(schema.CONTROL_RUN_ID) == control.run_id
