"""Send runs that the tracking server did not take when they ended."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric

from analysis.runs import retries, schema
from analysis.runs.errors import StudyError, first_line
from pruning_study.tracking import scratch
from pruning_study.tracking.reach import STORE_ERRORS, forget_error, one_line_errors, reach
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import UNSENT, Writer

log = logging.getLogger(__name__)


def send(folder: Path) -> str:
    """Send a run that was kept because the store did not take it, and remove the folder.

    Parameters
    ----------
    folder : Path
        As the message named it.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    StudyError
        Where the folder holds no such run, or the store still does not take it.
    """
    try:
        record: dict[str, Any] = json.loads((folder / "run.json").read_text())
        uri = record["tracking_uri"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{folder}: no unsent run in it ({first_line(error)})") from error
    with one_line_errors(uri):
        reach(uri)
        client = retries.client(uri)
        writer = Writer(client, uri, record["run_id"], folder / "artifacts")
        writer.tags(record["tags"])
        writer.restore([Metric(*values) for values in record["metrics"]])
        writer.send()
        forget_error(client, record["run_id"])
        if record["job_run_id"]:
            job = client.get_run(record["job_run_id"])
            with Store(client, uri, job.info.experiment_id, None)._dead(job) as dead:
                if dead:
                    client.set_terminated(job.info.run_id, "FAILED")
    shutil.rmtree(folder)
    return record["run_id"]


def send_kept(uri: str) -> list[str]:
    """Send the runs that the current folder keeps because this store did not take them.

    Parameters
    ----------
    uri : str

    Returns
    -------
    list of str
        Their ids; a line of warning for each that cannot be sent.
    """
    sent = []
    for record in sorted(UNSENT.glob("*/run.json")):
        try:
            if json.loads(record.read_text()).get("tracking_uri") == uri:
                sent.append(send(record.parent))
        except (StudyError, OSError, ValueError, AttributeError) as error:
            log.warning("%s: not sent (%s); delete it where it is not wanted", record.parent, first_line(error))
    return sent


def end_job(status: str, reason: str) -> None:
    """End the run that `mlflow run` made, where the call ended before it was taken up as its job.

    Parameters
    ----------
    status : {"FAILED", "KILLED"}
    reason : str
    """
    try:
        uri = mlflow.get_tracking_uri()
        reach(uri)
        client = retries.client(uri)
        run = client.get_run(os.environ["MLFLOW_RUN_ID"])
        if run.info.status == "RUNNING":
            client.set_tag(run.info.run_id, schema.KIND, schema.JOB)
            with scratch.folder() as folder:
                Writer(client, uri, run.info.run_id, folder).abort(status, reason)
    except (*STORE_ERRORS, StudyError) as error:
        log.warning("the run of this call could not be ended: %s", first_line(error))
