"""Read runs from a tracking store, either from the tables of SQLite or Postgres, or through MLflow's API.

Both readers yield pages of the same form. Reading the tables is 30 times as fast as `mlflow.search_runs` (40,000 runs,
`benchmarks/pull.py`).
"""

import logging
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

import mlflow
import pyarrow as pa
import pyarrow.compute as pc
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ProgrammingError

from analysis.common.errors import StudyError
from analysis.runs import retries, schema, sqlite_files
from analysis.runs.address import probe, without_password
from analysis.runs.pairs import FINISHED, NO_NUMBER
from analysis.runs.store_errors import STORE_ERRORS, explained

_WHOLE_METRICS = tuple(metric.name for metric in schema.METRICS if not metric.by_class)
_METRICS_BY_CLASS = tuple(metric.name for metric in schema.METRICS if metric.by_class)
BUSY_SECONDS = 30
RUNS_PER_PAGE = 1000  # so that each read is short and does not block writers

logger = logging.getLogger(__name__)


class Page(NamedTuple):
    """A batch of dense, pruned and quantized runs, with the params and metrics of the finished ones.

    Attributes
    ----------
    runs : Table
        Columns run_id, status (or `deleted`) and end_time.
    tags, params, metrics : Table
        Columns run_id, name and value; the value of a tag or param is text. Only the tags in `schema.TAGS` and the
        metrics in `schema.METRICS` are read.
    """

    runs: pa.Table
    tags: pa.Table
    params: pa.Table
    metrics: pa.Table


_TEXT, _LONG, _DOUBLE = pa.string(), pa.int64(), pa.float64()
_RUNS = pa.schema({"run_id": _TEXT, "status": _TEXT, "end_time": _LONG})
_TEXTS = pa.schema({"run_id": _TEXT, "name": _TEXT, "value": _TEXT})
_METRICS = pa.schema({"run_id": _TEXT, "name": _TEXT, "value": _DOUBLE})
_EXPERIMENTS = pa.schema({"experiment_id": _LONG, "name": _TEXT, "lifecycle_stage": _TEXT})
_RUN_IDS = pa.schema({"run_id": _TEXT})
_FOLDERS = pa.schema({"run_id": _TEXT, "folder": _TEXT})
_TAGGED = pa.schema({"run_id": _TEXT, "value": _TEXT, "folder": _TEXT})
NOTHING = Page(_RUNS.empty_table(), _TEXTS.empty_table(), _TEXTS.empty_table(), _METRICS.empty_table())


class Reader(Protocol):
    """An open tracking store."""

    def experiments(self) -> list[tuple[str, str, str]]:
        """Return id, name and lifecycle stage (`active` or `deleted`) of each experiment."""

    def pages(self, experiment_id: str) -> Iterator[Page]:
        """Yield all dense, pruned and quantized runs of an experiment, in any state."""

    def runs(self, run_ids: Sequence[str]) -> Iterator[Page]:
        """Yield the given runs of any experiment; unknown runs and runs of other kinds may be left out."""

    def artifact_folders(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Return the artifact URI of each given run that exists."""

    def of_kind(self, experiment_id: str, kind: str, *, finished: bool = True) -> list[str]:
        """Return the ids of the runs of a kind, oldest first, either finished ones or all."""

    def tagged(self, experiment_id: str, tag: str, *, finished: bool = True) -> pa.Table:
        """Return run_id, value and folder (artifact URI) of runs with a tag, finished ones or all, oldest first."""


@contextmanager
def open_store(tracking_uri: str | None) -> Iterator[Reader]:
    """Open a store for reading.

    Parameters
    ----------
    tracking_uri : str, optional
        MLflow's current store by default.

    Raises
    ------
    StudyError
        If the store does not exist, does not answer within 10 s, or cannot be read.
    """
    uri = tracking_uri or mlflow.get_tracking_uri()
    shown = without_password(uri)
    with ExitStack() as resources:
        try:
            yield _connect(uri, shown, resources)
        except (*STORE_ERRORS, pa.ArrowException) as error:
            raise StudyError(explained(uri, error, otherwise="check the tracking URI")) from error


def _connect(uri: str, shown: str, resources: ExitStack) -> Reader:
    """Probe the store and choose its reader."""
    probe(uri)
    scheme = urlsplit(uri).scheme
    if scheme == "sqlite" or scheme.startswith("postgresql"):
        tables = TableReader(resources.enter_context(read_rows(uri, shown)))
        version = tables.schema_version()
        sqlite_files.check_version(uri, version)
        if version in sqlite_files.KNOWN_SCHEMAS:
            return tables
        logger.warning("%s: schema version %s is unknown, so MLflow's slower API is used", shown, version)
    elif is_local_uri(uri) and not Path(local_file_uri_to_path(uri)).is_dir():
        raise StudyError(f"{shown}: no such folder; check the tracking URI")
    return ApiReader(retries.client(uri))


@contextmanager
def read_rows(uri: str, shown: str) -> Iterator[sqlite_files.Rows]:
    """Yield a function that executes a SELECT and returns its rows, without leaving a transaction open."""
    url = make_url(uri)
    if is_file := url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        if not url.database or not path.is_file():
            kind = "a folder and no database" if url.database and path.is_dir() else "no such file"
            raise StudyError(f"{shown}: {kind}; check the tracking URI, or make a run first")
        address = f"file:{quote(str(path))}?mode=ro"
        engine = create_engine(url, creator=partial(sqlite3.connect, address, uri=True, timeout=BUSY_SECONDS))
    else:
        engine = create_engine(url)
    # no_parameters makes the driver leave a `%` unchanged.
    engine = engine.execution_options(isolation_level="AUTOCOMMIT", no_parameters=True)
    try:
        with engine.connect() as connection:

            def read(statement: str) -> Sequence[tuple]:
                # Reading the driver's own rows takes half as long as reading SQLAlchemy's rows.
                return connection.exec_driver_sql(statement).cursor.fetchall()

            if is_file:
                sqlite_files.check(uri, path, read)
            else:
                connection.exec_driver_sql("SET default_transaction_read_only = on")
            yield read
    finally:
        engine.dispose()


# Each page starts after the last run id of the previous one. The primary key of `tags`, (key, run_uuid), gives this
# order without sorting.
_LISTING = f"""
    SELECT kind.run_uuid, COALESCE(CASE lifecycle_stage WHEN 'active' THEN status ELSE lifecycle_stage END, 'UNKNOWN'),
        COALESCE(end_time, start_time, 0)
    FROM tags kind JOIN runs ON runs.run_uuid = kind.run_uuid
    WHERE kind.key = '{schema.KIND}' AND kind.value IN {schema.KINDS} AND
"""
_WANTED = " OR ".join([f"key IN {_WHOLE_METRICS}", *(f"key LIKE '{name}%'" for name in _METRICS_BY_CLASS)])


class TableReader:
    """Reader of a store's tables, with SQL for both SQLite and Postgres.

    Parameters
    ----------
    read : callable
        Takes a SELECT statement and returns its rows.
    """

    def __init__(self, read: sqlite_files.Rows) -> None:
        self._rows = read

    def schema_version(self) -> str | None:
        """Return the schema version of the tables, or None if they are not MLflow's."""
        try:
            versions = self._rows("SELECT version_num FROM alembic_version")
            return versions[0][0] if versions else None
        except ProgrammingError as error:
            if "does not exist" in str(error):
                return None
            raise

    def experiments(self) -> list[tuple[str, str, str]]:
        table = self._read("SELECT experiment_id, name, lifecycle_stage FROM experiments", _EXPERIMENTS)
        return [(str(row["experiment_id"]), row["name"], row["lifecycle_stage"]) for row in table.to_pylist()]

    def pages(self, experiment_id: str) -> Iterator[Page]:
        after = ""
        while True:
            listed = self._read(
                f"{_LISTING} experiment_id = {int(experiment_id)} AND kind.run_uuid > {_quoted(after)}"
                f" ORDER BY kind.run_uuid LIMIT {RUNS_PER_PAGE}",
                _RUNS,
            )
            if not len(listed):
                return
            yield self._page(listed)
            after = listed["run_id"][-1].as_py()

    def runs(self, run_ids: Sequence[str]) -> Iterator[Page]:
        for chunk in _chunks(run_ids):
            yield self._page(self._read(f"{_LISTING} kind.run_uuid IN {_list(chunk)}", _RUNS))

    def artifact_folders(self, run_ids: Sequence[str]) -> dict[str, str]:
        folders: dict[str, str] = {}
        for chunk in _chunks(run_ids):
            table = self._read(
                f"SELECT run_uuid, artifact_uri FROM runs WHERE run_uuid IN {_list(chunk)} AND artifact_uri <> ''",
                _FOLDERS,
            )
            folders |= {row["run_id"]: row["folder"] for row in table.to_pylist()}
        return folders

    def of_kind(self, experiment_id: str, kind: str, *, finished: bool = True) -> list[str]:
        state = f" AND status = '{FINISHED}'" if finished else ""
        table = self._read(
            "SELECT run_uuid FROM tags JOIN runs USING (run_uuid)"
            f" WHERE key = '{schema.KIND}' AND value = {_quoted(kind)} AND experiment_id = {int(experiment_id)}"
            f" AND lifecycle_stage = 'active'{state} ORDER BY start_time",
            _RUN_IDS,
        )
        return table["run_id"].to_pylist()

    def tagged(self, experiment_id: str, tag: str, *, finished: bool = True) -> pa.Table:
        state = f" AND status = '{FINISHED}'" if finished else ""
        return self._read(
            "SELECT run_uuid, value, artifact_uri FROM tags JOIN runs USING (run_uuid)"
            f" WHERE key = {_quoted(tag)} AND experiment_id = {int(experiment_id)}"
            " AND value <> '' AND artifact_uri <> ''"
            f" AND lifecycle_stage = 'active'{state} ORDER BY start_time",
            _TAGGED,
        )

    def _page(self, listed: pa.Table) -> Page:
        finished = listed["run_id"].filter(pc.equal(listed["status"], FINISHED)).to_pylist()
        value = f"CASE WHEN is_nan THEN {NO_NUMBER!r} ELSE value END"
        return Page(
            listed,
            self._of_runs("tags", "value", f"key IN {schema.TAGS}", listed["run_id"].to_pylist(), _TEXTS),
            self._of_runs("params", "value", "TRUE", finished, _TEXTS),
            self._of_runs("latest_metrics", value, f"({_WANTED})", finished, _METRICS),
        )

    def _of_runs(self, table: str, value: str, condition: str, run_ids: Sequence[str], columns: pa.Schema) -> pa.Table:
        if not run_ids:
            return columns.empty_table()
        query = f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN {_list(run_ids)} AND {condition}"
        return self._read(query, columns)

    def _read(self, statement: str, columns: pa.Schema) -> pa.Table:
        table = _table(self._rows(statement), columns)
        if empty := [name for name in columns.names if table[name].null_count]:
            raise pa.ArrowInvalid(f"NULL as {', '.join(empty)}")
        return table


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(map(_quoted, values))})"


class ApiReader:
    """Reader of any store, through MLflow's client.

    Parameters
    ----------
    client : MlflowClient
    """

    def __init__(self, client: mlflow.MlflowClient) -> None:
        self._client = client

    def experiments(self) -> list[tuple[str, str, str]]:
        pages = _pages(self._client.search_experiments, view_type=ViewType.ALL)
        experiments = [
            (each.experiment_id, each.name, each.lifecycle_stage) for page in pages for each in page if each.name
        ]
        if not experiments:  # a store of MLflow always has the experiment Default
            raise MlflowException(
                "the store lists no experiments: it is not a store of MLflow, or its user has no permission to read"
            )
        return experiments

    def pages(self, experiment_id: str) -> Iterator[Page]:
        for kind in schema.KINDS:
            pages = _pages(
                self._client.search_runs,
                experiment_ids=[experiment_id],
                filter_string=f"tags.{schema.KIND} = '{kind}'",
                run_view_type=ViewType.ALL,
                max_results=RUNS_PER_PAGE,
                # Oldest first, so that a run that starts meanwhile comes last and does not shift pages.
                order_by=["attributes.start_time ASC"],
            )
            yield from map(_api_page, pages)

    def runs(self, run_ids: Sequence[str]) -> Iterator[Page]:
        for chunk in _chunks(run_ids):
            yield _api_page([run for run_id in chunk if (run := self._run(run_id))])

    def artifact_folders(self, run_ids: Sequence[str]) -> dict[str, str]:
        folders = {run_id: run.info.artifact_uri for run_id in run_ids if (run := self._run(run_id))}
        return {run_id: folder for run_id, folder in folders.items() if folder}

    def of_kind(self, experiment_id: str, kind: str, *, finished: bool = True) -> list[str]:
        state = f" AND attributes.status = '{FINISHED}'" if finished else ""
        pages = _pages(
            self._client.search_runs,
            experiment_ids=[experiment_id],
            filter_string=f"tags.{schema.KIND} = '{kind}'{state}",
            order_by=["attributes.start_time ASC"],
        )
        return [run.info.run_id for page in pages for run in page]

    def tagged(self, experiment_id: str, tag: str, *, finished: bool = True) -> pa.Table:
        state = f" AND attributes.status = '{FINISHED}'" if finished else ""
        pages = _pages(
            self._client.search_runs,
            experiment_ids=[experiment_id],
            filter_string=f"tags.{tag} != ''{state}",
            order_by=["attributes.start_time ASC"],
        )
        return _table(
            [
                (run.info.run_id, run.data.tags[tag], run.info.artifact_uri)
                for page in pages
                for run in page
                if tag in run.data.tags and run.info.artifact_uri
            ],
            _TAGGED,
        )

    def _run(self, run_id: str) -> Run | None:
        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def _pages(search: Callable[..., PagedList], **query: Any) -> Iterator[PagedList]:
    page = search(**query)
    yield page
    while page.token:
        page = search(**query, page_token=page.token)
        yield page


def _api_page(candidates: Sequence[Run]) -> Page:
    runs = [run for run in candidates if schema.KIND in run.data.tags]
    finished = [run for run in runs if _state(run) == FINISHED]
    return Page(
        _table([(run.info.run_id, _state(run), run.info.end_time or run.info.start_time or 0) for run in runs], _RUNS),
        _table(
            [(run.info.run_id, *tag) for run in runs for tag in run.data.tags.items() if tag[0] in schema.TAGS], _TEXTS
        ),
        _table([(run.info.run_id, *param) for run in finished for param in run.data.params.items()], _TEXTS),
        _table(
            [
                (run.info.run_id, name, value if math.isfinite(value) else NO_NUMBER)
                for run in finished
                for name, value in run.data.metrics.items()
                if name in _WHOLE_METRICS or name.startswith(_METRICS_BY_CLASS)
            ],
            _METRICS,
        ),
    )


def _table(rows: Sequence[tuple], columns: pa.Schema) -> pa.Table:
    return pa.table([list(map(itemgetter(index), rows)) for index in range(len(columns))], schema=columns)


def _state(run: Run) -> str:
    return run.info.status if run.info.lifecycle_stage == "active" else run.info.lifecycle_stage


def _chunks(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (run_ids[start : start + RUNS_PER_PAGE] for start in range(0, len(run_ids), RUNS_PER_PAGE))
