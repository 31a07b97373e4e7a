"""Open the current tracking store: the one that MLflow's environment variables name."""

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from analysis.common import arguments
from analysis.common.errors import StudyError, first_line
from analysis.common.printable import printable, shortened
from analysis.rendering.formats import markdown_line
from analysis.runs import pull, schema
from analysis.runs.address import without_password
from analysis.runs.store_errors import explained
from pruning_study.tracking import reach
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer

log = logging.getLogger(__name__)

DEFAULT_EXPERIMENT_ID = "0"


def connect(experiment: str | None = None) -> Store:
    """Open the current tracking store, and create it first if it is a sqlite file that does not exist.

    Parameters
    ----------
    experiment : str, optional
        The experiment that runs go to; it is created if it does not exist. The default is MLflow's current experiment.
        Under `mlflow run --experiment-name NAME` only that experiment can be used.

    Raises
    ------
    StudyError
        If the store does not answer within 10 s or cannot be opened, if the experiment cannot be used or has runs made
        before 0.3.0, or if MLflow would put artifacts beside the current folder.
    """
    uri = mlflow.get_tracking_uri()
    here = str(Path.cwd())
    if uri.startswith("sqlite") and unquote(here) != here:  # MLflow takes the path of its artifacts for a part of a URL
        raise StudyError(f"{here}: MLflow would write artifacts into {unquote(here)}: rename the folder, without %")
    try:
        client = reach.client(uri)
        job_run_id = os.environ.get("MLFLOW_RUN_ID")
        if job_run_id:
            return _store_of_job(client, uri, job_run_id, experiment)
        experiment_id = _experiment_id(client, experiment)
        _check_schema(client, experiment_id)
        return Store(client, uri, experiment_id)
    except reach.STORE_ERRORS as error:
        raise StudyError(explained(uri, error, saying="the tracking store cannot be used")) from error


def existing(experiment: str | None = None) -> Store | None:
    """Open the current tracking store without creating anything; return None if it or the experiment does not exist.

    Raises
    ------
    StudyError
        If the store does not answer within 10 s or cannot be opened.
    """
    uri = mlflow.get_tracking_uri()
    if reach.is_missing_file(uri):
        return None
    with reach.one_line_errors(uri):
        client = reach.client(uri)
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        match = client.get_experiment_by_name(name) if name else None
        if name and not match:
            return None
        return Store(client, uri, match.experiment_id if match else _default_id())


def connect_to_runs(experiment: str | None = None) -> Store:
    """Open the current tracking store as `connect` does, but for an experiment that must exist already.

    Raises
    ------
    StudyError
        As for `connect`, and if the experiment does not exist.
    """
    if not os.environ.get("MLFLOW_RUN_ID") and existing(experiment) is None:
        named = f"no experiment {shortened(experiment)}" if experiment else "no experiment"
        raise StudyError(f"{without_password(mlflow.get_tracking_uri())} has {named}", option="experiment")
    return connect(experiment)


@contextmanager
def checkpoint(run_id: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the checkpoint of a run of the current store, or of the only result of a job, and the run's params.

    Raises
    ------
    StudyError
        If the run or its checkpoint does not exist, if the job has several results or none, or if the run is of another
        kind than dense and pruned.
    """
    arguments.check(run_id=run_id)
    uri = mlflow.get_tracking_uri()
    if reach.is_missing_file(uri):
        raise StudyError(f"{uri}: no such file; load_model reads the current tracking store")
    with reach.one_line_errors(uri):
        store = Store(reach.client(uri), uri, DEFAULT_EXPERIMENT_ID)
    run = store.get(run_id)
    tags = run.data.tags
    if tags.get(schema.KIND) == schema.JOB:
        names = (schema.COMPRESSED_RUN_ID, schema.QUANTIZED_RUN_IDS, schema.PRUNED_RUN_IDS, schema.DENSE_RUN_ID)
        results = next((tags[name] for name in names if tags.get(name)), "").split(",")
        if not results[0]:
            raise StudyError(f"run {run_id} is a job without a network: name a run that has one")
        if len(results) > 1:
            raise StudyError(f"run {run_id} is a job with several results: name one of {', '.join(results)}")
        run = store.get(results[0])
    kind = run.data.tags.get(schema.KIND, "unknown")
    if kind in (schema.QUANTIZED, schema.COMPRESSED):
        raise StudyError(
            f"run {run.info.run_id} is {kind}: only ONNX Runtime can run its network, not torch; use its artifact "
            f"{schema.ONNX_MODEL}"
        )
    if kind not in (schema.DENSE, schema.PRUNED):
        raise StudyError(
            f"run {run.info.run_id} has no network to load (kind {printable(kind)}): name a dense or pruned run"
        )
    with store.artifact(run.info.run_id, schema.CHECKPOINT) as path:
        yield path, run.data.params


def end_job(status: str, reason: str) -> None:
    """End the run that `mlflow run` made for this call, if the call ended before `Store.job` took the run over.

    Parameters
    ----------
    status : {"FAILED", "KILLED"}
    reason : str
    """
    try:
        uri = mlflow.get_tracking_uri()
        client = reach.client(uri)
        run = client.get_run(os.environ["MLFLOW_RUN_ID"])
        if run.info.status == "RUNNING":
            client.set_tag(run.info.run_id, schema.KIND, schema.JOB)
            Writer(client, uri, run.info.run_id).abort(status, reason)
    except (*reach.STORE_ERRORS, StudyError) as error:
        log.warning("the run of this call could not be ended: %s", first_line(error))


def _store_of_job(client: MlflowClient, uri: str, job_run_id: str, experiment: str | None) -> Store:
    """Open the store under `mlflow run`, which made the run `job_run_id`.

    If all other runs go to a different experiment, the note of this run names that experiment.
    """
    try:
        job = client.get_run(job_run_id)
    except MlflowException as error:
        raise StudyError(
            f"run {job_run_id} of $MLFLOW_RUN_ID is not in {without_password(uri)}: under `mlflow run` a "
            "relative MLFLOW_TRACKING_URI is relative to the project's folder; make it absolute"
        ) from error
    current = client.get_experiment(job.info.experiment_id)
    if experiment in (None, current.name):
        _check_schema(client, current.experiment_id)
        return Store(client, uri, current.experiment_id, job_run_id)
    if current.experiment_id != DEFAULT_EXPERIMENT_ID:
        raise StudyError(
            f"{experiment!r}: under `mlflow run` all runs go to that command's experiment, {current.name!r}; choose "
            f"another with: mlflow run . --experiment-name {shlex.quote(experiment)}",
            option="experiment",
        )
    store = Store(client, uri, _experiment_id(client, experiment))
    _check_schema(client, store.experiment_id)
    client.set_tag(job_run_id, schema.KIND, schema.JOB)
    client.set_tag(job_run_id, MLFLOW_RUN_NOTE, f"The runs are in experiment {markdown_line(experiment)}.")
    return store


def _check_schema(client: MlflowClient, experiment_id: str) -> None:
    """Raise a StudyError if the oldest run with a config hash was made before 0.3.0."""
    hashed, oldest_first = f"tags.{schema.CONFIG_HASH} LIKE '%'", ["attributes.start_time ASC"]
    for oldest in client.search_runs([experiment_id], hashed, max_results=1, order_by=oldest_first):
        if schema.SCHEMA not in oldest.data.tags:
            experiment = client.get_experiment(experiment_id).name
            raise StudyError(pull.MADE_BEFORE.format(experiment=experiment, runs=oldest.info.run_id))


def _experiment_id(client: MlflowClient, experiment: str | None) -> str:
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if not name:
        return _default_id()
    match = client.get_experiment_by_name(name)
    if match is None:
        with suppress(MlflowException):  # another process was quicker, or the answer was lost
            client.create_experiment(name)
        match = client.get_experiment_by_name(name)
    if match is None or not match.experiment_id:
        raise MlflowException("the server's answer is not from MLflow: it lists no experiment")
    return match.experiment_id


def _default_id() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_ID") or DEFAULT_EXPERIMENT_ID
