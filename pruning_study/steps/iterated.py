"""Iterative pruning: a chain of levels, each pruned from the one before and trained again."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mlflow.entities import Run
from torch import nn

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Normalization, number_of_batches
from pruning_study.options.config import IterateConfig
from pruning_study.pruning import budget
from pruning_study.pruning.masks import Masks
from pruning_study.steps import pruned, selection
from pruning_study.steps.identity import config_hash
from pruning_study.steps.loaded import Loaded
from pruning_study.steps.measured import fit_setting, training_of
from pruning_study.steps.prune_plan import PrunePlan
from pruning_study.steps.resolved import ResolvedPruning, pruning_params
from pruning_study.steps.runs import LoadedRun, find_or_make, finished, load
from pruning_study.steps.settings import PruneSetting
from pruning_study.tracking.store import Store
from pruning_study.training.loop import Fit, OnEpoch, fit_steps


class IterateSetting(PruneSetting):
    """Data and model of a dense run, and how each iteration prunes the one before and trains it again.

    Parameters
    ----------
    config : IterateConfig
    data, loaded, normalization
        As for `TrainSetting`.

    Raises
    ------
    StudyError
        As for `PruneSetting`, if an iteration leaves no weight of a layer, or fewer weights than there are layers, or
        if the step to go back to is beyond the training.
    """

    default_validation_fraction = IterateConfig.validation_fraction

    def __init__(
        self,
        config: IterateConfig,
        data: Dataset | None = None,
        *,
        loaded: Loaded | None = None,
        normalization: Normalization | None = None,
    ) -> None:
        super().__init__(config.pruning, data, loaded=loaded, normalization=normalization)
        self.chain = config
        self.kept_after(config.iterations - 1)  # an error where nothing is left
        self._check_rewind_step()

    @property
    def options(self) -> IterateConfig:
        return self.chain

    def _check_rewind_step(self) -> None:
        training = self.training.hyperparameters
        steps = training.epochs * number_of_batches(len(self.train_indices), training.batch_size)
        if self.chain.rewind_step > steps:
            raise StudyError(
                f"step {self.chain.rewind_step:,} is beyond the training of the dense network: give at most {steps}, "
                "the number of its steps",
                option="rewind_step",
            )

    def _resolved_pruning(self) -> ResolvedPruning:
        return replace(super()._resolved_pruning(), fine_tuning=self.training.hyperparameters)

    def kept_after(self, prunings: int) -> int | tuple[int, ...]:
        """Return how many prunable weights are left after some prunings: of all layers together, or of each layer."""
        pruner = self.pruning.pruner
        if not pruner.prunes:
            return self.budget.prunable
        return budget.kept_after(
            self.prunable_shapes, keep=self.chain.keep, prunings=prunings, unit=pruner.unit, scope=self.pruning.scope
        )

    def level_plan(self, dense: Mapping[str, str], parent_hash: str, iteration: int) -> PrunePlan:
        """Work out what a level will be.

        Parameters
        ----------
        dense : mapping of str
            Params of the dense run at the root.
        parent_hash : str
            Hash of the run that is pruned.
        iteration : int, >= 1
            Number of prunings since the dense run, this one included.
        """
        params = {
            **dense,
            **pruning_params(self.config, self.pruning, self.level_ratio(iteration), iteration),
            schema.KEEP: text(self.chain.keep),
            schema.WEIGHT_TREATMENT: self.chain.weight_treatment,
            **({schema.REWIND_STEP: text(self.chain.rewind_step)} if self.chain.rewinds else {}),
            schema.RATIO_PRUNABLE: text(self.budget.prunable / self._weights_after(iteration)),
            schema.SPARSITY: text(self.level_sparsity(iteration)),
        }
        return PrunePlan(
            ratio=self.level_ratio(iteration),
            kept_numbers={0: self.kept_after(iteration)},
            steps={},
            params=params,
            name=self.level_name(iteration, dense.get(schema.SEED, "")),
            hash=config_hash(schema.PRUNED, params, parent_hash),
        )

    @cached_property
    def rewound(self) -> nn.Module:
        """The network that levels go back to: the initial one, or the dense one after the first steps of its training.

        These steps are trained again, from the same seed. The result is the same to the last bit on the same engine
        and processor.
        """
        model = copy.deepcopy(self.model).to(self.device)
        if steps := self.chain.rewind_step:
            fit_steps(model, training_of(self, self.training.hyperparameters, schema.DENSE), steps)
        return model

    def level_ratio(self, iteration: int) -> float:
        """Return the pruning ratio of a level: parameters before / parameters after, all parameters counted."""
        return self.budget.total / (self.budget.total - self.budget.prunable + self._weights_after(iteration))

    def level_sparsity(self, iteration: int) -> float:
        """Return the share of the prunable weights that is pruned in a level."""
        return self.budget.sparsity_of(self._weights_after(iteration))

    def _weights_after(self, prunings: int) -> int:
        weights = self.kept_after(prunings)
        return weights if isinstance(weights, int) else sum(weights)

    @property
    def method(self) -> str:
        """`IterateConfig.method` with the pruner as it is logged."""
        return replace(self.chain, pruner=self.pruning.pruner.name).method

    def note(self, run_id: str, prunings: int = 1) -> str:
        """Return a sentence about a run that starts from another one, or about several such runs in a row."""
        times, then = ("once more", "then") if prunings == 1 else (f"{prunings} times", "each time then")
        start = "these weights"
        if self.chain.rewinds:
            step = self.chain.rewind_step
            start = f"the weights of step {step:,}" if step else "the initial weights"
        if not self.pruning.pruner.prunes:
            return f"Run {run_id}, trained {times} from {start}"
        share = f"{self.chain.keep:g} of the weights left are kept"
        return f"Run {run_id}, pruned {times} by {super().method} ({share}), {then} trained from {start}"

    @property
    def chain_name(self) -> str:
        return self.named("", self.method)

    @property
    def job_name(self) -> str:
        return self.named("iterate", self.method)

    def level_name(self, iteration: int, seed: str = "") -> str:
        return self.named(f"{self.level_ratio(iteration):.4g}x", f"{self.method} iteration {iteration}", seed)


def levels(store: Store, job_run_id: str, setting: IterateSetting, dense: LoadedRun) -> Iterator[LoadedRun]:
    """Find or make the levels of a chain, one after the other; parameters and errors as of `level`."""
    parent = dense
    for _ in range(1, setting.chain.iterations):
        parent = level(store, job_run_id, setting, parent)
        yield parent


def level(store: Store, job_run_id: str, setting: IterateSetting, parent: LoadedRun) -> LoadedRun:
    """Find the run that prunes a level once more and trains it again, or make it.

    Parameters
    ----------
    store : Store
    job_run_id : str
        The job that asks for the run.
    setting : IterateSetting
    parent : LoadedRun
        The dense run, or the level before.

    Raises
    ------
    StudyError
        If scores are not finite, if training diverges, or if the store does not take the run.
    """
    plan = setting.level_plan(parent.dense.params, parent.config_hash, parent.iteration + 1)

    def read(run: Run) -> LoadedRun:
        finished(store, run, setting, plan.hash)
        return load(store, run, setting)

    def train(
        setting: IterateSetting, parent: LoadedRun, saved_training: Path, on_epoch: OnEpoch
    ) -> tuple[nn.Module, Fit]:
        return _train(setting, parent, plan, saved_training, on_epoch)

    return find_or_make(
        store,
        schema.PRUNED,
        plan.hash,
        force=setting.config.force,
        read=read,
        make=lambda: pruned.make(store, job_run_id, setting, parent, plan, setting.note(parent.run_id), train),
        counts=lambda run: _is_in_chain(run, parent, setting),
    )


def _is_in_chain(run: Run, parent: LoadedRun, setting: IterateSetting) -> bool:
    """Return whether a level with the right hash is one of the chain's dense run, if `--dense-run-id` names that.

    The level may name another parent, for one that was deleted is made again under a new ID, and is the same.
    """
    return not setting.config.dense_run_id or run.data.tags.get(schema.DENSE_RUN_ID) == parent.dense.run_id


def _train(
    setting: IterateSetting, parent: LoadedRun, plan: PrunePlan, saved_training: Path, on_epoch: OnEpoch
) -> tuple[nn.Module, Fit]:
    """Prune a copy of the parent's model, or of the model that it goes back to, and train it."""
    masks = level_masks(setting, parent, plan)
    model = copy.deepcopy(setting.rewound if setting.chain.rewinds else parent.model)
    stream = f"iteration {parent.iteration + 1}"
    return model, fit_setting(
        setting, model, setting.pruning.fine_tuning, stream, saved_training, on_epoch, masks=masks
    )


def level_masks(setting: IterateSetting, parent: LoadedRun, plan: PrunePlan) -> Masks:
    """Return the masks of the level that follows a parent; the parent's trained weights are scored.

    Parameters
    ----------
    setting : IterateSetting
    parent : LoadedRun
    plan : PrunePlan

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept, for every prunable weight

    Raises
    ------
    StudyError
        If a score is NaN or infinite.
    """
    theta = {name: parent.model.get_parameter(name).detach() for name in setting.prunable}
    parent_masks = pruned.weights_left(setting, parent)
    return selection.select(setting, parent.model, theta, plan.kept_numbers[0], parent_masks, gradient=parent.gradient)
