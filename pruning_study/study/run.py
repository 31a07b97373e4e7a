"""Run a study: find each step of its grid in the tracking store, or have a worker make it."""

import os
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from analysis.common import csv_text, imports
from analysis.common.errors import StudyError
from analysis.common.masking import without_secrets
from analysis.common.printable import printable
from analysis.runs import schema
from analysis.runs.primaries import described
from pruning_study.options.config import StudyConfig
from pruning_study.steps import controls
from pruning_study.steps.text_tables import text_table
from pruning_study.study import plan
from pruning_study.study.pace import duration
from pruning_study.study.plan import StudyPlan
from pruning_study.study.processes import Died, Processes, SharedMemory, worker_count
from pruning_study.study.progress import Progress
from pruning_study.study.queue import FAILED, FOUND, MADE, NOT_MADE, Queue, StepOutcome
from pruning_study.study.worker import KEPT_MODELS, SharedArray, SharedDataset, Worker
from pruning_study.tracking import connect, reach, views
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer

MOST_ERRORS = 20
SECONDS_BETWEEN_METRICS = 60


def run(file: Path, config: StudyConfig, options: Mapping[str, str]) -> pd.DataFrame:
    """Make the missing runs of a study, and print a summary.

    Parameters
    ----------
    file : Path
    config : StudyConfig
    options : mapping of str
        The options as typed, for the params of the study's run.

    Returns
    -------
    DataFrame
        A row for each run: kind, run (its name), state, run_id, error, config_hash.

    Raises
    ------
    StudyError
        If the file has a fault, before any run is made; or if steps failed, after all other steps have ended.
    """
    grid_read = plan.read(file, config)
    study_plan = plan.plan(grid_read, download=True)
    store = connect.connect(plan.experiment(grid_read, config))
    views.write(store, views.BY_PRUNER_AND_RATIO)
    with store.job(f"study: {study_plan.name}", options, schema.STUDY) as job:
        (job.folder / file.name).write_bytes(without_secrets(file.read_bytes().decode()).encode())
        (job.folder / schema.PRIMARY).write_text(_primaries(store, study_plan), encoding="utf-8")
        job.tags({schema.STUDY_NAME: study_plan.name})
        job.flush()
        queue = make(store, job, study_plan, config)
        controls.tag(store)
        click.echo(f"\nthe report: pruning-analysis report {_where(store, study_plan)}")
        click.echo(f"the runs:   {store.how_to_look(indent=12)}")
        if failed := queue.counts[FAILED]:
            job.flush()
            raise StudyError(f"{failed:,} of {len(queue.steps):,} runs failed; run the study again to retry them")
    return _frame(queue)


def _primaries(store: Store, study_plan: StudyPlan) -> str:
    """Describe the study's primary comparisons, with the number of its pruned runs that finished before."""
    pruned = [step for step in study_plan.steps if step.kind == schema.PRUNED]
    finished = len(plan.find_runs(store, pruned)) if study_plan.primaries else 0
    return described(study_plan.primaries, study_plan.name, finished=finished)


def _where(store: Store, study_plan: StudyPlan) -> str:
    """Return the command-line option with which pruning-analysis finds the study's runs."""
    experiment = store.client.get_experiment(store.experiment_id).name
    option = "--study" if experiment == study_plan.name else "--experiment"
    return f"{option} {shlex.quote(printable(experiment))}"


def make(store: Store, job: Writer, study_plan: StudyPlan, config: StudyConfig) -> Queue:
    """Find or make every step of a plan; log a summary to the study's run, and print it.

    Parameters
    ----------
    store : Store
    job : Writer
        The study's run.
    study_plan : StudyPlan
    config : StudyConfig

    Returns
    -------
    Queue, with the outcome of every step
    """
    queue = Queue(study_plan.steps, plan.find_runs(store, study_plan.steps))
    click.echo(f"{len(queue.steps):,} runs: {queue.counts[FOUND]:,} found, {len(queue.steps_left()):,} to make")
    start = time.monotonic()
    if not queue.is_done:
        try:
            _deal_out(store, job, queue, study_plan, config)
        except KeyboardInterrupt:
            with suppress(StudyError):  # a store that does not answer keeps them until the next command
                reach.ensure(store.uri)
                store.end_dead()
            raise
    store.end_dead()
    if "RAY_ADDRESS" in os.environ:
        store.end_lost({key: outcome.run_id for key, outcome in queue.outcomes.items()})
    click.echo(_finish(job, queue, time.monotonic() - start))
    return queue


def _deal_out(store: Store, job: Writer, queue: Queue, study_plan: StudyPlan, config: StudyConfig) -> None:
    """Give steps to workers until all steps have ended."""
    share, workers = _workers(config, len(queue.steps_left()))
    data = {key: SharedDataset(dataset, share) for key, dataset in study_plan.data.items()}
    worker = Worker(store.uri, store.experiment_id, study_plan.name, job.run_id, data)
    model_hashes: dict[int, list[str]] = {}  # worker -> hashes of the models that it has in memory
    with Progress(queue) as progress, workers(worker, progress.say) as pool:
        flushed = time.monotonic()
        while not queue.is_done:
            for number in pool.idle():
                own = model_hashes.get(number, [])
                step = queue.next(
                    own, {key for holder, keys in model_hashes.items() if holder != number for key in keys}
                )
                progress.doing(number, step)
                if step:
                    step_hashes = [key for key in (step.parent_hash, step.config_hash) if key]
                    model_hashes[number] = [*(key for key in own if key not in step_hashes), *step_hashes][
                        -KEPT_MODELS:
                    ]
                    pool.give(number, step)
            for number, step, outcome in pool.results():
                if isinstance(outcome, Died):
                    model_hashes.pop(number, None)
                    outcome = StepOutcome(FAILED, error=outcome.reason)
                    with suppress(StudyError):  # if the store does not answer, the next command ends the dead runs
                        store.end_dead()
                queue.end(step, outcome)
                progress.ended(step, outcome)
            if time.monotonic() - flushed > SECONDS_BETWEEN_METRICS:
                flushed = time.monotonic()
                job.epoch(len(queue.outcomes), _counts(queue))


def _workers(config: StudyConfig, tasks: int) -> tuple[Callable[[np.ndarray], SharedArray], Callable[..., Any]]:
    """Return how arrays are shared and workers started: on the Ray cluster at RAY_ADDRESS, or on this machine."""
    if "RAY_ADDRESS" not in os.environ:
        return SharedMemory, partial(Processes, worker_count(config.workers, tasks))
    imports.check_installed("cluster", {"ray": "ray"})
    from pruning_study.study import cluster

    cluster.connect()
    # Ray prints the lines of its processes itself.
    return cluster.StoredArray, lambda worker, say: cluster.Cluster(worker, gpus=int(config.device == "cuda"))


def _counts(queue: Queue) -> dict[str, float]:
    return {
        schema.RUNS_FOUND: queue.counts[FOUND],
        schema.RUNS_MADE: queue.counts[MADE],
        schema.RUNS_FAILED: queue.counts[FAILED] + queue.counts[NOT_MADE],
        schema.RUNS_LEFT: len(queue.steps) - len(queue.outcomes),
    }


def _finish(job: Writer, queue: Queue, seconds: float) -> str:
    """Log the numbers of runs made, found and failed, and return them as text."""
    frame = _frame(queue)
    csv_text.write(frame, job.folder / schema.STUDY_RUNS)
    job.metrics({**_counts(queue), schema.DURATION: seconds}, step=len(frame))
    states = [MADE, FOUND, FAILED, NOT_MADE]
    job.note(", ".join(f"{queue.counts[state]:,} runs {state}" for state in states) + ".")
    counts = pd.crosstab(frame["kind"], frame["state"], margins=True, margins_name="together").reindex(
        columns=states, fill_value=0
    )
    table = [[str(kind), *map(str, row)] for kind, row in zip(counts.index, counts.to_numpy(), strict=True)]
    failed = frame[frame["state"] == FAILED]
    lines = [printable(f"failed: {row['run']}: {row['error']}") for row in failed.head(MOST_ERRORS).to_dict("records")]
    if len(failed) > MOST_ERRORS:
        lines.append(f"and {len(failed) - MOST_ERRORS:,} more, in {schema.STUDY_RUNS} of run {job.run_id}")
    return "\n".join(["", text_table(["runs", *states], table[:-1], table[-1:]), f"in {duration(seconds)}", *lines])


def _frame(queue: Queue) -> pd.DataFrame:
    rows = []
    for key, step in queue.steps.items():
        outcome = queue.outcomes[key]
        result = {"state": outcome.state, "run_id": outcome.run_id, "error": outcome.error}
        rows.append({"kind": step.kind, "run": step.name, **result, schema.CONFIG_HASH: key})
    return pd.DataFrame(rows)
