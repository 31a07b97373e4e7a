"""Studies from end to end on small real data: what they make, and what they survive."""

import os
import signal
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset

import pruning_study
from analysis.common.errors import StudyError
from analysis.report.methods.compare import compare
from analysis.runs import pull, studies
from analysis.runs.primaries import Primary
from analysis.study.arrays import run_arrays
from analysis.study.study import StudyData
from pruning_study.study import processes
from pruning_study.tracking import connect
from tests.deadline import wait_until
from tests.mlflow_server import breaking_off, free_port, server
from tests.stored_runs import artifact, empty_store, runs
from tests.warm_processes import WarmProcess, run_module

TIMING = {"duration_seconds", "images_per_second"}


@pytest.fixture
def write(tmp_path, tiny_npz):
    """Write a study's file: two epochs of the tiny data, unless the text says otherwise."""

    def of(text, name="small.yaml"):
        path = tmp_path / name
        path.write_text(f"dataset: [{tiny_npz}]\n{text}\n")
        return path

    return of


@pytest.fixture
def small(write):
    return write(
        "pruner: [mp, none]\nratio: [10]\nseed: 0-1\nepochs: 2\nfine_tune_epochs: 1\nbatch_size: 32\n"
        "primary: [{method: mp, baseline: none, ratio: 10, outcomes: [alpha]}]"
    )


@pytest.fixture
def study(run_command, store_uri):
    def run(*arguments, code=0):
        result = run_command("study", *arguments)
        assert code in (result.exit_code, None), result.output
        return result.output

    return run


def start(*arguments, **environment):
    """A study in a process group of its own."""
    return WarmProcess(run_module, "pruning_study", "study", *arguments, **environment)


ARTIFACTS = {"dense": 8, "pruned": 10}


def number_of_artifacts(run):
    return len(MlflowClient().list_artifacts(run.info.run_id))


def numbers():
    """What the finished runs of the experiment hold, by hash, those of jobs and studies left out."""
    made = [run for kind in ("dense", "pruned") for run in runs(kind)]
    assert len({run.data.tags["config_hash"] for run in made}) == len(made)
    return {
        run.data.tags["config_hash"]: {key: v for key, v in run.data.metrics.items() if key not in TIMING}
        for run in made
    }


def counts():
    return tuple(len(runs(kind)) for kind in ("dense", "pruned"))


class TestStudy:
    def test_makes_what_prune_makes_and_then_finds_it(self, study, small, run_command, tiny_npz):
        output = study(small, "--workers", 2)
        assert "6 runs: 0 found, 6 to make" in output
        assert "[6/6] tiny lenet5" in output
        assert ["together", "6", "0", "0", "0"] in map(str.split, output.splitlines())
        assert counts() == (2, 4)
        assert {run.data.tags["mlflow.parentRunId"] for run in runs("pruned")} == {runs("study")[0].info.run_id}
        quick = ("--epochs", 2, "--fine-tune-epochs", 1, "--batch-size", 32)
        options = ("--dataset", tiny_npz, *quick, "--seed", 1, "--ratio", 10, "--control", "none")
        assert run_command("prune", *options).output.count("already made; --force makes") == 2

        assert "6 runs: 6 found, 0 to make" in study(small)
        assert counts() == (2, 4)
        before = runs(status=None)
        rows = [line.split() for line in study(small, "--dry-run").splitlines() if "together" in line]
        assert rows == [["together", "6", "6", "0"]]
        assert len(runs(status=None)) == len(before)

    def test_is_a_run_with_its_file_its_counts_and_its_list(self, study, small, request):
        output = study(small, "--workers", 1)
        assert f"pruning-analysis report --experiment {request.node.name}" in output
        (run,) = runs("study")
        assert run.info.run_name == "study: small"
        assert run.data.params["workers"] == "1"
        assert artifact(run, "small.yaml").read_text() == small.read_text()
        (planned,) = StudyData.from_store(request.node.name).primaries
        assert planned.as_given == Primary("mp", "none", 10.0, ("alpha",), ("tiny",))
        compared = compare(run_arrays(pull.pull_runs(request.node.name)), primaries=[planned])
        assert compared.attrs["unpaired"] == []
        assert compared[compared["primary"]][["method", "outcome"]].to_numpy().tolist() == [["mp", "alpha"]]
        assert run.data.metrics.items() >= {"runs_made": 6, "runs_found": 0, "runs_failed": 0, "runs_left": 0}.items()
        listed = pd.read_csv(artifact(run, "runs.csv"))
        assert set(listed["run_id"]) == {made.info.run_id for kind in ("dense", "pruned") for made in runs(kind)}
        assert listed["run"][0] == "tiny lenet5 dense seed 0"
        small.write_text(small.read_text().replace("outcomes: [alpha]", "outcomes: [accuracy]"))
        assert "6 runs: 6 found" in study(small)
        (changed,) = StudyData.from_store(request.node.name).primaries
        assert changed == planned._replace(outcomes=("accuracy",), runs_before=4)

    @pytest.mark.slow
    def test_has_an_experiment_of_its_own_which_the_report_finds(self, study, small, monkeypatch, tmp_path):
        monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store(tmp_path / "own.db"))
        assert "pruning-analysis report --study small" in study(small, "--workers", 1)
        assert Counter(in_experiment("small")) == {
            ("dense", "FINISHED"): 2,
            ("pruned", "FINISHED"): 4,
            ("study", "FINISHED"): 1,
        }
        assert in_experiment("Default") == []
        mine, text = tmp_path / "mine.yaml", small.read_text()
        mine.write_text(text)
        output = study(mine, "--experiment", "small")
        assert "6 runs: 6 found" in output
        assert "pruning-analysis report --experiment small" in output
        assert {studies.experiment_of(name) for name in ("mine", str(small))} == {"small"}
        with pytest.raises(StudyError, match="there is no study main: did you mean mine"):
            studies.experiment_of("main")

        mine.write_text(f"experiment: other\nname: mine\n{text}")
        assert "pruning-analysis report --experiment other" in study(mine, "--workers", 1)
        with pytest.raises(
            StudyError, match="the experiments other, small contain study mine: choose one with --experiment"
        ):
            studies.experiment_of("mine")

    @pytest.mark.slow
    def test_the_number_of_workers_changes_no_number(self, study, small, monkeypatch):
        study(small, "--workers", 2)
        first = numbers()
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of one worker")
        study(small, "--workers", 1)
        assert numbers() == first

    @pytest.mark.slow
    def test_makes_again_what_lacks_an_artifact_or_is_damaged(self, study, small):
        study(small)
        artifact(runs("pruned")[0], "mask.safetensors").unlink()
        assert "6 runs: 5 found, 1 to make" in study(small)
        for run in runs("dense"):
            artifact(run, "checkpoint.safetensors").write_bytes(b"damaged")
        for run in runs("pruned"):
            artifact(run, "mask.safetensors").unlink(missing_ok=True)
        assert "6 runs: 2 found, 4 to make" in study(small)
        assert len(runs("dense")) == 4

    @pytest.mark.slow
    def test_prunes_a_network_that_was_trained_again_if_the_earlier_one_is_deleted(self, study, small, tiny_npz):
        study(small)
        first = runs("dense")[0]
        seed = int(first.data.params["seed"])
        again = pruning_study.train(dataset=tiny_npz, epochs=2, batch_size=32, seed=seed, force=True)
        assert "6 runs: 6 found, 0 to make" in study(small)
        MlflowClient().delete_run(first.info.run_id)
        assert "6 runs: 4 found, 2 to make" in study(small)
        assert [run.data.tags["dense_run_id"] for run in runs("pruned")[4:]] == 2 * [again.run_id]

    @pytest.mark.slow
    def test_a_run_that_fails_stops_no_other_and_is_tried_again(self, study, write):
        file = write(
            "pruner: [mp]\nratio: [2, 10]\ngrids:\n"
            "  - epochs: 1\n    fine_tune_epochs: 1\n"
            "  - epochs: 1\n    fine_tune_epochs: 1\n    learning_rate: 1e30\n"
        )
        output = study(file, code=1)
        assert "failed: tiny lenet5 dense seed 0: dense diverged in epoch 1" in output
        assert "1 of 6 runs failed" in output
        assert counts() == (1, 2)
        (dense,) = runs("dense", status="FAILED")
        assert "diverged" in dense.data.tags["error"]
        (failed,) = runs("study", status="FAILED")
        assert failed.data.metrics["runs_failed"] == 3
        listed = pd.read_csv(artifact(failed, "runs.csv"))
        assert sorted(listed["state"]) == ["failed", "made", "made", "made", "not made", "not made"]
        assert "6 runs: 3 found, 3 to make" in study(file, code=1)
        assert len(runs("dense", status="FAILED")) == 2


class TestBadInput:
    def test_is_all_said_before_anything_runs(self, study, write, tmp_path, monkeypatch):
        np.savez(tmp_path / "cut.npz", train_images=np.zeros((2, 4, 4), np.uint8))
        monkeypatch.chdir(tmp_path)
        file = write(
            "pruner: [mp, upp]\nratio: [2, 100]\ngrids:\n"
            "  - {}\n  - dataset: [fashion-mnst, cut.npz, cifar10]\n  - model: [no_such:net]\n"
        )
        output = study(file, "--data-dir", tmp_path / "empty", code=2)
        first, *lines, _ = output[output.index("error: ") :].splitlines()
        assert f"{file}: 5 faults" in first
        said = [
            ("pruner[1]", "did you mean up?"),
            ("grids[1].dataset[0]", "did you mean fashion-mnist?"),
            ("grids[1].dataset[1]", "train_labels, test_images, test_labels"),
            ("ratio[1]", "55.8"),
            ("grids[2].model[0]", "ModuleNotFoundError"),
        ]
        for line, (place, keyword) in zip(lines, said, strict=True):
            assert line.startswith(f"  {place}: ")
            assert keyword in line
        assert runs(status=None) == []

    def test_a_data_folder_that_takes_no_files(self, study, write, tmp_path):
        (tmp_path / "file").touch()
        output = study(write("grids: [{dataset: [cifar10]}]"), "--data-dir", tmp_path / "file" / "data", code=2)
        assert "grids[0].dataset[0]: cifar10: " in output
        assert runs(status=None) == []


class TestDryRun:
    def test_shows_the_grid_and_makes_nothing(self, study, write, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
        file = write(
            "pruner: [mp, none]\nratio: [2, 10]\nseed: 0-4\ngrids: [{}, {dataset: [cifar10]}]\nlearning_rate: 1.0e+30"
        )
        before = set(tmp_path.rglob("*"))
        output = study(file, "--dry-run", "--data-dir", tmp_path, "--workers", 1)
        rows = [line.split() for line in output.splitlines() if line.startswith(("tiny", "cifar10"))]
        assert rows[:3] == [
            ["tiny", "lenet5", "dense", "5", "5", "0", "5"],
            ["tiny", "lenet5", "mp", "2", "10", "5", "10", "0", "10"],
            ["tiny", "lenet5", "none", "1", "5", "5", "0", "5"],
        ]
        assert rows[4] == ["cifar10", "lenet5", "mp", "2", "10", "5", "10", "?", "?"]
        assert "cifar10 is not on this machine" in output
        assert set(tmp_path.rglob("*")) == before

    def test_an_experiment_that_is_not_there_is_not_made(self, study, write, tmp_path):
        file = write("grids: [{dataset: [cifar10]}]")  # it is not on this machine, so that nothing is measured
        assert "together" in study(file, "--dry-run", "--experiment", "nobody made it", "--data-dir", tmp_path)
        assert MlflowClient().get_experiment_by_name("nobody made it") is None


HELD = """
import time
from pathlib import Path
from pruning_study.models.lenet import LeNet5

class Net(LeNet5):
    def forward(self, x):
        while Path("held").exists() and self.training:
            time.sleep(0.05)
        return super().forward(x)
"""


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_runs_of_an_undisturbed_one(study, write, tmp_path, monkeypatch, request):
    """The controls are made, and then the pruned networks are held until the kill."""
    held = HELD.replace("self.training", "self.training and (self.conv1.weight == 0).any()")
    (tmp_path / "held_net.py").write_text(held)
    (tmp_path / "held").touch()
    monkeypatch.syspath_prepend(tmp_path)
    file = write(
        "model: ['held_net:Net']\npruner: [none, mp]\nratio: [10]\nseed: 0-1\n"
        "epochs: 2\nfine_tune_epochs: 1\nbatch_size: 32"
    )
    arguments = (file, "--engine", "torch", "--workers")
    first = start(*arguments, 2)
    wait_until(lambda: runs("pruned") and runs("pruned", status="RUNNING"), first)
    first.kill_group()
    first.wait()
    (tmp_path / "held").unlink()
    found = sum(counts())
    output = start(*arguments, 2).wait()
    assert f"6 runs: {found} found, {6 - found} to make" in output
    assert counts() == (2, 4)
    assert runs(status="RUNNING") == []
    assert "its process died" in {run.data.tags.get("error") for run in runs(status="KILLED")}
    for run in [*runs("dense"), *runs("pruned")]:
        assert number_of_artifacts(run) == ARTIFACTS[run.data.tags["kind"]]
    resumed = numbers()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"{request.node.name} not")
    study(*arguments, 1)
    assert numbers() == resumed


@pytest.mark.slow
def test_two_at_once_make_each_run_once(store_uri, write, tmp_path):
    (tmp_path / "held_net.py").write_text(HELD)
    (tmp_path / "held").touch()
    file = write("model: ['held_net:Net']\npruner: [none]\nseed: 0-1\nepochs: 1\nfine_tune_epochs: 1")
    arguments = (file, "--engine", "torch", "--workers", 2)
    first = start(*arguments)
    wait_until(lambda: runs("dense", status="RUNNING"))
    second = start(*arguments)
    second.wait_for_output("another process is making this very run: waiting for it")
    (tmp_path / "held").unlink()
    outputs = [process.wait() for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert counts() == (2, 2)
    assert len(runs(status=None)) == 4 + 2


SUICIDAL = """
import os, signal
from multiprocessing import parent_process
from pathlib import Path
from pruning_study.models.lenet import LeNet5

class Net(LeNet5):
    def forward(self, x):
        if parent_process() and self.training and Path("kill").exists():
            Path("kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""


@pytest.mark.slow
def test_a_worker_that_the_system_kills_costs_one_run(study, write, tmp_path, monkeypatch):
    (tmp_path / "suicidal.py").write_text(SUICIDAL)
    (tmp_path / "kill").touch()
    monkeypatch.syspath_prepend(tmp_path)
    file = write("model: ['suicidal:Net']\npruner: [none]\nseed: 0-2\nepochs: 1\nfine_tune_epochs: 1\nbatch_size: 32")
    output = study(file, "--workers", 1, "--engine", "torch", code=1)
    assert "1 of 6 runs failed" in output
    assert "its process was killed" in output
    assert counts() == (2, 2)
    (killed,) = runs("dense", status="KILLED")
    assert killed.data.tags["error"] == "its process died"
    assert runs(status="RUNNING") == []
    assert "6 runs: 4 found, 2 to make" in study(file, "--engine", "torch")


@pytest.mark.slow
def test_an_interrupt_ends_all_runs_as_killed(store_uri, write):
    """Ctrl-C, which goes to all processes of the group, and a signal to the driver alone."""
    file = write("pruner: [none]\nseed: 0-3\nepochs: 500")
    both = [start(file, "--experiment", name, "--engine", "torch", "--workers", 1) for name in ("group", "driver")]
    for process, name in zip(both, ("group", "driver"), strict=True):
        wait_until(lambda name=name: ("dense", "RUNNING") in in_experiment(name))
        process.send_signal(signal.SIGTERM) if name == "driver" else process.kill_group(signal.SIGINT)
    for process, name in zip(both, ("group", "driver"), strict=True):
        output = process.wait()
        assert process.returncode == 1
        assert "Traceback" not in output
        assert sorted(in_experiment(name)) == [("dense", "KILLED"), ("study", "KILLED")], output


def in_experiment(name):
    """Kind and status of all runs of an experiment of another name."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    return [(run.data.tags.get("kind"), run.info.status) for run in found]


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_costs_nothing(study, small, tmp_path, monkeypatch):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")  # half as long as by default

    def die():
        wait_until(lambda: runs("dense"))
        os.killpg(first, signal.SIGKILL)
        killed.set()
        time.sleep(3)
        servers.enter_context(server(tmp_path, port))

    killed = threading.Event()
    with ExitStack() as servers:
        first = servers.enter_context(server(tmp_path, port))
        thread = threading.Thread(target=die)
        thread.start()
        study(small, "--workers", 2)
        thread.join()
        assert killed.is_set()
        assert len(numbers()) == sum(counts()) == 6
        assert runs(status="RUNNING") == []
        for run in [*runs("dense"), *runs("pruned")]:
            assert number_of_artifacts(run) == ARTIFACTS[run.data.tags["kind"]]


@pytest.mark.slow
@pytest.mark.attack
def test_an_answer_of_each_kind_breaks_off_in_its_middle__a_study_makes_every_run_once(
    study, small, server_port, monkeypatch
):
    with breaking_off(server_port) as (broken, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{broken}")
        study(small, "--workers", 1)
        assert "6 runs: 6 found" in study(small, "--workers", 1)
        by_hash = {run.data.tags["config_hash"]: run.info.run_id for run in [*runs("dense"), *runs("pruned")]}
        made = list(by_hash.values())
        assert len(made) == 6
        assert list(pull.predictions(made)) == made
        broken_off = {f"{verb} {path.rpartition('/')[2]}" for (verb, path), times in asked.items() if times > 1}
        assert broken_off >= {"POST create", "POST log-batch", "POST log-inputs", "POST update", "POST search"}
        assert broken_off >= {"GET artifacts", "GET mlflow-artifacts", "PUT mlflow-artifacts"}
        assert {run.info.status for run in runs(status=None)} == {"FINISHED", "KILLED"}
        assert {number_of_artifacts(run) for run in runs("dense")} == {ARTIFACTS["dense"]}
        assert {number_of_artifacts(run) for run in runs("pruned")} == {ARTIFACTS["pruned"]}


@pytest.mark.slow
def test_a_run_that_a_repeated_request_has_made_twice_is_ended(study, small, store_uri):
    """As where a server dies between making a run and saying so."""

    def repeat():
        wait_until(lambda: runs("dense", status="RUNNING"))
        (experiment,) = {run.info.experiment_id for run in runs(status=None)}
        MlflowClient().create_run(experiment, tags={"config_hash": "of nobody's", "kind": "dense"})

    thread = threading.Thread(target=repeat)
    thread.start()
    study(small, "--workers", 2)
    thread.join()
    assert runs(status="RUNNING") == []
    assert [run.data.tags["config_hash"] for run in runs(status="KILLED")] == ["of nobody's"]
    assert counts() == (2, 4)


LARGE = """
import resource
from multiprocessing import parent_process
from pathlib import Path
from torch import nn

if parent_process() and Path("full").exists():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, resource.RLIM_INFINITY))

def net(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 4000), nn.ReLU(), nn.Linear(4000, num_classes))
"""


@pytest.mark.slow
@pytest.mark.attack
def test_a_disk_without_room_for_some_runs_of_a_study__fails_these_alone_and_the_next_start_makes_them(
    study, write, tmp_path, monkeypatch
):
    """No file of a worker may grow above 8 MB, as this model's checkpoint of 12.7 MB would."""
    (tmp_path / "large.py").write_text(LARGE)
    (tmp_path / "full").touch()
    monkeypatch.syspath_prepend(tmp_path)
    file = write("model: ['large:net', lenet5]\npruner: [none]\nepochs: 1\nfine_tune_epochs: 1\nbatch_size: 200")
    output = study(file, "--workers", 1, code=1)
    assert "failed: tiny large:net dense seed 0" in output
    assert "File too large" in runs("dense", status="FAILED")[0].data.tags["error"]
    assert counts() == (1, 1)
    (tmp_path / "full").unlink()
    assert "4 runs: 2 found, 2 to make" in study(file, "--workers", 1)


def many_runs(number):
    """Make ten runs, in a process."""
    store = connect.connect()
    for _ in range(10):
        tags, params = {"kind": "dense"}, {f"param {index}": "1" for index in range(20)}
        content = {"note": "", "tags": tags, "params": params, "dataset": Dataset("d", "0", "local", "{}")}
        with store.run("many", **content, job_run_id="", child=False) as run:
            for epoch in range(30):
                run.epoch(epoch, {"val_loss": 1.0, "train_loss": 1.0, "val_accuracy": 1.0})
            (run.folder / "a.txt").write_text("hello")
    yield number


@pytest.mark.slow
def test_many_runs_at_once_never_find_the_store_locked(store_uri):
    connect.connect()
    assert sorted(processes.outcomes(deque(range(6)), many_runs, 6)) == [(number, number) for number in range(6)]
    assert len(runs("dense")) == 60
