"""Say that runs were found which another engine made than the one that `--engine` asks for."""

from collections.abc import Iterable

from analysis.runs import schema
from pruning_study.steps.runs import FinishedRun
from pruning_study.steps.settings import TrainSetting
from pruning_study.tracking.store import Store

WITH_FORCE = "trains {them} anew with --force"
IN_ANOTHER_EXPERIMENT = "trains {them} anew in another --experiment"


def ids_of_found(runs: Iterable[FinishedRun]) -> list[str]:
    """Return the ids of those runs that were found instead of being made."""
    return [run.run_id for run in runs if run.is_reused]


def engine_lines(store: Store, setting: TrainSetting, run_ids: Iterable[str], how: str = WITH_FORCE) -> list[str]:
    """Return what `found_lines` does, and nothing where the engine that is asked for cannot train the network.

    Parameters
    ----------
    store : Store
    setting : TrainSetting
    run_ids : iterable of str
        The runs that were found by their hash.
    how : {WITH_FORCE, IN_ANOTHER_EXPERIMENT}
    """
    engine = setting.config.engine
    lines = found_lines(store, engine, run_ids, how)
    return lines if lines and setting.engine.name == engine else []


def found_lines(store: Store, engine: str | None, run_ids: Iterable[str], how: str) -> list[str]:
    """Return a line on the runs that another engine made than the one that is asked for; none if there is no such run.

    Parameters
    ----------
    store : Store
    engine : str or None
        The engine that the options name; None where they leave the choice to the program.
    run_ids, how
        As in `engine_lines`.
    """
    engines = store.tag_values(schema.ENGINE) if engine else {}
    other_engines = {run_id: engines[run_id] for run_id in run_ids if engines.get(run_id, engine) != engine}
    if not other_engines:
        return []
    first, made_by = next(iter(other_engines.items()))
    runs, pronoun = (f"run {first}", "it") if len(other_engines) == 1 else (f"{len(other_engines):,} runs", "them")
    return [f"found {runs}, made by the engine {made_by}; --engine {engine} {how.format(them=pronoun)}"]
