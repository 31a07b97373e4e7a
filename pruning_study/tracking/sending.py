"""Send runs that are kept in files because their tracking store did not accept them."""

import logging
import shutil
from pathlib import Path

import mlflow
from mlflow.entities import Metric

from analysis.common.errors import StudyError, first_line
from analysis.runs import schema
from analysis.runs.address import without_password
from analysis.runs.store_errors import STORE_ERRORS
from pruning_study.tracking import reach, unsent
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer

log = logging.getLogger(__name__)


def send(folder: Path) -> str:
    """Send a kept run to its store, end it as FINISHED, and remove its folder.

    The run's job is ended as FAILED if it is still RUNNING although its process has ended.

    Parameters
    ----------
    folder : Path
        The folder of the kept run.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    StudyError
        If the folder has no kept run, if the store does not exist, or if it still does not accept the run.
    """
    with unsent.opened(folder) as run:
        uri = _uri(run.tracking_uri, folder)
        with reach.one_line_errors(uri):
            if reach.is_missing_file(uri):
                raise StudyError(
                    f"{without_password(uri)}, the store of run {run.run_id}, does not exist: put the file back or, if "
                    "the project's folder was moved, call pruning-study move OLD NEW"
                )
            client = reach.client(uri)
            writer = Writer(client, uri, run.run_id, folder)
            writer.tags(run.tags)
            writer.restore([Metric(*values) for values in run.metrics])
            writer.send()
            writer.forget_error()
            sent = client.get_run(run.run_id)
            store = Store(client, uri, sent.info.experiment_id)
            if schema.CONFIG_HASH in sent.data.tags:
                store.saved_training(sent.data.tags[schema.CONFIG_HASH]).unlink(missing_ok=True)
            if run.job_run_id:
                job = client.get_run(run.job_run_id)
                store.end_if_dead(job, "FAILED", f"the store did not accept run {run.run_id} when it ended")
        shutil.rmtree(folder)
    return run.run_id


def send_kept(uri: str) -> list[str]:
    """Send the runs of a store that are kept in `unsent/` of the current folder or in temporary folders.

    Parameters
    ----------
    uri : str
        The current tracking URI.

    Returns
    -------
    list of str
        The ids of the runs that were sent; a warning is logged for each run that could not be sent, also if it is one
        of another store that does not exist.
    """
    sent = []
    for folder in unsent.list_unsent():
        try:
            recorded = unsent.read(folder).tracking_uri
            if _is_same(recorded, uri) or reach.is_missing_file(recorded):
                sent.append(send(folder))
        except (StudyError, *STORE_ERRORS) as error:
            log.warning("%s: not sent (%s); delete the folder if you do not want the run", folder, first_line(error))
    return sent


def _uri(recorded: str, folder: Path) -> str:
    """Return the URI of a kept run's store; if the record hides a password, the current tracking URI must have it."""
    current = mlflow.get_tracking_uri()
    if _is_same(recorded, current):
        return current
    if "***" in recorded:
        raise StudyError(f"{folder}: the run belongs to {recorded}: set MLFLOW_TRACKING_URI to it, with the password")
    return recorded


def _is_same(recorded: str, current: str) -> bool:
    return unsent.address(recorded) == unsent.address(current)
