"""Plans of runs, as pure data that follow from options and from the shapes of a network and a data set."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.schema import text
from pruning_study import models
from pruning_study.data.examples import number_of_batches
from pruning_study.options.config import PruneConfig, TrainConfig, typed
from pruning_study.pruning import budget, filters, schedules, sparse_training
from pruning_study.pruning.budget import Budget
from pruning_study.pruning.coupled import inputs_second
from pruning_study.pruning.filters import Filters
from pruning_study.pruning.pruners import Pruner
from pruning_study.steps import resolved
from pruning_study.steps.context import Context
from pruning_study.steps.identity import config_hash
from pruning_study.steps.resolved import Gradient
from pruning_study.training.mitigation import class_offsets
from pruning_study.training.recipes import Hyperparameters


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a run, fixed before the run is looked for or made.

    Parameters
    ----------
    kind : {"dense", "pruned", "quantized", "compressed"}
    name : str
        The run's name.
    params : mapping of str
        Every resolved setting that can change the result, as canonical text.
    hash : str
        The run's `config_hash`.
    force : bool
        Whether the run is made even if it exists.
    lineage : mapping of str
        Tags without which a run is not found. They name the run that it starts from, because several runs may have
        the same settings; a dense run has none.
    """

    kind: str
    name: str
    params: Mapping[str, str]
    hash: str
    force: bool = False
    lineage: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The call that makes the run."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TrainPlan(Plan):
    """Plan of a dense run.

    Parameters
    ----------
    options : TrainConfig
    dataset : str
        Name of the data set.
    hyperparameters : Hyperparameters
        Hyperparameters of the run's training.
    stream : str
        Name of this training, which seeds its random numbers.
    """

    options: TrainConfig
    dataset: str
    hyperparameters: Hyperparameters
    stream: str = "dense"

    @property
    def command(self) -> str:
        return typed("train", self.options)

    def named(self, start: str, end: str = "", seed: str = "") -> str:
        """Return the name of a run or a job with these options."""
        return _named(self.options, self.dataset, start, end, seed)


@dataclass(frozen=True, kw_only=True)
class PrunePlan(TrainPlan):
    """Plan of a pruned run. `hyperparameters` are those of the training that follows or accompanies pruning.

    Parameters
    ----------
    options : PruneConfig
        Sparsities are already converted to ratios.
    dense : TrainPlan
        Plan of the dense run that the same options make.
    ratio : float
        Number of parameters of the dense network divided by the number that is left.
    pruner : Pruner
        The pruner that the option names, or the one by which the protocol replaces it.
    method : str
        The pruner and the options that differ from the defaults, in words.
    scope : {"global", "layer"}
    gradient : Gradient
    epsilon : float
        Factor of the squared weight in the score of undecayed pruning.
    budget : Budget
    prunable : mapping of state-dict names to shapes
        The prunable weights, with the input channels along axis 1.
    filters : Filters, optional
        Removable filters, and the weights that are removed with each; None if weights or channels are pruned.
    filter_numbers : mapping of state-dict names to int
        Number of filters that each convolution keeps.
    images : int
        Number of training images.
    pruning_times : mapping of str to int
        With `--start initialization`: `begin` and `end`, the batches at which pruning begins and ends, and `frequency`,
        the number of batches from one pruning to the next. Empty for other starts, or without pruning.
    kept_numbers : mapping of int to int or sequence of int
        Number of prunable weights that are kept from a batch on, in total or in each layer. The keys are the indices
        of these batches in the training that follows or accompanies pruning. The last number is final.
    """

    options: PruneConfig
    dense: TrainPlan
    ratio: float
    pruner: Pruner
    method: str
    scope: str
    gradient: Gradient
    epsilon: float
    budget: Budget
    prunable: Mapping[str, torch.Size]
    filters: Filters | None
    filter_numbers: Mapping[str, int] = field(default_factory=dict)
    images: int
    pruning_times: Mapping[str, int]
    kept_numbers: Mapping[int, int | Sequence[int]] = field(default_factory=dict)

    def at(
        self,
        ratio: float,
        dense: Mapping[str, str] | None = None,
        parent_hash: str | None = None,
        *,
        iteration: int = 1,
        remaining: int | None = None,
        images: int | None = None,
        option: str = "ratio",
    ) -> Self:
        """Plan the run at a ratio.

        Parameters
        ----------
        ratio : float
        dense : mapping of str, optional
            Params of the dense run that all prunings start from; by default, those of this plan's dense run.
        parent_hash : str, optional
            Hash of the run that is pruned; by default the hash of the planned dense run.
        iteration : int
            Number of prunings since the dense run, including this one.
        remaining : int, optional
            Number of prunable weights that are not pruned yet; all of them by default.
        images : int, optional
            Number of images of the training that follows or accompanies pruning; all training images by default.
        option : str
            The option that sets the ratio, for error messages.

        Raises
        ------
        StudyError
            If the ratio cannot be attained, keeps no weight, or keeps more weights than are left.
        """
        dense = self.dense.params if dense is None else dense
        remaining = self.budget.prunable if remaining is None else remaining
        numbers: Mapping[str, int] = {}
        if self.filters is not None:
            numbers = filters.numbers_at(self.filters, self.budget, self.options.model, ratio, option)
            kept = self.budget.prunable - filters.removed(self.filters, numbers, self.prunable)
        else:
            kept = self.budget.kept_weights(ratio) if self.pruner.prunes else remaining
        if self.filters is None and kept > remaining:
            raise StudyError(
                f"{ratio:g} keeps {kept:,} prunable weights, but the run to be pruned has only {remaining:,} left: "
                "take a larger ratio",
                option="ratio",
            )
        sparsity = self.budget.sparsity_of(kept) if self.pruner.prunes else 0.0
        own = resolved.pruning_params(self.options, self.hyperparameters, ratio, iteration, self.pruning_times)
        params = {**dense, **own, schema.SPARSITY: text(sparsity)}
        if self.filters is not None and self.filters.is_coupled:
            params[schema.CHANNEL_GROUPS] = schema.TORCH_PRUNING
        again = f" iteration {iteration}" if iteration > 1 else ""
        if self.pruner.unit == "channel":
            budget.check_channels(self.prunable, kept, option)
        elif self.filters is None and self.scope == "layer":
            budget.check_layers(self.prunable, kept, option)
        return replace(
            self,
            ratio=ratio,
            filter_numbers=numbers,
            kept_numbers=_kept_from(self, kept, remaining, images or self.images),
            params=params,
            name=self.named(_times([ratio]), f"{self.method}{again}", dense.get(schema.SEED, "")),
            hash=config_hash(schema.PRUNED, params, self.dense.hash if parent_hash is None else parent_hash),
        )

    @property
    def command(self) -> str:
        return typed("prune", self.options, pruner=self.options.pruner, ratio=self.ratio)

    def pruned_name(self, *ratios: float) -> str:
        """Return a name for one pruned run, or for the runs of several ratios."""
        return self.named(_times(ratios), self.method)

    @property
    def job_name(self) -> str:
        """Name of the job that makes the runs of all ratios."""
        return self.named("prune", f"{self.method} {_times(self.options.ratio)}")


def plan_training(options: TrainConfig, context: Context) -> TrainPlan:
    """Plan the dense run of these options.

    Raises
    ------
    StudyError
        If the training has fewer epochs or steps than the options require.
    """
    hyperparameters = resolved.dense_training(options)
    resolved.check_decay(hyperparameters, len(context.train_indices), "decay")
    resolved.check_average(hyperparameters, "average_epochs")
    params = resolved.training_params(options, _described(options, context))
    if context.data.validation_indices is not None:
        del params[schema.VALIDATION_FRACTION]
    return TrainPlan(
        kind=schema.DENSE,
        name=_named(options, context.data.name, schema.DENSE),
        params=params,
        hash=config_hash(schema.DENSE, params),
        force=options.force,
        options=options,
        dataset=context.data.name,
        hyperparameters=hyperparameters,
    )


def plan_pruning(options: PruneConfig, context: Context, hyperparameters: Hyperparameters | None = None) -> PrunePlan:
    """Plan the pruned run of these options, at the first of their ratios.

    Parameters
    ----------
    options : PruneConfig
    context : Context
    hyperparameters : Hyperparameters, optional
        Hyperparameters of the training after pruning; by default, the options set them.

    Raises
    ------
    StudyError
        If the pruner cannot be used, if a ratio cannot be attained, or if a training has fewer epochs or steps than the
        options require.
    """
    dense = plan_training(options, context)
    names = budget.prunable(
        context.model,
        output_layer=options.prune_output_layer,
        keep=options.keep_layers or (),
        unused=context.unused,
    )
    weights = {name: context.model.get_parameter(name) for name in names}
    own_budget = options.protocol_record.budget(context.model, names, context.unused)
    option = "sparsity" if options.sparsity else "ratio"
    options, pruner, images = with_ratios(options, own_budget), options.pruner_record, len(context.train_indices)
    hyperparameters = hyperparameters or resolved.fine_tuning(options)
    pruning_times = resolved.pruning_times(options, hyperparameters, images)
    check_fine_tuning(options, hyperparameters, images)
    plan = PrunePlan(
        kind=schema.PRUNED,
        name="",
        params={},
        hash="",
        force=options.force,
        options=options,
        dataset=dense.dataset,
        hyperparameters=hyperparameters,
        stream=dense.stream if options.starts_anew else "fine-tuning",
        dense=dense,
        ratio=options.ratio[0],
        pruner=pruner,
        method=replace(options, pruner=pruner.name).method,
        scope=resolved.scope(options),
        gradient=resolved.gradient(options),
        epsilon=resolved.epsilon(options),
        budget=own_budget,
        prunable={name: tensor.shape for name, tensor in inputs_second(context.model, weights).items()},
        filters=context.filters(names) if pruner.unit == "filter" else None,
        images=images,
        pruning_times=pruning_times,
    )
    first, *_ = [plan.at(ratio, option=option) for ratio in options.ratio]
    if options.class_offsets != "none":
        data = context.data
        class_offsets.check(context.model, data.image_shape, context.validation_support, data.classes)
    return first


def check_fine_tuning(options: PruneConfig, hyperparameters: Hyperparameters, images: int) -> None:
    """Raise a StudyError if fine-tuning on this number of images has fewer steps or epochs than the options need."""
    prefix = options.fine_tuning_choices.prefix
    resolved.check_ramp(options, hyperparameters, images)
    resolved.check_decay(hyperparameters, images, f"{prefix}decay")
    resolved.check_average(
        hyperparameters, f"{prefix}average_epochs", resolved.final_epochs(options, hyperparameters, images)
    )


def with_ratios(options: PruneConfig, own_budget: Budget) -> PruneConfig:
    """Return options with their sparsities converted to ratios, for a network of this budget.

    Raises
    ------
    StudyError
        If a sparsity keeps no weight, or two sparsities keep the same number of weights.
    """
    if not options.sparsity:
        return options
    ratios = tuple(map(own_budget.ratio_of, options.sparsity))
    if len(set(ratios)) < len(ratios):
        raise StudyError("two sparsities keep the same number of weights: leave one out", option="sparsity")
    return replace(options, ratio=ratios, sparsity=None)


def _described(options: TrainConfig, context: Context) -> dict[str, str]:
    """Return the params that describe the data, the model's source code and the given weights."""
    data = context.data
    described = {
        schema.DATASET: data.name,
        schema.DATASET_DIGEST: data.digest,
        schema.IMAGE_SHAPE: "x".join(str(side) for side in data.image_shape),
    }
    if data.test_fraction is not None:
        described[schema.TEST_FRACTION] = text(data.test_fraction)
    if digest := models.source_digest(options.model):
        described[schema.MODEL_DIGEST] = digest
    if options.weights:
        described[schema.WEIGHTS_DIGEST] = _weights_digest(options.weights, context.output_order)
    return described


def _weights_digest(weights: Path, output_order: Sequence[int]) -> str:
    """Return a digest of given weights, and of the class order of their outputs if it differs from the data's."""
    content = hashlib.sha256(weights.read_bytes())
    if output_order:
        content.update(json.dumps(output_order).encode())
    return content.hexdigest()[:32]


def _kept_from(plan: PrunePlan, kept_weights: int, remaining: int, images: int) -> dict[int, int]:
    """Return the number of weights kept from each batch on, as in `PrunePlan.kept_numbers`."""
    options, hyperparameters = plan.options, plan.hyperparameters
    if options.is_sparse_from_start:
        return sparse_training.exchanges(kept_weights, **plan.pruning_times)
    if plan.pruning_times:
        return {0: remaining} | schedules.while_training(remaining, kept_weights, **plan.pruning_times)
    ramp = options.ramp * hyperparameters.epochs if options.is_gradual else 0.0
    numbers = schedules.cubic(remaining, kept_weights, ramp=ramp, steps=options.ramp_steps)
    return schedules.at_batches(numbers, options.ramp_steps, number_of_batches(images, hyperparameters.batch_size))


def _named(options: TrainConfig, dataset: str, start: str, end: str = "", seed: str = "") -> str:
    """Return a run's name. Parts that differ between runs come first, because MLflow shows only about 15 characters."""
    parts = [start, f"s{seed or options.seed}", end, options.model, dataset]
    return " ".join(part for part in parts if part)


def _times(ratios: Iterable[float]) -> str:
    """Return ratios as text for names, such as `2,10x`."""
    return ",".join(f"{ratio:.5g}" for ratio in ratios) + "x"
