"""Find options that have no effect, or a different one, because of other options."""

from dataclasses import fields, replace
from typing import Any

from analysis.common.errors import option_name
from pruning_study.options.commands import of_command
from pruning_study.options.config import CompressConfig, IterateConfig, TrainConfig, TuneConfig
from pruning_study.options.record import Option
from pruning_study.training.recipe_values import RECIPES, recipe_of, trainings

# Options that have an effect in a search of the schedule, because some of its trials prune gradually or distil
_SEARCHED = ("ramp", "ramp_steps", "regrow", "temperature")


def idle_options(config: TrainConfig | TuneConfig | CompressConfig) -> list[str]:
    """Return a sentence for each option that differs from its default but has no effect because of other options.

    Parameters
    ----------
    config : TrainConfig, PruneConfig, IterateConfig, TuneConfig or CompressConfig

    Raises
    ------
    StudyError
        If the pruner cannot be imported.
    """
    searched = _SEARCHED if isinstance(config, TuneConfig) and config.tune_schedule else ()
    names = [item.name for item in fields(config) if getattr(config, item.name) != item.default]
    runs, records = _as_runs(config), of_command("prune")
    reasons = {
        name: [reason_without_effect(records[name], run) for run in runs]
        for name in names
        if name in records and name not in searched
    }
    return [f"{option_name(name)} has no effect {of_runs[0]}" for name, of_runs in reasons.items() if all(of_runs)]


def moved_rates(config: TrainConfig | TuneConfig | CompressConfig) -> list[str]:
    """Return a sentence for each given learning rate of a phase that gets no epoch.

    Parameters
    ----------
    config : TrainConfig, PruneConfig, IterateConfig, TuneConfig or CompressConfig
    """
    run, records, sentences = _as_runs(config)[0], of_command("prune"), []
    for training in trainings(RECIPES[run.recipe or recipe_of(run.model)]):
        option = training.learning_rate
        rate, epochs = (getattr(run, name, None) for name in (option, training.epochs))
        if not (rate and epochs) or reason_without_effect(records[option], run):
            continue
        if first := training.first_phase(epochs):
            start = rate * float(training.rates[first]) / float(training.rates[0])
            sentences.append(
                f"{option_name(training.epochs)} is too small for the recipe's first phase, whose rate "
                f"{option_name(option)} sets, so training begins with a later phase, at a learning rate of {start:g}"
            )
    return sentences


def _as_runs(config: TrainConfig | TuneConfig | CompressConfig) -> list[TrainConfig]:
    """Return the options of a command's runs, in the form of `train` or `prune`."""
    if isinstance(config, TuneConfig):
        return [config.pruning(config.seeds[0])]
    if isinstance(config, IterateConfig):
        # Even if `weights` is given, each iteration trains the network, so the training's options have an effect.
        return [replace(config.pruning, weights=None), config.pruning]
    if isinstance(config, CompressConfig):
        return [config.pruning]
    return [config]


def reason_without_effect(record: Option, config: Any) -> str:
    """Return the reason why an option has no effect, as the end of a sentence; empty if it has an effect."""
    if main := record.main_if_off(config):
        return f"without {option_name(main)}"
    unmet = next((need.otherwise for need in record.needs if not need.is_met(config)), "")
    return unmet.format(pruner=config.pruner) if "{" in unmet else unmet
