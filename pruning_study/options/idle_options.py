"""Find options that have no effect because of other options."""

from dataclasses import replace

from analysis.common.errors import option_name
from pruning_study.options.config import CompressConfig, IterateConfig, PruneConfig, TrainConfig, TuneConfig
from pruning_study.options.record import Option, records


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
    runs, of_prune = _as_runs(config), records(PruneConfig)
    given = [name for name, record in records(config).items() if getattr(config, name) != record.value]
    reasons = {name: [_reason(of_prune[name], run) for run in runs] for name in given if name in of_prune}
    return [f"{option_name(name)} has no effect {of_runs[0]}" for name, of_runs in reasons.items() if all(of_runs)]


def _as_runs(config: TrainConfig | TuneConfig | CompressConfig) -> list[TrainConfig]:
    """Return the options of a command's runs, in the form of `train` or `prune`."""
    if isinstance(config, TuneConfig):
        return [config.pruning(config.seeds[0])]
    if isinstance(config, IterateConfig):
        # Even if `weights` is given, each iteration trains the network, so the training's options have an effect.
        return [replace(config.pruning, weights=None), config.pruning]
    return [config.pruning] if isinstance(config, CompressConfig) else [config]


def _reason(record: Option, config: TrainConfig) -> str:
    """Return the reason why an option has no effect, as the end of a sentence; empty if it has an effect."""
    if main := record.main_if_off(config):
        return f"without {option_name(main)}"
    unmet = next((need.otherwise for need in record.needs if not need.is_met(config)), "")
    return unmet.format(pruner=getattr(config, "pruner", ""))
