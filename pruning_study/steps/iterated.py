"""Iterative pruning: a chain of levels, each pruned from the level before and trained again."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mlflow.entities import Run
from torch import nn

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.data.examples import number_of_batches
from pruning_study.options.config import IterateConfig, typed
from pruning_study.pruning import budget
from pruning_study.pruning.masks import Masks
from pruning_study.steps import pruned, selection
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.measured import training_setup
from pruning_study.steps.plan import PrunePlan, Pruning, dense_training, plan_pruning
from pruning_study.steps.runs import LoadedRun, find_or_make, finished, load
from pruning_study.training.loop import Fit, OnEpoch, fit, fit_steps


@dataclass(frozen=True, kw_only=True)
class Chain(Pruning):
    """How a chain prunes: at each level, the level before is pruned, and trained again as the dense network was.

    Parameters
    ----------
    chain : IterateConfig
    """

    chain: IterateConfig

    def level(self, iteration: int, dense: Mapping[str, str] | None = None, parent_hash: str = "") -> PrunePlan:
        """Plan a level of the chain.

        Parameters
        ----------
        iteration : int, >= 0
            Number of prunings since the dense run, including this one.
        dense : mapping of str, optional
            Params of the dense run at the root; by default, the params of the planned dense run.
        parent_hash : str
            Hash of the run that is pruned.
        """
        ratio, chain = self.level_ratio(iteration), self.chain
        params = {
            schema.KEEP: text(chain.keep),
            schema.WEIGHT_TREATMENT: chain.weight_treatment,
            **({schema.REWIND_STEP: text(chain.rewind_step)} if chain.rewinds else {}),
            schema.RATIO_PRUNABLE: text(self.budget.prunable / self._weights_after(iteration)),
        }
        return self._plan(
            (ratio, iteration, self.level_sparsity(iteration)),
            (f"{ratio:.4g}x", f"{self.method} iteration {iteration}"),
            params,
            dense,
            parent_hash,
            stream=f"iteration {iteration}",
            kept_numbers={0: self.kept_after(iteration)},
        )

    def command(self, plan: PrunePlan) -> str:
        iterations = int(plan.params[schema.ITERATION]) + 1  # the dense network counts as the first
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
        how = super().method
        return f"Run {run_id}, pruned {times} by {how} ({share}), {then} trained from {start}"

    @property
    def method(self) -> str:
        return replace(self.chain, pruner=self.pruner.name).method

    @property
    def chain_name(self) -> str:
        return self.dense.named("", self.method)

    @property
    def job_name(self) -> str:
        """Name of the job that makes the levels."""
        return self.dense.named("iterate", self.method)


def plan_chain(options: IterateConfig, context: Context) -> Chain:
    """Plan a chain.

    Raises
    ------
    StudyError
        As in `plan_pruning`; if an iteration leaves no weight in a layer, or fewer weights than layers; or if the step
        to rewind to is beyond the training.
    """
    training = dense_training(options)
    pruning = plan_pruning(options.pruning, context, training)
    chain = Chain(**{item.name: getattr(pruning, item.name) for item in fields(pruning)}, chain=options)
    chain.level(options.iterations - 1)
    steps = training.epochs * number_of_batches(chain.images, training.batch_size)
    if options.rewind_step > steps:
        raise StudyError(
            f"step {options.rewind_step:,} is beyond the training of the dense network: give at most {steps}, "
            "the number of its steps",
            option="rewind_step",
        )
    return chain


def rewound(chain: Chain, context: Context) -> nn.Module:
    """Return the network to which levels rewind: the initial one, or the dense one after some steps of training.

    These steps are repeated from the same seed, once for all levels. On the same engine and processor, the result
    is the same to the last bit.
    """
    step = chain.chain.rewind_step
    key = chain.dense.hash, step
    if key not in context.early_networks:
        model = copy.deepcopy(context.model).to(context.device)
        if step:
            fit_steps(model, training_setup(chain.dense, context), step)
        context.early_networks[key] = model
    return copy.deepcopy(context.early_networks[key])


def levels(chain: Chain, context: JobContext, dense: LoadedRun) -> Iterator[LoadedRun]:
    """Find or make the levels of a chain in turn. `level` describes the parameters and errors."""
    parent = dense
    for _ in range(1, chain.chain.iterations):
        parent = level(chain, context, parent)
        yield parent


def level(chain: Chain, context: JobContext, parent: LoadedRun) -> LoadedRun:
    """Find or make the run that prunes a parent once more and trains it again.

    Parameters
    ----------
    chain : Chain
    context : JobContext
    parent : LoadedRun
        The dense run, or the level before.

    Raises
    ------
    StudyError
        If scores are not finite, if training diverges, or if the store rejects the run.
    """
    plan = chain.level(parent.iteration + 1, parent.dense.params, parent.config_hash)
    # Only levels of the same dense run are reused. Their parents are not compared, because a parent that was deleted is
    # made again, identical but under a new id.
    plan = replace(plan, lineage={schema.DENSE_RUN_ID: parent.dense.run_id})

    def read(run: Run) -> LoadedRun:
        finished(run, plan, context)
        return load(context.store, run, plan, context)

    note = chain.note(parent.run_id)
    return find_or_make(
        plan, context, read, lambda: pruned.write_pruned(plan, context, parent, note=note, train=train_level)
    )


def train_level(
    plan: PrunePlan, context: Context, parent: LoadedRun, saved: Path | None, on_epoch: OnEpoch
) -> tuple[nn.Module, Fit]:
    """Prune a copy of the parent's model, or of the model to which training rewinds, and train it."""
    chain = plan.pruning
    assert isinstance(chain, Chain)
    setup = replace(training_setup(plan, context), masks=level_masks(plan, context, parent))
    model = rewound(chain, context) if chain.chain.rewinds else copy.deepcopy(parent.model)
    return model, fit(model, setup, saved=saved, on_epoch=on_epoch)


def level_masks(plan: PrunePlan, context: Context, parent: LoadedRun) -> Masks:
    """Return the masks of the level after a parent, from the scores of the parent's trained weights.

    Parameters
    ----------
    plan : PrunePlan
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
    theta = {name: parent.model.get_parameter(name).detach() for name in plan.pruning.prunable}
    parent_masks = pruned.weights_left(plan, parent)
    return selection.select(
        plan.pruning, context, parent.model, theta, plan.kept_numbers[0], parent_masks, gradient=parent.gradient
    )
