"""Find artifacts of a project that was moved, whose SQLite store still has the old paths."""

import logging
from functools import lru_cache
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.utils.file_utils import local_file_uri_to_path

log = logging.getLogger(__name__)


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
    # The shortest path that is looked for beside the store is RUN_ID/artifacts.
    inner = (Path(*recorded.parts[start:]) for start in range(1, len(recorded.parts) - 1))
    found = next((path for path in inner if (store / path).is_dir()), None)
    if found is None:
        return recorded
    say_moved(Path(*recorded.parts[: -len(found.parts)]), store)
    return store / found


def store_folder(tracking_uri: str | None) -> Path | None:
    """Return the folder of an SQLite store, or None for other stores."""
    uri = tracking_uri or mlflow.get_tracking_uri()
    path = sqlalchemy.make_url(uri).database if uri.startswith("sqlite") else None
    return Path(path).absolute().parent if path else None


@lru_cache(maxsize=64)
def say_moved(former: Path, store: Path) -> None:
    log.warning(
        "the store records artifacts in %s, which does not exist; those in %s are read instead. Name another "
        "experiment (--experiment) for new runs, whose artifacts would go to the former folder",
        former,
        store,
    )
