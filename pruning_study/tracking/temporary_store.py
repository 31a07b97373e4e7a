"""A temporary tracking store, for runs that are not kept."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pruning_study.tracking import reach

_URI, _EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"


@contextmanager
def temporary_store() -> Iterator[None]:
    """Make a new store current, with an experiment of its own, and remove it after the block."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("MLFLOW_")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {_URI: f"sqlite:///{Path(folder) / 'mlflow.db'}", _EXPERIMENT: "temporary"}
        try:
            # MLflow's experiment Default would put its artifacts into the current folder.
            reach.client(os.environ[_URI]).create_experiment(os.environ[_EXPERIMENT], (Path(folder) / "runs").as_uri())
            yield
        finally:
            for name in (_URI, _EXPERIMENT):
                del os.environ[name]
            os.environ.update(before)
