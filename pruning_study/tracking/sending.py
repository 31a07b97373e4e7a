"""Send runs that are kept in files because their tracking store did not take them."""

import logging
import shutil
from pathlib import Path

from mlflow.entities import Metric

from analysis.runs.errors import StudyError, first_line
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
        The folder that the error message named.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    StudyError
        If the folder holds no such run, or the store still does not take it.
    """
    run = unsent.read(folder)
    with reach.one_line_errors(run.tracking_uri):
        client = reach.client(run.tracking_uri)
        writer = Writer(client, run.tracking_uri, run.run_id, folder / unsent.ARTIFACTS)
        writer.tags(run.tags)
        writer.restore([Metric(*values) for values in run.metrics])
        writer.send()
        writer.forget_error()
        if run.job_run_id:
            job = client.get_run(run.job_run_id)
            store = Store(client, run.tracking_uri, job.info.experiment_id)
            store.end_if_dead(job, "FAILED", f"the store did not take run {run.run_id} when it ended")
    shutil.rmtree(folder)
    return run.run_id


def send_kept(uri: str) -> list[str]:
    """Send the runs in `unsent/` of the current folder that belong to a store.

    Parameters
    ----------
    uri : str
        The tracking URI of the store.

    Returns
    -------
    list of str
        The ids of the runs that were sent; a warning is logged for each run that could not be sent.
    """
    sent = []
    for folder in unsent.kept():
        try:
            if unsent.read(folder).tracking_uri == uri:
                sent.append(send(folder))
        except (StudyError, OSError) as error:
            log.warning("%s: not sent (%s); delete the folder if you do not want the run", folder, first_line(error))
    return sent
