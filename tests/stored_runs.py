"""Empty stores, blank pictures, and runs of a test's own experiment: one that a test makes, and all in the store."""

import fcntl
import functools
import inspect
import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset

from tests.blank_figures import leave_undrawn

CACHE = Path(__file__).parents[1] / ".pytest_cache"


def empty_store(path):
    """Make a SQLite store as MLflow does, but in a twentieth of the time, and return its URI.

    Artifacts of its experiment `Default` lie beside it, and not where the content was first made.
    """
    path.write_bytes(_empty_store())
    with closing(sqlite3.connect(path)) as store:
        store.execute("UPDATE experiments SET artifact_location = ?", [str(path.parent / "mlruns" / "0")])
        store.commit()
    return f"sqlite:///{path}"


@functools.cache
def _empty_store():
    """Return the content of a new store, which MLflow takes seconds for: it makes all versions of the tables.

    The first process makes it. Other processes, and later ones, read it from pytest's cache.
    """
    CACHE.mkdir(exist_ok=True)
    path = CACHE / f"empty_store_of_mlflow_{mlflow.__version__}.db"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
                (Path(folder) / "mlflow.db").rename(path)
    return path.read_bytes()


def leave_pictures_blank(patch):
    """Make every picture of a run, search or report a blank one, because drawing them takes longer than the run."""
    # The native engine's tests under sanitizers load this module, and those stop at Matplotlib's import.
    from matplotlib.figure import Figure

    from analysis.rendering import tuning_figures
    from pruning_study.steps import flipped, pictures

    def blank(draw):
        @functools.wraps(draw)
        def checked(*arguments, **options):
            inspect.signature(draw).bind(*arguments, **options)
            return Figure((1, 1))

        return checked

    for name in ("pruned_confusion", "confusion", "recall_change", "over_ratios", "over_iterations"):
        patch.setattr(pictures, name, blank(getattr(pictures, name)))
    for name in ("epsilon", "against", "pareto_front"):
        patch.setattr(tuning_figures, name, blank(getattr(tuning_figures, name)))
    patch.setattr(flipped, "flipped", blank(flipped.flipped))
    leave_undrawn(patch)


@contextmanager
def dense_run(store, job, **tags):
    """Make a run of a job through `Store.run`."""
    with store.run(
        "a run",
        note="a note",
        tags={"kind": "dense", **tags},
        params={"seed": "0"},
        dataset=Dataset("tiny", "0" * 32, "local", "{}"),
        job_run_id=job.run_id,
        child=True,
    ) as run:
        yield run


def runs(kind=None, status="FINISHED"):
    """Return this experiment's runs, the oldest first; runs of any status if it is None."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    if experiment is None:
        return []
    queries = [f"attributes.status = '{status}'"] if status else []
    queries += [f"tags.kind = '{kind}'"] if kind else []
    found = client.search_runs([experiment.experiment_id], " and ".join(queries))
    return sorted(found, key=lambda run: run.info.start_time)


def artifact(run, name):
    """Return the path of a run's artifact."""
    return Path(run.info.artifact_uri) / name
