"""A report of the runs that `prune` has made, from one command to the next."""

import os
from itertools import product
from pathlib import Path

import pandas as pd
from click.testing import CliRunner
from mlflow import MlflowClient

from analysis.__main__ import cli


def test_reports_what_prune_made_and_logs_it(run_command, tiny_npz, store_uri, tmp_path):
    short = ("--epochs", 2, "--fine-tune-epochs", 1, "--batch-size", 32)
    for pruner, seed in product(("mp", "none"), (0, 1)):
        result = run_command("prune", "--dataset", tiny_npz, "--pruner", pruner, "--seed", seed, *short)
        assert result.exit_code == 0
    client = MlflowClient()
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    study = client.create_run(experiment.experiment_id, tags={"kind": "study"})
    result = CliRunner().invoke(cli, ["report", "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "On tiny with lenet5" in result.output
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'report'")
    assert run.info.status == "FINISHED"
    note = run.data.tags["mlflow.note.content"]
    assert "On tiny with lenet5" in note
    assert client.get_run(study.info.run_id).data.tags["mlflow.note.content"] == note
    assert "report.html" in {item.path for item in client.list_artifacts(run.info.run_id)}
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert cells["n"].tolist() == [2, 2]
    assert CliRunner().invoke(cli, ["report", "--no-log"]).exit_code == 0
    assert Path("report/report.html").is_file()
