"""A report of the runs that `prune` has made, from one command to the next."""

import os
import re
from itertools import product
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from analysis.statistics.class_costs import COST_COLUMNS, LOSS_COLUMNS
from click.testing import CliRunner
from mlflow import MlflowClient

from analysis.__main__ import cli
from analysis.compare import sentences
from analysis.statistics.limits import Limits
from analysis.statistics.proportion import DISPROPORTIONATE_COLUMNS
from pruning_study.study.compression import report
from pruning_study.study.compression.chains import Chain
from pruning_study.study.compression.judgement import Sides


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


def _predictions(run_id, folder):
    path = mlflow.artifacts.download_artifacts(
        run_id=run_id, artifact_path="predictions.npz", dst_path=folder / "runs" / run_id
    )
    return np.load(path)


def test_prune_audit_compress_and_report_say_the_same_of_the_same_networks(
    run_command, tiny, tiny_npz, store_uri, tmp_path
):
    short = ("--epochs", 2, "--fine-tune-epochs", 1, "--batch-size", 32)
    printed = run_command("prune", "--dataset", tiny_npz, "--pruner", "rp", "--seed", "0-2", *short)
    assert printed.exit_code == 0, printed.output
    pruned = mlflow.search_runs(filter_string="tags.kind = 'pruned' and params.pruner = 'rp'")
    columns = ("before", "tags.dense_run_id"), ("control", "tags.control_run_id"), ("after", "run_id")
    run_ids = {side: pruned[column].tolist() for side, column in columns}
    sides = {side: [_predictions(each, tmp_path) for each in own] for side, own in run_ids.items()}

    given = [text for side, own in run_ids.items() for run_id in own for text in (f"--{side}", run_id)]
    assert CliRunner().invoke(cli, ["audit", *given, "--output", str(tmp_path / "audit")]).exit_code == 0
    assert CliRunner().invoke(cli, ["report", "--no-log", "--output", str(tmp_path / "report")]).exit_code == 0
    audited = pd.read_csv(tmp_path / "audit" / "audit.csv", dtype={"class": str}).set_index("class").sort_index()
    reported = pd.read_csv(tmp_path / "report" / "classes.csv", dtype={"class": str}).set_index("class").sort_index()
    numbers = [*LOSS_COLUMNS, *COST_COLUMNS, *DISPROPORTIONATE_COLUMNS]
    pd.testing.assert_frame_equal(audited[numbers], reported[numbers])

    right = Sides(
        **{side: np.array([each["predicted"] == each["label"] for each in own]) for side, own in sides.items()}
    )
    limits = Limits(class_loss=0.05)
    compressed = report.tested(Chain(), tiny["class_names"], sides["after"][0]["label"], right, limits)
    uppers = compressed.losses.set_index("name")["upper"]
    assert uppers.drop("accuracy").to_dict() == pytest.approx(audited["loss_upper_all"].to_dict())
    cells = pd.read_csv(tmp_path / "report" / "cells.csv").set_index("pruner")
    assert cells.loc["rp", "accuracy_loss_upper"] == pytest.approx(uppers["accuracy"])

    mean = printed.output.partition("mean of 3 seeds")[2]
    lost = sentences.losses(compressed.comparison)
    assert lost in (tmp_path / "audit" / "audit.md").read_text(encoding="utf-8")
    assert f"{lost}." in " ".join(mean.split())
    for name, row in audited.iterrows():
        loss, low, high, p = (100 * row["loss"], 100 * row["loss_low"], 100 * row["loss_high"], row["p_holm"])
        line, *_ = re.findall(rf"^{name} +\d.*$", mean, re.MULTILINE)
        assert line.removeprefix(name).split()[3:8] == [
            f"{loss + 0:+.1f}",
            f"{low:+.1f}",
            "to",
            f"{high:+.1f}",
            f"{p:.3f}",
        ]
