"""Dry run of a study: its grid, the runs that exist, and the estimated time of the others."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.common.printable import printable
from analysis.runs import schema
from pruning_study.options.config import IterateConfig, PruneConfig, StudyConfig
from pruning_study.steps.identity import settings_hash
from pruning_study.steps.text_tables import text_table
from pruning_study.study import plan
from pruning_study.study.grid import Config
from pruning_study.study.pace import Pace, Seconds, duration, time_left, together, workload
from pruning_study.study.plan import Step, StudyPlan
from pruning_study.study.processes import worker_count
from pruning_study.tracking import connect
from pruning_study.tracking.store import Store

MOST_RUNS = 1000  # the times are read from at most this many of the newest runs


def show(file: Path, config: StudyConfig) -> str:
    """Return a study's grid as a table, without making any run.

    Parameters
    ----------
    file : Path
    config : StudyConfig

    Raises
    ------
    StudyError
        If the file has a fault, or if the store does not answer.
    """
    grid_read = plan.read(file, config)
    study_plan = plan.plan(grid_read, download=False)
    store = connect.existing(plan.experiment(grid_read, config))
    run_ids = plan.find_runs(store, study_plan.steps) if store else {}
    missing_steps = [step for step in study_plan.steps if step.config_hash not in run_ids]
    workers = worker_count(config.workers, len(missing_steps))
    pace = _pace(store) if store and missing_steps else Pace()
    return _grid_table(study_plan, run_ids, lambda step: pace.seconds(step.settings_hash), workers)


def _pace(store: Store) -> Pace:
    """Return the times of an experiment's newest finished runs, by their settings."""
    pace = Pace()
    for run in store.newest_finished((schema.DENSE, schema.PRUNED), MOST_RUNS):
        if schema.DURATION in run.data.metrics:
            kind, params = run.data.tags[schema.KIND], run.data.params
            pace.add(run.data.metrics[schema.DURATION], settings_hash(kind, params))
    return pace


def _grid_table(study_plan: StudyPlan, run_ids: Mapping[str, str], seconds: Seconds, workers: int) -> str:
    """Return a table with a row for each combination of data set, model and method."""
    rows: dict[tuple[str, str, str], list[Step]] = defaultdict(list)
    for step in study_plan.steps:
        rows[(*workload(step), "dense" if step.kind == schema.DENSE else step.config.method)].append(step)
    header = ["data set", "model", "method", "ratios", "seeds", "runs", "found", "to make", "time"]
    table = [[*names, *_row(steps, run_ids, seconds, workers)] for names, steps in rows.items()]
    missing_steps = [step for step in study_plan.steps if step.config_hash not in run_ids]
    seconds_left = time_left(missing_steps, seconds, workers)
    total = [
        "",
        "",
        "together",
        "",
        "",
        *_row(study_plan.steps, run_ids, seconds, workers)[2:-1],
        duration(seconds_left),
    ]
    absent_datasets = {step.dataset for step in study_plan.steps if not step.config_hash}
    notes = [
        f"{printable(name)} is not on this machine: its runs and their time are unknown"
        for name in sorted(absent_datasets)
    ]
    source = "from finished runs with the same settings; unknown if the experiment has none"
    ends = f"time: estimated for {workers} worker{'' if workers == 1 else 's'}, {source}"
    return "\n".join([text_table(header, table, [total], names=4), ends, *notes])


def _row(steps: Sequence[Step], run_ids: Mapping[str, str], seconds: Seconds, workers: int) -> list[str]:
    pruned_steps = [step for step in steps if step.kind == schema.PRUNED]
    missing_steps = [step for step in steps if step.config_hash not in run_ids]
    work = together(missing_steps, seconds)
    has_hashes = all(step.config_hash for step in steps)
    return [
        _amounts([step.config for step in pruned_steps]),
        f"{len({step.config.seed for step in steps}):,}",
        f"{len(steps):,}",
        f"{len(steps) - len(missing_steps):,}" if has_hashes else "?",
        f"{len(missing_steps):,}" if has_hashes else "?",
        duration(None if work is None else work / workers),
    ]


def _amounts(configs: Sequence[Config]) -> str:
    """Return the ratios of pruned runs, and the numbers of iterations of iterative pruning."""
    ratios = sorted((config.ratio, config.amounts[0]) for config in configs if isinstance(config, PruneConfig))
    chains = {f"{config.iterations} iterations" for config in configs if isinstance(config, IterateConfig)}
    return " ".join(dict.fromkeys([*(amount.removeprefix("ratio ") for _, amount in ratios), *sorted(chains)]))
