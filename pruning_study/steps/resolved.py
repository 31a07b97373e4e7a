"""Resolve options that are `auto`, by pure functions that need neither data nor a model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.names import ADAM
from analysis.runs.schema import text
from pruning_study.data.examples import number_of_batches
from pruning_study.options.config import PruneConfig, TrainConfig, TrainingChoices, of_command
from pruning_study.options.record import Option
from pruning_study.pruning import schedules
from pruning_study.training.quantization import Quantization
from pruning_study.training.recipe_values import ADAM_LEARNING_RATE, ADAM_MOMENTUM, recipe_of
from pruning_study.training.recipes import RECIPES, Hyperparameters, scaled
from pruning_study.training.regularizers import REGULARIZERS

# Defaults of --begin and --end, as shares of the training, and of --frequency, in steps. The papers print no values.
_BEGIN, _END, _FREQUENCY = 0.2, 0.75, 100
# Options that can change the dense model, and further options that can change the pruned model
_TRAINING = tuple(of_command("train").values())
_PRUNING = tuple(record for name, record in of_command("prune").items() if name not in of_command("train"))


class Gradient(NamedTuple):
    """Settings of the gradient from which scores are computed.

    Attributes
    ----------
    objective : {"regularized", "data"}
        Loss with or without the penalty of the weight decay.
    batches : int or None
        Number of random batches over which the gradient is averaged; None for the whole training set.
    mode : {"eval", "train"}
        Mode of the model while the gradient is computed.
    """

    objective: str
    batches: int | None
    mode: str


def dense_training(options: TrainConfig) -> Hyperparameters:
    """Return the hyperparameters of the dense network's training."""
    return _resolve(RECIPES[recipe(options)].dense, options, options.training_choices)


def fine_tuning(options: PruneConfig) -> Hyperparameters:
    """Return the hyperparameters of the training that follows or accompanies pruning.

    With `--start initialization`, these are the hyperparameters of the dense network's training.

    Raises
    ------
    StudyError
        If an option needs fine-tuning, but the options set 0 epochs.
    """
    hyperparameters = dense_training(options)
    if not options.starts_anew:
        hyperparameters = _resolve(RECIPES[recipe(options)].fine_tuning, options, options.fine_tuning_choices)
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


def recipe(options: TrainConfig) -> str:
    """Return the name of the training recipe of these options."""
    return options.recipe or recipe_of(options.model)


def scope(options: PruneConfig) -> str:
    """Return the scope in which kept weights are counted: `global` (all layers together) or `layer` (each layer)."""
    pruner = options.pruner_record
    return options.scope if options.scope and pruner.prunes else pruner.scope


def gradient(options: PruneConfig) -> Gradient:
    """Return the settings of the gradient from which scores are computed."""
    protocol = options.protocol_record
    return Gradient(
        options.gradient_objective or protocol.gradient_objective,
        options.gradient_batches or protocol.gradient_batches,
        options.gradient_mode or protocol.gradient_mode,
    )


def epsilon(options: PruneConfig) -> float:
    """Return epsilon, the factor of the squared weight in the score of undecayed pruning.

    It defaults to the protocol's epsilon. If the protocol sets none, it defaults to the weight decay, or to 5e-4 if the
    weight decay is 0, because an epsilon of 0 would turn undecayed pruning into gradient pruning.
    """
    chosen = options.protocol_record.epsilon if options.epsilon is None else options.epsilon
    return dense_training(options).weight_decay or schema.PAPERS_EPSILON if chosen is None else chosen


def check_ramp(options: PruneConfig, fine_tuning: Hyperparameters, images: int) -> None:
    """Check that gradual pruning ends before fine-tuning does.

    Parameters
    ----------
    options : PruneConfig
    fine_tuning : Hyperparameters
    images : int
        Number of training images.

    Raises
    ------
    StudyError
        If an epoch has fewer batches than the ramp has steps per epoch, or if no step of fine-tuning follows the ramp.
    """
    if not options.is_gradual or options.starts_anew:
        return
    epochs = fine_tuning.epochs
    batches = number_of_batches(images, fine_tuning.batch_size)
    if options.ramp_steps > batches:
        raise StudyError(
            f"{options.ramp_steps} is above {batches}, the number of batches of an epoch", option="ramp_steps"
        )
    if schedules.last_step(options.ramp * epochs, options.ramp_steps) >= epochs * options.ramp_steps:
        longest = 1 - 1 / (epochs * options.ramp_steps)
        shorter = f"at most {int(longest * 1e4) / 1e4:g}, or more --ramp-steps"
        raise StudyError(
            f"{options.ramp:g} ends the ramp together with the fine-tuning ({epochs} epochs of {options.ramp_steps} "
            f"steps), but at least one step must follow the ramp: give {shorter if longest else 'more --ramp-steps'}",
            option="ramp",
        )


def check_decay(hyperparameters: Hyperparameters, images: int, option: str) -> None:
    """Check that each phase of a training has enough steps for the learning rate to decay.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    images : int
        Number of training images.
    option : str
        The option that sets the decay, for error messages.

    Raises
    ------
    StudyError
        If the learning rate decays and a phase has a single step.
    """
    batches = number_of_batches(images, hyperparameters.batch_size)
    if hyperparameters.decay != "none" and any(phase.epochs * batches < 2 for phase in hyperparameters.phases):
        raise StudyError(
            f"{hyperparameters.decay} needs at least two steps in every phase, but a phase has only one", option=option
        )


def check_average(hyperparameters: Hyperparameters, option: str, final: int | None = None) -> None:
    """Check that a training has no fewer epochs than are averaged.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    option : str
        The option that sets the number of averaged epochs, for error messages.
    final : int, optional
        Number of epochs at whose end the masks are final, as `final_epochs` returns it; all epochs by default.

    Raises
    ------
    StudyError
        If more epochs are averaged than the training has, or than have final masks at their end.
    """
    averaged_epochs, epochs = hyperparameters.average_epochs, hyperparameters.epochs
    if averaged_epochs > epochs:
        raise StudyError(f"{averaged_epochs} is above {epochs}, the number of epochs", option=option)
    if final is not None and averaged_epochs > final:
        raise StudyError(
            f"{averaged_epochs} is above {final}, the number of epochs at whose end the masks are final", option=option
        )


def final_epochs(options: PruneConfig, hyperparameters: Hyperparameters, images: int) -> int:
    """Count the epochs at whose end the masks are final. `pruning_times` describes the parameters and errors."""
    if not options.is_gradual:
        return hyperparameters.epochs
    batches = number_of_batches(images, hyperparameters.batch_size)
    if options.starts_anew:
        last = pruning_times(options, hyperparameters, images)["end"]
    else:
        steps = schedules.last_step(options.ramp * hyperparameters.epochs, options.ramp_steps) + 1
        last = max(schedules.at_batches(range(steps), options.ramp_steps, batches))
    return hyperparameters.epochs - last // batches


def pruning_times(options: PruneConfig, hyperparameters: Hyperparameters, images: int) -> dict[str, int]:
    """Return the training steps at which `--start initialization` prunes.

    Parameters
    ----------
    options : PruneConfig
    hyperparameters : Hyperparameters
    images : int
        Number of training images.

    Returns
    -------
    dict
        `begin` and `end`, the steps at which pruning begins and ends, and `frequency`, the number of steps from one
        pruning to the next. Empty unless weights are pruned while a network is trained from its initial weights.

    Raises
    ------
    StudyError
        If pruning ends before it begins, if no step of training follows it, or if the schedule `set` or `rigl` would
        exchange no weight.
    """
    if not (options.starts_anew and options.is_gradual):
        return {}
    batches = number_of_batches(images, hyperparameters.batch_size)
    steps = batches * hyperparameters.epochs
    usual_begin = 0 if options.is_sparse_from_start else _BEGIN
    begin, end = (
        value if isinstance(value, int) else round(value * steps)
        for value in (
            usual_begin if options.begin is None else options.begin,
            _END if options.end is None else options.end,
        )
    )
    if steps < 2:
        raise StudyError(
            f"a training of {steps} batch has no step after pruning: train for more epochs", option="epochs"
        )
    if begin > end:
        raise StudyError(f"{end} is before step {begin}, at which pruning begins (--begin)", option="end")
    if end >= steps:
        raise StudyError(
            f"{end} leaves no step after the last pruning ({hyperparameters.epochs} epochs of {batches} steps): give "
            f"at most {steps - 1}, or a smaller share",
            option="end",
        )
    frequency = options.frequency or _FREQUENCY
    if options.is_sparse_from_start and begin + frequency >= end:
        raise StudyError(
            f"{frequency} leaves no exchange of weights between the steps {begin} and {end} "
            f"({hyperparameters.epochs} epochs of {batches} steps): give a smaller number, or train for more epochs",
            option="frequency",
        )
    return {"begin": begin, "end": end, "frequency": frequency}


def training_params(options: TrainConfig, described: Mapping[str, str]) -> dict[str, str]:
    """Return every resolved setting that can change the dense model, as canonical text.

    Parameters
    ----------
    options : TrainConfig
    described : mapping of str
        The params that describe the data, the model's source code and the given weights.
    """
    hyperparameters = dense_training(options)
    resolved: dict[str, Any] = {
        **dict.fromkeys((schema.DATASET, schema.TEST_FRACTION)),  # taken from the data
        schema.RECIPE: recipe(options),
        schema.WEIGHT_DECAY: hyperparameters.weight_decay,
        **_of_steps(hyperparameters),
        **_of_epochs(hyperparameters),
    }
    if schema.WEIGHTS_DIGEST in described:
        resolved |= dict.fromkeys((*_of_steps(hyperparameters), *_of_epochs(hyperparameters)))
    return {**described, **_logged(options, _TRAINING, resolved)}


def pruning_params(
    options: PruneConfig,
    hyperparameters: Hyperparameters,
    ratio: float,
    iteration: int,
    times: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """Return every resolved setting of pruning and fine-tuning that can change the pruned model, as canonical text.

    Parameters
    ----------
    options : PruneConfig
    hyperparameters : Hyperparameters
        Hyperparameters of the training that follows or accompanies pruning.
    ratio : float
    iteration : int
        Number of prunings since the dense run, including this one.
    times : mapping of str to int, optional
        With `--start initialization`, the result of `pruning_times`, which is unknown until the data are read.
    """
    pruner, needs = options.pruner_record, options.pruner_record.needs
    objective, batches, mode = gradient(options)
    has_ramp = options.is_gradual and not options.starts_anew
    resolved: dict[str, Any] = {
        **({} if options.starts_anew else _of_steps(hyperparameters)),
        schema.PRECISION: options.precision,
        schema.PRUNER: pruner.name,
        schema.PRUNER_DIGEST: pruner.digest,
        schema.RATIO: ratio,
        schema.SPARSITY: None,  # added with the plan, because the sparsity of a ratio depends on the network
        schema.SCOPE: scope(options),
        schema.ITERATION: iteration,
        "gradient_objective": objective if "grad" in needs else "none",
        "gradient_batches": (batches or "all") if "grad" in needs else None,
        "gradient_mode": mode if "grad" in needs else None,
        schema.EPSILON: epsilon(options) if "epsilon" in needs else None,
        **_of_fine_tuning(options, hyperparameters),
        schema.SCHEDULE: options.logged_schedule,
        **({} if has_ramp else dict.fromkeys((schema.RAMP, "ramp_steps"))),
        "regrow": options.starts_anew if options.is_gradual and not options.is_sparse_from_start else None,
        **dict.fromkeys(("begin", "end", "frequency")),
        **(times or {}),
        "data_quotas": None if options.data_quotas == "none" else options.data_quotas,
        "constraint_step": options.dual_step,
        **schema.FIXED,
        schema.QUANTIZATION: options.quantization if options.quantizes else None,
    }
    return _logged(options, _PRUNING, resolved)


def _logged(options: TrainConfig, records: Sequence[Option], resolved: Mapping[str, Any]) -> dict[str, str]:
    """Return the params of options, and further params, as canonical text.

    Parameters
    ----------
    options : TrainConfig
    records : sequence of Option
        The options. An option that refines a mitigation, for example, has no param if the mitigation is off.
    resolved : mapping
        Values of options that are not logged as given, and further params; None for a param that is not logged.
    """
    values = {record.name: getattr(options, record.name) for record in records if record.param} | dict(resolved)
    mains = {name: schema.role(name).detail_of for name in values}
    details_of_off = {name for name, main in mains.items() if main and getattr(options, main, None) in ("none", 0)}
    return {name: text(value) for name, value in values.items() if value is not None and name not in details_of_off}


def _resolve(base: Hyperparameters, options: TrainConfig, choices: TrainingChoices) -> Hyperparameters:
    """Return a recipe's hyperparameters with the changes that the options and the protocol make."""
    protocol = options.protocol_record
    weight_decay = base.weight_decay if protocol.weight_decay is None else protocol.weight_decay
    weight_decay = weight_decay if options.weight_decay is None else options.weight_decay
    if options.regularizer != "l2" and not weight_decay:
        raise StudyError(
            f"{options.regularizer} is as strong as the weight decay, which is 0: set --weight-decay",
            option="regularizer",
        )
    is_adam, rate = options.optimizer == ADAM, choices.learning_rate
    usual_momentum = ADAM_MOMENTUM if is_adam else base.momentum
    changed = replace(
        base,
        batch_size=options.batch_size or base.batch_size,
        momentum=usual_momentum if options.momentum is None else options.momentum,
        weight_decay=weight_decay,
        decay=choices.decay,
        keeps_last_epoch=options.kept_epoch == "last" if options.kept_epoch else choices.decay != "none",
        average_epochs=choices.average_epochs,
        regularizer=REGULARIZERS[options.regularizer],
        optimizer=options.optimizer,
    )
    return scaled(
        changed, epochs=choices.epochs, learning_rate=ADAM_LEARNING_RATE if rate is None and is_adam else rate
    )


def _of_fine_tuning(options: PruneConfig, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the params of fine-tuning; None for those that do not apply or that equal those of the dense model."""
    params = {
        name if name == schema.KEPT_EPOCH else f"fine_tune_{name}": value
        for name, value in _of_epochs(hyperparameters).items()
    }
    if options.starts_anew:
        return dict.fromkeys(params)
    return params if hyperparameters.epochs else dict.fromkeys(params) | {schema.FINE_TUNE_EPOCHS: 0}


def _of_steps(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the params of a training's steps, which have the same names for training and fine-tuning."""
    return {
        schema.BATCH_SIZE: hyperparameters.batch_size,
        schema.MOMENTUM: hyperparameters.momentum,
        schema.OPTIMIZER: hyperparameters.optimizer,
        schema.AUGMENTATION: hyperparameters.augmentation,
    }


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
