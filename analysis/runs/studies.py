"""Find the experiment that contains the runs of a study."""

from operator import itemgetter
from pathlib import Path

from analysis.common.errors import StudyError, did_you_mean
from analysis.runs import pull, schema
from analysis.runs.frames import RUN_ID, TAG
from analysis.runs.pairs import STATUS
from analysis.runs.stores import START_TIME, Reader, open_store, read

_ENDINGS = (".yaml", ".yml")


def experiment_of(study: str, *, tracking_uri: str | None = None) -> str:
    """Return the name of the experiment that contains a study.

    Parameters
    ----------
    study : str
        Name of a study, or its file or folder, of which only the name is used.
    tracking_uri : str, optional
        By default MLflow's current one.

    Raises
    ------
    StudyError
        If no experiment contains the study, if several do and none has its name, if the one of its name is deleted, or
        if the store cannot be read.
    """
    name = _name(study)
    with open_store(tracking_uri) as store:
        experiments = sorted(store.experiments(), key=itemgetter(1))
        active = [(experiment_id, experiment) for experiment_id, experiment, stage in experiments if stage == "active"]
        studies = {experiment: {*_studies(store, experiment_id).values()} for experiment_id, experiment in active}
    deleted = {experiment: experiment_id for experiment_id, experiment, stage in experiments if stage != "active"}
    holding = [experiment for experiment, names in studies.items() if name in names]
    if len(holding) > 1 and name not in holding:
        raise StudyError(
            f"the experiments {', '.join(holding)} contain study {name}: choose one with --experiment", option="study"
        )
    if not holding and name in deleted:
        command = f"mlflow experiments restore --experiment-id {deleted[name]}"
        raise StudyError(f"experiment {name!r} is deleted: restore it ({command})", option="study")
    if not holding:
        names = sorted(set().union(*studies.values()))
        hint = did_you_mean(name, names) if names else "this store has none"
        raise StudyError(f"there is no study {name}: {hint}", option="study")
    return name if name in holding else holding[0]


def run_ids(study: str, experiment: str | None = None, *, tracking_uri: str | None = None) -> list[str]:
    """Return the ids of the runs of kind `study` that made the named study in an experiment, oldest first.

    Parameters
    ----------
    study : str
        As in `experiment_of`.
    experiment, tracking_uri : str, optional
        As in `pull.pull_runs`.

    Raises
    ------
    StudyError
        As in `pull.experiment_id`.
    """
    experiment_id = pull.experiment_id(experiment, tracking_uri=tracking_uri)
    with open_store(tracking_uri) as store:
        return [run_id for run_id, name in _studies(store, experiment_id).items() if name == _name(study)]


def _name(study: str) -> str:
    in_folder = Path(study) / schema.STUDY_FILE
    if in_folder.is_file():
        return schema.study_name(in_folder)
    return schema.study_name(Path(study)) if study.endswith(_ENDINGS) else study


def _studies(store: Reader, experiment_id: str) -> dict[str, str]:
    """Return the names of an experiment's studies by the ids of the runs that made them, oldest first."""
    rows = read(store, experiment_id, only_tags=[schema.KIND, schema.STUDY_NAME]).sort_values(START_TIME, kind="stable")
    name = rows[TAG + schema.STUDY_NAME]
    own = (rows[TAG + schema.KIND] == schema.STUDY) & (rows[STATUS] != "deleted") & name.notna()
    return dict(zip(rows.loc[own, RUN_ID], name[own], strict=True))
