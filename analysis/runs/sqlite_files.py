"""Refuse an SQLite file that is damaged or is not a store of this MLflow, before MLflow writes to it."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import mlflow
from mlflow.store.db.base_sql_model import Base
from mlflow.store.db.utils import _get_latest_schema_revision

from analysis.common.errors import StudyError
from analysis.common.masking import without_password
from analysis.runs.store_errors import damaged

# Values of alembic_version in MLflow 3.7 to 3.17, which have the same tables of runs.
KNOWN_SCHEMAS = {
    *("bf29a5ff90ea", "1bd49d398cd23", "b7c8d9e0f1a2", "5d2d30f0abce", "c9d4e5f6a7b8", "2c33131f4dae"),
    *("d3e4f5a6b7c8", "d0e1f2a3b4c5", "c8d9e0f1a2b3", "1b5f0d9ad7c1", "e1f2a3b4c5d6", "76601a5f987d"),
    *("c3d6457b6d8a", "a5b4c3d2e1f0", "ae8bbe7743c9", "7d34483879f0", "da6fb0208061", "89d3d66ed43f"),
    *("b7e4c1a90f23", "a8b9c0d1e2f3", "c1d2e3f4a5b6", "c3d9e7f1a2b4", "6f8d9c3b2a1e", "1971f2d9a75b"),
    *("17e22815139b", "b7e2c1a4d9f3", "75868b020152", "dc11669786a5"),
}
# MLflow version -> schema version; for versions not listed MLflow is asked, which takes a quarter of a second.
_SCHEMAS = {"3.17": "dc11669786a5"}

Rows = Callable[[str], Sequence[tuple]]


def check(uri: str, path: Path, rows: Rows) -> None:
    """Check that a nonempty file is an undamaged store of the installed MLflow.

    Parameters
    ----------
    uri : str
        The tracking URI.
    path : Path
        The file.
    rows : callable
        Takes a SELECT statement and returns its rows.

    Raises
    ------
    StudyError
        If the end of the file is missing; if the file is not a store, or belongs to another version of MLflow; or if a
        table is missing, is a view or has computed columns (reading a view or a computed column might never end).
    """
    # The file is not opened here, because closing it would release the locks that SQLite holds for this process.
    ((page_size,),) = rows("SELECT page_size FROM pragma_page_size")
    beside = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    if not any(file.exists() and file.stat().st_size for file in beside) and path.stat().st_size % page_size:
        raise StudyError(damaged(uri, "the end of the file is missing"))
    tables = {name.lower(): kind for name, kind in rows("SELECT name, type FROM sqlite_master WHERE type <> 'index'")}
    if not tables:
        raise StudyError(
            f"{without_password(uri)}: the database is empty; check the tracking URI, or delete the file and make a run"
        )
    check_version(uri, _version(tables, rows))
    missing = sorted(set(Base.metadata.tables) - tables.keys())
    if missing:
        raise StudyError(damaged(uri, f"no such table: {', '.join(missing[:3])}"))
    names = ", ".join(f"'{name}'" for name in Base.metadata.tables)
    computed = rows(
        "SELECT name FROM sqlite_master part"
        f" WHERE lower(name) IN ({names}) AND (type <> 'table' OR sql LIKE 'CREATE VIRTUAL%'"
        "   OR EXISTS (SELECT 1 FROM pragma_table_xinfo(part.name) WHERE hidden = 2))"  # 2: computed on reading
    )
    if computed:
        raise StudyError(damaged(uri, f"{computed[0][0]} is not a plain table"))


def check_version(uri: str, version: str | None) -> None:
    """Raise a StudyError if a store's schema version is not that of the installed MLflow."""
    # MLflow's client would migrate a store of another schema, and turn any other file into a store.
    if version != _installed_schema():
        raise StudyError(
            f"{without_password(uri)} is not a store of MLflow {mlflow.__version__} (schema version {version}); "
            "if an older MLflow made it, back it up and run `mlflow db upgrade`"
        )


@cache
def _installed_schema() -> str:
    return _SCHEMAS.get(mlflow.__version__.rpartition(".")[0]) or str(_get_latest_schema_revision())


def _version(tables: dict[str, str], rows: Rows) -> str | None:
    versions = rows("SELECT version_num FROM alembic_version") if tables.get("alembic_version") == "table" else []
    return versions[0][0] if versions else None
