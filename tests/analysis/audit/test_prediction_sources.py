"""Predictions by run id, with the names of the run's classes."""

import numpy as np
import pytest
from mlflow import MlflowClient

from analysis.audit import audit, power
from analysis.common.errors import StudyError
from analysis.runs import schema
from tests.stored_runs import empty_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two runs of predictions and one without; the ids of the three."""
    folder = tmp_path_factory.mktemp("store")
    uri = empty_store(folder / "mlflow.db")
    client = MlflowClient(uri)
    experiment = client.create_experiment("runs", artifact_location=(folder / "artifacts").as_uri())
    label = np.repeat([0, 1], 100)
    run_ids = []
    for lost in (0, 40, None):
        run_id = client.create_run(experiment).info.run_id
        run_ids.append(run_id)
        if lost is not None:
            np.savez(folder / "predictions.npz", label=label, predicted=np.where(np.arange(200) < lost, 1, label))
            (folder / "per_class.csv").write_text("class,index\nT-shirt/top,0\nbag,1\n")
            for name in ("predictions.npz", "per_class.csv"):
                client.log_artifact(run_id, str(folder / name))
    return uri, *run_ids


def test_runs_are_named_by_their_ids_and_keep_the_names_of_their_classes(store, monkeypatch):
    uri, before, after, _ = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    result = audit.audit([before], [f"runs:/{after}"], [before])
    assert result.damaged == ["T-shirt/top"]
    assert result.table["recall_after"].tolist() == pytest.approx([0.6, 1])
    assert result.notes[0] == f"Before: run {before}. After: run {after}. Control: run {before}."


def test_a_run_without_predictions_and_one_that_does_not_exist_are_named(store, monkeypatch):
    uri, before, _, empty = store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for run_id in (empty, "0" * 32):
        with pytest.raises(StudyError, match=f"run {run_id} is not in this tracking store, or has no predictions.npz"):
            audit.audit([before], [run_id])
    with pytest.raises(StudyError, match="given twice"):
        audit.audit([before, before], [before])


def test_a_network_after_is_no_control_unless_it_is_also_the_network_before(tmp_path):
    for name in ("before.csv", "after.csv"):
        (tmp_path / name).write_text("label,predicted\na,a\nb,b\n")
    before, after = (str(tmp_path / name) for name in ("before.csv", "after.csv"))
    with pytest.raises(StudyError, match=r"after.csv is also in --after, so .* compared with itself"):
        audit.audit([before], [after], [after])
    assert "Nothing was retrained" in audit.audit([after], [after], [after]).verdict


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A store with three dense networks, and a pruned run and a control of each; their ids by kind."""
    folder = tmp_path_factory.mktemp("seeds")
    uri = empty_store(folder / "mlflow.db")
    client, label = MlflowClient(uri), np.repeat([0, 1], 100)
    experiment = client.create_experiment("seeds", artifact_location=(folder / "artifacts").as_uri())
    runs = {"dense": [], "pruned": [], "control": []}
    for seed in range(3):
        for kind, made in runs.items():
            tags = {schema.KIND: schema.DENSE if kind == "dense" else schema.PRUNED}
            tags |= {} if kind == "dense" else {schema.DENSE_RUN_ID: runs["dense"][seed]}
            made.append(client.create_run(experiment, tags=tags).info.run_id)
            lost = 10 * seed + 12 * (kind == "pruned")
            np.savez(folder / "predictions.npz", label=label, predicted=np.where(np.arange(200) < lost, 1, label))
            client.log_artifact(made[-1], str(folder / "predictions.npz"))
    return uri, runs


def test_runs_are_paired_by_their_dense_runs(seeds, monkeypatch):
    uri, runs = seeds
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    given = audit.audit(runs["dense"], runs["pruned"][::-1], runs["control"])
    assert given.notes[0] == (
        f"Pair 1: before run {runs['dense'][0]}, after run {runs['pruned'][0]}, control run {runs['control'][0]}."
    )
    assert given.table.equals(audit.audit(runs["dense"], runs["pruned"], runs["control"]).table)
    assert given.table.iloc[0][["loss", "loss_low"]].tolist() == pytest.approx([0.12, 0.12], abs=0.07)


def test_runs_of_other_dense_runs_are_not_paired(seeds, monkeypatch):
    uri, runs = seeds
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    others = runs["dense"][1:], runs["pruned"][1:], [runs["control"][0], runs["dense"][0]]
    found = audit.audit(*others)
    assert any(note.startswith("Not paired: 2 networks of the control") for note in found.notes)
    with pytest.raises(StudyError, match="these runs start from other dense runs than those of --after"):
        power.power(*others)
