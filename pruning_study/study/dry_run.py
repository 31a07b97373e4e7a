"""`--dry-run`: what a study comes to, what is there of it, and how long the rest would take."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.runs import schema
from pruning_study.config import StudyConfig
from pruning_study.study import plan
from pruning_study.study.pace import Pace, duration, group, measured_pace
from pruning_study.study.plan import Plan, Step
from pruning_study.study.processes import worth
from pruning_study.text_tables import text_table
from pruning_study.tracking import connect


def show(file: Path, config: StudyConfig) -> str:
    """A study's grid as a table; nothing is made.

    Parameters
    ----------
    file : Path
    config : StudyConfig

    Raises
    ------
    StudyError
        Where something is wrong in the file, or the store does not answer.
    """
    planned = plan.plan(plan.read(file, config), download=False)
    store = connect.existing(config.experiment)
    found = plan.found(store, planned.steps) if store else {}
    left = [step for step in planned.steps if step.config_hash not in found]
    return _grid_table(planned, found, measured_pace(planned, left), worth(config.workers, len(left)))


def _grid_table(planned: Plan, found: Mapping[str, str], pace: Pace, workers: int) -> str:
    """A row for each data set, model and method."""
    rows: dict[tuple[str, str, str], list[Step]] = defaultdict(list)
    for step in planned.steps:
        rows[(*group(step), "dense" if step.kind == schema.DENSE else step.config.method)].append(step)
    header = ["data set", "model", "method", "ratios", "seeds", "runs", "found", "to make", "time"]
    table = [[*names, *_row(steps, found, pace, workers)] for names, steps in rows.items()]
    total = ["", "", "together", "", "", *_row(planned.steps, found, pace, workers)[2:]]
    unknown = {step.dataset for step in planned.steps if not step.config_hash}
    notes = [f"{name} is not here: what is there of it, and its time, is unknown" for name in sorted(unknown)]
    ends = f"time: on {workers} workers, from a short measurement"
    return "\n".join([text_table(header, table, [total], names=4), ends, *notes])


def _row(steps: Sequence[Step], found: Mapping[str, str], pace: Pace, workers: int) -> list[str]:
    ratios = sorted({step.config.ratio[0] for step in steps if step.kind == schema.PRUNED})
    left = [step for step in steps if step.config_hash not in found]
    seconds = pace.seconds(left)
    known = all(step.config_hash for step in steps)
    return [
        " ".join(f"{ratio:g}" for ratio in ratios),
        f"{len({step.config.seed for step in steps}):,}",
        f"{len(steps):,}",
        f"{len(steps) - len(left):,}" if known else "?",
        f"{len(left):,}" if known else "?",
        duration(seconds / workers if seconds is not None else None),
    ]
