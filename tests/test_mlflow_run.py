"""Tests of real `mlflow run` commands, called in a folder outside the project."""

import os
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from mlflow import MlflowClient

from analysis.runs.options.record import default_text
from pruning_study.options.config import PruneConfig
from tests.warm_processes import WarmProcess, run_module

ROOT = Path(__file__).parent.parent


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("project-user")


@pytest.fixture(scope="module")
def mlflow_run(folder):
    """Return a function that runs `mlflow run` in the folder; the project's own command is a new Python."""

    def run(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
                patch.delenv(name)
            patch.chdir(folder)
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            command = ("run", ROOT, "--env-manager", "local", *arguments)
            process = WarmProcess(run_module, "mlflow", *command, PATH=path)
        output = process.wait(600)
        return process.returncode, output

    return run


@pytest.fixture(scope="module")
def first(mlflow_run):
    code, output = mlflow_run("-e", "prune", "-P", "pruner=up", "-P", "epochs=2", "-P", "fine_tune_epochs=1")
    assert code == 0, output
    return output


def runs(folder, kind):
    """Return the runs of a kind, the oldest first."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client.search_runs(["0"], f"tags.kind = '{kind}'", order_by=["attributes.start_time ASC"])


def test_store_and_artifacts_are_in_the_folder_of_the_call(first, folder):
    assert {"mlflow.db", "mlruns"} <= {path.name for path in folder.iterdir()}
    (pruned, control), job = runs(folder, "pruned"), runs(folder, "job")[0]
    assert len(runs(folder, "dense")) == 1
    assert pruned.data.tags["mlflow.parentRunId"] == control.data.tags["mlflow.parentRunId"] == job.info.run_id
    assert (pruned.data.params["pruner"], control.data.params["pruner"]) == ("up", "none")
    assert pruned.info.artifact_uri.startswith(str(folder))
    assert job.info.run_name == "prune s0 up 10x lenet5 fashion-mnist-mini"
    assert job.info.status == "FINISHED"


def test_the_job_holds_the_options_as_text_and_the_results_as_metrics(first, folder):
    job = runs(folder, "job")[0]
    given = {"pruner": "up", "epochs": "2", "fine_tune_epochs": "1"}
    assert job.data.params == {"dataset": "fashion-mnist-mini", "model": "lenet5", "seed": "0", **given}
    assert job.data.metrics["alpha"] == runs(folder, "pruned")[0].data.metrics["alpha"]


def test_the_last_lines_name_the_next_command(first, folder):
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db" in first
    assert "alpha" in first
    assert "(-P seed=0-4)" in " ".join(first.split())
    assert "--seed" not in first


def test_a_second_run_trains_nothing(first, mlflow_run, folder):
    code, output = mlflow_run("-e", "main", "-P", "pruner=up", "-P", "epochs=2", "-P", "fine_tune_epochs=1")
    assert code == 0, output
    assert output.count("(already made") == 3
    assert (len(runs(folder, "dense")), len(runs(folder, "pruned"))) == (1, 2)
    assert "found_run_id" in runs(folder, "job")[-1].data.tags


@pytest.mark.slow
def test_a_bad_option_fails_the_job_and_says_why_in_the_ui(first, mlflow_run, folder):
    code, output = mlflow_run("-e", "prune", "-P", "pruner=upp")
    assert code == 1
    assert "did you mean up" in output
    job = runs(folder, "job")[-1]
    assert job.info.status == "FAILED"
    assert "did you mean up" in job.data.tags["error"]


@pytest.mark.slow
def test_a_study_is_one_run_with_its_runs_below_it(mlflow_run, folder, tiny_npz):
    grid = f"dataset: [{tiny_npz}]\npruner: [mp]\nratio: [2]\nseed: 0-1\nepochs: 1\nfine_tune_epochs: 1"
    file = tiny_npz.with_name("grid.yaml")
    file.write_text(grid)
    arguments = ("-e", "study", "-P", f"file={file}", "-P", "workers=2")
    code, output = mlflow_run(*arguments)
    assert code == 0, output
    assert "4 runs: 0 found, 4 to make" in output
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("grid").experiment_id
    made = client.search_runs([experiment])
    assert Counter(run.data.tags["kind"] for run in made) == {"study": 1, "dense": 2, "pruned": 2}
    assert {run.info.status for run in made} == {"FINISHED"}
    (study,) = client.search_runs([experiment], "tags.kind = 'study'")
    assert (study.info.run_name, study.data.params["workers"]) == ("study: grid", "2")
    assert {run.data.tags["mlflow.parentRunId"] for run in made if run.data.tags["kind"] == "pruned"} == {
        study.info.run_id
    }
    assert {"grid.yaml", "primary.json", "runs.csv"} == {item.path for item in client.list_artifacts(study.info.run_id)}


def test_every_option_of_prune_reaches_the_run(mlflow_run, folder):
    """Each is given, most of them by their default, and no declared parameter has it twice."""
    given = {
        **{item.name: default_text(item) for item in fields(PruneConfig)},
        **{"pruner": "mp", "ratio": "2,4", "seed": "1", "epochs": "1", "fine_tune_epochs": "1", "batch_size": "100"},
        **{"momentum": "0.8", "class_fractions": "Bag=0.5", "prune_output_layer": "true", "control": "none"},
    }
    values = [part for name, value in given.items() for part in ("-P", f"{name}={value}")]
    code, output = mlflow_run("-e", "prune", *values)
    assert code == 0, output
    pruned = runs(folder, "pruned")[-2:]
    assert {float(run.data.params["ratio"]) for run in pruned} == {2, 4}
    for run in pruned:
        assert (run.data.params["seed"], run.data.params["epochs"]) == ("1", "1")
        assert (run.data.params["momentum"], run.data.params["batch_size"]) == ("0.8", "100")
        assert run.data.params["class_fractions"] == "Bag=0.5"
        assert run.data.params["prune_output_layer"] == "true"
    assert runs(folder, "job")[-1].data.params.items() >= given.items()
