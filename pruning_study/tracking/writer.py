"""Collect the content of one run, and send it to MLflow."""

import json
import logging
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NOTE

from analysis.common import files
from analysis.common.errors import StudyError, first_line
from analysis.common.masking import without_secrets
from analysis.runs import schema, store_errors
from analysis.runs.address import without_password
from pruning_study.tracking import reach, scratch, unsent

log = logging.getLogger(__name__)

FLUSH_SECONDS = 60
METRICS_PER_BATCH = 1000


class Writer:
    """Collects the content of a run, and sends it.

    Parameters
    ----------
    client : MlflowClient
    uri : str
    run_id : str
    folder : Path
        The run's own folder, from `scratch.folder` or `unsent.keep`. Files in `artifacts` below it become the run's
        artifacts.
    job_run_id : str, optional
        The job that made the run.
    """

    def __init__(
        self, client: MlflowClient, uri: str, run_id: str, folder: Path, *, job_run_id: str | None = None
    ) -> None:
        self.run_id = run_id
        self.folder = folder / unsent.ARTIFACTS
        self._scratch = folder
        self._client = client
        self._uri = uri
        self._job_run_id = job_run_id
        self._metrics: list[Metric] = []
        self._tags: dict[str, str] = {}
        self._flushed = time.monotonic()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one epoch, and send all added metrics if none were sent for a minute."""
        self.metrics(metrics, step=epoch)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = time.monotonic()
            try:
                self._send_metrics()
            except reach.STORE_ERRORS as error:
                log.warning("%s: %s; the run goes on", without_password(self._uri), store_errors.reason(error))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Add metrics; NaN is left out, because an undefined metric has no value."""
        self.ensure_folder()
        now = int(time.time() * 1000)
        self._metrics += [Metric(key, value, now, step) for key, value in values.items() if value == value]

    def ensure_folder(self) -> None:
        """Make the run's folder if it is missing: a cleaner of temporary files may remove it during a long training."""
        if not self.folder.is_dir():
            scratch.ensure(self._scratch)
            self.folder.mkdir(exist_ok=True)

    def restore(self, metrics: Iterable[Metric]) -> None:
        """Add metrics that already have a time and a step."""
        self._metrics += metrics

    def tags(self, values: Mapping[str, str]) -> None:
        """Add tags."""
        self.ensure_folder()
        self._tags.update(values)

    def note(self, text: str) -> None:
        """Set the note, which MLflow's UI shows as the run's description, in Markdown."""
        self.tags({MLFLOW_RUN_NOTE: text})

    def table(self, table: pd.DataFrame, name: str) -> None:
        """Add a table as `mlflow.log_table` does, so that MLflow's UI and `mlflow.load_table` show it.

        Parameters
        ----------
        table : DataFrame
        name : str
            A file name that ends with `.json`.
        """
        self.ensure_folder()
        table.to_json(self.folder / name, orient="split", index=False)
        self.tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": name, "type": "table"}])})

    def flush(self) -> None:
        """Send everything that was added so far.

        Raises
        ------
        StudyError
            If the store does not accept it.
        """
        with reach.one_line_errors(self._uri):
            self._send_all()

    def finish(self) -> None:
        """Send everything and end the run as FINISHED.

        Raises
        ------
        StudyError
            If the store does not accept the run; the message says where it is kept and how to send it.
        """
        try:
            self.send()
        except reach.STORE_ERRORS as error:
            raise StudyError(
                f"{without_password(self._uri)} did not accept run {self.run_id} ({store_errors.reason(error)}): "
                f"{self._keep()}"
            ) from error

    def send(self) -> None:
        """Send everything and end the run as FINISHED; the store's own errors are raised."""
        self._send_all()
        self._client.set_terminated(self.run_id, "FINISHED")

    def abort(self, status: str, reason: str) -> None:
        """End the run as FAILED or KILLED, with the metrics so far.

        If the store does not end the run, it stays RUNNING until the next command ends it; this is only logged as info.
        """
        try:
            reach.ensure(self._uri)
            self._send_metrics()
            self._client.set_tag(self.run_id, schema.ERROR, without_secrets(reason))
            self._client.set_terminated(self.run_id, status)
        except (*reach.STORE_ERRORS, StudyError) as error:
            log.info("run %s is left RUNNING: %s", self.run_id, first_line(error))

    def forget_error(self) -> None:
        """Delete the tag in which an earlier `abort` stored its reason."""
        if schema.ERROR in self._client.get_run(self.run_id).data.tags:
            self._client.delete_tag(self.run_id, schema.ERROR)

    def _send_all(self) -> None:
        self._send_metrics()
        if self._tags:
            self._client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in self._tags.items()])
        # Each file is logged separately, because MLflow writes a single file under a temporary name and then moves it,
        # but copies a folder in place.
        for path in sorted(self.folder.iterdir()):
            self._client.log_artifact(self.run_id, str(path))

    def _send_metrics(self) -> None:
        while self._metrics:
            self._client.log_batch(self.run_id, metrics=self._metrics[:METRICS_PER_BATCH])
            self._metrics = self._metrics[METRICS_PER_BATCH:]

    def _keep(self) -> str:
        """Keep the run in files, and return a text that says where it is and what to do."""
        metrics = [(metric.key, metric.value, metric.timestamp, metric.step) for metric in self._metrics]
        run = unsent.UnsentRun(unsent.address(self._uri), self.run_id, self._job_run_id, self._tags, metrics)
        try:
            folder = unsent.keep(run, self._scratch)
        except OSError as error:
            return f"it cannot be kept either ({first_line(error)}); make room and start the command again"
        return f"it is kept in {folder}; send it with: pruning-study send {shlex.quote(str(folder))}"


@contextmanager
def ending(writer: Writer) -> Iterator[Writer]:
    """End the run with the block: as FINISHED, as KILLED after an interrupt or a broken pipe, as FAILED otherwise.

    Raises
    ------
    StudyError
        In place of an OSError, such as that of a full disk. The message names the file and says what to do.
    """
    with ExitStack() as room:
        try:
            writer.ensure_folder()
            room.enter_context(unsent.reserved(writer.folder.parent))
            yield writer
            writer.finish()
        except BrokenPipeError:
            writer.abort("KILLED", "the reader of the command's output stopped reading it")
            raise
        except OSError as error:
            reason = files.fault(error, writer.folder)
            writer.abort("FAILED", reason)
            raise StudyError(reason) from error
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt)
            writer.abort("KILLED" if killed else "FAILED", "interrupted" if killed else first_line(error))
            raise
