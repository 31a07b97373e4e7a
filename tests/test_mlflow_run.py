"""Tests of real `mlflow run` commands, called in a folder outside the project."""

import os
import subprocess
import sys
from collections import Counter
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
    """Return the runs of a kind, the oldest first."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client.search_runs(["0"], f"tags.kind = '{kind}'", order_by=["attributes.start_time ASC"])


def test_store_and_artifacts_are_in_the_folder_of_the_call(first, folder):
    assert {"mlflow.db", "mlruns"} <= {path.name for path in folder.iterdir()}
    (pruned,), job = runs(folder, "pruned"), runs(folder, "job")[0]
    assert len(runs(folder, "dense")) == 1
    assert pruned.data.tags["mlflow.parentRunId"] == job.info.run_id
    assert pruned.info.artifact_uri.startswith(str(folder))
    assert job.info.run_name == "prune: up t=10 s0 lenet5 fashion-mnist-mini"
    assert job.info.status == "FINISHED"


def test_the_job_holds_the_options_as_text_and_the_results_as_metrics(first, folder):
    job = runs(folder, "job")[0]
    assert job.data.params["epsilon"] == "auto"
    assert job.data.metrics["alpha"] == runs(folder, "pruned")[0].data.metrics["alpha"]


def test_the_last_lines_name_the_next_command(first, folder):
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db" in first.stdout
    assert "alpha" in first.stdout


def test_a_second_run_trains_nothing(first, mlflow_run, folder):
    result = mlflow_run("-e", "main", "-P", "pruner=up", "-P", "epochs=2", "-P", "fine_tune_epochs=1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("(found") == 2
    assert len(runs(folder, "dense")) == len(runs(folder, "pruned")) == 1
    assert "found_run_id" in runs(folder, "job")[-1].data.tags


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


def test_a_study_is_one_run_with_its_runs_below_it(mlflow_run, folder, tiny_npz):
    grid = (
        f"datasets: [{tiny_npz}]\npruners: [mp]\nratios: [2]\nseeds: 0-1\noverrides: {{epochs: 1, fine_tune_epochs: 1}}"
    )
    file = tiny_npz.with_name("grid.yaml")
    file.write_text(grid)
    arguments = ("-e", "study", "-P", f"file={file}", "-P", "workers=2", "--experiment-name", "a study")
    result = mlflow_run(*arguments)
    assert result.returncode == 0, result.stderr
    assert "4 runs: 0 found, 4 to make" in result.stdout
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("a study").experiment_id
    made = client.search_runs([experiment])
    assert Counter(run.data.tags["kind"] for run in made) == {"study": 1, "dense": 2, "pruned": 2}
    assert {run.info.status for run in made} == {"FINISHED"}
    (study,) = client.search_runs([experiment], "tags.kind = 'study'")
    assert (study.info.run_name, study.data.params["workers"]) == ("study: grid", "2")
    assert {run.data.tags["mlflow.parentRunId"] for run in made if run.data.tags["kind"] == "pruned"} == {
        study.info.run_id
    }
    assert {"grid.yaml", "primary.json", "runs.csv"} == {item.path for item in client.list_artifacts(study.info.run_id)}

    assert "4 runs: 4 found, 0 to make" in mlflow_run(*arguments).stdout
