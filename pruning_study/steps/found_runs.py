"""Say which runs were already made, and warn if another engine or an earlier arithmetic made them."""

from collections.abc import Iterable, Sequence

from analysis.common.command_line import as_typed
from analysis.runs import schema
from pruning_study.steps.context import Context
from pruning_study.steps.runs import FinishedRun
from pruning_study.tracking.store import Store

WITH_FORCE = "trains {them} anew with --force"
IN_ANOTHER_EXPERIMENT = "trains {them} anew in another --experiment"


def ids_of_found(runs: Iterable[FinishedRun]) -> list[str]:
    """Return the ids of the runs that were found instead of made."""
    return [run.run_id for run in runs if run.is_reused]


def with_origin(run: FinishedRun) -> str:
    """Return the id of a run; if the run was found, add that it was already made, and which option makes it again."""
    return run.run_id + (f" (already made; {as_typed('force')} makes it again)" if run.is_reused else "")


def lines_on_found(run_ids: Sequence[str], count: int) -> list[str]:
    """Return a line on how many of `count` runs were already made; no line if none was.

    Parameters
    ----------
    run_ids : sequence of str
        The runs that were found.
    count : int
    """
    if not run_ids:
        return []
    return [f"{len(run_ids)} of {count} runs were already made; {as_typed('force')} makes them again"]


def engine_lines(
    store: Store, engine: str | None, context: Context, run_ids: Iterable[str], how: str = WITH_FORCE
) -> list[str]:
    """Return the lines of `found_lines`; leave out the line on another engine if `engine` cannot train the network.

    Parameters
    ----------
    store : Store
    engine : str or None
        The engine that the options name; None if the program chooses.
    context : Context
    run_ids : iterable of str
        The runs that were found by their hash.
    how : {WITH_FORCE, IN_ANOTHER_EXPERIMENT}
    """
    lines = found_lines(store, engine, list(run_ids), how)
    return [line for line in lines if context.engine.name == engine or f"--engine {engine}" not in line]


def found_lines(store: Store, engine: str | None, run_ids: Iterable[str], how: str) -> list[str]:
    """Return a line on runs that another engine made, and one on runs with an earlier arithmetic.

    Parameters
    ----------
    store : Store
    engine, run_ids, how
        As in `engine_lines`.
    """
    run_ids = list(run_ids)
    other = _lines_of_other_engine(store, engine, run_ids, how) if engine else []
    return other + _lines_of_earlier(store, run_ids, how)


def earlier(store: Store, run_ids: Iterable[str]) -> list[str]:
    """Return the ids of runs with the native engine's earlier arithmetic, whose results depended on the machine."""
    engines, arithmetics = store.tag_values(schema.ENGINE), store.tag_values(schema.ARITHMETIC)
    return [run_id for run_id in run_ids if engines.get(run_id) == "native" and run_id not in arithmetics]


def _lines_of_other_engine(store: Store, engine: str, run_ids: list[str], how: str) -> list[str]:
    engines = store.tag_values(schema.ENGINE)
    others = [run_id for run_id in run_ids if engines.get(run_id, engine) != engine]
    if not others:
        return []
    runs, pronoun = _named(others)
    return [f"found {runs}, made by the engine {engines[others[0]]}; --engine {engine} {how.format(them=pronoun)}"]


def _lines_of_earlier(store: Store, run_ids: list[str], how: str) -> list[str]:
    runs_of_earlier = earlier(store, run_ids)
    if not runs_of_earlier:
        return []
    runs, pronoun = _named(runs_of_earlier)
    return [
        f"found {runs}, made with an earlier arithmetic (no tag {schema.ARITHMETIC}); this version "
        + how.format(them=pronoun)
    ]


def _named(run_ids: list[str]) -> tuple[str, str]:
    """Return a phrase for one run or several, and the pronoun for it."""
    return (f"run {run_ids[0]}", "it") if len(run_ids) == 1 else (f"{len(run_ids):,} runs", "them")
