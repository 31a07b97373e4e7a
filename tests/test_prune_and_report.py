"""A report of the runs that `prune` has made, from one command to the next."""

import os
import re
from itertools import product
from pathlib import Path

import mlflow
import pandas as pd
from click.testing import CliRunner
from mlflow import MlflowClient

from analysis.__main__ import cli
from analysis.study.costs import COLUMNS


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
    assert CliRunner().invoke(cli, ["report"]).exit_code == 0
    assert Path("report/report.html").is_file()


def test_prune_audit_and_report_say_the_same_of_the_same_networks(run_command, tiny_npz, store_uri, tmp_path):
    short = ("--epochs", 2, "--fine-tune-epochs", 1, "--batch-size", 32)
    printed = run_command("prune", "--dataset", tiny_npz, "--pruner", "rp", "--seed", "0-2", *short)
    assert printed.exit_code == 0, printed.output
    pruned = mlflow.search_runs(filter_string="tags.kind = 'pruned' and params.pruner = 'rp'")
    columns = ("before", "tags.dense_run_id"), ("control", "tags.control_run_id"), ("after", "run_id")
    given = [text for side, column in columns for run_id in pruned[column] for text in (f"--{side}", run_id)]
    assert CliRunner().invoke(cli, ["audit", *given, "--output", str(tmp_path / "audit")]).exit_code == 0
    assert CliRunner().invoke(cli, ["report", "--output", str(tmp_path / "report")]).exit_code == 0
    audited = pd.read_csv(tmp_path / "audit" / "audit.csv", dtype={"class": str}).set_index("class").sort_index()
    reported = pd.read_csv(tmp_path / "report" / "classes.csv", dtype={"class": str}).set_index("class").sort_index()
    numbers = [name for name in COLUMNS if name in audited]
    assert {"loss_upper_all", "loss_from_control_p", "cost_p"} < set(numbers)
    pd.testing.assert_frame_equal(audited[numbers], reported[numbers])

    text = " ".join(printed.output.partition("Networks compressed like these")[2].split())
    markdown = (tmp_path / "audit" / "audit.md").read_text(encoding="utf-8")
    (accuracy,) = re.findall(r"Accuracy \d.*lost \(.*?\)", markdown)
    assert accuracy in text
