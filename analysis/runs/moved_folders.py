"""Find artifacts of a project that was moved, whose SQLite store still has the old paths."""

import logging
import shlex
from functools import lru_cache
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.utils.file_utils import local_file_uri_to_path

log = logging.getLogger(__name__)

_FEWEST_PARTS = 2  # in a path that is searched for beside the store: RUN_ID/artifacts


def local_folder(uri: str, tracking_uri: str | None) -> Path:
    """Return the recorded folder of a run's artifacts or, if it does not exist, the same folder beside the store.

    Parameters
    ----------
    uri : str
        Location of the artifacts as recorded in the store.
    tracking_uri : str, optional
        MLflow's current store by default.
    """
    recorded = Path(local_file_uri_to_path(uri))
    if recorded.is_dir() or (store := store_folder(tracking_uri)) is None:
        return recorded
    for former in reversed(recorded.parents):
        inner = recorded.relative_to(former)
        if len(inner.parts) >= _FEWEST_PARTS and (store / inner).is_dir():
            say_moved(former, store)
            return store / inner
    return recorded


def store_folder(tracking_uri: str | None) -> Path | None:
    """Return the folder of an SQLite store, or None for other stores."""
    uri = tracking_uri or mlflow.get_tracking_uri()
    path = sqlalchemy.make_url(uri).database if uri.startswith("sqlite") else None
    return Path(path).absolute().parent if path else None


@lru_cache(maxsize=64)
def say_moved(former: Path, store: Path) -> None:
    log.warning(
        "the store records artifacts in %s, which does not exist; those in %s are read instead. New runs would still "
        "go to the former folder, unless you run %s",
        former,
        store,
        shlex.join(["pruning-study", "move", str(former), str(store)]),
    )
