"""The only writer to MLflow."""

import json
import logging
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context import registry as context
from mlflow.utils import name_utils
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from mlflow.utils.uri import is_local_uri
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs import retries, schema, stores
from analysis.runs.errors import StudyError, first_line
from analysis.runs.stores import without_password
from pruning_study.tracking import locks, scratch
from pruning_study.tracking.interrupts import uninterrupted

FLUSH_SECONDS = 60
METRICS_PER_BATCH = 1000
LISTINGS_AT_ONCE = 16
UNSENT = Path("unsent")
STORE_ERRORS = (MlflowException, SQLAlchemyError, RequestException, OSError)

# MLflow would draw a bar for every artifact it reads.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# ... and print two lines for every run that ends on a server.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
log = logging.getLogger(__name__)
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


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
        _reach(uri)
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
    if _is_missing_file(uri):
        return None
    with _one_line(uri):
        _reach(uri)
        client = retries.client(uri)
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        found = client.get_experiment_by_name(name) if name else None
        experiment_id = found.experiment_id if found else os.environ.get("MLFLOW_EXPERIMENT_ID", "0")
        return Store(client, uri, experiment_id, None) if found or not name else None


class Store:
    """A tracking store and the experiment that runs go to.

    Parameters
    ----------
    client : MlflowClient
    uri : str
    experiment_id : str
    job_run_id : str, optional
        The run that `mlflow run` made for this call.
    """

    def __init__(self, client: MlflowClient, uri: str, experiment_id: str, job_run_id: str | None) -> None:
        self.client = client
        self.uri = uri
        self.experiment_id = experiment_id
        self.job_run_id = job_run_id

    @property
    def how_to_look(self) -> str:
        """What shows the runs in MLflow's UI."""
        shown = without_password(self.uri)
        return f"open {shown}" if self.uri.startswith("http") else f"mlflow ui --backend-store-uri {shown}"

    def find(self, config_hash: str) -> list[Run]:
        """FINISHED runs of this experiment with this hash, the newest first."""
        query = f"tags.{schema.CONFIG_HASH} = '{config_hash}' and attributes.status = 'FINISHED'"
        with _one_line(self.uri):
            return list(self.client.search_runs([self.experiment_id], query, order_by=["attributes.start_time DESC"]))

    def finished(self, artifacts: Mapping[str, Collection[str]]) -> dict[str, str]:
        """The newest FINISHED run of this experiment for each config hash of some, where it has all its artifacts.

        Parameters
        ----------
        artifacts : mapping of str
            Config hash -> names of the artifacts that its run should have.
        """
        with stores.open_store(self.uri) as reader:
            tagged = reader.tagged(self.experiment_id, schema.CONFIG_HASH).to_pylist()
        runs = [run for run in tagged if run["value"] in artifacts]
        there = self._contents([run["folder"] for run in runs])
        return {run["value"]: run["run_id"] for run in runs if there[run["folder"]].issuperset(artifacts[run["value"]])}

    def _contents(self, folders: Sequence[str]) -> dict[str, set[str]]:
        """Names of the artifacts in each folder: read where it is on this machine, else asked for, many at once."""
        elsewhere = [folder for folder in folders if not is_local_uri(folder, is_tracking_or_registry_uri=False)]
        with _one_line(self.uri), ThreadPoolExecutor(LISTINGS_AT_ONCE) as pool:
            contents = dict(zip(elsewhere, pool.map(self._listed, elsewhere), strict=True))
            return contents | {folder: _names(folder) for folder in folders if folder not in contents}

    def _listed(self, folder: str) -> set[str]:
        listed = retries.list_artifacts(artifact_uri=folder, tracking_uri=self.uri)
        return {Path(item.path).name for item in listed}

    def _search(self, query: str, order_by: Sequence[str] = ()) -> Iterator[Run]:
        token = None
        while True:
            with _one_line(self.uri):
                page = self.client.search_runs([self.experiment_id], query, order_by=list(order_by), page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def newest(self, config_hash: str) -> Run | None:
        """The newest run of this experiment with this hash, finished or not."""
        query = f"tags.{schema.CONFIG_HASH} = '{config_hash}'"
        return next(self._search(query, order_by=["attributes.start_time DESC"]), None)

    @contextmanager
    def making(self, config_hash: str) -> Iterator[None]:
        """Nobody else on this machine finds or makes the run of this hash while the block runs."""
        waiting = "another process is making this very run: waiting for it"
        with locks.held(self.lock(config_hash), waiting=waiting):
            yield

    def saved_training(self, config_hash: str) -> Path:
        """Where a training that is not through is kept, on this machine."""
        return self.lock(config_hash).with_suffix(".safetensors")

    @property
    def journal(self) -> Path:
        """Where Optuna keeps the searches of this store, on this machine: beside a sqlite file."""
        return locks.folder(self.uri).with_suffix(".optuna")

    def lock(self, name: str) -> Path:
        """The file of a lock of this experiment, such as that of the run with a config hash."""
        return locks.folder(self.uri) / f"{self.experiment_id}-{name}.lock"

    def end_dead(self) -> list[str]:
        """End as KILLED the runs of this experiment that are RUNNING without a process that makes them.

        Their lock is free: that of the config hash, or a job's own. A run on a server may be made where its lock
        is not seen from here, so there only those count whose maker looked at the same locks. Files that dead
        processes have left half written on this machine are removed.

        Returns
        -------
        list of str
            Their ids.
        """
        scratch.remove_dead()
        for part in locks.folder(self.uri).glob("*.part"):
            with locks.held_if_free(part.with_suffix(".lock")) as free:
                if free:
                    part.unlink(missing_ok=True)
        ended = []
        for run in self._search("attributes.status = 'RUNNING'"):
            with self._dead(run) as dead:
                if dead:
                    self._end_killed(run, "its process died")
                    ended.append(run.info.run_id)
        return ended

    @contextmanager
    def _dead(self, run: Run) -> Iterator[bool]:
        """Whether a run is RUNNING without a process that makes it; nobody takes it up while the block runs."""
        tags = run.data.tags
        name = tags.get(schema.LOCK) or tags.get(schema.CONFIG_HASH)
        if not name or not (self.uri.startswith("sqlite") or tags.get(schema.HOST) == locks.owner(self.uri)):
            yield False
            return
        with locks.held_if_free(self.lock(name)) as free:
            yield free and self.get(run.info.run_id).info.status == "RUNNING"

    def end_lost(self, made: Mapping[str, str]) -> None:
        """End as KILLED the runs that a machine which was lost left RUNNING, others having been made in their place.

        Parameters
        ----------
        made : mapping of str
            Config hash -> the run that has it.
        """
        for run in self._search("attributes.status = 'RUNNING'"):
            config_hash = run.data.tags.get(schema.CONFIG_HASH, "")
            if made.get(config_hash, run.info.run_id) != run.info.run_id:
                with locks.held_if_free(self.lock(config_hash)) as free:
                    if free:
                        self._end_killed(run, "its machine was lost")

    def _end_killed(self, run: Run, reason: str) -> None:
        with scratch.folder() as folder:
            Writer(self.client, self.uri, run.info.run_id, folder).abort("KILLED", reason)

    def get(self, run_id: str) -> Run:
        """A run by its id.

        Raises
        ------
        StudyError
            Where there is none.
        """
        return _run(self.client, self.uri, run_id)

    @contextmanager
    def job(self, name: str, options: Mapping[str, str], kind: str = schema.JOB) -> Iterator["Writer"]:
        """The run for one call of an entry point: the one `mlflow run` made, else a new one.

        Runs that dead processes left RUNNING are ended first.

        Parameters
        ----------
        name : str
        options : mapping of str
            As typed; `mlflow run` has logged them already.
        kind : {"job", "study"}
        """
        self.end_dead()
        # A lock that is there before the run, and is named in it, so that at no moment the run seems dead.
        lock = f"job-{uuid.uuid4().hex}"
        own = {schema.KIND: kind, schema.LOCK: lock, schema.HOST: locks.owner(self.uri)}
        with locks.held(self.lock(lock), waiting=""):
            if self.job_run_id:
                with self._resumed(self.job_run_id) as writer:
                    self._take_up(writer.run_id, name, own)
                    yield writer
                return
            with self._started(name, own, None) as writer:
                with _one_line(self.uri):
                    params = [Param(key, value) for key, value in options.items()]
                    self.client.log_batch(writer.run_id, params=params)
                yield writer

    def _take_up(self, run_id: str, name: str, tags: Mapping[str, str]) -> None:
        """Have the run that `mlflow run` made be this call's."""
        with _one_line(self.uri):
            if _is_generated(self.client.get_run(run_id).info.run_name):
                self.client.set_tag(run_id, MLFLOW_RUN_NAME, name)
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    @contextmanager
    def run(
        self,
        name: str,
        *,
        note: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        dataset: MlflowDataset,
        job_run_id: str,
        child: bool,
    ) -> Iterator["Writer"]:
        """A new run, ended as FINISHED, or as FAILED or KILLED with the tag `error` where the block raises.

        Parameters
        ----------
        name, note : str
            What the run is, in a few words and in a sentence.
        tags, params : mapping of str
        dataset : mlflow.entities.Dataset
        job_run_id : str
            The job that makes this run.
        child : bool
            Whether the UI shows it below the job.
        """
        parent = {MLFLOW_PARENT_RUN_ID: job_run_id} if child else {}
        own = {**tags, **parent, schema.HOST: locks.owner(self.uri), MLFLOW_RUN_NOTE: note}
        with self._started(name, own, job_run_id) as writer:
            with _one_line(self.uri):
                self.client.log_batch(writer.run_id, params=[Param(key, value) for key, value in params.items()])
                self._log_dataset(writer.run_id, dataset)
            yield writer

    def _log_dataset(self, run_id: str, dataset: MlflowDataset) -> None:
        try:
            self.client.log_inputs(run_id, [DatasetInput(dataset)])
        except MlflowException:
            # Of two runs that are the first to name a data set, MLflow refuses one; the second time it is there.
            self.client.log_inputs(run_id, [DatasetInput(dataset)])

    @contextmanager
    def again(self, run_id: str) -> Iterator["Writer"]:
        """A run that has ended goes on: RUNNING while the block runs, then ended as `run` ends a new one."""
        with self._resumed(run_id) as writer:
            with _one_line(self.uri):
                self.client.update_run(run_id, "RUNNING")
                _forget_error(self.client, run_id)
            yield writer

    @contextmanager
    def _resumed(self, run_id: str) -> Iterator["Writer"]:
        with scratch.folder() as folder, _ended(Writer(self.client, self.uri, run_id, folder)) as writer:
            yield writer

    @contextmanager
    def _started(self, name: str, tags: Mapping[str, str], job_run_id: str | None) -> Iterator["Writer"]:
        with ExitStack() as ending:
            # An interrupt between making the run and being ready to end it would leave it RUNNING.
            with _one_line(self.uri), uninterrupted():
                folder = ending.enter_context(scratch.folder())
                run = self.client.create_run(self.experiment_id, run_name=name, tags={**_context_tags(), **tags})
                writer = Writer(self.client, self.uri, run.info.run_id, folder, job_run_id=job_run_id)
                ending.enter_context(_ended(writer))
            yield writer

    def missing(self, run_id: str, artifacts: Iterable[str]) -> list[str]:
        """Those of the named artifacts that a run does not have."""
        with _one_line(self.uri):
            there = {item.path for item in self.client.list_artifacts(run_id)}
        return [name for name in artifacts if name not in there]

    @contextmanager
    def artifact(self, run_id: str, name: str) -> Iterator[Path]:
        """A local copy of a run's artifact, there while the block runs.

        Raises
        ------
        StudyError
            Where the run has no such artifact.
        """
        with artifact(self.client, run_id, name) as path:
            yield path


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
        with _one_line(self._uri):
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
            _reach(self._uri)
            self._send_metrics()
            self._client.set_tag(self.run_id, schema.ERROR, reason)
            self._client.set_terminated(self.run_id, status)
        except (*STORE_ERRORS, StudyError) as error:
            log.warning("run %s is left RUNNING: %s", self.run_id, first_line(error))


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
    with _one_line(uri):
        _reach(uri)
        client = retries.client(uri)
        writer = Writer(client, uri, record["run_id"], folder / "artifacts")
        writer.tags(record["tags"])
        writer.restore([Metric(*values) for values in record["metrics"]])
        writer.send()
        _forget_error(client, record["run_id"])
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
        _reach(uri)
        client = retries.client(uri)
        run = client.get_run(os.environ["MLFLOW_RUN_ID"])
        if run.info.status == "RUNNING":
            client.set_tag(run.info.run_id, schema.KIND, schema.JOB)
            with scratch.folder() as folder:
                Writer(client, uri, run.info.run_id, folder).abort(status, reason)
    except (*STORE_ERRORS, StudyError) as error:
        log.warning("the run of this call could not be ended: %s", first_line(error))


@contextmanager
def artifact(client: MlflowClient, run_id: str, name: str) -> Iterator[Path]:
    """As `Store.artifact`, of any client."""
    with scratch.folder() as folder:
        try:
            path = Path(client.download_artifacts(run_id, name, str(folder)))
        except STORE_ERRORS as error:
            raise StudyError(f"run {run_id} has no artifact {name} ({first_line(error)})") from error
        yield path


@contextmanager
def checkpoint(run_id: str) -> Iterator[Path]:
    """The checkpoint of a run of the current store, or of the one result of a job.

    Raises
    ------
    StudyError
        Where there is no such run or checkpoint, or the job has several results.
    """
    uri = mlflow.get_tracking_uri()
    if _is_missing_file(uri):
        raise StudyError(f"{uri}: no such file; load_model reads the current tracking store")
    with _one_line(uri):
        _reach(uri)
    client = retries.client(uri)
    tags = _run(client, uri, run_id).data.tags
    if tags.get(schema.KIND) == schema.JOB:
        results = (tags.get(schema.PRUNED_RUN_IDS) or tags.get(schema.DENSE_RUN_ID) or "").split(",")
        if len(results) > 1 or not results[0]:
            raise StudyError(f"run {run_id} is a job with several results or none: name one of {', '.join(results)}")
        run_id = results[0]
    with artifact(client, run_id, schema.CHECKPOINT) as path:
        yield path


@contextmanager
def _ended(writer: Writer) -> Iterator[Writer]:
    try:
        yield writer
        writer.finish()
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt)
        writer.abort("KILLED" if killed else "FAILED", "interrupted" if killed else first_line(error))
        raise


@contextmanager
def _one_line(uri: str) -> Iterator[None]:
    try:
        yield
    except STORE_ERRORS as error:
        raise StudyError(f"{without_password(uri)}: {first_line(error)}") from error


def _forget_error(client: MlflowClient, run_id: str) -> None:
    def there() -> bool:
        return schema.ERROR in client.get_run(run_id).data.tags

    if there():
        try:
            client.delete_tag(run_id, schema.ERROR)
        except MlflowException:  # a first request, whose answer broke off, may have deleted it
            if there():
                raise


def _run(client: MlflowClient, uri: str, run_id: str) -> Run:
    try:
        return client.get_run(run_id)
    except STORE_ERRORS as error:
        raise StudyError(f"no run {run_id} in {without_password(uri)} ({first_line(error)})") from error


def _reach(uri: str) -> None:
    """Fail within 10 s where MLflow would retry for minutes; make a sqlite store that is not there."""
    if uri.startswith("sqlite"):
        _make_sqlite(uri)
    else:
        stores.probe(uri)


def _is_missing_file(uri: str) -> bool:
    return uri.startswith("sqlite") and not Path(sqlalchemy.make_url(uri).database or "").is_file()


def _make_sqlite(uri: str) -> None:
    path = Path(sqlalchemy.make_url(uri).database or "")
    # Two processes that make the same store at once break it for good, hence the lock; in WAL mode readers and
    # a writer do not wait for one another.
    with FileLock(f"{path}.lock"):
        try:
            if path.is_file():
                _execute(path, "PRAGMA schema_version")
            MlflowClient(uri).search_experiments(max_results=1)
            _execute(path, "PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            raise MlflowException(str(error)) from error


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute(statement)
    finally:
        connection.close()


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


@cache
def _context_tags() -> dict[str, str]:
    return context.resolve_tags()


def _names(folder: str) -> set[str]:
    """What a folder of this machine holds."""
    try:
        return {entry.name for entry in os.scandir(local_file_uri_to_path(folder))}
    except FileNotFoundError:
        return set()


def _is_generated(name: str) -> bool:
    """Whether MLflow made the name up, since nobody gave one."""
    predicate, _, noun = name.rpartition("-")[0].partition("-")
    return predicate in name_utils._GENERATOR_PREDICATES and noun in name_utils._GENERATOR_NOUNS
