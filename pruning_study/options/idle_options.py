"""Options that were given and change nothing, because of other options."""

from collections.abc import Iterable, Iterator
from dataclasses import fields

from pruning_study.options.config import ONE_SHOT, IterateConfig, PruneConfig, TrainConfig, TuneConfig
from pruning_study.options.options import option_name
from pruning_study.options.protocols import PROTOCOLS

_GRADIENT = ("gradient_objective", "gradient_batches", "gradient_mode")
_OF_FINE_TUNING = ("fine_tune_learning_rate", "fine_tune_decay", "fine_tune_average_epochs")
_RAMP = ("ramp", "ramp_steps", "regrow")
_NOT_TRAINED = "with --weights: the network is not trained"


def idle_options(config: TrainConfig | TuneConfig) -> list[str]:
    """Return a sentence for each option that differs from its default and has no effect beside the others.

    Parameters
    ----------
    config : TrainConfig, PruneConfig, IterateConfig or TuneConfig

    Raises
    ------
    StudyError
        If the pruner cannot be imported.
    """
    if isinstance(config, TuneConfig):
        # A search of the schedule sets the schedule and the distillation itself.
        searched = {*_RAMP, "temperature"} if config.tune_schedule else set()
        idle = {name: reason for name, reason in _of_pruning(config.pruning(config.seeds[0])) if name not in searched}
    else:
        pruning = config.pruning if isinstance(config, IterateConfig) else config
        idle = dict([*_of_training(config), *(_of_pruning(pruning) if isinstance(pruning, PruneConfig) else [])])
    defaults = {item.name: item.default for item in fields(config)}
    given = [name for name in idle if name in defaults and getattr(config, name) != defaults[name]]
    return [f"{option_name(name)} has no effect {idle[name]}" for name in given]


def _of_training(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Yield the names of options without effect on a training, each with the reason."""
    # The iterations of given weights are trained, and so these options have an effect there.
    if config.weights and not isinstance(config, IterateConfig):
        yield from _each(("epochs", "learning_rate"), _NOT_TRAINED)
        if not isinstance(config, PruneConfig):
            yield from _each(("precision", "decay", "kept_epoch", "average_epochs"), _NOT_TRAINED)


def _of_pruning(config: PruneConfig) -> Iterator[tuple[str, str]]:
    """Yield the names of options without effect on pruning and fine-tuning, each with the reason."""
    pruner = PROTOCOLS[config.protocol].pruner(config.pruner)
    if not config.distill:
        yield "temperature", "without --distill"
    if config.data_quotas == "none":
        yield "data_density", "without --data-quotas"
    if config.constraint == "none":
        yield from _each(("constraint_images", "constraint_step"), "without --constraint")
    if config.class_weights == "none":
        yield "class_weight_power", "without --class-weights"
    if config.class_offsets == "none":
        yield "offset_shrinkage", "without --class-offsets"
    if config.fine_tune_epochs == 0:
        yield from _each(_OF_FINE_TUNING, "with --fine-tune-epochs 0")
        if config.weights:
            yield "precision", f"{_NOT_TRAINED}, and --fine-tune-epochs is 0"
    if config.starts_anew:
        yield from _each(("fine_tune_epochs", *_OF_FINE_TUNING), "with --start initialization")
    elif config.schedule == ONE_SHOT:
        yield from _each(_RAMP, "without --schedule cubic")
    elif not config.ramp:
        yield from _each(("ramp_steps", "regrow"), "with --ramp 0, which prunes at once")
    if "epsilon" not in pruner.needs:
        yield "epsilon", f"with --pruner {config.pruner}"
    if "grad" not in pruner.needs:
        yield from _each(_GRADIENT, f"with --pruner {config.pruner}, which needs no gradient")
    if not pruner.prunes:
        idle = ("scope", "prune_output_layer", "schedule", *_RAMP, "begin", "end", "frequency")
        yield from _each(idle, f"with --pruner {config.pruner}, which prunes nothing")


def _each(names: Iterable[str], reason: str) -> Iterator[tuple[str, str]]:
    return ((name, reason) for name in names)
