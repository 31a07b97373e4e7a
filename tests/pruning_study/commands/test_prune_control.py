"""The control that `prune` makes: one for all, never in the way of the pruned run, and part of its description."""

import signal

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

import pruning_study
from analysis.common.errors import StudyError
from pruning_study.steps import pictures
from pruning_study.tracking.connect import connect
from tests.deadline import wait_until
from tests.mlflow_server import losing
from tests.plans import train_with_batches_in_another_order
from tests.stored_runs import artifact, runs
from tests.warm_processes import WarmProcess, run_module

QUICK = ("--epochs", 1, "--fine-tune-epochs", 1, "--batch-size", 32)


@pytest.fixture
def prune(run_command, tiny_npz, store_uri):
    def run(*arguments, code=0):
        result = run_command("prune", "--dataset", tiny_npz, *QUICK, *arguments)
        assert result.exit_code == code, result.output
        return result.output

    return run


def pruners(status="FINISHED"):
    """The pruners of the pruned runs, the oldest first."""
    return [run.data.params.get("pruner") for run in runs("pruned", status=status)]


def test_one_control_serves_every_ratio_and_pruner_and_is_what_the_pruner_none_makes(prune):
    output = prune("--pruner", "mp", "--ratio", 4)
    assert pruners() == ["mp", "none"]
    assert "control: the same fine-tuning without pruning" in output
    assert "takes as long as" in output
    for options in (("--pruner", "up", "--ratio", "2,8"), ("--pruner", "mp", "--ratio", 4, "--schedule", "cubic")):
        assert "control: " not in prune(*options, "--ramp", 0)
    assert pruners().count("none") == 1
    output = prune("--pruner", "none")
    assert output.count("(already made; --force makes") == 2
    assert pruners().count("none") == 1
    control = next(run for run in runs("pruned") if run.data.params["pruner"] == "none")
    assert f"pruned run, ratio 1: {control.info.run_id} (already made" in output
    assert runs("dense")[0].data.tags["network"] == "dense"
    for run in runs("pruned"):
        is_pruned = run.info.run_id != control.info.run_id
        assert run.data.tags["network"] == ("pruned" if is_pruned else "control")
        assert (run.data.tags.get("control_run_id") == control.info.run_id) == is_pruned
        assert {"worst_class_loss", "worst_class_loss_upper", "accuracy_loss_upper"} <= run.data.metrics.keys()
        assert {"worst_class", "outcome"} <= run.data.tags.keys()
        assert run.info.status == "FINISHED"
    jobs = runs("job")
    assert jobs[0].data.tags["control_run_id"] == control.info.run_id
    for name in ("worst_class", "outcome"):
        assert jobs[0].data.tags[name] == runs("pruned")[0].data.tags[name]


def test_a_network_that_is_trained_again_is_pruned_again_and_has_a_control_of_its_own(prune, run_command, tiny_npz):
    """Dense runs that `--force` makes have the same hash, and on some machines other weights."""

    def lineage():
        return [(run.data.params["pruner"], run.data.tags["dense_run_id"]) for run in runs("pruned")]

    prune()
    assert run_command("train", "--dataset", tiny_npz, *QUICK[:2], *QUICK[4:], "--force").exit_code == 0
    first, second = (run.info.run_id for run in runs("dense"))
    for _ in range(2):
        prune()
        assert lineage() == [("mp", first), ("none", first), ("mp", second), ("none", second)]
    prune("--force", "--control", "none")
    third = runs("dense")[-1].info.run_id
    prune()
    assert lineage()[4:] == [("mp", third), ("none", third)]
    *_, job = runs("job")
    assert (job.data.tags["dense_run_id"], job.data.tags["pruned_run_ids"]) == (third, runs("pruned")[4].info.run_id)


def test_the_description_of_a_pruned_run_says_what_the_terminal_says(prune):
    """That of a run without a control compares it with its dense network."""
    prune("--control", "none")
    (run,) = runs("pruned")
    assert "No control was given" in run.data.tags[MLFLOW_RUN_NOTE]
    said = prune()
    pruned, control = runs("pruned")
    note = pruned.data.tags[MLFLOW_RUN_NOTE].splitlines()
    (accuracy,) = (line for line in note if line.startswith("Accuracy "))
    assert accuracy in " ".join(said.split())
    assert note[-1] == f"Run {runs('dense')[0].info.run_id}, pruned by mp at ratio 10 and fine-tuned"
    assert not any("No control was given" in line for line in note)
    assert "| control |" in pruned.data.tags[MLFLOW_RUN_NOTE]
    assert "No control was given" in control.data.tags[MLFLOW_RUN_NOTE]


def test_a_run_names_the_control_that_a_later_command_makes(prune):
    prune("--control", "none")
    prune("--pruner", "none")
    pruned, control = runs("pruned")
    assert pruned.data.tags["control_run_id"] == control.info.run_id
    assert "control_run_id" not in control.data.tags


def test_a_run_without_a_control_is_described_with_it_later_and_is_not_made_again(prune):
    prune("--control", "none")
    (run,) = runs("pruned")
    assert "control_run_id" not in run.data.tags
    assert prune().count("(already made") == 2
    (again, control) = runs("pruned")
    assert (again.info.run_id, control.data.params["pruner"]) == (run.info.run_id, "none")
    assert again.data.tags["control_run_id"] == control.info.run_id
    assert again.data.metrics == run.data.metrics
    assert again.data.tags["config_hash"] == run.data.tags["config_hash"]


@pytest.mark.parametrize(
    "options",
    [("--pruner", "none"), ("--fine-tune-epochs", 0), ("--start", "initialization"), ("--control", "none")],
)
def test_no_control_is_made_where_there_is_nothing_to_compare(prune, options):
    options = options if "initialization" not in options else (*options, "--epochs", 2, "--frequency", 1)
    output = prune(*options)
    (run,) = runs("pruned")
    assert ("Nothing was retrained" in output) == ("none" not in options)
    assert ("Nothing was pruned" in output) == ("--pruner" in options)
    assert "control run" not in output
    assert "control_run_id" not in {**run.data.tags, **runs("job")[0].data.tags}


def test_the_function_for_python_makes_none_and_says_who_does(store_uri, tiny_npz):
    quick = {"dataset": tiny_npz, "epochs": 1, "fine_tune_epochs": 1, "batch_size": 32}
    pruning_study.prune(**quick)
    assert pruners() == ["mp"]
    assert runs("job")[0].data.params["control"] == "none"
    with pytest.raises(StudyError, match="only the command pruning-study prune makes a control"):
        pruning_study.prune(**quick, control="make")


def test_a_pruned_network_is_compared_with_the_network_that_was_pruned(store_uri, tiny_npz, monkeypatch):
    quick = {"dataset": tiny_npz, "epochs": 8, "batch_size": 16}
    first = pruning_study.prune(**quick, fine_tune_epochs=1)
    with monkeypatch.context() as patch:
        train_with_batches_in_another_order(patch)
        dense = pruning_study.train(**quick, force=True)
    again = pruning_study.prune(**quick, fine_tune_epochs=1)
    for result in (first, again):
        (row,) = result.runs.to_dict("records")
        pruned, parent = (connect().get(row[name]) for name in ("run_id", "dense_run_id"))
        assert pruned.data.tags["dense_run_id"] == row["dense_run_id"]
        assert row["accuracy_before"] == parent.data.metrics["test_accuracy"]
        classes = [name for name in parent.data.metrics if name.startswith("recall/")]
        balances = [
            np.array([run.data.metrics[name] for name in classes]) - run.data.metrics["test_accuracy"]
            for run in (parent, pruned)
        ]
        assert row["raw_slope"] == pytest.approx(balances[0] @ balances[1] / (balances[0] @ balances[0]))
    assert again.dense_run_id == dense.run_id != first.dense_run_id


@pytest.mark.slow
def test_ctrl_c_loses_the_control_alone_and_the_same_command_goes_on_with_it(run_command, tiny_npz, store_uri):
    typed = ("prune", "--dataset", tiny_npz, "--epochs", 1, "--fine-tune-epochs", 150, "--ratio", 4)
    process = WarmProcess(run_module, "pruning_study", *typed)
    wait_until(lambda: "none" in pruners("RUNNING"), process)
    process.send_signal(signal.SIGINT)
    said = process.wait()
    assert process.returncode == 1
    assert "the pruned run is finished and the control is not; repeat the command to make the control" in " ".join(
        said.split()
    )
    assert "Traceback" not in said
    assert (pruners(), pruners("KILLED")) == (["mp"], ["none"])
    (killed,) = runs("job", status="KILLED")
    assert killed.data.tags["pruned_run_ids"] == runs("pruned")[0].info.run_id
    result = run_command(*typed)
    assert result.exit_code == 0, result.output
    assert result.output.count("(already made") == 2
    assert pruners() == ["mp", "none"]
    assert "control_run_id" in runs("pruned")[0].data.tags


@pytest.mark.slow
def test_a_server_that_refuses_the_description_loses_no_run(prune, server_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server_port}")
    prune("--control", "none")
    prune("--pruner", "none")
    before = runs("pruned")[0].data.tags
    with losing(server_port, {"log-batch": ["fine", "fine", "forbidden"]}) as (port, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        output = prune(code=1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server_port}")
    assert asked["log-batch"] == 3
    assert "403" in output
    assert (pruners(), runs("pruned")[0].data.tags) == (["mp", "none"], before)
    assert prune().count("(already made") == 3
    assert runs("pruned")[0].data.tags["mlflow.note.content"] != before["mlflow.note.content"]


def test_the_picture_of_the_run_and_of_the_job_is_beside_the_control(prune, monkeypatch):
    """A picture beside the control is made twice as wide here."""
    monkeypatch.setattr(pictures, "recall_change", lambda changes, title: Figure((1 + changes.has_control, 1)))
    prune("--pruner", "mp", "--ratio", 4)
    (pruned,) = [run for run in runs("pruned") if run.data.params["pruner"] == "mp"]
    (control,) = [run for run in runs("pruned") if run.data.params["pruner"] == "none"]
    shapes = [imread(artifact(run, "recall_balance.png")).shape[:2] for run in (pruned, runs("job")[0], control)]
    assert shapes == [(100, 200), (100, 200), (100, 100)]
    # Another ratio has a control already, and a job of several ratios a picture of its own.
    prune("--pruner", "mp", "--ratio", "4,8")
    assert imread(artifact(runs("pruned")[-1], "recall_balance.png")).shape[:2] == (100, 200)
