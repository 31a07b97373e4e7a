"""Update a store and kept runs after their project's folder was moved, because both contain absolute paths."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import mlflow
import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from analysis.common.errors import StudyError
from analysis.common.masking import without_password
from pruning_study.tracking import reach, unsent

_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def move(old: Path, new: Path) -> tuple[int, int]:
    """Replace a folder by another one in all paths of artifacts in the current store, and in addresses of kept runs.

    The store must be an SQLite file. The kept runs are those in `unsent/` of the new folder or of the current folder,
    and in temporary folders.

    Parameters
    ----------
    old : Path
        Former folder of the project, which need not exist.
    new : Path
        Current folder of the project.

    Returns
    -------
    (int, int)
        Numbers of changed paths and of changed kept runs.

    Raises
    ------
    StudyError
        If `new` is not a folder, if the store is not an existing SQLite file, or if neither it nor a kept run has a
        path below `old`.
    """
    uri = mlflow.get_tracking_uri()
    if not new.is_dir():
        raise StudyError(f"{new}: no such folder: name the folder where the project is now", option="NEW")
    if not uri.startswith("sqlite") or reach.is_missing_file(uri):
        raise StudyError(
            f"{without_password(uri)} is not an existing SQLite file: set MLFLOW_TRACKING_URI to the store"
        )
    reach.ensure(uri)
    former, current = _former_paths(old), new.resolve()
    places = [place for path in former for place in _places(str(path), str(current))]
    path = sqlalchemy.make_url(uri).database
    with closing(sqlite3.connect(path or "", timeout=reach.BUSY_SECONDS)) as connection, connection:
        changed = sum(_replaced(connection, *column, *place) for column in _COLUMNS for place in places)
    kept = {folder.resolve() for folder in (*unsent.list_unsent(), *unsent.list_unsent(current))}
    runs = sum(_moved_run(folder, former, current) for folder in kept)
    if not changed and not runs:
        raise StudyError(f"{without_password(uri)} holds no path of artifacts below {former[-1]}", option="OLD")
    return changed, runs


def _former_paths(folder: Path) -> list[Path]:
    """Return the absolute path of a former folder, first without the symbolic links that lead to it, then with them.

    In this order no path is replaced twice, because the new folder, which is free of links, cannot be below the second
    path. The folder itself may have become a link to the new one.
    """
    path = Path(os.path.normpath(folder.absolute()))
    return list(dict.fromkeys([path.parent.resolve() / path.name, path]))


def _places(old: str, new: str) -> list[tuple[str, str]]:
    """Return the old and the new folder, first as paths and then as URLs, because MLflow stores both kinds."""
    return [(old, new), (f"file://{quote(old)}", f"file://{quote(new)}")]


def _replaced(connection: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    """Replace `old` by `new` at the start of a column's values, and return the number of changed values."""
    cursor = connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
    )
    return cursor.rowcount


def _moved_run(folder: Path, former: Sequence[Path], current: Path) -> bool:
    """Replace the former folder in the address of a kept run's store, and return whether the store is below it."""
    with suppress(StudyError, SQLAlchemyError):  # a damaged record cannot be sent anyway
        uri = unsent.read(folder).tracking_uri
        url = sqlalchemy.make_url(uri)
        path = Path(os.path.normpath(url.database or ""))
        for old in former:
            if uri.startswith("sqlite") and path.is_relative_to(old):
                moved = url.set(database=str(current / path.relative_to(old)))
                unsent.set_address(folder, moved.render_as_string())
                return True
    return False
