"""Collect the content of one run, and send it to MLflow."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from pruning_study.tracking import reach

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
    """

    def __init__(self, client: MlflowClient, uri: str, run_id: str) -> None:
        self.run_id = run_id
        self._folder: Path | None = None
        self._client = client
        self._uri = uri
        self._metrics: list[Metric] = []
        self._tags: dict[str, str] = {}
        self._flushed = time.monotonic()

    @property
    def folder(self) -> Path:
        """The temporary folder whose files become artifacts; a new one if a cleaner of such folders removed it."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = Path(tempfile.mkdtemp(prefix="pruning-study-"))
        return self._folder

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one epoch, and send all added metrics if none were sent for a minute."""
        self.metrics(metrics, step=epoch)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = time.monotonic()
            try:
                self._send_metrics()
            except store_errors.STORE_ERRORS as error:
                log.warning("%s: %s; the run goes on", without_password(self._uri), store_errors.reason(error))

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Add metrics; NaN is left out, because an undefined metric has no value."""
        now = int(time.time() * 1000)
        self._metrics += [Metric(key, value, now, step) for key, value in values.items() if value == value]

    def tags(self, values: Mapping[str, str]) -> None:
        """Add tags."""
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
            If the store does not accept the run.
        """
        try:
            self._send_all()
            self._client.set_terminated(self.run_id, "FINISHED")
        except store_errors.STORE_ERRORS as error:
            refused, again = f"run {self.run_id} was not accepted", "start the same command again"
            raise StudyError(store_errors.explained(self._uri, error, saying=refused, otherwise=again)) from error

    def abort(self, status: str, reason: str) -> None:
        """End the run as FAILED or KILLED, with the metrics so far.

        If the store does not end the run, it stays RUNNING until the next command ends it; this is only logged as info.
        """
        try:
            reach.ensure(self._uri)
            self._send_metrics()
            self._client.set_tag(self.run_id, schema.ERROR, without_secrets(reason))
            self._client.set_terminated(self.run_id, status)
        except (*store_errors.STORE_ERRORS, StudyError) as error:
            log.info("run %s is left RUNNING: %s", self.run_id, first_line(error))

    def close(self) -> None:
        """Remove the folder."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

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


@contextmanager
def ending(writer: Writer) -> Iterator[Writer]:
    """End the run with the block: as FINISHED, as KILLED after an interrupt or a broken pipe, as FAILED otherwise.

    Raises
    ------
    StudyError
        In place of an OSError, such as that of a full disk. The message names the file and says what to do.
    """
    try:
        yield writer
        writer.finish()
    except KeyboardInterrupt:
        writer.abort("KILLED", "interrupted")
        raise
    except BrokenPipeError:
        writer.abort("KILLED", "the reader of the command's output stopped reading it")
        raise
    except OSError as error:
        reason = files.fault(error, Path(tempfile.gettempdir()))
        writer.abort("FAILED", reason)
        raise StudyError(reason) from error
    except BaseException as error:
        writer.abort("FAILED", first_line(error))
        raise
    finally:
        writer.close()
