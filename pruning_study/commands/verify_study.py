"""Train the networks of an exported study again, and compare their predictions with the exported ones."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.common.errors import StudyError
from analysis.runs import exports, frames, pull, schema
from pruning_study.options.config import StudyConfig, VerifyConfig
from pruning_study.steps.text_tables import text_table
from pruning_study.study import run
from pruning_study.study.plan import StudyPlan
from pruning_study.study.published import PublishedSteps, left_out, published_runs, steps_of
from pruning_study.tracking import connect
from pruning_study.tracking.reach import temporary_store


def compared_lines(study: Path, config: VerifyConfig) -> Iterator[str]:
    """Train the native engine's networks of a seed in a temporary store, and yield a table of differing predictions.

    Then lines say how many networks were not compared, and why.

    Parameters
    ----------
    study : Path
        A folder or file that `pruning-analysis export` wrote, or a folder of these.
    config : VerifyConfig

    Raises
    ------
    StudyError
        If the study has no networks of this version's native engine, if it lacks the seed or the seed's predictions, if
        a network cannot be trained here, or if predictions differ.
    """
    try:
        study_frames, stored = exports.read(exports.below(study))
    except StudyError as error:
        raise StudyError(str(error), option="STUDY") from error
    planned = steps_of(published_runs(study_frames, config.seed, study), config)
    published = stored(list(planned.by_run))
    if missing := [run_id for run_id in planned.by_run if run_id not in published]:
        raise StudyError(f"{study} lacks the predictions of run {missing[0]}", option="STUDY")
    made = _predictions(study, planned, config)
    different, rows = [], []
    for run_id, step in planned.by_run.items():
        number = _number_of_different(published[run_id], made[step.config_hash])
        different += [run_id] if number else []
        images = len(published[run_id][schema.LABEL])
        rows.append([step.name, run_id, f"{number:,} of {images:,} differ" if number else "as published"])
    yield text_table(["network", "run", "predictions"], rows, names=3)
    if line := left_out(study_frames, config.seed):
        yield line
    yield from (f"not compared: {line}" for line in study_frames.runs.attrs["left_out"] if " left out, " in line)
    if different:
        raise StudyError(
            f"the predictions of {len(different):,} of {len(rows):,} networks differ from those in {study}: "
            f"{', '.join(different)}"
        )


def _predictions(study: Path, planned: PublishedSteps, config: VerifyConfig) -> dict[str, Mapping[str, np.ndarray]]:
    """Run all steps, and return each network's predictions for the test images, by the step's hash."""
    with temporary_store():
        store = connect.connect()
        with store.job(f"verify {study.name}", {}, schema.STUDY) as job:
            how: dict[str, Any] = {"workers": config.workers, "engine": "native"}
            plan = StudyPlan(study.stem, tuple(planned.steps), planned.data)
            made = run.make(store, job, plan, StudyConfig(**how))
        if failed := int((made["run_id"] == "").sum()):
            raise StudyError(f"{failed:,} of {len(made):,} networks could not be trained")
        run_ids = dict(zip(made[schema.CONFIG_HASH], made["run_id"], strict=True))
        predictions = pull.predictions(list(run_ids.values()), names=frames.PREDICTED_ARRAYS)
    return {key: predictions[run_id] for key, run_id in run_ids.items()}


def _number_of_different(published: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]) -> int:
    """Count the images whose predictions or labels differ, or all images if the test sets differ in size."""
    if len(published[schema.LABEL]) != len(made[schema.LABEL]):
        return len(published[schema.LABEL])
    differs: Sequence[np.ndarray] = [values != made[name] for name, values in published.items()]
    return int(np.any(differs, axis=0).sum())
