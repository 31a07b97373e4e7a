"""Dry run of a study: its grid, and the runs that exist."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.common.printable import printable
from analysis.runs import schema
from pruning_study.options.config import IterateConfig, PruneConfig, StudyConfig
from pruning_study.steps.text_tables import text_table
from pruning_study.study import plan
from pruning_study.study.plan import Config, Step
from pruning_study.tracking import connect

HEADER = ["data set", "model", "method", "ratios", "seeds", "runs", "found", "to make"]


def show(file: Path, config: StudyConfig) -> str:
    """Return a study's grid as a table with a row for each data set, model and method, without making any run.

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
    rows: dict[tuple[str, str, str], list[Step]] = defaultdict(list)
    for step in study_plan.steps:
        method = "dense" if step.kind == schema.DENSE else step.config.method
        rows[step.dataset, step.config.model, method].append(step)
    table = [[*names, *_row(steps, run_ids)] for names, steps in rows.items()]
    total = ["", "", "together", "", "", *_row(study_plan.steps, run_ids)[2:]]
    absent = sorted({step.dataset for step in study_plan.steps if not step.config_hash})
    notes = [f"{printable(name)} is not on this machine: its runs are unknown" for name in absent]
    return "\n".join([text_table(HEADER, table, [total], names=4), *notes])


def _row(steps: Sequence[Step], run_ids: Mapping[str, str]) -> list[str]:
    found = sum(step.config_hash in run_ids for step in steps)
    is_known = all(step.config_hash for step in steps)
    return [
        _amounts([step.config for step in steps if step.kind == schema.PRUNED]),
        f"{len({step.config.seed for step in steps}):,}",
        f"{len(steps):,}",
        f"{found:,}" if is_known else "?",
        f"{len(steps) - found:,}" if is_known else "?",
    ]


def _amounts(configs: Sequence[Config]) -> str:
    """Return the ratios of pruned runs, and the numbers of iterations of iterative pruning."""
    ratios = sorted((config.ratio, config.amounts[0]) for config in configs if isinstance(config, PruneConfig))
    chains = {f"{config.iterations} iterations" for config in configs if isinstance(config, IterateConfig)}
    return " ".join(dict.fromkeys([*(amount.removeprefix("ratio ") for _, amount in ratios), *sorted(chains)]))
