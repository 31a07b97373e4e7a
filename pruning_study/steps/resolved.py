"""Work out the values of options that are `auto`, by pure functions that need no data and no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.runs.options.commands import of_command
from analysis.runs.options.names import ADAM
from analysis.runs.options.recipes import ADAM_LEARNING_RATE, ADAM_MOMENTUM, recipe_of
from analysis.runs.options.record import Option
from analysis.runs.schema import text
from pruning_study.data.examples import number_of_batches
from pruning_study.options.config import PruneConfig, TrainConfig
from pruning_study.options.protocols import PROTOCOLS, Protocol
from pruning_study.pruning import schedules
from pruning_study.pruning.pruners import Pruner
from pruning_study.training.quantization import Quantization
from pruning_study.training.recipes import RECIPES, Hyperparameters, scaled
from pruning_study.training.regularizers import REGULARIZERS

# When `--start initialization` prunes: shares of the training, and steps. The papers print none of them.
_BEGIN, _END, _FREQUENCY = 0.2, 0.75, 100
# Options that can change the dense model, and further ones that can change the pruned model
_TRAINING = tuple(of_command("train").values())
_PRUNING = tuple(record for name, record in of_command("prune").items() if name not in of_command("train"))


@dataclass(frozen=True)
class ResolvedTraining:
    """How a dense model is trained.

    Parameters
    ----------
    protocol : Protocol
    recipe : str
        A name of `RECIPES`.
    hyperparameters : Hyperparameters
    """

    protocol: Protocol
    recipe: str
    hyperparameters: Hyperparameters


@dataclass(frozen=True)
class ResolvedPruning:
    """How a model is pruned and fine-tuned.

    Parameters
    ----------
    pruner : Pruner
        The record that the protocol puts in place of the one that the option names.
    scope : {"global", "layer"}
    fine_tuning : Hyperparameters
        Of the training during or after which weights are pruned; with `--start initialization` that of the dense model.
    gradient_objective : {"regularized", "data"}
    gradient_batches : int or None
        Random batches that the gradient is averaged over; None for the whole training set.
    gradient_mode : {"eval", "train"}
    epsilon : float
        Weight of the undecay term. It defaults to the weight decay, or to 5e-4 where that is 0, since a weight of 0
        would make undecayed pruning the same as gradient pruning.
    """

    pruner: Pruner
    scope: str
    fine_tuning: Hyperparameters
    gradient_objective: str
    gradient_batches: int | None
    gradient_mode: str
    epsilon: float


def resolve_training(config: TrainConfig) -> ResolvedTraining:
    """Work out how the dense model of some options is trained."""
    protocol = PROTOCOLS[config.protocol]
    recipe = config.recipe or recipe_of(config.model)
    hyperparameters = _adapted(RECIPES[recipe].dense, config, protocol, config.decay, config.average_epochs)
    hyperparameters = scaled(
        hyperparameters, epochs=config.epochs, learning_rate=_first_rate(config, config.learning_rate)
    )
    return ResolvedTraining(protocol, recipe, hyperparameters)


def resolve_pruning(config: PruneConfig, training: ResolvedTraining) -> ResolvedPruning:
    """Work out how the model of some options is pruned and fine-tuned.

    Raises
    ------
    StudyError
        If the pruner cannot be imported, or if a part of the fine-tuning is asked for and there is no fine-tuning.
    """
    protocol = training.protocol
    pruner = protocol.pruner(config.pruner)
    fine_tuning = training.hyperparameters
    if not config.starts_anew:
        end = config.fine_tuning_decay, config.fine_tuning_average_epochs
        fine_tuning = scaled(
            _adapted(RECIPES[training.recipe].fine_tuning, config, protocol, *end),
            epochs=config.fine_tune_epochs,
            learning_rate=_first_rate(config, config.fine_tune_learning_rate),
        )
    if config.quantizes:
        fine_tuning = replace(
            fine_tuning, quantization=Quantization(config.weight_bits, config.quantizes_while_training)
        )
    parts = {
        "gradual pruning": config.is_gradual,
        "distillation": config.distill,
        "weighing images": config.weighing,
        "thinning by data quotas": config.data_quotas != "none",
        "quantization while training": config.quantizes_while_training,
    }
    part_name = next((part for part, is_wanted in parts.items() if is_wanted), "")
    if part_name and not fine_tuning.epochs:
        raise StudyError(f"0 epochs leave no fine-tuning, and {part_name} is part of it", option="fine_tune_epochs")
    epsilon = protocol.epsilon if config.epsilon is None else config.epsilon
    if epsilon is None:
        epsilon = training.hyperparameters.weight_decay or schema.PAPERS_EPSILON
    return ResolvedPruning(
        pruner=pruner,
        scope=config.scope if config.scope and pruner.prunes else pruner.scope,
        fine_tuning=fine_tuning,
        gradient_objective=config.gradient_objective or protocol.gradient_objective,
        gradient_batches=config.gradient_batches or protocol.gradient_batches,
        gradient_mode=config.gradient_mode or protocol.gradient_mode,
        epsilon=epsilon,
    )


def check_ramp(config: PruneConfig, fine_tuning: Hyperparameters, images: int) -> None:
    """Check that gradual pruning ends before fine-tuning does.

    Parameters
    ----------
    config : PruneConfig
    fine_tuning : Hyperparameters
    images : int
        Number of training images.

    Raises
    ------
    StudyError
        If an epoch has fewer batches than steps of the ramp, or if no step of fine-tuning follows the ramp.
    """
    if not config.is_gradual or config.starts_anew:
        return
    epochs = fine_tuning.epochs
    batches = number_of_batches(images, fine_tuning.batch_size)
    if config.ramp_steps > batches:
        raise StudyError(f"{config.ramp_steps} is above {batches}, the batches of an epoch", option="ramp_steps")
    if schedules.last_step(config.ramp * epochs, config.ramp_steps) >= epochs * config.ramp_steps:
        longest = 1 - 1 / (epochs * config.ramp_steps)
        raise StudyError(
            f"{config.ramp:g} ends the ramp with the fine-tuning ({epochs} epochs of {config.ramp_steps} steps), and a "
            f"step must follow it: give at most {int(longest * 1e4) / 1e4:g}, or more --ramp-steps",
            option="ramp",
        )


def check_decay(hyperparameters: Hyperparameters, images: int, option: str) -> None:
    """Check that a learning rate has steps to decay in.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    images : int
        Number of training images.
    option : str
        The command-line option that asked for the decay.

    Raises
    ------
    StudyError
        If a phase has a single step.
    """
    batches = number_of_batches(images, hyperparameters.batch_size)
    if hyperparameters.decay != "none" and any(phase.epochs * batches < 2 for phase in hyperparameters.phases):
        raise StudyError(
            f"{hyperparameters.decay} needs two steps in every phase, and one has a single step", option=option
        )


def check_average(hyperparameters: Hyperparameters, option: str, final: int | None = None) -> None:
    """Check that a training has as many epochs as are averaged.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    option : str
        The command-line option that says how many epochs are averaged.
    final : int, optional
        Number of epochs that end with the last masks, as `final_epochs` returns it; all by default.

    Raises
    ------
    StudyError
        If there are fewer.
    """
    averaged_epochs, epochs = hyperparameters.average_epochs, hyperparameters.epochs
    if averaged_epochs > epochs:
        raise StudyError(f"{averaged_epochs} is above {epochs}, the number of epochs", option=option)
    if final is not None and averaged_epochs > final:
        raise StudyError(
            f"{averaged_epochs} is above {final}, the number of epochs that end with the last masks", option=option
        )


def final_epochs(config: PruneConfig, training: Hyperparameters, images: int) -> int:
    """Return how many epochs of a training end with the last masks; parameters and errors as of `pruning_steps`."""
    if not config.is_gradual:
        return training.epochs
    batches = number_of_batches(images, training.batch_size)
    if config.starts_anew:
        last = pruning_steps(config, training, images)["end"]
    else:
        steps = schedules.last_step(config.ramp * training.epochs, config.ramp_steps) + 1
        last = max(schedules.at_batches(range(steps), config.ramp_steps, batches))
    return training.epochs - last // batches


def pruning_steps(config: PruneConfig, training: Hyperparameters, images: int) -> dict[str, int]:
    """Work out at which steps of the training `--start initialization` prunes.

    Parameters
    ----------
    config : PruneConfig
    training : Hyperparameters
    images : int
        Number of training images.

    Returns
    -------
    dict
        `begin` and `end`, the first and the last of these steps, and `frequency`, the steps from one to the next;
        empty where weights are not pruned while a network is trained from its initial weights.

    Raises
    ------
    StudyError
        If pruning ends before it begins, or leaves no step of training after it, or if the schedules set and rigl
        exchange nothing.
    """
    if not (config.starts_anew and config.is_gradual):
        return {}
    batches = number_of_batches(images, training.batch_size)
    steps = batches * training.epochs
    usual_begin = 0 if config.is_sparse_from_start else _BEGIN
    begin, end = (
        value if isinstance(value, int) else round(value * steps)
        for value in (usual_begin if config.begin is None else config.begin, _END if config.end is None else config.end)
    )
    if steps < 2:
        raise StudyError(f"{steps} batch leaves no step after a pruning: train for more epochs", option="epochs")
    if begin > end:
        raise StudyError(f"{end} is before step {begin}, at which pruning begins (--begin)", option="end")
    if end >= steps:
        raise StudyError(
            f"{end} leaves no step with the last masks ({training.epochs} epochs of {batches} steps): give at most "
            f"{steps - 1}, or a smaller share",
            option="end",
        )
    frequency = config.frequency or _FREQUENCY
    if config.is_sparse_from_start and begin + frequency >= end:
        raise StudyError(
            f"{frequency} leaves no exchange of weights between the steps {begin} and {end} ({training.epochs} epochs "
            f"of {batches} steps): give less, or train for more epochs",
            option="frequency",
        )
    return {"begin": begin, "end": end, "frequency": frequency}


def training_params(config: TrainConfig, training: ResolvedTraining, described: Mapping[str, str]) -> dict[str, str]:
    """Return every resolved setting that can change the dense model, as canonical text.

    Parameters
    ----------
    config : TrainConfig
    training : ResolvedTraining
    described : mapping of str
        The params that describe the data, the model's source and given weights.
    """
    trained_by = training.hyperparameters
    resolved: dict[str, Any] = {
        **dict.fromkeys((schema.DATASET, schema.TEST_FRACTION)),  # the data say them
        schema.RECIPE: training.recipe,
        schema.WEIGHT_DECAY: trained_by.weight_decay,
        **_of_training(trained_by),
    }
    if schema.WEIGHTS_DIGEST in described:
        resolved |= dict.fromkeys(_of_training(trained_by))
    return {**described, **_logged(config, _TRAINING, resolved)}


def pruning_params(
    config: PruneConfig,
    pruning: ResolvedPruning,
    ratio: float,
    iteration: int,
    steps: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """Return every resolved setting of pruning and fine-tuning that can change the pruned model, as canonical text.

    Parameters
    ----------
    config : PruneConfig
    pruning : ResolvedPruning
    ratio : float
    iteration : int
        Number of prunings since the dense run, this one included.
    steps : mapping of str to int, optional
        With `--start initialization`, when weights are pruned (`pruning_steps`). They are unknown before the data are.
    """
    pruner, needs = pruning.pruner, pruning.pruner.needs
    has_ramp = config.is_gradual and not config.starts_anew
    resolved: dict[str, Any] = {
        **({} if config.starts_anew else _of_loop(pruning.fine_tuning)),
        schema.PRECISION: config.precision,
        schema.PRUNER: pruner.name,
        schema.PRUNER_DIGEST: pruner.digest,
        schema.RATIO: ratio,
        schema.SPARSITY: None,  # the network says it
        schema.SCOPE: pruning.scope,
        schema.ITERATION: iteration,
        "gradient_objective": pruning.gradient_objective if "grad" in needs else "none",
        "gradient_batches": (pruning.gradient_batches or "all") if "grad" in needs else None,
        "gradient_mode": pruning.gradient_mode if "grad" in needs else None,
        schema.EPSILON: pruning.epsilon if "epsilon" in needs else None,
        **_of_fine_tuning(config, pruning.fine_tuning),
        schema.SCHEDULE: config.logged_schedule,
        **({} if has_ramp else dict.fromkeys((schema.RAMP, "ramp_steps"))),
        "regrow": config.regrows if config.is_gradual and not config.is_sparse_from_start else None,
        **dict.fromkeys(("begin", "end", "frequency")),
        **(steps or {}),
        "data_quotas": None if config.data_quotas == "none" else config.data_quotas,
        "constraint_step": config.dual_step,
        schema.QUANTIZATION: config.quantization if config.quantizes else None,
    }
    return _logged(config, _PRUNING, resolved)


def _logged(config: TrainConfig, records: Sequence[Option], resolved: Mapping[str, Any]) -> dict[str, str]:
    """Return the params of options, and further ones, as canonical text.

    Parameters
    ----------
    config : TrainConfig
    records : sequence of Option
        The options. A detail of what is off has no param.
    resolved : mapping
        Values of options that are not logged as they are given, and further params; None for what is not logged.
    """
    values = {record.name: getattr(config, record.name) for record in records if record.param} | dict(resolved)
    details_of_off = {record.name for record in records if record.main_if_off(config)}
    return {name: text(value) for name, value in values.items() if value is not None and name not in details_of_off}


def _of_training(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the params of a training that makes a network."""
    return {
        **_of_loop(hyperparameters),
        schema.EPOCHS: hyperparameters.epochs,
        schema.LEARNING_RATE: hyperparameters.learning_rate,
        "decay": hyperparameters.decay,
        "average_epochs": hyperparameters.average_epochs,
        schema.PHASES: str(hyperparameters),
    }


def _of_fine_tuning(config: PruneConfig, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the params of fine-tuning; None for those that it has not, or that are the dense model's."""
    epochs = None if config.starts_anew else hyperparameters.epochs
    return {
        schema.FINE_TUNE_EPOCHS: epochs,
        schema.FINE_TUNE_LEARNING_RATE: hyperparameters.learning_rate if epochs else None,
        "fine_tune_decay": hyperparameters.decay if epochs else None,
        "fine_tune_average_epochs": hyperparameters.average_epochs if epochs else None,
        schema.FINE_TUNE_PHASES: str(hyperparameters) if epochs else None,
    }


def _adapted(
    recipe: Hyperparameters, config: TrainConfig, protocol: Protocol, decay: str, average_epochs: int
) -> Hyperparameters:
    """Return a recipe's hyperparameters with what the options and the protocol change of them."""
    weight_decay = recipe.weight_decay if protocol.weight_decay is None else protocol.weight_decay
    weight_decay = weight_decay if config.weight_decay is None else config.weight_decay
    if config.regularizer != "l2" and not weight_decay:
        raise StudyError(
            f"{config.regularizer} is as strong as the weight decay, which is 0: set --weight-decay",
            option="regularizer",
        )
    usual_momentum = ADAM_MOMENTUM if config.optimizer == ADAM else recipe.momentum
    return replace(
        recipe,
        batch_size=config.batch_size or recipe.batch_size,
        momentum=usual_momentum if config.momentum is None else config.momentum,
        weight_decay=weight_decay,
        decay=decay,
        keeps_last_epoch=config.kept_epoch == "last" if config.kept_epoch else decay != "none",
        average_epochs=average_epochs,
        regularizer=REGULARIZERS[config.regularizer],
        optimizer=config.optimizer,
    )


def _first_rate(config: TrainConfig, learning_rate: float | None) -> float | None:
    """Return the learning rate of a training's first phase; None for the recipe's."""
    return ADAM_LEARNING_RATE if learning_rate is None and config.optimizer == ADAM else learning_rate


def _of_loop(hyperparameters: Hyperparameters) -> dict[str, Any]:
    return {
        schema.BATCH_SIZE: hyperparameters.batch_size,
        schema.MOMENTUM: hyperparameters.momentum,
        schema.OPTIMIZER: hyperparameters.optimizer,
        schema.AUGMENTATION: hyperparameters.augmentation,
    }
