"""Dry run of a study: its grid, which of its runs exist, and how long the others take."""

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
from pruning_study.study.plan import Plan, Step
from pruning_study.study.processes import worker_count
from pruning_study.tracking import connect
from pruning_study.tracking.store import Store

MOST_RUNS = 1000  # newest runs whose time is read


def show(file: Path, config: StudyConfig) -> str:
    """Return a study's grid as a table, and make nothing.

    Parameters
    ----------
    file : Path
    config : StudyConfig

    Raises
    ------
    StudyError
        If something is wrong in the file, or if the store does not answer.
    """
    grid_read = plan.read(file, config)
    planned = plan.plan(grid_read, download=False)
    store = connect.existing(plan.experiment(grid_read, config))
    found = plan.found(store, planned.steps) if store else {}
    left = [step for step in planned.steps if step.config_hash not in found]
    workers = worker_count(config.workers, len(left))
    pace = _pace(store) if store and left else Pace()
    return _grid_table(planned, found, lambda step: pace.seconds(step.settings_hash), workers)


def _pace(store: Store) -> Pace:
    """Return how long the newest finished runs of an experiment took, by the settings that they had."""
    pace = Pace()
    for run in store.newest_finished((schema.DENSE, schema.PRUNED), MOST_RUNS):
        if schema.DURATION in run.data.metrics:
            kind, params = run.data.tags[schema.KIND], run.data.params
            pace.add(run.data.metrics[schema.DURATION], settings_hash(kind, params))
    return pace


def _grid_table(planned: Plan, found: Mapping[str, str], seconds: Seconds, workers: int) -> str:
    """Return a table with a row for each data set, model and method."""
    rows: dict[tuple[str, str, str], list[Step]] = defaultdict(list)
    for step in planned.steps:
        rows[(*workload(step), "dense" if step.kind == schema.DENSE else step.config.method)].append(step)
    header = ["data set", "model", "method", "ratios", "seeds", "runs", "found", "to make", "time"]
    table = [[*names, *_row(steps, found, seconds, workers)] for names, steps in rows.items()]
    left = [step for step in planned.steps if step.config_hash not in found]
    whole = time_left(left, seconds, workers)
    total = ["", "", "together", "", "", *_row(planned.steps, found, seconds, workers)[2:-1], duration(whole)]
    unknown = {step.dataset for step in planned.steps if not step.config_hash}
    notes = [
        f"{printable(name)} is not on this machine: its runs and their time are unknown" for name in sorted(unknown)
    ]
    source = "from finished runs of the same settings, unknown where the experiment has none"
    ends = f"time: on {workers} workers, {source}"
    return "\n".join([text_table(header, table, [total], names=4), ends, *notes])


def _row(steps: Sequence[Step], found: Mapping[str, str], seconds: Seconds, workers: int) -> list[str]:
    pruned = [step for step in steps if step.kind == schema.PRUNED]
    left = [step for step in steps if step.config_hash not in found]
    work = together(left, seconds)
    known = all(step.config_hash for step in steps)
    return [
        _amounts([step.config for step in pruned]),
        f"{len({step.config.seed for step in steps}):,}",
        f"{len(steps):,}",
        f"{len(steps) - len(left):,}" if known else "?",
        f"{len(left):,}" if known else "?",
        duration(None if work is None else work / workers),
    ]


def _amounts(configs: Sequence[Config]) -> str:
    """Return the ratios of runs, or the number of iterations of chains."""
    ratios = sorted((config.ratio, config.amounts[0]) for config in configs if isinstance(config, PruneConfig))
    chains = {f"{config.iterations} iterations" for config in configs if isinstance(config, IterateConfig)}
    return " ".join(dict.fromkeys([*(amount.removeprefix("ratio ") for _, amount in ratios), *sorted(chains)]))
