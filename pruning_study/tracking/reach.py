"""Reach a tracking store within seconds, and report its errors in one line."""

import glob
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient

from analysis.common import files
from analysis.common.errors import StudyError
from analysis.runs import address, retries, sqlite_files
from analysis.runs.store_errors import STORE_ERRORS, explained

BUSY_SECONDS = 30  # how long to wait for another process that locks a sqlite file
SETTLED_SECONDS = 3  # a file changed more recently may be a store that is still being made


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
        If the server does not answer within 10 s; MLflow itself would try for minutes. If the sqlite file is damaged or
        is not a store.
    MlflowException, OSError, sqlite3.Error
        If the sqlite file cannot be made or read.
    """
    if uri.startswith("sqlite"):
        _make_sqlite(uri)
    else:
        address.probe(uri)
        if uri.startswith(("postgresql", "mysql", "mssql")):
            _check_database(uri)


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


def _path(uri: str) -> Path:
    return Path(sqlalchemy.make_url(uri).database or "")


def _make_sqlite(uri: str) -> None:
    path = _path(uri)
    if path.name in ("", ":memory:") or path.is_dir():
        raise StudyError(f"{address.without_password(uri)} names no file; check the tracking URI")
    # Two processes that make the same store at once break it for good, hence the lock. In WAL mode readers and a
    # writer do not wait for one another.
    with FileLock(f"{path}.lock"):
        if path.is_file() and path.stat().st_size:
            _check(uri, path)
        else:
            _make_tables(path)
        MlflowClient(uri).search_experiments(max_results=1)
        _use_wal(path)


def _check_database(uri: str) -> None:
    """Refuse a database of a different MLflow version; the installed version would change it without asking."""
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        if sqlalchemy.inspect(connection).has_table("alembic_version"):
            version = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
            sqlite_files.check_version(uri, version)


def _check(uri: str, path: Path) -> None:
    while True:
        try:
            with _opened(path) as connection:
                sqlite_files.check(uri, path, lambda query: connection.execute(query).fetchall())
            return
        except StudyError:
            # Another program, such as `mlflow ui`, may be making the store: it writes one table after the other.
            if time.time() - path.stat().st_mtime > SETTLED_SECONDS:
                raise
            time.sleep(0.1)


def _make_tables(path: Path) -> None:
    """Make a store in a temporary folder, since MLflow cannot use a file in which a crash has left half the tables."""
    for remnant in path.parent.glob(f"{glob.escape(path.name)}.making-*"):
        shutil.rmtree(remnant, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.making-") as folder:
        new_store = Path(folder) / path.name
        address_of_new = sqlalchemy.URL.create("sqlite", database=str(new_store)).render_as_string()
        MlflowClient(address_of_new).search_experiments(max_results=1)
        files.sync(new_store)
        if not path.exists() or not path.stat().st_size:  # another program may have made one meanwhile
            new_store.replace(path)


def _use_wal(path: Path) -> None:
    """Turn WAL mode on, as soon as no other program writes; SQLite itself would refuse instead of waiting."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with _opened(path) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _opened(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, timeout=BUSY_SECONDS))
