"""Reach a tracking store within seconds, and report its errors in one line."""

import glob
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient

from analysis.common import files
from analysis.common.errors import StudyError
from analysis.runs import address, retries, stores
from analysis.runs.store_errors import STORE_ERRORS, explained


def client(uri: str) -> MlflowClient:
    """Return a client of a tracking store, after `ensure` has found that the store can be used."""
    ensure(uri)
    return retries.client(uri)


def ensure(uri: str) -> None:
    """Create a sqlite store that does not exist; check, with one attempt, whether a server or a database responds.

    Parameters
    ----------
    uri : str

    Raises
    ------
    StudyError
        If the server does not answer within 10 s; MLflow itself would try for minutes. If the sqlite file
        is not a store.
    MlflowException, OSError, sqlite3.Error
        If the sqlite file cannot be made or read.
    """
    if not uri.startswith("sqlite"):
        address.probe(uri)
        return
    path = _path(uri)
    if path.name in ("", ":memory:") or path.is_dir():
        raise StudyError(f"{address.without_password(uri)} names no file; check the tracking URI")
    with FileLock(f"{path}.lock"):  # two processes that make the same store at once break it for good
        if not path.is_file() or not path.stat().st_size:
            _make_tables(path)
        with closing(sqlite3.connect(path, timeout=stores.BUSY_SECONDS)) as connection:
            stores.check_version(uri, lambda query: connection.execute(query).fetchall())
            # In WAL mode readers and a writer do not wait for one another. While another program writes, SQLite refuses
            # to change the mode, which the next command then does.
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode=WAL")
        MlflowClient(uri).search_experiments(max_results=1)


def is_missing_file(uri: str) -> bool:
    """Return whether a store is a sqlite file that does not exist."""
    return uri.startswith("sqlite") and not _path(uri).is_file()


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turn any error of a store in the block into a StudyError that names the store."""
    try:
        yield
    except STORE_ERRORS as error:
        raise StudyError(explained(uri, error)) from error


@contextmanager
def temporary_store() -> Iterator[None]:
    """Make a new store current, for runs that are not kept, and remove it after the block."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("MLFLOW_")}
    with tempfile.TemporaryDirectory() as folder:
        new = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_EXPERIMENT_NAME": "temporary"}
        os.environ |= new
        try:
            # MLflow's experiment Default would put its artifacts into the current folder.
            client(new["MLFLOW_TRACKING_URI"]).create_experiment("temporary", Path(folder, "runs").as_uri())
            yield
        finally:
            for name in new:
                del os.environ[name]
            os.environ.update(before)


def _path(uri: str) -> Path:
    return Path(sqlalchemy.make_url(uri).database or "")


def _make_tables(path: Path) -> None:
    """Make a store in a temporary folder, since MLflow cannot use a file in which a crash has left half the tables."""
    for remnant in path.parent.glob(f"{glob.escape(path.name)}.making-*"):
        shutil.rmtree(remnant, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.making-") as folder:
        new_store = Path(folder) / path.name
        address_of_new = sqlalchemy.URL.create("sqlite", database=str(new_store)).render_as_string()
        MlflowClient(address_of_new).search_experiments(max_results=1)
        files.sync(new_store)
        new_store.replace(path)
