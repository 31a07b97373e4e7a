"""Folders that people work in."""

from urllib.parse import quote

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from analysis.audit import audit
from analysis.audit import result as audit_result
from analysis.runs import moved_folders, pull
from pruning_study.tracking import reach
from pruning_study.tracking.store import Store


@pytest.mark.parametrize("name", ["a%41", "what?", "100 %", "a#b"])
def test_the_default_store_lies_in_a_folder_of_any_name(tmp_path, name):
    """It was made in another folder, or not at all. (MLflow leaves an empty folder with the escaped name beside it.)"""
    folder = tmp_path / name
    folder.mkdir()
    reach.ensure(f"sqlite:///{quote(str(folder))}/mlflow.db")  # as MLflow writes the address of its default store
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {folder}
    assert (folder / "mlflow.db").stat().st_size > 0
    assert {path.name.partition("-")[0].removesuffix(".lock") for path in folder.iterdir()} == {"mlflow.db"}


@pytest.mark.parametrize("first", ["sound", "chance"])
def test_an_audit_takes_the_place_of_one_of_which_just_one_is_at_chance(tmp_path, first):
    """It was refused as a file that the command had not made."""
    label = np.repeat([0, 1, 2], 40)
    before = np.where(np.arange(120) % 10, label, (label + 1) % 3)
    sound = audit.audit_predictions(label, before, before)
    chance = audit.audit_predictions(label, before, np.zeros(120, int))
    assert chance.chance_level.any_at_chance
    folder = tmp_path / "audit"
    for result in (sound, chance) if first == "sound" else (chance, sound):
        audit_result.write(result, folder)
    assert {path.name for path in folder.iterdir()} >= set(audit_result.FILES)


@pytest.fixture
def moved_project(tmp_path, monkeypatch):
    """Return the id of a run with an artifact, in a project that was moved from `old place` to `new`."""
    old, new = tmp_path / "old place", tmp_path / "new"
    old.mkdir()
    monkeypatch.chdir(old)
    uri = f"sqlite:///{old}/mlflow.db"
    reach.ensure(uri)
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("study", artifact_location=(old / "mlruns" / "1").as_uri()))
    client.log_text(run.info.run_id, "found", "note.txt")
    monkeypatch.chdir(tmp_path)
    old.rename(new)
    moved_folders.say_moved.cache_clear()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{new}/mlflow.db")
    return run.info.run_id


def test_artifacts_of_a_project_that_was_moved_are_found_beside_the_store(tmp_path, moved_project, caplog):
    """No run had any artifact, and nothing said why."""
    uri = mlflow.get_tracking_uri()
    assert pull.artifacts_of([moved_project], "note.txt") == {moved_project: b"found"}
    client = MlflowClient(uri)
    store = Store(client, uri, client.get_run(moved_project).info.experiment_id)
    with store.artifact(moved_project, "note.txt") as path:
        assert path == tmp_path / "new" / "mlruns" / "1" / moved_project / "artifacts" / "note.txt"
    (line,) = caplog.messages
    assert str(tmp_path / "old place") in line
    assert str(tmp_path / "new") in line
    assert store.missing(moved_project, ["note.txt", "other.txt"]) == ["other.txt"]
