"""Reach a tracking store within seconds, and report its errors in one line."""

import glob
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from analysis.runs import address, files, retries
from analysis.runs.errors import StudyError, first_line

STORE_ERRORS = (MlflowException, SQLAlchemyError, RequestException, OSError)


def client(uri: str) -> MlflowClient:
    """Return a client of a tracking store, after `ensure` has found that the store can be used."""
    ensure(uri)
    return retries.client(uri)


def ensure(uri: str) -> None:
    """Create a sqlite store that does not exist; ask a server or a database once whether it is there.

    Parameters
    ----------
    uri : str

    Raises
    ------
    StudyError
        If the server does not answer within 10 s; MLflow itself would try for minutes.
    MlflowException, OSError
        If the sqlite file cannot be made or is not a store.
    """
    if uri.startswith("sqlite"):
        _make_sqlite(uri)
    else:
        address.probe(uri)


def is_missing_file(uri: str) -> bool:
    """Return whether a store is a sqlite file that does not exist."""
    return uri.startswith("sqlite") and not _path(uri).is_file()


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turn any error of a store in the block into a StudyError that names the store."""
    try:
        yield
    except STORE_ERRORS as error:
        raise StudyError(f"{address.without_password(uri)}: {first_line(error)}") from error


def _path(uri: str) -> Path:
    return Path(sqlalchemy.make_url(uri).database or "")


def _make_sqlite(uri: str) -> None:
    path = _path(uri)
    # Two processes that make the same store at once break it for good, hence the lock. In WAL mode readers and a
    # writer do not wait for one another.
    with FileLock(f"{path}.lock"):
        try:
            if path.is_file() and path.stat().st_size:
                _execute(path, "PRAGMA schema_version")
            else:
                _make_tables(path)
            MlflowClient(uri).search_experiments(max_results=1)
            _execute(path, "PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            raise MlflowException(str(error)) from error


def _make_tables(path: Path) -> None:
    """Make a store aside, because MLflow cannot use a file for which a full disk or a kill has left half the tables."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.making-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.making-") as folder:
        made = Path(folder) / path.name
        MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
        files.sync(made)
        made.replace(path)


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute(statement)
    finally:
        connection.close()
