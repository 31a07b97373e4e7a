"""The three papers, from the options of a study to the columns of the tables in print."""

import os

import numpy as np
import pytest

import analysis
import pruning_study
from analysis.report import published, report
from analysis.study.study import ReportOptions, StudyData
from tests.blank_figures import leave_undrawn


@pytest.fixture
def tables(tiny, tmp_path, store_uri, monkeypatch):
    """Return a function that makes a study of few images, and returns the tables of its report."""
    leave_undrawn(monkeypatch)
    data, path = tmp_path / "fashion-mnist.npz", tmp_path / "study.yaml"
    np.savez(data, **tiny)

    def make(*options):
        path.write_text("\n".join([f"dataset: [{data}]", "model: [lenet5]", *options]))
        pruning_study.run_study(path, workers=1)
        study = StudyData.from_store(os.environ["MLFLOW_EXPERIMENT_NAME"])
        return report.report(study, ReportOptions(paper=True)).tables

    return make


@pytest.mark.slow
def test_recall_distortion_compares_pruners_and_ratios(tables):
    found = tables(
        "pruner: [mp, up]",
        "ratio: [2, 10]",
        "seed: 0-1",
        "epochs: 8",
        "fine_tune_epochs: 1",
        "batch_size: 8",
    )
    layouts = {name: (list(table), table.iloc[:, 0].tolist()) for name, table in found.items()}
    for number, column in ((1, "LeNet"), (2, "LeNet"), (3, "Fashion")):
        assert layouts[f"table_0{number}.csv"] == (["Ratios", column], ["2 vs 10"])
    assert layouts["table_04.csv"] == (["Ratios", "MP", "UP"], ["2 vs 10"])
    assert layouts["table_08.csv"] == (["Methods", "t=2", "t=10"], ["MP vs UP"])
    assert layouts["table_09.csv"] == (["Rate", "LeNet"], ["2", "10"])
    accuracy = f"{analysis.pull_runs(os.environ['MLFLOW_EXPERIMENT_NAME'])['accuracy_before'].mean():.3f}"
    assert list(found["table_10.csv"]) == list(published.table(10))
    assert found["table_10.csv"].to_numpy().tolist() == [["LeNet", "Fashion", name, accuracy] for name in ("MP", "UP")]
    columns = ["Model", "Before", "Ratio 2", "Ratio 10"]
    assert set(columns) < set(published.table(11))
    assert layouts["table_11.csv"] == (columns, ["Fashion @ LeNet -> MP", "Fashion @ LeNet -> UP"])
    beside = found["comparison.csv"].set_index(["table", "row", "column"])["published"]
    assert beside[10, "Fashion @ LeNet -> MP", "Accuracy"] == "0.899"
    assert beside[11, "Fashion @ LeNet -> MP", "Before"] == "0.0099"


@pytest.mark.slow
def test_compressed_networks_counts_classes_and_exemplars_of_each_sparsity(tables):
    found = tables("pruner: [mp]", "ratio: [10]", "seed: 0-4", "epochs: 1", "fine_tune_epochs: 1")
    cell = {"dataset": "fashion-mnist", "model": "lenet5", "method": "mp", "level": 10.0}
    (summary,), (classes,) = (found[name].to_dict("records") for name in ("pie_summary.csv", "significant_classes.csv"))
    assert summary.items() >= (cell | {"n_dense": 5, "n_compressed": 5}).items()
    assert classes.items() >= (cell | {"classes": 10}).items()
    printed = {"top1_pie", "top1_non_pie", "top1_all", "top5_pie", "top5_non_pie", "top5_all"}
    assert {"dataset", "sparsity", *printed} == set(published.figures("compressed_networks_pie_accuracy"))
    assert printed < summary.keys()
    assert len(found["pie.csv"]) == summary["n_pie"]


@pytest.mark.slow
def test_prune_responsibly_fits_the_terms_in_print(tables):
    found = tables(
        "pruner: [global-unstructured, l1-structured]",
        "iterations: 3",
        "keep: 0.5",
        "seed: 0-1",
        "epochs: 1",
        "batch_size: 8",
    )
    regression = found["regression.csv"].set_index("term")
    assert {"coefficient", "se", "t", "p", "ci_low", "ci_high", "published"} < set(regression)
    in_print = {
        "pruning_technique[T.l1-structured]": 0.4721,
        "class_entropy": -0.0237,
        "np.exp(sparsity):accuracy0": -0.1907,
    }
    assert regression.loc[list(in_print), "published"].to_dict() == pytest.approx(in_print, abs=1e-4)
    assert regression["coefficient"].notna().all()
