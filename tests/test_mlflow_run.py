"""The project as its users run it: a real `mlflow run`, in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("project-user")


@pytest.fixture(scope="module")
def mlflow_run(folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def run(*arguments):
        command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def first(mlflow_run):
    result = mlflow_run("-e", "prune", "-P", "pruner=up", "-P", "epochs=2", "-P", "fine_tune_epochs=1")
    assert result.returncode == 0, result.stderr
    return result


def runs(folder, kind):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client.search_runs(["0"], f"tags.kind = '{kind}'", order_by=["attributes.start_time ASC"])


def test_everything_is_in_the_folder_where_it_was_called(first, folder):
    assert {"mlflow.db", "mlruns"} <= {path.name for path in folder.iterdir()}
    dense, pruned, job = (runs(folder, kind) for kind in ("dense", "pruned", "job"))
    assert [len(found) for found in (dense, pruned, job)] == [1, 1, 1]
    assert pruned[0].data.tags["mlflow.parentRunId"] == job[0].info.run_id
    assert pruned[0].info.artifact_uri.startswith(str(folder))
    assert job[0].info.run_name == "prune: fashion-mnist-mini lenet5 up t=10 seed 0"
    assert job[0].info.status == "FINISHED"


def test_the_job_holds_the_options_as_text_and_the_results_as_metrics(first, folder):
    job = runs(folder, "job")[0]
    assert job.data.params["epsilon"] == "auto"
    assert job.data.metrics["alpha"] == runs(folder, "pruned")[0].data.metrics["alpha"]


def test_it_ends_with_what_to_do_next(first, folder):
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db" in first.stdout
    assert "alpha" in first.stdout


def test_a_second_run_trains_nothing(first, mlflow_run, folder):
    result = mlflow_run("-e", "main", "-P", "pruner=up", "-P", "epochs=2", "-P", "fine_tune_epochs=1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("found, not run again") == 2
    assert len(runs(folder, "dense")) == len(runs(folder, "pruned")) == 1
    assert "found_run_id" in runs(folder, "job")[1].data.tags


def test_a_bad_option_fails_the_job_and_says_why_in_the_ui(first, mlflow_run, folder):
    result = mlflow_run("-e", "prune", "-P", "pruner=upp")
    assert result.returncode == 1
    assert "did you mean up" in result.stderr
    job = runs(folder, "job")[-1]
    assert job.info.status == "FAILED"
    assert "did you mean up" in job.data.tags["error"]


def test_another_experiment_names_mlflows_own_option(first, mlflow_run):
    result = mlflow_run("-e", "prune", "-P", "experiment=other")
    assert result.returncode == 1
    assert "--experiment-name other" in result.stderr
