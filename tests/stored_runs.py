"""Runs of a test's own experiment, read back from the store."""

import os
from pathlib import Path

from mlflow import MlflowClient


def runs(kind=None, status="FINISHED"):
    """This experiment's runs, the oldest first; of any status where None."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    if experiment is None:
        return []
    queries = [f"attributes.status = '{status}'"] if status else []
    queries += [f"tags.kind = '{kind}'"] if kind else []
    found = client.search_runs([experiment.experiment_id], " and ".join(queries))
    return sorted(found, key=lambda run: run.info.start_time)


def artifact(run, name):
    return Path(run.info.artifact_uri) / name
