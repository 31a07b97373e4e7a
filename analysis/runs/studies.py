"""Find the experiment that contains the runs of a study."""

import json
from contextlib import suppress
from pathlib import Path

from analysis.common.errors import StudyError, did_you_mean
from analysis.runs import pull, schema
from analysis.runs.stores import open_store

_ENDINGS = (".yaml", ".yml")


def experiment_of(study: str, *, tracking_uri: str | None = None) -> str:
    """Return the name of the experiment that contains a study.

    Parameters
    ----------
    study : str
        Name of a study, or its file, of which only the name is used.
    tracking_uri : str, optional
        By default MLflow's current one.

    Raises
    ------
    StudyError
        If no experiment contains the study, if several do and none has its name, if the one of its name is deleted, or
        if the store cannot be read.
    """
    name = Path(study).stem if study.endswith(_ENDINGS) else study
    with open_store(tracking_uri) as store:
        experiments = store.experiments()
    active = sorted(experiment for _, experiment, stage in experiments if stage == "active")
    deleted = {experiment: experiment_id for experiment_id, experiment, stage in experiments if stage != "active"}
    studies = {experiment: _studies(experiment, tracking_uri) for experiment in active}
    holding = [experiment for experiment in active if name in studies[experiment]]
    if len(holding) > 1 and name not in holding:
        raise StudyError(
            f"the experiments {', '.join(holding)} contain study {name}: choose one with --experiment", option="study"
        )
    if not holding and name in deleted:
        command = f"mlflow experiments restore --experiment-id {deleted[name]}"
        raise StudyError(f"experiment {name!r} is deleted: restore it ({command})", option="study")
    if not holding:
        run_ids = sorted(set().union(*studies.values()))
        hint = did_you_mean(name, run_ids) if run_ids else "this store has none"
        raise StudyError(f"there is no study {name}: {hint}", option="study")
    return name if name in holding else holding[0]


def _studies(experiment: str, tracking_uri: str | None) -> set[str]:
    """Return the names of an experiment's studies."""
    files = pull.artifacts(schema.STUDY, [schema.PRIMARY], experiment, tracking_uri=tracking_uri, finished=False)
    names = set()
    for contents in files.values():
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            names.add(str(json.loads(contents[schema.PRIMARY])["study"]))
    return names
