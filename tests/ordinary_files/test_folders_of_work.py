"""Folders that people work in."""

import re
from urllib.parse import quote

import click.testing
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from analysis.audit import audit
from analysis.audit import result as audit_result
from analysis.common.errors import StudyError
from analysis.runs import moved_folders, pull
from pruning_study.__main__ import cli
from pruning_study.tracking import moved, reach, sending, unsent
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
    assert f"pruning-study move '{tmp_path / 'old place'}' {tmp_path / 'new'}" in line


def test_a_store_learns_where_its_project_is(tmp_path, moved_project, caplog):
    """It holds paths of two experiments, one of them as an address, and of the run."""
    result = click.testing.CliRunner().invoke(cli, ["move", str(tmp_path / "old place"), str(tmp_path / "new")])
    assert result.output == f"3 paths in the store are now below {tmp_path / 'new'}\n"
    client = MlflowClient()
    run = client.create_run(client.get_run(moved_project).info.experiment_id)
    client.log_text(run.info.run_id, "new", "later.txt")
    assert (tmp_path / "new" / "mlruns" / "1" / run.info.run_id / "artifacts" / "later.txt").is_file()
    assert not (tmp_path / "old place").exists()
    assert pull.artifacts_of([moved_project], "note.txt") == {moved_project: b"found"}
    assert not caplog.messages


def test_a_folder_that_no_path_of_the_store_is_in_is_refused(tmp_path, moved_project):
    with pytest.raises(StudyError, match="holds no path of artifacts below"):
        moved.move(tmp_path / "old", tmp_path / "new")


def test_two_dots_in_the_names_of_a_moved_folder_lead_upwards(tmp_path, moved_project, monkeypatch):
    """They were compared with the store's paths as they stand, and written into the store."""
    (tmp_path / "new" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    result = click.testing.CliRunner().invoke(cli, ["move", "../old place", "sub/.."])
    assert result.output == f"3 paths in the store are now below {tmp_path / 'new'}\n"
    (tmp_path / "new" / "sub").rmdir()
    folder = tmp_path / "new" / "mlruns" / "1" / moved_project / "artifacts"
    assert MlflowClient().get_run(moved_project).info.artifact_uri == folder.as_uri()
    assert pull.artifacts_of([moved_project], "note.txt") == {moved_project: b"found"}


def test_a_moved_folder_may_be_named_through_a_symbolic_link_and_replaced_by_one(tmp_path, moved_project):
    """A store holds the paths without links, as a process learns its current folder."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "old place").symlink_to(tmp_path / "new")
    assert moved.move(tmp_path / "link" / "old place", tmp_path / "link" / "new") == (3, 0)
    assert str(tmp_path / "new" / "mlruns") in MlflowClient().get_run(moved_project).info.artifact_uri


@pytest.fixture
def kept_run(tmp_path, moved_project, monkeypatch):
    """Return the folder of a kept run of the project that was moved, with an artifact."""
    monkeypatch.chdir(tmp_path / "new")
    run = MlflowClient().create_run(MlflowClient().get_run(moved_project).info.experiment_id)
    files = tmp_path / "made"
    (files / "artifacts").mkdir(parents=True)
    (files / "artifacts" / "a.txt").write_text("hello")
    address = unsent.address(f"sqlite:///{quote(str(tmp_path / 'old place'))}/mlflow.db")
    return unsent.keep(unsent.UnsentRun(address, run.info.run_id, None, {"more": "tags"}, []), files)


@pytest.mark.parametrize("name", ["new", "a%41", "what?", "100 %", "a#b"])
@pytest.mark.parametrize("is_current", [True, False])
def test_a_kept_run_moves_with_its_project(tmp_path, moved_project, kept_run, monkeypatch, caplog, name, is_current):
    """Its record named the former folder, so it could not be sent."""
    new = (tmp_path / "new").rename(tmp_path / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{quote(str(new))}/mlflow.db")
    monkeypatch.chdir(new if is_current else tmp_path)
    result = click.testing.CliRunner().invoke(cli, ["move", str(tmp_path / "old place"), str(new)])
    # Artifacts of the run, of its experiment, of the default experiment, and of the kept run.
    assert result.output == (
        f"4 paths in the store are now below {new}\n1 kept run can now be sent: pruning-study send FOLDER\n"
    )
    monkeypatch.chdir(new)
    assert sending.send_kept(mlflow.get_tracking_uri()) == [kept_run.name]
    assert not (tmp_path / "old place").exists()
    assert MlflowClient().get_run(kept_run.name).info.status == "FINISHED"
    assert (new / "mlruns" / "1" / kept_run.name / "artifacts" / "a.txt").read_text() == "hello"
    assert not caplog.messages


def test_a_kept_run_of_a_store_that_knows_already_of_the_move_follows(tmp_path, kept_run):
    old, new = tmp_path / "old place", tmp_path / "new"
    record = (kept_run / "run.json").read_text()
    assert moved.move(old, new) == (4, 1)
    (kept_run / "run.json").write_text(record)
    assert moved.move(old, new) == (0, 1)
    assert sending.send(kept_run) == kept_run.name


def test_a_kept_run_of_a_missing_store_says_so_and_makes_no_store(tmp_path, kept_run, caplog):
    (tmp_path / "old place").mkdir()
    reason = rf"old%20place/mlflow\.db, the store of run {kept_run.name}, does not exist: .*pruning-study move OLD NEW"
    with pytest.raises(StudyError, match=reason):
        sending.send(kept_run)
    assert sending.send_kept(mlflow.get_tracking_uri()) == []
    (line,) = caplog.messages
    assert re.search(rf"unsent/{kept_run.name}: not sent .*{reason}", line)
    assert list((tmp_path / "old place").iterdir()) == []
