"""Collect what one run should hold, and send it to MLflow."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from analysis.runs import schema
from analysis.runs.address import without_password
from analysis.runs.errors import StudyError, first_line
from pruning_study.tracking.reach import STORE_ERRORS, one_line_errors, reach

log = logging.getLogger(__name__)

FLUSH_SECONDS = 60
METRICS_PER_BATCH = 1000
UNSENT = Path("unsent")


class Writer:
    """Collects what a run should hold, and sends it.

    Parameters
    ----------
    client : MlflowClient
    uri : str
    run_id : str
    folder : Path
        What is written here becomes the run's artifacts.
    job_run_id : str, optional
        The job that made the run.
    """

    def __init__(
        self, client: MlflowClient, uri: str, run_id: str, folder: Path, *, job_run_id: str | None = None
    ) -> None:
        self.run_id = run_id
        self.folder = folder
        self._client = client
        self._uri = uri
        self._job_run_id = job_run_id
        self._metrics: list[Metric] = []
        self._tags: dict[str, str] = {}
        self._flushed = time.monotonic()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one epoch; they are sent once a minute."""
        self.metrics(metrics, step=epoch)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = time.monotonic()
            try:
                self._send_metrics()
            except STORE_ERRORS as error:
                log.warning("%s: %s; going on", without_password(self._uri), first_line(error))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Metrics; NaN is left out, for what is undefined has no value."""
        now = int(time.time() * 1000)
        self._metrics += [Metric(key, value, now, step) for key, value in values.items() if value == value]

    def restore(self, metrics: list[Metric]) -> None:
        """Metrics with the time and step that they were measured at."""
        self._metrics += metrics

    def tags(self, values: Mapping[str, str]) -> None:
        self._tags.update(values)

    def _send_metrics(self) -> None:
        while self._metrics:
            self._client.log_batch(self.run_id, metrics=self._metrics[:METRICS_PER_BATCH])
            self._metrics = self._metrics[METRICS_PER_BATCH:]

    def finish(self) -> None:
        """Send all there is and end the run as FINISHED.

        Raises
        ------
        StudyError
            Where the store does not take it; says where it is kept, and how to send it.
        """
        try:
            self.send()
        except STORE_ERRORS as error:
            kept = self._keep()
            raise StudyError(
                f"{without_password(self._uri)} did not take run {self.run_id} ({first_line(error)}): it is kept in "
                f"{kept}; send it with: pruning-study send {kept}"
            ) from error

    def send(self) -> None:
        """Send all there is, end the run as FINISHED, and let the store's errors through."""
        self._send_all()
        self._client.set_terminated(self.run_id, "FINISHED")

    def flush(self) -> None:
        """Send all there is so far.

        Raises
        ------
        StudyError
            Where the store does not take it.
        """
        with one_line_errors(self._uri):
            self._send_all()

    def _send_all(self) -> None:
        self._send_metrics()
        if self._tags:
            self._client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in self._tags.items()])
        if any(self.folder.iterdir()):
            self._client.log_artifacts(self.run_id, str(self.folder))

    def _keep(self) -> Path:
        kept = UNSENT.absolute() / self.run_id
        try:
            shutil.copytree(self.folder, kept / "artifacts")
        except OSError:  # the current folder takes no files
            kept = Path(tempfile.mkdtemp(prefix=f"unsent-{self.run_id}-"))
            shutil.copytree(self.folder, kept / "artifacts")
        record = {
            "tracking_uri": self._uri,
            "run_id": self.run_id,
            "job_run_id": self._job_run_id,
            "tags": self._tags,
            "metrics": [[m.key, m.value, m.timestamp, m.step] for m in self._metrics],
        }
        part = kept / "run.part"
        part.touch(mode=0o600)  # the URI may hold a password
        part.write_text(json.dumps(record, indent=1))
        part.replace(kept / "run.json")
        return kept

    def abort(self, status: str, reason: str) -> None:
        """End the run as FAILED or KILLED, with what has been measured so far."""
        try:
            reach(self._uri)
            self._send_metrics()
            self._client.set_tag(self.run_id, schema.ERROR, reason)
            self._client.set_terminated(self.run_id, status)
        except (*STORE_ERRORS, StudyError) as error:
            log.warning("run %s is left RUNNING: %s", self.run_id, first_line(error))


@contextmanager
def ended(writer: Writer) -> Iterator[Writer]:
    try:
        yield writer
        writer.finish()
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt)
        writer.abort("KILLED" if killed else "FAILED", "interrupted" if killed else first_line(error))
        raise
