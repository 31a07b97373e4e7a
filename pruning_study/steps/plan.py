"""Plans of runs: every option resolved once, with the params, the name and the hash that follow from it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.names import ADAM
from analysis.runs.schema import text
from pruning_study import models
from pruning_study.options.config import CUBIC, ONE_SHOT, PruneConfig, TrainConfig, of_command, typed
from pruning_study.options.record import Option
from pruning_study.pruning import budget, filters
from pruning_study.pruning.budget import Budget
from pruning_study.pruning.coupled import inputs_second
from pruning_study.pruning.filters import Filters
from pruning_study.pruning.pruners import Pruner
from pruning_study.steps import timing
from pruning_study.steps.context import Context
from pruning_study.steps.identity import config_hash
from pruning_study.training.mitigation import class_offsets, constraint_names
from pruning_study.training.quantization import Quantization
from pruning_study.training.recipe_values import ADAM_LEARNING_RATE, ADAM_MOMENTUM, recipe_of
from pruning_study.training.recipes import RECIPES, Hyperparameters, scaled
from pruning_study.training.regularizers import REGULARIZERS

# Options that can change the dense model, and further options that can change the pruned model
_TRAINING = tuple(record for record in of_command("train").values() if record.param)
_PRUNING = tuple(
    record for name, record in of_command("prune").items() if record.param and name not in of_command("train")
)


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
        """Return a name; parts that differ come first, because MLflow shows only about 15 characters."""
        parts = [start, f"s{seed or self.options.seed}", end, self.options.model, self.dataset]
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of pruning, with a value for each that is `auto`. The fields have the names of the params.

    Parameters
    ----------
    options : PruneConfig
    hyperparameters : Hyperparameters
        Those of the training that follows or accompanies pruning.
    pruner : Pruner
        The pruner that the option names, or the one by which the protocol replaces it.
    scope : {"global", "layer"}
        Where kept weights are counted: in all layers together, or in each layer.
    gradient_objective : {"regularized", "data"}
        Loss with or without the penalty of the weight decay.
    gradient_batches : int, optional
        Number of random batches over which the gradient is averaged; None for the whole training set.
    gradient_mode : {"eval", "train"}
    epsilon : float
        Factor of the squared weight in the score of undecayed pruning: the protocol's, or the weight decay, or 5e-4 if
        the weight decay is 0, because 0 would turn undecayed pruning into gradient pruning.
    schedule : {"one-shot", "cubic", "set", "rigl"}
    regrow : bool
        Whether weights that were pruned may come back.
    constraint_step : float
        Size of a dual step under a constraint; 0 without a constraint.
    times : mapping of str to int
        With `--start initialization`: `begin`, `end` and `frequency`, as `timing.pruning_times` returns them.
    """

    options: PruneConfig
    hyperparameters: Hyperparameters
    pruner: Pruner
    scope: str
    gradient_objective: str
    gradient_batches: int | None
    gradient_mode: str
    epsilon: float
    schedule: str
    regrow: bool
    constraint_step: float
    times: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, options: PruneConfig, dense: Hyperparameters, hyperparameters: Hyperparameters | None = None
    ) -> "Settings":
        """Resolve options as far as they do not depend on data.

        Parameters
        ----------
        options : PruneConfig
        dense : Hyperparameters
            Those of the dense network's training.
        hyperparameters : Hyperparameters, optional
            Those of the training after pruning; by default, the options set them.

        Raises
        ------
        StudyError
            If an option needs fine-tuning, but the options set 0 epochs.
        """
        protocol, pruner, epsilon = options.protocol_record, options.pruner_record, options.epsilon
        epsilon = protocol.epsilon if epsilon is None else epsilon
        step = constraint_names.DUAL_STEPS.get((options.constraint, options.constraint_images), 0.0)
        gradual = options.schedule if options.is_sparse_from_start else CUBIC
        return Settings(
            options=options,
            hyperparameters=hyperparameters or _fine_tuning(options, dense),
            pruner=pruner,
            scope=options.scope if options.scope and pruner.prunes else pruner.scope,
            gradient_objective=options.gradient_objective or protocol.gradient_objective,
            gradient_batches=options.gradient_batches or protocol.gradient_batches,
            gradient_mode=options.gradient_mode or protocol.gradient_mode,
            epsilon=(dense.weight_decay or schema.PAPERS_EPSILON) if epsilon is None else epsilon,
            schedule=gradual if options.is_gradual else ONE_SHOT,
            regrow=options.starts_anew,
            constraint_step=step,
        )

    @cached_property
    def params(self) -> dict[str, str]:
        """What can change the pruned model, as canonical text, without what depends on the ratio and the network."""
        options, needs, is_anew = self.options, self.pruner.needs, self.options.starts_anew
        own = {record.name: vars(self)[record.name] for record in _PRUNING if record.name in vars(self)}
        training = _of_fine_tuning(self.hyperparameters)
        training = dict.fromkeys(training) if is_anew else training | _of_steps(self.hyperparameters)
        derived = {
            schema.PRECISION: options.precision,
            schema.PRUNER: self.pruner.name,
            schema.PRUNER_DIGEST: self.pruner.digest,
            "gradient_objective": self.gradient_objective if "grad" in needs else "none",
            "gradient_batches": self.gradient_batches or "all",
            "regrow": self.regrow,
            "constraint_step": self.constraint_step,
            **schema.FIXED,
            **self.times,
        }
        is_logged = {
            **dict.fromkeys((schema.RATIO, schema.SPARSITY), False),
            **dict.fromkeys(("gradient_batches", "gradient_mode"), "grad" in needs),
            schema.EPSILON: "epsilon" in needs,
            **dict.fromkeys((schema.RAMP, "ramp_steps"), options.is_gradual and not is_anew),
            "regrow": options.is_gradual and not options.is_sparse_from_start,
            **dict.fromkeys(("begin", "end", "frequency"), bool(self.times)),
            "data_quotas": options.data_quotas != "none",
            schema.QUANTIZATION: options.quantizes,
        }
        unlogged = dict.fromkeys(name for name, applies in is_logged.items() if not applies)
        return _logged(options, _PRUNING, own | training | derived | unlogged)


@dataclass(frozen=True, kw_only=True)
class Pruning(Settings):
    """How options prune a network, at any ratio and from any run with these settings.

    Parameters
    ----------
    options : PruneConfig
        Sparsities are already converted to ratios.
    dense : TrainPlan
        Plan of the dense run that the same options make.
    images : int
        Number of training images.
    budget : Budget
    prunable : mapping of state-dict names to shapes
        The prunable weights, with the input channels along axis 1.
    filters : Filters, optional
        Removable filters, and the weights that are removed with each; None if weights or channels are pruned.
    """

    dense: TrainPlan
    images: int
    budget: Budget
    prunable: Mapping[str, torch.Size]
    filters: Filters | None

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
    ) -> "PrunePlan":
        """Plan the run at a ratio.

        Parameters
        ----------
        ratio : float
        dense : mapping of str, optional
            Params of the dense run that all prunings start from; by default, those of the planned dense run.
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
        remaining = self.budget.prunable if remaining is None else remaining
        numbers: Mapping[str, int] = {}
        if self.filters is not None:
            numbers = filters.numbers_at(self.filters, self.budget, self.options.model, ratio, option)
            kept = self.budget.prunable - filters.removed(self.filters, numbers, self.prunable)
        else:
            kept = self.budget.kept_weights(ratio) if self.pruner.prunes else remaining
            self._check(kept, remaining, ratio, option)
        return self._plan(
            (ratio, iteration, self.budget.sparsity_of(kept) if self.pruner.prunes else 0.0),
            (_times([ratio]), f"{self.method} iteration {iteration}" if iteration > 1 else self.method),
            {},
            dense,
            parent_hash,
            stream=self.dense.stream if self.options.starts_anew else "fine-tuning",
            kept_numbers=timing.kept_numbers(
                self.options, self.hyperparameters, self.times, remaining, kept, images or self.images
            ),
            filter_numbers=numbers,
        )

    def _check(self, kept: int, remaining: int, ratio: float, option: str) -> None:
        """Raise a StudyError if more weights would be kept than are left, or none in a layer or of its channels."""
        if kept > remaining:
            raise StudyError(
                f"{ratio:g} keeps {kept:,} prunable weights, but the run to be pruned has only {remaining:,} left: "
                "take a larger ratio",
                option="ratio",
            )
        if self.pruner.unit == "channel":
            budget.check_channels(self.prunable, kept, option)
        elif self.scope == "layer":
            budget.check_layers(self.prunable, kept, option)

    def _plan(
        self,
        amount: tuple[float, int, float],
        names: tuple[str, str],
        own: Mapping[str, str],
        dense: Mapping[str, str] | None,
        parent_hash: str | None,
        **fields: Any,
    ) -> "PrunePlan":
        """Plan the run of a ratio, an iteration and a sparsity, given the start and the end of its name and its params.

        The params of the dense run, the hash of the parent and the fields of the plan are as in `at`.
        """
        dense = self.dense.params if dense is None else dense
        of_amount = dict(zip((schema.RATIO, schema.ITERATION, schema.SPARSITY), map(text, amount), strict=True))
        params = {**dense, **self.params, **of_amount, **own}
        return PrunePlan(
            kind=schema.PRUNED,
            name=self.dense.named(*names, dense.get(schema.SEED, "")),
            params=params,
            hash=config_hash(schema.PRUNED, params, self.dense.hash if parent_hash is None else parent_hash),
            force=self.options.force,
            options=self.options,
            dataset=self.dense.dataset,
            hyperparameters=self.hyperparameters,
            pruning=self,
            ratio=amount[0],
            **fields,
        )

    @property
    def method(self) -> str:
        """The pruner and the options that differ from the defaults, in words."""
        return replace(self.options, pruner=self.pruner.name).method

    def command(self, plan: "PrunePlan") -> str:
        """Return the call that makes a run."""
        return typed("prune", self.options, pruner=self.options.pruner, ratio=plan.ratio)

    def pruned_name(self, *ratios: float) -> str:
        """Return a name for one pruned run, or for the runs of several ratios."""
        return self.dense.named(_times(ratios), self.method)

    @property
    def job_name(self) -> str:
        """Name of the job that makes the runs of all ratios."""
        return self.dense.named("prune", f"{self.method} {_times(self.options.ratio)}")


@dataclass(frozen=True, kw_only=True)
class PrunePlan(TrainPlan):
    """Plan of a pruned run. `hyperparameters` are those of the training that follows or accompanies pruning.

    Parameters
    ----------
    pruning : Pruning
        What the run shares with the runs at other ratios.
    ratio : float
        Number of parameters of the dense network divided by the number that is left.
    kept_numbers : mapping of int to int or sequence of int
        Number of prunable weights that are kept from a batch on, in total or in each layer. The keys are the indices
        of these batches in the training that follows or accompanies pruning. The last number is final.
    filter_numbers : mapping of state-dict names to int
        Number of filters that each convolution keeps.
    """

    options: PruneConfig
    pruning: Pruning
    ratio: float
    kept_numbers: Mapping[int, int | Sequence[int]]
    filter_numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def command(self) -> str:
        return self.pruning.command(self)


def plan_training(options: TrainConfig, context: Context) -> TrainPlan:
    """Plan the dense run of these options.

    Raises
    ------
    StudyError
        If the training has fewer epochs or steps than the options require.
    """
    hyperparameters = dense_training(options)
    timing.check_decay(hyperparameters, len(context.train_indices), "decay")
    timing.check_average(hyperparameters, "average_epochs")
    params = training_params(options, hyperparameters, _described(options, context))
    if context.data.validation_indices is not None:
        del params[schema.VALIDATION_FRACTION]
    plan = TrainPlan(
        kind=schema.DENSE,
        name="",
        params=params,
        hash=config_hash(schema.DENSE, params),
        force=options.force,
        options=options,
        dataset=context.data.name,
        hyperparameters=hyperparameters,
    )
    return replace(plan, name=plan.named(schema.DENSE))


def plan_pruning(options: PruneConfig, context: Context, hyperparameters: Hyperparameters | None = None) -> Pruning:
    """Plan how these options prune, and check that each of their ratios can be attained.

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
    dense, model, images = plan_training(options, context), context.model, len(context.train_indices)
    names = budget.prunable(
        model, output_layer=options.prune_output_layer, keep=options.keep_layers or (), unused=context.unused
    )
    weights = {name: model.get_parameter(name) for name in names}
    own_budget = options.protocol_record.budget(model, names, context.unused)
    option = "sparsity" if options.sparsity else "ratio"
    settings = Settings.of(with_ratios(options, own_budget), dense.hyperparameters, hyperparameters)
    times = timing.pruning_times(settings.options, settings.hyperparameters, images)
    timing.check_fine_tuning(settings.options, settings.hyperparameters, times, images)
    pruning = Pruning(
        **vars(settings) | {"times": times},
        dense=dense,
        images=images,
        budget=own_budget,
        prunable={name: tensor.shape for name, tensor in inputs_second(model, weights).items()},
        filters=context.filters(names) if settings.pruner.unit == "filter" else None,
    )
    for ratio in pruning.options.ratio:
        pruning.at(ratio, option=option)
    if options.class_offsets != "none":
        data = context.data
        class_offsets.check(model, data.image_shape, context.validation_support, data.classes)
    return pruning


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


def training_params(
    options: TrainConfig, hyperparameters: Hyperparameters, described: Mapping[str, str]
) -> dict[str, str]:
    """Return every resolved setting that can change the dense model, as canonical text.

    Parameters
    ----------
    options : TrainConfig
    hyperparameters : Hyperparameters
    described : mapping of str
        The params that describe the data, the model's source code and the given weights.
    """
    training = _of_steps(hyperparameters) | _of_epochs(hyperparameters)
    if schema.WEIGHTS_DIGEST in described:
        training = dict.fromkeys(training)
    own = {schema.RECIPE: recipe(options), schema.WEIGHT_DECAY: hyperparameters.weight_decay}
    from_data = dict.fromkeys((schema.DATASET, schema.TEST_FRACTION))
    return {**described, **_logged(options, _TRAINING, from_data | own | training)}


def recipe(options: TrainConfig) -> str:
    """Return the name of the training recipe of these options."""
    return options.recipe or recipe_of(options.model)


def dense_training(options: TrainConfig) -> Hyperparameters:
    """Return the hyperparameters of the dense network's training."""
    base = RECIPES[recipe(options)].dense
    return _training(base, options, options.epochs, options.learning_rate, options.decay, options.average_epochs)


def _fine_tuning(options: PruneConfig, dense: Hyperparameters) -> Hyperparameters:
    """Return the hyperparameters of the training that follows pruning, or that accompanies it."""
    epochs, averaged = options.fine_tune_epochs, options.fine_tune_average_epochs
    averaged = options.average_epochs if averaged is None else averaged
    hyperparameters = dense
    if not options.starts_anew:
        hyperparameters = _training(
            RECIPES[recipe(options)].fine_tuning,
            options,
            epochs,
            options.fine_tune_learning_rate,
            options.fine_tune_decay or options.decay,
            0 if epochs == 0 else averaged,
        )
    if options.quantizes:
        quantization = Quantization(options.weight_bits, options.quantizes_while_training)
        hyperparameters = replace(hyperparameters, quantization=quantization)
    parts = {
        "gradual pruning": options.is_gradual,
        "distillation": options.distill,
        "weighing images": options.weighing,
        "thinning by data quotas": options.data_quotas != "none",
        "quantization while training": options.quantizes_while_training,
    }
    part_name = next((part for part, is_wanted in parts.items() if is_wanted), "")
    if part_name and not hyperparameters.epochs:
        raise StudyError(f"0 epochs leave no fine-tuning, which {part_name} needs", option="fine_tune_epochs")
    return hyperparameters


def _training(
    base: Hyperparameters, options: TrainConfig, epochs: int | None, rate: float | None, decay: str, averaged: int
) -> Hyperparameters:
    """Return a recipe's hyperparameters with the changes that the options and the protocol make."""
    chosen = (options.weight_decay, options.protocol_record.weight_decay, base.weight_decay)
    weight_decay = next(each for each in chosen if each is not None)
    if options.regularizer != "l2" and not weight_decay:
        raise StudyError(
            f"{options.regularizer} is as strong as the weight decay, which is 0: set --weight-decay",
            option="regularizer",
        )
    is_adam = options.optimizer == ADAM
    usual_momentum = ADAM_MOMENTUM if is_adam else base.momentum
    changed = replace(
        base,
        batch_size=options.batch_size or base.batch_size,
        momentum=usual_momentum if options.momentum is None else options.momentum,
        weight_decay=weight_decay,
        decay=decay,
        keeps_last_epoch=options.kept_epoch == "last" if options.kept_epoch else decay != "none",
        average_epochs=averaged,
        regularizer=REGULARIZERS[options.regularizer],
        optimizer=options.optimizer,
    )
    return scaled(changed, epochs=epochs, learning_rate=ADAM_LEARNING_RATE if rate is None and is_adam else rate)


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


def _logged(options: TrainConfig, records: Sequence[Option], resolved: Mapping[str, Any]) -> dict[str, str]:
    """Return the params of options, with resolved values in place of the options' own; None is not logged.

    An option that refines a mitigation, for example, has no param if the mitigation is off.
    """
    values = {record.name: getattr(options, record.name) for record in records} | dict(resolved)
    mains = {name: schema.role(name).detail_of for name in values}
    details_of_off = {name for name, main in mains.items() if main and getattr(options, main, None) in ("none", 0)}
    return {name: text(value) for name, value in values.items() if value is not None and name not in details_of_off}


def _of_fine_tuning(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the params of fine-tuning; None for those that do not apply."""
    params = {
        name if name == schema.KEPT_EPOCH else f"fine_tune_{name}": value
        for name, value in _of_epochs(hyperparameters).items()
    }
    return params if hyperparameters.epochs else dict.fromkeys(params) | {schema.FINE_TUNE_EPOCHS: 0}


def _of_steps(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the params of a training's steps, which have the same names for training and fine-tuning."""
    names = (schema.BATCH_SIZE, schema.MOMENTUM, schema.OPTIMIZER, schema.AUGMENTATION)
    return {name: getattr(hyperparameters, name) for name in names}


def _of_epochs(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the params of a training's epochs, all but the kept epoch with other names for fine-tuning."""
    return {
        schema.KEPT_EPOCH: "last" if hyperparameters.keeps_last_epoch else "best",
        schema.EPOCHS: hyperparameters.epochs,
        schema.LEARNING_RATE: hyperparameters.learning_rate if hyperparameters.epochs else None,
        "decay": hyperparameters.decay,
        "average_epochs": hyperparameters.average_epochs,
        schema.PHASES: str(hyperparameters),
    }


def _times(ratios: Iterable[float]) -> str:
    """Return ratios as text for names, such as `2,10x`."""
    return ",".join(f"{ratio:.5g}" for ratio in ratios) + "x"
