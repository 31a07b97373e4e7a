"""The control of a pruned network, and the largest cost of pruning, measured against that control."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.compare.comparison import Comparison
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.intensification import excess_loss
from pruning_study.steps.context import Context
from pruning_study.steps.plan import PrunePlan, plan_pruning
from pruning_study.steps.runs import FinishedRun
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions


class LargestCost(NamedTuple):
    """The class that pruning costs most, and its cost: its loss against the control, minus the loss of accuracy.

    Attributes
    ----------
    name : str
        Empty if no class pays more than another on validation images.
    cost : float
        A difference of shares: .02 is 2 points. 0 without a class.
    is_shown : bool
        Whether a test over images, corrected for all classes, shows that the class's loss exceeds the loss of accuracy.
    """

    name: str
    cost: float
    is_shown: bool

    @property
    def tags(self) -> dict[str, str]:
        """The tag that names the class; none without a class."""
        return {schema.LARGEST_COST_CLASS: self.name} if self.name else {}


def retrains(plan: PrunePlan) -> bool:
    """Return whether the trained network is trained further after pruning, which changes classes by itself."""
    return plan.hyperparameters.epochs > 0 and not plan.options.starts_anew


def has_control(plan: PrunePlan) -> bool:
    """Return whether a pruned network can have a control, which is fine-tuned equally long without pruning."""
    return plan.pruner.prunes and retrains(plan)


def plan_control(plan: PrunePlan, context: Context) -> PrunePlan:
    """Plan the run that `--pruner none` makes with the same options.

    Parameters
    ----------
    plan : PrunePlan
        Plan of the pruned network, for which `has_control` is true.
    context : Context
    """
    return plan_pruning(replace(plan.options, pruner=schema.CONTROL, ratio=(1.0,)), context)


def largest_cost(comparison: Comparison, control: Predictions, pruned: Predictions) -> LargestCost:
    """Find the class that pruning costs most on validation images, and measure its cost on test images.

    The cost is the class's loss, measured against the control, minus the loss of accuracy. If the class were chosen on
    the test images, its cost there would be biased upward.

    Parameters
    ----------
    comparison : Comparison
        Comparison of the control with the pruned network, on the test images.
    control, pruned : Predictions
        Predictions for the validation images.
    """
    classes = comparison.names
    excess = excess_loss(*(each.recalls(len(classes)) for each in (control, pruned)))
    place = int(np.nanargmax(excess))
    if not round(float(excess[place]), 12) > 0:
        return LargestCost("", 0.0, is_shown=False)
    cost, p = comparison.costs[["cost", "cost_p"]].iloc[place]
    # Rounding to twelve places removes the round-off of the subtractions, which is far less than one image.
    return LargestCost(classes[place], round(float(cost), 12) + 0.0, bool(p <= LEVEL))


def is_held_against(store: Store, run: FinishedRun, control: FinishedRun) -> bool:
    """Return whether the largest cost stored with a pruned run was measured against this control."""
    return store.get(run.run_id).data.tags.get(schema.CONTROL_RUN_ID) == control.run_id


def log_largest_cost(
    store: Store, run: FinishedRun, control: FinishedRun, cost: LargestCost, *, note: str
) -> FinishedRun:
    """Add the largest cost to a pruned run, unless it is already stored for this control; return the run with it.

    Parameters
    ----------
    store : Store
    run, control : FinishedRun
    cost : LargestCost
    note : str
        Markdown that replaces the run's earlier description, which compares it only with its dense network.
    """
    if not is_held_against(store, run, control):
        tags = cost.tags | {schema.CONTROL_RUN_ID: control.run_id, MLFLOW_RUN_NOTE: note}
        store.add_metrics(run.run_id, {schema.LARGEST_COST: cost.cost}, tags)
    return replace(run, metrics={**run.metrics, schema.LARGEST_COST: cost.cost})
