"""Iterative pruning: a chain of levels, each pruned from the level before and trained again."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from mlflow.entities import Run
from torch import nn

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.data.examples import number_of_batches
from pruning_study.options.config import IterateConfig, typed
from pruning_study.pruning import budget
from pruning_study.pruning.masks import Masks
from pruning_study.steps import pruned, resolved, selection
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.identity import config_hash
from pruning_study.steps.measured import training_setup
from pruning_study.steps.plan import PrunePlan, plan_pruning
from pruning_study.steps.runs import LoadedRun, find_or_make, finished, load
from pruning_study.training.loop import Fit, OnEpoch, fit, fit_steps


@dataclass(frozen=True, kw_only=True)
class LevelPlan(PrunePlan):
    """Plan of a level of a chain: the level before is pruned, and trained again as the dense network was.

    Parameters
    ----------
    chain : IterateConfig
    """

    chain: IterateConfig

    def level(self, iteration: int, dense: Mapping[str, str] | None = None, parent_hash: str = "") -> Self:
        """Plan a level of the chain.

        Parameters
        ----------
        iteration : int, >= 0
            Number of prunings since the dense run, including this one.
        dense : mapping of str, optional
            Params of the dense run at the root; by default, the params of this plan's dense run.
        parent_hash : str
            Hash of the run that is pruned.
        """
        dense = self.dense.params if dense is None else dense
        ratio, chain = self.level_ratio(iteration), self.chain
        params = {
            **dense,
            **resolved.pruning_params(self.options, self.hyperparameters, ratio, iteration),
            schema.KEEP: text(chain.keep),
            schema.WEIGHT_TREATMENT: chain.weight_treatment,
            **({schema.REWIND_STEP: text(chain.rewind_step)} if chain.rewinds else {}),
            schema.RATIO_PRUNABLE: text(self.budget.prunable / self._weights_after(iteration)),
            schema.SPARSITY: text(self.level_sparsity(iteration)),
        }
        return replace(
            self,
            ratio=ratio,
            kept_numbers={0: self.kept_after(iteration)},
            params=params,
            name=self.level_name(iteration, dense.get(schema.SEED, "")),
            hash=config_hash(schema.PRUNED, params, parent_hash),
            stream=f"iteration {iteration}",
        )

    @property
    def command(self) -> str:
        iterations = int(self.params[schema.ITERATION]) + 1  # the dense network counts as the first
        return typed("iterate", self.chain, pruner=self.options.pruner, iterations=iterations)

    def kept_after(self, prunings: int) -> int | tuple[int, ...]:
        """Return the number of prunable weights left after a number of prunings, in total or for each layer."""
        if not self.pruner.prunes:
            return self.budget.prunable
        return budget.kept_after(
            self.prunable, keep=self.chain.keep, prunings=prunings, unit=self.pruner.unit, scope=self.scope
        )

    def level_ratio(self, iteration: int) -> float:
        """Return the pruning ratio of a level: all parameters of the dense network divided by those that are left."""
        return self.budget.total / (self.budget.total - self.budget.prunable + self._weights_after(iteration))

    def level_sparsity(self, iteration: int) -> float:
        """Return the share of the dense network's prunable weights that a level's network lacks."""
        return self.budget.sparsity_of(self._weights_after(iteration))

    def _weights_after(self, prunings: int) -> int:
        weights = self.kept_after(prunings)
        return weights if isinstance(weights, int) else sum(weights)

    def note(self, run_id: str, prunings: int = 1) -> str:
        """Describe the run that one pruning makes from a run, or the runs that several prunings make in turn."""
        times, then = ("once more", "then") if prunings == 1 else (f"{prunings} times", "each time then")
        start = "these weights"
        if self.chain.rewinds:
            step = self.chain.rewind_step
            start = f"the weights of step {step:,}" if step else "the initial weights"
        if not self.pruner.prunes:
            return f"Run {run_id}, trained {times} from {start}"
        share = f"{self.chain.keep:g} of the weights left are kept"
        how = replace(self.options, pruner=self.pruner.name).method
        return f"Run {run_id}, pruned {times} by {how} ({share}), {then} trained from {start}"

    @property
    def chain_name(self) -> str:
        return self.named("", self.method)

    @property
    def job_name(self) -> str:
        """Name of the job that makes the levels."""
        return self.named("iterate", self.method)

    def level_name(self, iteration: int, seed: str = "") -> str:
        """Return the name of the run of a level."""
        return self.named(f"{self.level_ratio(iteration):.4g}x", f"{self.method} iteration {iteration}", seed)


def plan_chain(options: IterateConfig, context: Context) -> LevelPlan:
    """Plan the last level of a chain.

    Raises
    ------
    StudyError
        As in `plan_pruning`; if an iteration leaves no weight in a layer, or fewer weights than layers; or if the step
        to rewind to is beyond the training.
    """
    training = resolved.dense_training(options)
    pruning = plan_pruning(options.pruning, context, training)
    method = replace(options, pruner=pruning.pruner.name).method
    plan = LevelPlan(**vars(pruning) | {"method": method}, chain=options).level(options.iterations - 1)
    steps = training.epochs * number_of_batches(len(context.train_indices), training.batch_size)
    if options.rewind_step > steps:
        raise StudyError(
            f"step {options.rewind_step:,} is beyond the training of the dense network: give at most {steps}, "
            "the number of its steps",
            option="rewind_step",
        )
    return plan


def rewound(plan: LevelPlan, context: Context) -> nn.Module:
    """Return the network to which levels rewind: the initial one, or the dense one after some steps of training.

    These steps are repeated from the same seed, once for all levels. On the same engine and processor, the result
    is the same to the last bit.
    """
    key = plan.dense.hash, plan.chain.rewind_step
    if key not in context.early_networks:
        model = copy.deepcopy(context.model).to(context.device)
        if plan.chain.rewind_step:
            fit_steps(model, training_setup(plan.dense, context), plan.chain.rewind_step)
        context.early_networks[key] = model
    return copy.deepcopy(context.early_networks[key])


def levels(plan: LevelPlan, context: JobContext, dense: LoadedRun) -> Iterator[LoadedRun]:
    """Find or make the levels of a chain in turn. `level` describes the parameters and errors."""
    parent = dense
    for _ in range(1, plan.chain.iterations):
        parent = level(plan, context, parent)
        yield parent


def level(plan: LevelPlan, context: JobContext, parent: LoadedRun) -> LoadedRun:
    """Find or make the run that prunes a parent once more and trains it again.

    Parameters
    ----------
    plan : LevelPlan
        Plan of any level of the chain.
    context : JobContext
    parent : LoadedRun
        The dense run, or the level before.

    Raises
    ------
    StudyError
        If scores are not finite, if training diverges, or if the store rejects the run.
    """
    plan = plan.level(parent.iteration + 1, parent.dense.params, parent.config_hash)
    # Only levels of the same dense run are reused. Their parents are not compared, because a parent that was deleted is
    # made again, identical but under a new id.
    plan = replace(plan, lineage={schema.DENSE_RUN_ID: parent.dense.run_id})
    return find_or_make(plan, context, parent, read=_read, make=_make)


def _read(run: Run, plan: LevelPlan, context: JobContext) -> LoadedRun:
    finished(run, plan, context)
    return load(context.store, run, plan, context)


def _make(plan: LevelPlan, context: JobContext, parent: LoadedRun) -> LoadedRun:
    return pruned.write_run(plan, context, parent, note=plan.note(parent.run_id), train=train_level)


def train_level(
    plan: LevelPlan, context: Context, parent: LoadedRun, saved: Path | None, on_epoch: OnEpoch
) -> tuple[nn.Module, Fit]:
    """Prune a copy of the parent's model, or of the model to which training rewinds, and train it."""
    masks = level_masks(plan, context, parent)
    model = rewound(plan, context) if plan.chain.rewinds else copy.deepcopy(parent.model)
    return model, fit(model, replace(training_setup(plan, context), masks=masks), saved=saved, on_epoch=on_epoch)


def level_masks(plan: LevelPlan, context: Context, parent: LoadedRun) -> Masks:
    """Return the masks of the level after a parent, from the scores of the parent's trained weights.

    Parameters
    ----------
    plan : LevelPlan
    context : Context
    parent : LoadedRun

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept, for every prunable weight

    Raises
    ------
    StudyError
        If a score is NaN or infinite.
    """
    theta = {name: parent.model.get_parameter(name).detach() for name in plan.prunable}
    parent_masks = pruned.weights_left(plan, parent)
    return selection.select(
        plan, context, parent.model, theta, plan.kept_numbers[0], parent_masks, gradient=parent.gradient
    )
