"""Run a study: find each step of its grid in the tracking store, or have a worker make it."""

import copy
import os
import shlex
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import click
import pandas as pd
from joblib import cpu_count
from tqdm import tqdm

from analysis.common import csv_text, imports
from analysis.common.errors import StudyError
from analysis.common.masking import without_secrets
from analysis.common.printable import printable
from analysis.runs import schema
from analysis.runs.primaries import described
from pruning_study.options.config import StudyConfig
from pruning_study.steps import controls
from pruning_study.steps.text_tables import text_table
from pruning_study.study import plan, processes
from pruning_study.study.lineage import (
    FAILED,
    FOUND,
    MADE,
    NOT_MADE,
    PARENT_FAILED,
    STATES,
    Outcome,
    Site,
    Task,
    lineages,
)
from pruning_study.study.lineage import make as make_lineage
from pruning_study.study.plan import Step, StudyPlan
from pruning_study.study.processes import Died, SharedDataset
from pruning_study.tracking import connect, reach, views
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer

SHOWN = {"accuracy": schema.TEST_ACCURACY, "alpha": schema.ALPHA}
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
        frame = make(store, job, study_plan, config)
        controls.tag(store)
        click.echo(f"\nthe report: pruning-analysis report {_where(store, study_plan)}")
        click.echo(f"the runs:   {store.how_to_look(indent=12)}")
        if number := int((frame["state"] == FAILED).sum()):
            job.flush()
            raise StudyError(f"{number:,} of {len(frame):,} runs failed; run the study again to retry them")
    return frame


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


def make(store: Store, job: Writer, study_plan: StudyPlan, config: StudyConfig) -> pd.DataFrame:
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
    DataFrame
        A row for each run, as `run` returns it.
    """
    steps = {step.config_hash: step for step in study_plan.steps}
    found = plan.find_runs(store, study_plan.steps)
    outcomes = {key: Outcome(FOUND, found[key]) for key in steps if key in found}
    click.echo(f"{len(steps):,} runs: {len(outcomes):,} found, {len(steps) - len(outcomes):,} to make")
    start = time.monotonic()
    if len(outcomes) < len(steps):
        try:
            _make_missing(store, job, study_plan, config, outcomes)
        except KeyboardInterrupt:
            with suppress(StudyError):  # a store that does not answer keeps them until the next command
                reach.ensure(store.uri)
                store.end_dead()
            raise
    outcomes |= {key: PARENT_FAILED for key in steps if key not in outcomes}
    store.end_dead()
    if "RAY_ADDRESS" in os.environ:
        store.end_lost({key: outcome.run_id for key, outcome in outcomes.items()})
    frame = _frame(steps, outcomes)
    csv_text.write(frame, job.folder / schema.STUDY_RUNS)
    job.metrics({**_counts(len(steps), outcomes), schema.DURATION: time.monotonic() - start}, step=len(frame))
    click.echo(_summary(job, frame))
    return frame


def _make_missing(
    store: Store, job: Writer, study_plan: StudyPlan, config: StudyConfig, outcomes: dict[str, Outcome]
) -> None:
    """Make the lineages that lack runs, and add the outcomes of their steps."""
    steps = study_plan.steps
    site = partial(Site, store.uri, store.experiment_id, study_plan.name, job.run_id)
    later: dict[str, list[Task]] = {}  # hash of a dense run that is missing -> tasks that need it
    tasks: deque[Task] = deque()

    def queue(workers: int) -> None:
        for first, *others in lineages(steps, outcomes, workers):
            is_there = first[0].config_hash in outcomes
            later[first[0].config_hash] = [] if is_there else others
            tasks.extend([first, *(others if is_there else [])])

    if "RAY_ADDRESS" in os.environ:
        imports.check_installed("cluster", {"ray": "ray"})
        from pruning_study.study import cluster

        queue(cluster.connect(config.device))
        do = partial(make_lineage, site=site({key: partial(copy.copy, data) for key, data in study_plan.data.items()}))
        results = cluster.outcomes(tasks, do, gpus=int(config.device == "cuda"))
    else:
        workers = config.workers or cpu_count()
        queue(workers)
        do = partial(make_lineage, site=site({key: SharedDataset(data) for key, data in study_plan.data.items()}))
        results = processes.outcomes(tasks, do, workers)
    flushed, bar_format = time.monotonic(), "{percentage:3.0f}%|{bar}| {n}/{total}{postfix}"
    with (
        closing(results),
        tqdm(total=len(steps), initial=len(outcomes), disable=None, leave=False, bar_format=bar_format) as bar,
    ):
        for task, result in results:
            if isinstance(result, Died):
                step = next(each for each in task if each.config_hash not in outcomes)
                outcome = Outcome(FAILED, error=result.reason)
                with suppress(StudyError):  # if the store does not answer, the next command ends the dead runs
                    store.end_dead()
            else:
                step, outcome = result
            if outcome.state == FOUND and step.config_hash in outcomes:
                continue
            outcomes[step.config_hash] = outcome
            if outcome.run_id:
                tasks.extend(later.pop(step.config_hash, []))
            bar.n = len(outcomes)
            bar.set_postfix_str(f" {printable(step.name)}")
            if bar.disable or outcome.error:
                line = f"[{len(outcomes):,}/{len(steps):,}] {step.name}: {_how(outcome)}"
                tqdm.write(printable(line), file=sys.stderr)
            if time.monotonic() - flushed > SECONDS_BETWEEN_METRICS:
                flushed = time.monotonic()
                job.epoch(len(outcomes), _counts(len(steps), outcomes))


def _how(outcome: Outcome) -> str:
    if outcome.error:
        return f"failed, {outcome.error}"
    numbers = [f"{name} {outcome.metrics[key]:.3f}" for name, key in SHOWN.items() if key in outcome.metrics]
    return ", ".join(["found" if outcome.state == FOUND else f"made in {outcome.seconds:.1f} s", *numbers])


def _counts(steps: int, outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    counts = Counter(outcome.state for outcome in outcomes.values())
    return {
        schema.RUNS_FOUND: counts[FOUND],
        schema.RUNS_MADE: counts[MADE],
        schema.RUNS_FAILED: counts[FAILED] + counts[NOT_MADE],
        schema.RUNS_LEFT: steps - len(outcomes),
    }


def _summary(job: Writer, frame: pd.DataFrame) -> str:
    """Note the numbers of runs in each state in the study's run, and return them as a table, with the errors."""
    counts = frame["state"].value_counts()
    job.note(", ".join(f"{counts.get(state, 0):,} runs {state}" for state in STATES) + ".")
    by_kind = pd.crosstab(frame["kind"], frame["state"], margins=True, margins_name="together").reindex(
        columns=list(STATES), fill_value=0
    )
    table = [[str(kind), *map(str, row)] for kind, row in zip(by_kind.index, by_kind.to_numpy(), strict=True)]
    errors = frame[frame["state"] == FAILED]
    lines = [printable(f"failed: {row['run']}: {row['error']}") for row in errors.head(MOST_ERRORS).to_dict("records")]
    if len(errors) > MOST_ERRORS:
        lines.append(f"and {len(errors) - MOST_ERRORS:,} more, in {schema.STUDY_RUNS} of run {job.run_id}")
    return "\n".join(["", text_table(["runs", *STATES], table[:-1], table[-1:]), *lines])


def _frame(steps: Mapping[str, Step], outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    rows = []
    for key, step in steps.items():
        outcome = outcomes[key]
        result = {"state": outcome.state, "run_id": outcome.run_id, "error": outcome.error}
        rows.append({"kind": step.kind, "run": step.name, **result, schema.CONFIG_HASH: key})
    return pd.DataFrame(rows)
