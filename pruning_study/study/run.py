"""A study: the steps of a grid, each found in the tracking store or dealt out to workers."""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import pandas as pd

from analysis.runs import schema
from analysis.runs.errors import StudyError
from pruning_study.config import StudyConfig
from pruning_study.study import plan
from pruning_study.study.pace import duration
from pruning_study.study.plan import Plan
from pruning_study.study.processes import Died, SharedArray, Workers, worth
from pruning_study.study.progress import Progress
from pruning_study.study.queue import FAILED, FOUND, MADE, NOT_MADE, Board, Result
from pruning_study.study.worker import Maker, Outcome, SharedDataset
from pruning_study.text_tables import text_table
from pruning_study.tracking import connect, unsent
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer

MOST_ERRORS = 20
SECONDS_BETWEEN_METRICS = 60


def run(file: Path, config: StudyConfig, options: Mapping[str, str]) -> None:
    """Do what is left of a study, and print how it went.

    Parameters
    ----------
    file : Path
    config : StudyConfig
    options : mapping of str
        As typed, for the params of the study's run.

    Raises
    ------
    StudyError
        Where something is wrong in the file, before anything is run; where steps failed, once the others are done.
    """
    planned = plan.plan(plan.read(file, config), download=True)
    store = connect.connect(config.experiment)
    unsent.send_kept(store.uri)
    with store.job(f"study: {planned.name}", options, schema.STUDY) as job:
        shutil.copy(file, job.folder)
        job.flush()
        board = Board(planned.steps, plan.found(store, planned.steps))
        click.echo(f"{len(board.steps):,} runs: {board.counts[FOUND]:,} found, {len(board.left()):,} to make")
        start = time.monotonic()
        if not board.done:
            _make(store, job, board, planned, config)
        # A request that was repeated, since the server had died before its answer, may have made a run twice.
        store.end_dead()
        if config.executor == "ray":
            store.end_lost({key: result.run_id for key, result in board.results.items()})
        click.echo(_finish(job, board, time.monotonic() - start))
        experiment = store.client.get_experiment(store.experiment_id).name
        click.echo(f"\nthe report: pruning-analysis report --experiment '{experiment}'")
        if failed := board.counts[FAILED]:
            job.flush()
            raise StudyError(
                f"{failed:,} of {len(board.steps):,} runs failed; started again, the study tries them again"
            )


def _make(store: Store, job: Writer, board: Board, planned: Plan, config: StudyConfig) -> None:
    """Deal out the steps until all have ended."""
    array, workers_for = _executor(store, config, len(board.left()))
    data = {key: SharedDataset(dataset, array) for key, dataset in planned.data.items()}
    maker = Maker(store.uri, store.experiment_id, job.run_id, data)
    held: dict[int, str] = {}
    with (
        Progress(board) as progress,
        workers_for(maker, progress.say) as workers,
    ):
        flushed = time.monotonic()
        while not board.done:
            for number in workers.idle():
                step = board.next(held.get(number), [key for other, key in held.items() if other != number])
                progress.doing(number, step)
                if step:
                    held[number] = step.dense_hash
                    workers.give(number, step)
            for number, step, outcome in workers.results():
                if isinstance(outcome, Died):
                    held.pop(number)
                    outcome = Outcome(error=outcome.reason)
                    with suppress(StudyError):  # the store is away: the next start does it
                        store.end_dead()
                board.end(step, _result(outcome))
                progress.ended(step, outcome)
            if time.monotonic() - flushed > SECONDS_BETWEEN_METRICS:
                flushed = time.monotonic()
                job.epoch(len(board.results), _counts(board))


def _executor(store: Store, config: StudyConfig, left: int) -> tuple[Callable, Callable]:
    """What shares an array among workers, and what makes them of a Maker and of what shows their lines."""
    if config.executor == "processes":
        return SharedArray, partial(Workers, worth(config.workers, left))
    try:
        from pruning_study.study import cluster
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: pip install 'pruning-study[cluster]'"
        raise StudyError(missing, option="--executor") from error
    cluster.connect(store.uri, gpus=config.gpus_per_step)
    # Ray shows the lines itself.
    return cluster.StoredArray, lambda maker, say: cluster.Cluster(maker, gpus=config.gpus_per_step)


def _result(outcome: Outcome) -> Result:
    state = FAILED if outcome.error else FOUND if outcome.found else MADE
    return Result(state, outcome.run_id, outcome.error)


def _counts(board: Board) -> dict[str, float]:
    return {
        schema.RUNS_FOUND: board.counts[FOUND],
        schema.RUNS_MADE: board.counts[MADE],
        schema.RUNS_FAILED: board.counts[FAILED] + board.counts[NOT_MADE],
        schema.RUNS_LEFT: len(board.steps) - len(board.results),
    }


def _finish(job: Writer, board: Board, seconds: float) -> str:
    """Log what was made, found and failed, and say it."""
    rows = [
        {"kind": step.kind, "run": step.name, **vars(board.results[key]), schema.CONFIG_HASH: key}
        for key, step in board.steps.items()
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(job.folder / schema.STUDY_RUNS, index=False)
    job.metrics({**_counts(board), schema.DURATION: seconds}, step=len(rows))
    states = [MADE, FOUND, FAILED, NOT_MADE]
    counts = pd.crosstab(frame["kind"], frame["state"], margins=True, margins_name="together").reindex(
        columns=states, fill_value=0
    )
    table = [[str(kind), *map(str, row)] for kind, row in zip(counts.index, counts.to_numpy(), strict=True)]
    failed = frame[frame["state"] == FAILED]
    lines = [f"failed: {row['run']}: {row['error']}" for row in failed.head(MOST_ERRORS).to_dict("records")]
    if len(failed) > MOST_ERRORS:
        lines.append(f"and {len(failed) - MOST_ERRORS:,} more, in {schema.STUDY_RUNS} of run {job.run_id}")
    return "\n".join(["", text_table(["runs", *states], table[:-1], table[-1:]), f"in {duration(seconds)}", *lines])
