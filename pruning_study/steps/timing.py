"""When weights are pruned in the training that follows or accompanies pruning, and checks that it is long enough."""

from collections.abc import Mapping

from analysis.common.errors import StudyError
from pruning_study.data.examples import number_of_batches
from pruning_study.options.config import PruneConfig
from pruning_study.pruning import schedules, sparse_training
from pruning_study.training.recipes import Hyperparameters

# Defaults of --begin and --end, as shares of the training, and of --frequency, in steps. The papers print no values.
_BEGIN, _END, _FREQUENCY = 0.2, 0.75, 100


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


def kept_numbers(
    options: PruneConfig,
    hyperparameters: Hyperparameters,
    times: Mapping[str, int],
    remaining: int,
    kept_weights: int,
    images: int,
) -> dict[int, int]:
    """Return the number of weights kept from each batch on, as in `PrunePlan.kept_numbers`."""
    if options.is_sparse_from_start:
        return sparse_training.exchanges(kept_weights, **times)
    if times:
        return {0: remaining} | schedules.while_training(remaining, kept_weights, **times)
    ramp = options.ramp * hyperparameters.epochs if options.is_gradual else 0.0
    numbers = schedules.cubic(remaining, kept_weights, ramp=ramp, steps=options.ramp_steps)
    return schedules.at_batches(numbers, options.ramp_steps, number_of_batches(images, hyperparameters.batch_size))


def check_fine_tuning(
    options: PruneConfig, hyperparameters: Hyperparameters, times: Mapping[str, int], images: int
) -> None:
    """Check that the training after pruning has as many steps and epochs as the options need.

    Parameters
    ----------
    options : PruneConfig
    hyperparameters : Hyperparameters
    times : mapping of str to int
        The result of `pruning_times`.
    images : int
        Number of training images.

    Raises
    ------
    StudyError
        As `check_decay` and `check_average`; if an epoch has fewer batches than the ramp has steps per epoch, or if no
        step of fine-tuning follows the ramp.
    """
    prefix, epochs, final = "fine_tune_", hyperparameters.epochs, hyperparameters.epochs
    batches = number_of_batches(images, hyperparameters.batch_size)
    if times:
        final -= times["end"] // batches
    elif options.is_gradual:
        final -= _end_of_ramp(options, epochs, batches) // batches
    if options.starts_anew:
        prefix = ""
    check_decay(hyperparameters, images, f"{prefix}decay")
    check_average(hyperparameters, f"{prefix}average_epochs", final)


def _end_of_ramp(options: PruneConfig, epochs: int, batches: int) -> int:
    """Return the batch of fine-tuning at which gradual pruning ends; raise a StudyError if no step follows it."""
    if options.ramp_steps > batches:
        raise StudyError(
            f"{options.ramp_steps} is above {batches}, the number of batches of an epoch", option="ramp_steps"
        )
    last_step = schedules.last_step(options.ramp * epochs, options.ramp_steps)
    if last_step >= epochs * options.ramp_steps:
        longest = 1 - 1 / (epochs * options.ramp_steps)
        shorter = f"at most {int(longest * 1e4) / 1e4:g}, or more --ramp-steps"
        raise StudyError(
            f"{options.ramp:g} ends the ramp together with the fine-tuning ({epochs} epochs of {options.ramp_steps} "
            f"steps), but at least one step must follow the ramp: give {shorter if longest else 'more --ramp-steps'}",
            option="ramp",
        )
    return max(schedules.at_batches(range(last_step + 1), options.ramp_steps, batches))


def check_decay(hyperparameters: Hyperparameters, images: int, option: str) -> None:
    """Raise a StudyError, with the option, if the learning rate decays and a phase of training has a single step."""
    batches = number_of_batches(images, hyperparameters.batch_size)
    if hyperparameters.decay != "none" and any(phase.epochs * batches < 2 for phase in hyperparameters.phases):
        raise StudyError(
            f"{hyperparameters.decay} needs at least two steps in every phase, but a phase has only one", option=option
        )


def check_average(hyperparameters: Hyperparameters, option: str, final: int | None = None) -> None:
    """Raise a StudyError, with the option, if more epochs are averaged than the training has.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    option : str
    final : int, optional
        Number of epochs at whose end the masks are final; all by default.
    """
    averaged_epochs, epochs = hyperparameters.average_epochs, hyperparameters.epochs
    if averaged_epochs > epochs:
        raise StudyError(f"{averaged_epochs} is above {epochs}, the number of epochs", option=option)
    if final is not None and averaged_epochs > final:
        raise StudyError(
            f"{averaged_epochs} is above {final}, the number of epochs at whose end the masks are final", option=option
        )
