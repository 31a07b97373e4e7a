"""The only writer to MLflow."""

import logging
import os
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context import registry as context
from mlflow.utils import name_utils
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from mlflow.utils.uri import is_local_uri

from analysis.runs import retries, schema, stores
from analysis.runs.address import without_password
from pruning_study.tracking import locks, scratch
from pruning_study.tracking.interrupts import uninterrupted
from pruning_study.tracking.reach import artifact, forget_error, get_run, one_line_errors
from pruning_study.tracking.writer import Writer, ended

LISTINGS_AT_ONCE = 16

# MLflow would draw a bar for every artifact it reads.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# ... and print two lines for every run that ends on a server.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
log = logging.getLogger(__name__)
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


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
        with one_line_errors(self.uri):
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
        with one_line_errors(self.uri), ThreadPoolExecutor(LISTINGS_AT_ONCE) as pool:
            contents = dict(zip(elsewhere, pool.map(self._listed, elsewhere), strict=True))
            return contents | {folder: _names(folder) for folder in folders if folder not in contents}

    def _listed(self, folder: str) -> set[str]:
        listed = retries.list_artifacts(artifact_uri=folder, tracking_uri=self.uri)
        return {Path(item.path).name for item in listed}

    def _search(self, query: str, order_by: Sequence[str] = ()) -> Iterator[Run]:
        token = None
        while True:
            with one_line_errors(self.uri):
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
        return get_run(self.client, self.uri, run_id)

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
                with one_line_errors(self.uri):
                    params = [Param(key, value) for key, value in options.items()]
                    self.client.log_batch(writer.run_id, params=params)
                yield writer

    def _take_up(self, run_id: str, name: str, tags: Mapping[str, str]) -> None:
        """Have the run that `mlflow run` made be this call's."""
        with one_line_errors(self.uri):
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
            with one_line_errors(self.uri):
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
            with one_line_errors(self.uri):
                self.client.update_run(run_id, "RUNNING")
                forget_error(self.client, run_id)
            yield writer

    @contextmanager
    def _resumed(self, run_id: str) -> Iterator["Writer"]:
        with scratch.folder() as folder, ended(Writer(self.client, self.uri, run_id, folder)) as writer:
            yield writer

    @contextmanager
    def _started(self, name: str, tags: Mapping[str, str], job_run_id: str | None) -> Iterator["Writer"]:
        with ExitStack() as ending:
            # An interrupt between making the run and being ready to end it would leave it RUNNING.
            with one_line_errors(self.uri), uninterrupted():
                folder = ending.enter_context(scratch.folder())
                run = self.client.create_run(self.experiment_id, run_name=name, tags={**_context_tags(), **tags})
                writer = Writer(self.client, self.uri, run.info.run_id, folder, job_run_id=job_run_id)
                ending.enter_context(ended(writer))
            yield writer

    def missing(self, run_id: str, artifacts: Iterable[str]) -> list[str]:
        """Those of the named artifacts that a run does not have."""
        with one_line_errors(self.uri):
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
