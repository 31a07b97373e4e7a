"""Read runs from a tracking store, either from the tables of SQLite or Postgres, or through MLflow's API.

Reading the tables is 30 times as fast as `mlflow.search_runs` (40,000 runs, `benchmarks/pull.py`).
"""

import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

import mlflow
import pandas as pd
import pyarrow as pa
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_latest_schema_revision
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError
from tqdm import tqdm

from analysis.common.errors import StudyError
from analysis.common.masking import without_secrets
from analysis.runs import retries, schema
from analysis.runs.address import probe, without_password
from analysis.runs.frames import METRIC, PARAM, RUN_ID, TAG
from analysis.runs.pairs import END_TIME, FINISHED, NO_NUMBER, STATUS
from analysis.runs.store_errors import STORE_ERRORS, explained

START_TIME, ARTIFACT_URI = "start_time", "artifact_uri"
BUSY_SECONDS = 30
RUNS_PER_PAGE = 1000  # so that each read is short and does not block writers
# Tags that a frame has as columns even if no run has them
_ALWAYS = (schema.KIND, schema.DENSE_RUN_ID, schema.CONFIG_HASH, schema.SCHEMA)
_TAGS = (*schema.TAGS, schema.CORRUPTED, schema.MINIMIZE)
_WHOLE_METRICS = tuple(metric.name for metric in schema.METRICS if not metric.by_class)
_METRICS_BY_CLASS = tuple(metric.name for metric in schema.METRICS if metric.by_class)
_RUNS = pa.schema(
    {
        RUN_ID: pa.string(),
        STATUS: pa.string(),
        END_TIME: pa.int64(),
        START_TIME: pa.int64(),
        ARTIFACT_URI: pa.string(),
    }
)
# MLflow version -> schema version; for versions not listed MLflow is asked, which takes a quarter of a second.
_SCHEMAS = {"3.17": "dc11669786a5"}

Rows = Callable[[str], Sequence[tuple]]
Values = Iterable[tuple[str, str, Any]]  # run id, name and value


class Page(NamedTuple):
    """A batch of runs.

    Attributes
    ----------
    runs : sequence of tuple
        The values of the columns `_RUNS`; the status of a deleted run is `deleted`.
    tags, params, metrics : iterable of tuple
        Id of the run, name and value. Only `_TAGS` and the metrics in `schema.METRICS` are read, and params and metrics
        only of finished runs of `schema.KINDS`.
    """

    runs: Sequence[tuple]
    tags: Values
    params: Values
    metrics: Values


class Reader(Protocol):
    """An open tracking store."""

    def experiments(self) -> list[tuple[str, str, str]]:
        """Return id, name and lifecycle stage (`active` or `deleted`) of each experiment."""

    def pages(self, select: str | Sequence[str], only_tags: Sequence[str] = ()) -> Iterator[Page]:
        """Yield all runs of an experiment, given by its id, or the runs with these ids that exist; see `read`."""


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
    with ExitStack() as resources:
        try:
            yield _connect(uri, resources)
        except (*STORE_ERRORS, pa.ArrowException) as error:
            raise StudyError(explained(uri, error, otherwise="check the tracking URI")) from error


def _connect(uri: str, resources: ExitStack) -> Reader:
    """Probe the store and choose its reader."""
    probe(uri)
    scheme = urlsplit(uri).scheme
    if scheme == "sqlite" or scheme.startswith("postgresql"):
        return TableReader(resources.enter_context(read_rows(uri)))
    if is_local_uri(uri) and not Path(local_file_uri_to_path(uri)).is_dir():
        raise StudyError(f"{without_password(uri)}: no such folder; check the tracking URI")
    return ApiReader(retries.client(uri))


def read(store: Reader, select: str | Sequence[str], only_tags: Sequence[str] = ()) -> pd.DataFrame:
    """Read runs as a frame like that of `mlflow.search_runs`, sorted by run id.

    Parameters
    ----------
    store : Reader
    select : str or sequence of str
        The id of an experiment, or the ids of runs, of which unknown ones are missing in the frame.
    only_tags : sequence of str
        Tags to read. By default these are `_TAGS`, and params and metrics are read too.

    Returns
    -------
    DataFrame
        Columns run_id, status (or `deleted`), end_time, start_time, artifact_uri, `tags.<name>`, `params.<name>` and
        `metrics.<name>`. Secrets in tags and params, such as a password in a URL, are masked, because frames and
        reports may be published.
    """
    tables = [_RUNS.empty_table()]
    with tqdm(desc="pull", unit=" runs", leave=False, disable=None) as progress:
        for page in store.pages(select, only_tags):
            tables.append(_table(page))
            progress.update(len(page.runs))
    rows = pa.concat_tables(tables, promote_options="default").to_pandas()
    others = sorted({*rows.columns, *(map(TAG.__add__, only_tags or _ALWAYS))} - {*_RUNS.names})
    return rows.reindex(columns=[*_RUNS.names, *others]).sort_values(RUN_ID, ignore_index=True)


def _table(page: Page) -> pa.Table:
    """Make a table with a row for each run, and a column for each tag, param and metric."""
    place = {run[0]: index for index, run in enumerate(page.runs)}
    columns = {name: [run[index] for run in page.runs] for index, name in enumerate(_RUNS.names)}
    types = dict(zip(_RUNS.names, _RUNS.types, strict=True))
    for prefix, values in ((TAG, page.tags), (PARAM, page.params), (METRIC, page.metrics)):
        own: dict[str, list] = {}
        for run_id, name, value in values:
            if name not in own:
                own[name] = [None] * len(place)
            own[name][place[run_id]] = value
        columns |= {prefix + name: column for name, column in own.items()}
        types |= {prefix + name: pa.float64() if prefix == METRIC else pa.string() for name in own}
    arrays = {name: pa.array(column, types[name]) for name, column in columns.items()}
    return pa.table({name: array if name in _RUNS.names else _masked(array) for name, array in arrays.items()})


def _masked(column: pa.Array) -> pa.Array:
    """Mask the secrets in a column of text."""
    if column.type != pa.string():
        return column
    values = column.dictionary_encode()
    texts = values.dictionary.to_pylist()
    masked = [without_secrets(text) if "@" in text or "=" in text else text for text in texts]
    return column if masked == texts else pa.array(masked, pa.string()).take(values.indices)


# Tables.


@contextmanager
def read_rows(uri: str) -> Iterator[Rows]:
    """Yield a function that executes a SELECT and returns its rows, without leaving a transaction open.

    Raises
    ------
    StudyError
        If there is no database, or if it is not a store of the installed MLflow.
    """
    url = make_url(uri)
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        if not url.database or not path.is_file():
            kind = "a folder and no database" if url.database and path.is_dir() else "no such file"
            raise StudyError(f"{without_password(uri)}: {kind}; check the tracking URI, or make a run first")
        address = f"file:{quote(str(path))}?mode=ro"
        engine = create_engine(url, creator=partial(sqlite3.connect, address, uri=True, timeout=BUSY_SECONDS))
    else:
        engine = create_engine(url)
    # no_parameters makes the driver leave a `%` unchanged.
    engine = engine.execution_options(isolation_level="AUTOCOMMIT", no_parameters=True)
    try:
        with engine.connect() as connection:
            if url.get_backend_name() != "sqlite":
                connection.exec_driver_sql("SET default_transaction_read_only = on")

            def rows(statement: str) -> Sequence[tuple]:
                # Reading the driver's own rows takes half as long as reading SQLAlchemy's rows.
                return connection.exec_driver_sql(statement).cursor.fetchall()

            check_version(uri, rows)
            yield rows
    finally:
        engine.dispose()


def check_version(uri: str, rows: Rows) -> None:
    """Refuse a database that is not a store of the installed MLflow.

    MLflow's client would migrate a store of another version, and turn any other database into a store.

    Parameters
    ----------
    uri : str
        The tracking URI.
    rows : callable
        Takes a SELECT statement and returns its rows.

    Raises
    ------
    StudyError
        If the schema of the database is another one.
    """
    try:
        versions = rows("SELECT version_num FROM alembic_version")
    except (DBAPIError, sqlite3.OperationalError) as error:
        if not re.search("no such table|does not exist", str(error)):
            raise
        versions = []
    version = versions[0][0] if versions else None
    if version != _installed_schema():
        raise StudyError(
            f"{without_password(uri)} is not a store of MLflow {mlflow.__version__} (schema version {version}); "
            "check the tracking URI; if an older MLflow made it, back it up and run `mlflow db upgrade`"
        )


@cache
def _installed_schema() -> str:
    return _SCHEMAS.get(mlflow.__version__.rpartition(".")[0]) or str(_get_latest_schema_revision())


_LISTING = """
    SELECT run_uuid, COALESCE(CASE lifecycle_stage WHEN 'active' THEN status ELSE lifecycle_stage END, 'UNKNOWN'),
        COALESCE(end_time, start_time, 0), COALESCE(start_time, 0), COALESCE(artifact_uri, '')
    FROM runs WHERE
"""
_METRICS = " OR ".join([f"key IN {_WHOLE_METRICS}", *(f"key LIKE '{name}%'" for name in _METRICS_BY_CLASS)])


class TableReader:
    """Reader of a store's tables, with SQL for both SQLite and Postgres.

    Parameters
    ----------
    rows : callable
        Takes a SELECT statement and returns its rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def experiments(self) -> list[tuple[str, str, str]]:
        rows = self._rows("SELECT experiment_id, name, lifecycle_stage FROM experiments")
        return [(str(experiment_id), name, stage) for experiment_id, name, stage in rows]

    def pages(self, select: str | Sequence[str], only_tags: Sequence[str] = ()) -> Iterator[Page]:
        if not isinstance(select, str):
            for chunk in _chunks(select):
                yield self._page(self._rows(f"{_LISTING} run_uuid IN {_list(chunk)}"), only_tags)
            return
        # Each page starts after the last run id of the previous one. The primary key gives this order without sorting.
        after = ""
        while listed := self._rows(
            f"{_LISTING} experiment_id = {int(select)} AND run_uuid > {_quoted(after)}"
            f" ORDER BY run_uuid LIMIT {RUNS_PER_PAGE}"
        ):
            yield self._page(listed, only_tags)
            after = listed[-1][0]

    def _page(self, runs: Sequence[tuple], only_tags: Sequence[str]) -> Page:
        tags = self._of_runs("tags", "value", f"key IN {_list(only_tags or _TAGS)}", [run[0] for run in runs])
        if only_tags:
            return Page(runs, tags, (), ())
        finished = _finished(runs, tags)
        return Page(
            runs,
            tags,
            self._of_runs("params", "value", "TRUE", finished),
            self._of_runs(
                "latest_metrics", f"CASE WHEN is_nan THEN {NO_NUMBER!r} ELSE value END", f"({_METRICS})", finished
            ),
        )

    def _of_runs(self, table: str, value: str, condition: str, run_ids: Sequence[str]) -> Sequence[tuple]:
        if not run_ids:
            return ()
        of_runs = f"run_uuid IN {_list(run_ids)} AND {condition}"
        return self._rows(f"SELECT run_uuid, key, {value} FROM {table} WHERE {of_runs}")


def _finished(runs: Sequence[tuple], tags: Values) -> list[str]:
    """Return the ids of the finished dense, pruned and quantized runs."""
    kinds = {run_id: value for run_id, name, value in tags if name == schema.KIND}
    return [run[0] for run in runs if run[1] == FINISHED and kinds.get(run[0]) in schema.KINDS]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(map(_quoted, values))})"


# MLflow's client.


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

    def pages(self, select: str | Sequence[str], only_tags: Sequence[str] = ()) -> Iterator[Page]:
        if isinstance(select, str):
            pages = _pages(
                self._client.search_runs,
                experiment_ids=[select],
                run_view_type=ViewType.ALL,
                max_results=RUNS_PER_PAGE,
                # Oldest first, so that a run that starts meanwhile comes last and does not shift pages.
                order_by=["attributes.start_time ASC"],
            )
            yield from (_api_page(page, only_tags) for page in pages)
        else:
            for chunk in _chunks(select):
                yield _api_page([run for run_id in chunk if (run := self._run(run_id))], only_tags)

    def _run(self, run_id: str) -> Run | None:
        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def _pages(search: Callable[..., Any], **query: Any) -> Iterator[Sequence[Any]]:
    page = search(**query)
    yield page
    while page.token:
        page = search(**query, page_token=page.token)
        yield page


def _api_page(runs: Sequence[Run], only_tags: Sequence[str]) -> Page:
    listed = [
        (
            run.info.run_id,
            run.info.status if run.info.lifecycle_stage == "active" else run.info.lifecycle_stage,
            run.info.end_time or run.info.start_time or 0,
            run.info.start_time or 0,
            run.info.artifact_uri or "",
        )
        for run in runs
    ]
    tags = [(run.info.run_id, *tag) for run in runs for tag in run.data.tags.items() if tag[0] in (only_tags or _TAGS)]
    finished = set() if only_tags else {*_finished(listed, tags)}
    data = [(run.info.run_id, run.data) for run in runs if run.info.run_id in finished]
    return Page(
        listed,
        tags,
        [(run_id, *param) for run_id, own in data for param in own.params.items()],
        [
            (run_id, name, value if math.isfinite(value) else NO_NUMBER)
            for run_id, own in data
            for name, value in own.metrics.items()
            if name in _WHOLE_METRICS or name.startswith(_METRICS_BY_CLASS)
        ],
    )


def _chunks(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (run_ids[start : start + RUNS_PER_PAGE] for start in range(0, len(run_ids), RUNS_PER_PAGE))
