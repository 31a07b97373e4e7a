"""Open the current tracking store and its experiment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.runs import retries, schema
from analysis.runs.address import without_password
from analysis.runs.errors import StudyError, first_line
from pruning_study.tracking.reach import STORE_ERRORS, artifact, get_run, is_missing_file, one_line_errors, reach
from pruning_study.tracking.store import Store


def connect(experiment: str | None = None) -> "Store":
    """The current tracking store, made first where it is a sqlite file that is not there.

    Parameters
    ----------
    experiment : str, optional
        Name of the experiment that runs go to, made where it is not there. MLflow's current one by default;
        under `mlflow run` the one of its run, and no other.

    Raises
    ------
    StudyError
        Where the store does not answer within 10 s or cannot be opened, or the experiment cannot be used.
    """
    uri = mlflow.get_tracking_uri()
    try:
        reach(uri)
        client = retries.client(uri)
        job_run_id = os.environ.get("MLFLOW_RUN_ID")
        if job_run_id:
            return Store(client, uri, _experiment_of_job(client, uri, job_run_id, experiment), job_run_id)
        return Store(client, uri, _experiment_id(client, experiment), None)
    except STORE_ERRORS as error:
        raise StudyError(f"{without_password(uri)}: the tracking store cannot be used ({first_line(error)})") from error


def existing(experiment: str | None = None) -> "Store | None":
    """As `connect`, but nothing is made: None where there is no such store or experiment.

    Raises
    ------
    StudyError
        Where the store does not answer within 10 s or cannot be opened.
    """
    uri = mlflow.get_tracking_uri()
    if is_missing_file(uri):
        return None
    with one_line_errors(uri):
        reach(uri)
        client = retries.client(uri)
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        found = client.get_experiment_by_name(name) if name else None
        experiment_id = found.experiment_id if found else os.environ.get("MLFLOW_EXPERIMENT_ID", "0")
        return Store(client, uri, experiment_id, None) if found or not name else None


@contextmanager
def checkpoint(run_id: str) -> Iterator[Path]:
    """The checkpoint of a run of the current store, or of the one result of a job.

    Raises
    ------
    StudyError
        Where there is no such run or checkpoint, or the job has several results.
    """
    uri = mlflow.get_tracking_uri()
    if is_missing_file(uri):
        raise StudyError(f"{uri}: no such file; load_model reads the current tracking store")
    with one_line_errors(uri):
        reach(uri)
    client = retries.client(uri)
    tags = get_run(client, uri, run_id).data.tags
    if tags.get(schema.KIND) == schema.JOB:
        results = (tags.get(schema.PRUNED_RUN_IDS) or tags.get(schema.DENSE_RUN_ID) or "").split(",")
        if len(results) > 1 or not results[0]:
            raise StudyError(f"run {run_id} is a job with several results or none: name one of {', '.join(results)}")
        run_id = results[0]
    with artifact(client, run_id, schema.CHECKPOINT) as path:
        yield path


def _experiment_of_job(client: MlflowClient, uri: str, job_run_id: str, experiment: str | None) -> str:
    try:
        job = client.get_run(job_run_id)
    except MlflowException as error:
        raise StudyError(
            f"$MLFLOW_RUN_ID names run {job_run_id}, which is not in {without_password(uri)}: under `mlflow run` a "
            "relative MLFLOW_TRACKING_URI is taken from the project's folder; make it absolute"
        ) from error
    current = client.get_experiment(job.info.experiment_id)
    if experiment not in (None, current.name):
        raise StudyError(
            f"{experiment!r}: under `mlflow run` runs go to its own experiment, here {current.name!r}; choose it "
            f"with: mlflow run . --experiment-name {experiment}",
            option="--experiment",
        )
    return current.experiment_id


def _experiment_id(client: MlflowClient, experiment: str | None) -> str:
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if not name:
        return os.environ.get("MLFLOW_EXPERIMENT_ID") or _experiment_id(client, "Default")
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except MlflowException:  # another process was quicker
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise StudyError(f"experiment {name!r} is deleted: restore it, or name another", option="--experiment")
    return found.experiment_id
