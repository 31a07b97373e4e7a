"""Runs of one experiment in a tracking store: find them, make them, and end those whose process died."""

import logging
import shlex
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context import registry as context
from mlflow.utils import name_utils
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE
from mlflow.utils.uri import is_local_uri

from analysis.common.errors import StudyError, first_line
from analysis.common.interrupts import uninterrupted
from analysis.common.masking import without_secrets
from analysis.rendering.formats import markdown_line
from analysis.runs import moved_folders, retries, schema, stores
from analysis.runs.address import without_password
from pruning_study.tracking import locks
from pruning_study.tracking.reach import STORE_ERRORS, one_line_errors
from pruning_study.tracking.writer import Writer, ending

log = logging.getLogger(__name__)

LISTINGS_AT_ONCE = 16
_UI = "http://127.0.0.1:5000"  # where `mlflow ui` listens if no port is given


class ComparedRun(NamedTuple):
    """A pruned or quantized run, which is compared with its dense run and with its control."""

    run_id: str
    tags: dict[str, str]
    params: dict[str, str]


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

    def __init__(self, client: MlflowClient, uri: str, experiment_id: str, job_run_id: str | None = None) -> None:
        self.client = client
        self.uri = uri
        self.experiment_id = experiment_id
        self.job_run_id = job_run_id
        self.view = ""  # the end of the address that opens a view of the experiment
        self._artifact_folders: dict[str, str] = {}  # by run id; a run's folder never changes

    def how_to_look(self, *, indent: int) -> str:
        """Return the command, if one is needed, and the address to see the experiment's runs in MLflow's UI.

        Parameters
        ----------
        indent : int
            Number of spaces before a second line.
        """
        shown = without_password(self.uri)
        if self.uri.startswith("http"):
            return f"open {shown.rstrip('/')}/#{self.page}{self.view}"
        command = f"mlflow ui --backend-store-uri {shlex.quote(shown)}"
        return f"{command}\n{'':{indent}}then open {_UI}/#{self.page}{self.view}"

    @property
    def page(self) -> str:
        """The address of the experiment's runs in MLflow's UI, in which the UI would else open a different view."""
        return f"/experiments/{self.experiment_id}/runs?workflowType=machine_learning"

    # Runs that exist

    def get(self, run_id: str) -> Run:
        """Return a run of any experiment.

        Raises
        ------
        StudyError
            If no run has this id, or if the store cannot be read.
        """
        try:
            return self.client.get_run(run_id)
        except STORE_ERRORS as error:
            raise StudyError(f"no run {run_id} in {without_password(self.uri)} ({first_line(error)})") from error

    def find(self, config_hash: str) -> list[Run]:
        """Return the FINISHED runs with a config hash, the newest first, except those whose dense run is gone."""
        query = f"tags.{schema.CONFIG_HASH} = '{config_hash}' and attributes.status = 'FINISHED'"
        with one_line_errors(self.uri):
            runs = self.client.search_runs([self.experiment_id], query, order_by=["attributes.start_time DESC"])
        dense = [run.data.tags.get(schema.DENSE_RUN_ID, "") for run in runs]
        gone = self._gone({run_id for run_id in dense if run_id})
        return [run for run, run_id in zip(runs, dense, strict=True) if run_id not in gone]

    def newest(self, config_hash: str) -> Run | None:
        """Return the newest run with a config hash, whether it is finished or not."""
        query = f"tags.{schema.CONFIG_HASH} = '{config_hash}'"
        return next(self._search(query, order_by=["attributes.start_time DESC"]), None)

    def of_kinds(self, kinds: Collection[str]) -> list[Run]:
        """Return the FINISHED runs of some kinds, the oldest first."""
        runs = self._search("attributes.status = 'FINISHED'", order_by=["attributes.start_time ASC"])
        return [run for run in runs if run.data.tags.get(schema.KIND) in kinds]

    def finished(self, artifacts: Mapping[str, Collection[str]]) -> dict[str, str]:
        """Return, for each config hash, the newest FINISHED run that is complete and whose dense run exists.

        Parameters
        ----------
        artifacts : mapping of str
            Config hash -> the names of the artifacts that its run must have.

        Returns
        -------
        dict
            Config hash -> run id; hashes without such a run are missing.
        """
        with stores.open_store(self.uri) as reader:
            rows = stores.read(reader, self.experiment_id, only_tags=[schema.CONFIG_HASH, schema.DENSE_RUN_ID])
        names = ["run_id", stores.ARTIFACT_URI, *(f"tags.{name}" for name in (schema.CONFIG_HASH, schema.DENSE_RUN_ID))]
        rows = rows[(rows["status"] == "FINISHED") & rows[names[2]].notna()].sort_values(stores.START_TIME)
        wanted = [run for run in rows[names].itertuples(index=False, name=None) if run[1] and run[2] in artifacts]
        gone = self._gone({dense for *_, dense in wanted if isinstance(dense, str)} - {*rows["run_id"]})
        wanted = [run for run in wanted if run[3] not in gone]
        there = self._artifact_names([folder for _, folder, *_ in wanted])
        return {key: run_id for run_id, folder, key, _ in wanted if there[folder].issuperset(artifacts[key])}

    def compared_runs(self, dense_run_id: str = "") -> list[ComparedRun]:
        """Return the FINISHED pruned and quantized runs of a dense run, or of the experiment, the oldest first."""
        of_dense = f" and tags.{schema.DENSE_RUN_ID} = '{dense_run_id}'" if dense_run_id else ""
        runs = self._search(f"attributes.status = 'FINISHED'{of_dense}", order_by=["attributes.end_time ASC"])
        compared = (ComparedRun(run.info.run_id, run.data.tags, run.data.params) for run in runs)
        return [run for run in compared if run.tags.get(schema.KIND) in (schema.PRUNED, schema.QUANTIZED)]

    def _gone(self, run_ids: Iterable[str]) -> set[str]:
        """Return the ids of those runs that are deleted, not FINISHED, or missing."""

        def is_there(run_id: str) -> bool:
            try:
                run = self.get(run_id)
            except StudyError:
                return False
            return (run.info.lifecycle_stage, run.info.status) == ("active", "FINISHED")

        return {run_id for run_id in run_ids if not is_there(run_id)}

    def missing(self, run_id: str, artifacts: Iterable[str]) -> list[str]:
        """Return the names of those artifacts that a run does not have."""
        with one_line_errors(self.uri):
            folder = self._artifact_folder(run_id)
        there = self._artifact_names([folder])[folder]
        return [name for name in artifacts if name not in there]

    @contextmanager
    def artifact(self, run_id: str, name: str) -> Iterator[Path]:
        """Yield a run's artifact on this machine: the file itself, or a copy of it that is removed after the block.

        Raises
        ------
        StudyError
            If the run has no such artifact.
        """
        with tempfile.TemporaryDirectory() as copies:
            try:
                where = self._artifact_folder(run_id)
                if not where:  # an empty path would mean the current folder
                    raise FileNotFoundError("the store has no location of its artifacts")
                local = self._local_folder(where)
                if local:
                    path = (local / name).resolve(strict=True)
                else:
                    path = Path(self.client.download_artifacts(run_id, name, copies))
            except STORE_ERRORS as error:
                raise StudyError(f"run {run_id} has no artifact {name} ({first_line(error)})") from error
            yield path

    def artifact_location(self, run_id: str, name: str) -> str:
        """Return the location of a run's artifact: a path on this machine, or a URI that MLflow downloads."""
        with one_line_errors(self.uri):
            folder = self._local_folder(self._artifact_folder(run_id))
        return str(folder / name) if folder else f"runs:/{run_id}/{name}"

    def _artifact_folder(self, run_id: str) -> str:
        if run_id not in self._artifact_folders:
            self._artifact_folders[run_id] = self.client.get_run(run_id).info.artifact_uri or ""
        return self._artifact_folders[run_id]

    def _local_folder(self, uri: str) -> Path | None:
        """Return the folder of a run's artifacts on this machine; None if they are on a server."""
        is_local = is_local_uri(uri, is_tracking_or_registry_uri=False)
        return moved_folders.local_folder(uri, self.uri) if is_local else None

    # Files of this machine that belong to runs

    def lock(self, name: str) -> Path:
        """Return the lock file for a name, such as a config hash, in this experiment."""
        return locks.folder(self.uri) / f"{self.experiment_id}-{name}.lock"

    @contextmanager
    def making(self, config_hash: str) -> Iterator[None]:
        """Keep all other processes of this machine from making or finding the run of a config hash."""
        with locks.held(self.lock(config_hash), waiting="another process is making this very run: waiting for it"):
            yield

    def saved_training(self, config_hash: str, *, force: bool = False) -> Path:
        """Return the file in which an unfinished training is saved; with `force` an old one is deleted first."""
        file = self.lock(config_hash).with_suffix(".safetensors")
        if force:
            file.unlink(missing_ok=True)
        return file

    @property
    def journal(self) -> Path:
        """The file in which Optuna keeps the searches of this store."""
        return locks.folder(self.uri).with_suffix(".optuna")

    # New runs

    @contextmanager
    def job(self, name: str, options: Mapping[str, str], kind: str = schema.JOB) -> Iterator[Writer]:
        """Make the run for one call of an entry point, or continue the run that `mlflow run` made for it.

        Runs that dead processes left RUNNING are ended first.

        Parameters
        ----------
        name : str
        options : mapping of str
            The options as typed. They are not logged to a run of `mlflow run`, which has logged them itself.
        kind : {"job", "study"}
        """
        self.end_dead()
        # The lock is taken before the run is made, so that the run never seems dead.
        lock = f"job-{uuid.uuid4().hex}"
        tags = {schema.KIND: kind, schema.LOCK: lock, schema.HOST: locks.owner(self.uri)}
        with locks.held(self.lock(lock), waiting=""):
            if self.job_run_id:
                with ending(Writer(self.client, self.uri, self.job_run_id)) as writer:
                    self._take_up(writer.run_id, name, tags)
                    yield writer
                return
            with self._started(name, tags) as writer:
                self._log_params(writer.run_id, options)
                yield writer

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
    ) -> Iterator[Writer]:
        """Make a run, which ends with the block: as FINISHED, or as FAILED or KILLED with the tag `error`.

        Parameters
        ----------
        name, note : str
            Description of the run, in a few words and in a sentence.
        tags, params : mapping of str
        dataset : mlflow.entities.Dataset
        job_run_id : str
            The job that makes this run.
        child : bool
            Whether MLflow's UI shows the run below the job.
        """
        parent = {MLFLOW_PARENT_RUN_ID: job_run_id} if child else {}
        tags = {**tags, **parent, schema.SCHEMA: schema.SCHEMA_VERSION}
        tags |= {schema.HOST: locks.owner(self.uri), MLFLOW_RUN_NOTE: markdown_line(note)}
        with self._started(name, tags) as writer:
            self._log_params(writer.run_id, params)
            self._log_dataset(writer.run_id, dataset)
            yield writer

    @contextmanager
    def again(self, run_id: str) -> Iterator[Writer]:
        """Resume a run that has ended: it is RUNNING during the block, and ends with the block as in `run`."""
        with ending(Writer(self.client, self.uri, run_id)) as writer:
            with one_line_errors(self.uri):
                self.client.update_run(run_id, "RUNNING")
                if schema.ERROR in self.get(run_id).data.tags:
                    self.client.delete_tag(run_id, schema.ERROR)
            yield writer

    def add(self, run_id: str, file: Path, tags: Mapping[str, str]) -> None:
        """Add an artifact and tags to a run that has ended; an artifact of the same name is replaced."""
        with one_line_errors(self.uri):
            self.client.log_artifact(run_id, str(file))
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def add_metrics(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str] | None = None) -> None:
        """Add final metrics, and then tags, to a run that has ended."""
        now = int(1000 * time.time())
        with one_line_errors(self.uri):
            self.client.log_batch(
                run_id,
                [Metric(name, value, now, 0) for name, value in metrics.items()],
                tags=[RunTag(key, value) for key, value in (tags or {}).items()],
            )

    # Runs that nobody will end

    def end_dead(self) -> list[str]:
        """End as KILLED the RUNNING runs whose process died.

        A run is dead if its lock is free. A job has a lock of its own; any other run has the lock of its config hash.
        Unless the store is a sqlite file, a run that another machine makes is never considered dead, because the locks
        of that machine cannot be seen here.

        Returns
        -------
        list of str
            The ids of the ended runs.
        """
        is_file, owner = self.uri.startswith("sqlite"), locks.owner(self.uri)
        for aside in locks.folder(self.uri).glob("*.saving"):
            with locks.held_if_free(aside.with_suffix(".lock")) as free:
                if free:
                    aside.unlink(missing_ok=True)
        running = self._search("attributes.status = 'RUNNING'")
        own = [run for run in running if is_file or run.data.tags.get(schema.HOST) == owner]
        return [run.info.run_id for run in own if self._end_if_unlocked(run, "its process died")]

    def end_lost(self, replacements: Mapping[str, str]) -> None:
        """End as KILLED the runs that a lost machine left RUNNING and that were made again elsewhere.

        Parameters
        ----------
        replacements : mapping of str
            Config hash -> the id of the run that was made instead.
        """
        for run in self._search("attributes.status = 'RUNNING'"):
            config_hash = run.data.tags.get(schema.CONFIG_HASH, "")
            if replacements.get(config_hash, run.info.run_id) != run.info.run_id:
                self._end_if_unlocked(run, "its machine was lost")

    def _end_if_unlocked(self, run: Run, reason: str) -> bool:
        name = run.data.tags.get(schema.LOCK) or run.data.tags.get(schema.CONFIG_HASH)
        if not name:
            return False
        with locks.held_if_free(self.lock(name)) as free:  # so that no process resumes the run meanwhile
            dead = free and self.get(run.info.run_id).info.status == "RUNNING"
            if dead:
                Writer(self.client, self.uri, run.info.run_id).abort("KILLED", reason)
        return dead

    @contextmanager
    def _started(self, name: str, tags: Mapping[str, str]) -> Iterator[Writer]:
        with ExitStack() as ends:
            # An interrupt after the run was made but before it can be ended would leave it RUNNING.
            with one_line_errors(self.uri), uninterrupted():
                run = self.client.create_run(self.experiment_id, run_name=name, tags={**context_tags(), **tags})
                self._artifact_folders[run.info.run_id] = run.info.artifact_uri or ""
                writer = ends.enter_context(ending(Writer(self.client, self.uri, run.info.run_id)))
            yield writer

    def _take_up(self, run_id: str, name: str, tags: Mapping[str, str]) -> None:
        """Make the run of `mlflow run` this call's job, but keep a name that the user chose."""
        with one_line_errors(self.uri):
            if _is_generated(self.client.get_run(run_id).info.run_name):
                self.client.set_tag(run_id, MLFLOW_RUN_NAME, name)
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        with one_line_errors(self.uri):
            self.client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])

    def _log_dataset(self, run_id: str, dataset: MlflowDataset) -> None:
        with one_line_errors(self.uri):
            try:
                self.client.log_inputs(run_id, [DatasetInput(dataset)])
            except MlflowException as error:
                # If two runs log a new data set at once, MLflow refuses one of them, which can try again.
                if error.error_code != "BAD_REQUEST":
                    raise
                self.client.log_inputs(run_id, [DatasetInput(dataset)])

    def _search(self, query: str, order_by: Sequence[str] = ()) -> Iterator[Run]:
        token = None
        while True:
            with one_line_errors(self.uri):
                page = self.client.search_runs([self.experiment_id], query, order_by=list(order_by), page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _artifact_names(self, folders: Sequence[str]) -> dict[str, set[str]]:
        """Return the file names in each artifact folder; folders on a server are listed in parallel."""

        def listed(folder: str) -> set[str]:
            path = self._local_folder(folder)
            if path:
                return {file.name for file in path.iterdir()} if path.exists() else set()
            items = retries.list_artifacts(artifact_uri=folder, tracking_uri=self.uri)
            return {Path(item.path).name for item in items}

        with one_line_errors(self.uri), ThreadPoolExecutor(LISTINGS_AT_ONCE) as pool:
            return dict(zip(folders, pool.map(listed, folders), strict=True))


@cache
def context_tags() -> dict[str, str]:
    # A notebook, also one of Databricks, has imported IPython. Elsewhere MLflow would spend a second importing it only
    # to find that there is no notebook.
    of_notebooks = [value for name, value in vars(context).items() if name.startswith(("Jupyter", "Databricks"))]
    ignored = [] if "IPython" in sys.modules else of_notebooks
    return {name: without_secrets(value) for name, value in context.resolve_tags(ignore=ignored).items()}


def _is_generated(name: str) -> bool:
    """Return whether MLflow generated a run's name because the user gave none."""
    predicate, _, noun = name.rpartition("-")[0].partition("-")
    return predicate in name_utils._GENERATOR_PREDICATES and noun in name_utils._GENERATOR_NOUNS
