"""`--dry-run`: what a study comes to, what is there of it, and how long the rest would take."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from analysis.runs import schema
from analysis.runs.errors import StudyError
from pruning_study.config import StudyConfig
from pruning_study.data.examples import Examples
from pruning_study.steps.settings import PruneSetting
from pruning_study.study import plan
from pruning_study.study.plan import Plan, Step
from pruning_study.study.processes import worth
from pruning_study.study.progress import Pace, duration, group
from pruning_study.text_tables import text_table
from pruning_study.tracking import store as tracking
from pruning_study.training.loop import fit
from pruning_study.training.recipes import Phase


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
    store = tracking.existing(config.experiment)
    found = plan.found(store, planned.steps) if store else {}
    left = [step for step in planned.steps if step.config_hash not in found]
    return _grid_table(planned, found, measured_pace(planned, left), worth(config.workers, len(left)))


def measured_pace(planned: Plan, steps: Sequence[Step]) -> Pace:
    """The pace of a second's training for each data set and model that is here.

    Parameters
    ----------
    planned : Plan
    steps : sequence of Step
        Those that are to be made.
    """
    pace = Pace()
    for step in {group(step): step for step in steps if step.images}.values():
        setting = PruneSetting(replace(step.config, ratio=(1.0,)), planned.data[plan.source(step.config)])
        torch.set_num_threads(1)  # as workers have
        batch = setting.schedule.batch_size
        with suppress(StudyError):  # one that diverges has no pace
            first = _images_per_second(setting, batch)
            pace.add(group(step), _images_per_second(setting, max(batch, int(first))), 1.0)
    return pace


def _images_per_second(setting: PruneSetting, images: int) -> float:
    return fit(
        copy.deepcopy(setting.model).to(setting.device),
        _first(setting.train, images),
        _first(setting.validation, setting.schedule.batch_size),
        replace(setting.schedule, phases=(Phase(1, setting.schedule.learning_rate),)),
        seed=0,
        stream="measurement",
        black=setting.normalization.black,
        engine=setting.engine,
    ).images_per_second


def _first(examples: Examples, count: int) -> Examples:
    return Examples(examples.images[:count], examples.labels[:count])


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
