"""Update a store after its project's folder was moved, because the store contains absolute paths of artifacts."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import mlflow
import sqlalchemy

from analysis.common.errors import StudyError
from analysis.common.masking import without_password
from pruning_study.tracking import reach

_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def move(old: Path, new: Path) -> int:
    """Replace a folder by another one in all paths of artifacts in the current store, which must be an SQLite file.

    Parameters
    ----------
    old : Path
        Former folder of the project, which need not exist.
    new : Path
        Current folder of the project.

    Returns
    -------
    int
        Number of changed paths.

    Raises
    ------
    StudyError
        If `new` is not a folder, if the store is not an existing SQLite file, or if it has no path below `old`.
    """
    uri = mlflow.get_tracking_uri()
    if not new.is_dir():
        raise StudyError(f"{new}: no such folder: name the folder where the project is now", option="NEW")
    if not uri.startswith("sqlite") or reach.is_missing_file(uri):
        raise StudyError(
            f"{without_password(uri)} is not an existing SQLite file: set MLFLOW_TRACKING_URI to the store"
        )
    reach.ensure(uri)
    path = sqlalchemy.make_url(uri).database
    with closing(sqlite3.connect(path or "", timeout=reach.BUSY_SECONDS)) as connection, connection:
        changed = sum(_replaced(connection, *column, *places) for column in _COLUMNS for places in _places(old, new))
    if not changed:
        raise StudyError(f"{without_password(uri)} holds no path of artifacts below {old.absolute()}", option="OLD")
    return changed


def _places(old: Path, new: Path) -> list[tuple[str, str]]:
    """Return the old and the new folder, first as paths and then as URLs, because MLflow stores both kinds."""
    paths = str(old.absolute()), str(new.absolute())
    return [paths, (f"file://{quote(paths[0])}", f"file://{quote(paths[1])}")]


def _replaced(connection: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    """Replace `old` by `new` at the start of a column's values, and return the number of changed values."""
    cursor = connection.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
    )
    return cursor.rowcount
