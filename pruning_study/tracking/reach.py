"""Reach a tracking store within seconds, and turn its errors into one line."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs import address, schema
from analysis.runs.address import without_password
from analysis.runs.errors import StudyError, first_line
from pruning_study.tracking import scratch

STORE_ERRORS = (MlflowException, SQLAlchemyError, RequestException, OSError)


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
def one_line_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except STORE_ERRORS as error:
        raise StudyError(f"{without_password(uri)}: {first_line(error)}") from error


def forget_error(client: MlflowClient, run_id: str) -> None:
    def there() -> bool:
        return schema.ERROR in client.get_run(run_id).data.tags

    if there():
        try:
            client.delete_tag(run_id, schema.ERROR)
        except MlflowException:  # a first request, whose answer broke off, may have deleted it
            if there():
                raise


def get_run(client: MlflowClient, uri: str, run_id: str) -> Run:
    try:
        return client.get_run(run_id)
    except STORE_ERRORS as error:
        raise StudyError(f"no run {run_id} in {without_password(uri)} ({first_line(error)})") from error


def reach(uri: str) -> None:
    """Fail within 10 s where MLflow would retry for minutes; make a sqlite store that is not there."""
    if uri.startswith("sqlite"):
        _make_sqlite(uri)
    else:
        address.probe(uri)


def is_missing_file(uri: str) -> bool:
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
