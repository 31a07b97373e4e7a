"""A disk without room at every moment of a command: one line, nothing half written, and nothing lost."""

import gc
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pruning_study.models import checkpoints
from pruning_study.steps import measured
from pruning_study.tracking import connect
from pruning_study.tracking.writer import Writer
from pruning_study.training import loop, resumption
from pruning_study.training.evaluation import Predictions
from tests.error_lines import error_line
from tests.stored_runs import artifact, runs

TIMING = {"duration_seconds", "images_per_second"}


class Disk:
    """A small disk, or, where none may be mounted, a largest size of files while the disk is said to be full."""

    def __init__(self, folder):
        self.folder = folder
        command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
        self.mounted = shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0

    def fill(self, largest=4096):
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
            return
        gc.collect()  # a connection to a database that is closed later would make room
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def clear(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (self.folder / "ballast").unlink(missing_ok=True)

    def remove(self):
        self.clear()
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(store_uri, tmp_path, monkeypatch):
    """A disk with the store, its artifacts, the temporary files and the current folder on it."""
    connect.connect()
    (tmp_path / "disk").mkdir()
    made = Disk(tmp_path / "disk")
    try:
        # To open the file in another way would take away the locks that MLflow has on it in this process.
        with closing(sqlite3.connect(store_uri.removeprefix("sqlite:///"))) as source:
            source.execute("VACUUM INTO ?", [str(made.folder / "mlflow.db")])
        (made.folder / "tmp").mkdir()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made.folder}/mlflow.db")
        monkeypatch.setenv("TMPDIR", str(made.folder / "tmp"))
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.chdir(made.folder)
        yield made
    finally:
        monkeypatch.chdir(tmp_path)
        made.remove()


@pytest.fixture
def train(disk, run_command, tiny_npz, caplog):
    """Train, and return what a user would see, which includes the log's warnings."""

    def run(*arguments, code=0):
        caplog.clear()
        result = run_command(
            "train", "--dataset", tiny_npz, "--epochs", 2, "--batch-size", 32, "--engine", "torch", *arguments
        )
        assert result.exit_code == code, result.output
        seen = "".join(f"{line}\n" for line in caplog.messages) + result.output
        assert "Traceback" not in seen + caplog.text
        return seen

    return run


def before(monkeypatch, owner, name, do):
    """Have a function do something else first, the first time that it is called."""
    original, done = getattr(owner, name), []

    def changed(*arguments, **named):
        if not done:
            done.append(True)
            do()
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, changed)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("torchinductor"))


def assert_that_all_is_whole(disk, train):
    """The only dense run is whole and has the metrics of an undisturbed one, and nothing else is left on the disk."""
    (run,) = runs("dense")
    checkpoints.load(artifact(run, "checkpoint.safetensors"))
    Predictions.load(artifact(run, "predictions.npz"))
    train("--force")
    numbers = [{key: v for key, v in made.data.metrics.items() if key not in TIMING} for made in runs("dense")]
    assert len(numbers) == 2
    assert numbers[0] == numbers[1]
    assert names(disk.folder / "tmp") == []
    assert names(disk.folder / "mlflow.db.locks") == ["owner"]
    assert not list(disk.folder.rglob(".artifact.uploading*"))


@pytest.mark.slow
@pytest.mark.attack
@pytest.mark.parametrize(("owner", "name"), [(checkpoints, "save"), (Predictions, "save")])
def test_a_disk_that_is_full_when_a_trained_network_is_written__is_one_line_and_the_same_command_makes_the_run(
    disk, train, monkeypatch, owner, name
):
    with monkeypatch.context() as patch:
        before(patch, owner, name, lambda: disk.fill(1000))
        output = train(code=1)
    disk.clear()
    assert error_line(output) == output.splitlines()[-1]
    assert "make room and start the command again" in output
    assert runs("dense") == []
    assert names(disk.folder / "tmp") == []
    train()
    assert_that_all_is_whole(disk, train)


@pytest.mark.slow
@pytest.mark.attack
@pytest.mark.parametrize(("owner", "name"), [(Writer, "finish"), (MlflowClient, "log_artifact")])
def test_a_disk_that_is_full_when_a_run_is_sent__is_one_line_and_the_same_command_makes_the_run(
    disk, train, monkeypatch, owner, name
):
    with monkeypatch.context() as patch:
        before(patch, owner, name, disk.fill)
        output = train(code=1)
    disk.clear()
    assert error_line(output) == output.splitlines()[-1]
    assert "was not accepted" in output
    assert runs("dense") == []
    train()
    assert_that_all_is_whole(disk, train)
    assert runs(status="RUNNING") == []


@pytest.mark.slow
@pytest.mark.attack
def test_a_disk_without_room_for_a_saved_training__is_a_warning_and_the_training_ends_whole(disk, train, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    with monkeypatch.context() as patch:
        before(patch, resumption, "save", disk.fill)
        before(patch, measured, "_write_evaluation", disk.clear)
        output = train()
    assert "the training could not be saved" in output
    assert_that_all_is_whole(disk, train)


@pytest.mark.attack
def test_a_cleaner_that_removes_the_temporary_folder_of_a_run_during_training__costs_nothing(disk, train, monkeypatch):
    def clean():
        for path in (disk.folder / "tmp").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    with monkeypatch.context() as patch:
        before(patch, Writer, "epoch", clean)
        train()
    assert_that_all_is_whole(disk, train)


@pytest.mark.attack
def test_an_artifact_folder_that_cannot_be_written__is_one_line_and_the_same_command_makes_the_run(disk, train):
    store = connect.connect()
    folder = Path(store.client.get_experiment(store.experiment_id).artifact_location)
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way", encoding="utf-8")
    output = train(code=1)
    assert error_line(output) == output.splitlines()[-1]
    folder.unlink()
    train()
    assert_that_all_is_whole(disk, train)


@pytest.mark.slow
@pytest.mark.attack
def test_a_disk_that_is_full_when_the_store_is_made__is_one_line_and_the_same_command_makes_the_store(disk, train):
    (disk.folder / "mlflow.db").unlink()
    if disk.mounted:
        subprocess.run(["mount", "-o", "remount,size=500k", str(disk.folder)], check=True)
    else:
        disk.fill(400_000)
    output = train(code=1)
    if disk.mounted:
        subprocess.run(["mount", "-o", "remount,size=32m", str(disk.folder)], check=True)
    disk.clear()
    assert error_line(output) == output.splitlines()[-1]
    assert sorted(set(names(disk.folder)) - {"mlruns"}) == ["mlflow.db.lock", "tmp"]
    train()
    assert len(runs("dense")) == 1


@pytest.mark.attack
def test_a_full_disk_of_temporary_files__does_not_keep_a_finished_run_from_being_found(disk, train):
    train()
    disk.fill()
    store = connect.connect()
    with store.artifact(runs("dense")[0].info.run_id, "checkpoint.safetensors") as path:
        checkpoints.load(path)
    disk.clear()  # or pytest could not write to its own output
