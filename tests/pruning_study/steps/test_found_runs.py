"""Commands say that they found runs of another engine than the one that is asked for."""

import pytest
from mlflow import MlflowClient

from tests.stored_runs import runs

QUICK = ("--epochs", 1, "--batch-size", 64)


@pytest.fixture
def command(run_command, tiny_npz, store_uri):
    def run(name, *arguments):
        result = run_command(name, "--dataset", tiny_npz, *QUICK, *arguments)
        assert result.exit_code == 0, result.output
        return [line for line in result.output.splitlines() if "made by the engine" in line]

    return run


def tag_as_native():
    """Give all dense and pruned runs the tag of the native engine."""
    for run in (*runs("dense"), *runs("pruned")):
        MlflowClient().set_tag(run.info.run_id, "engine", "native")


@pytest.mark.slow
def test_a_found_run_is_named_if_another_engine_is_asked_for(command):
    assert command("train", "--engine", "torch") == []
    assert command("train", "--engine", "torch") == []
    tag_as_native()
    (run,) = runs("dense")
    assert command("train", "--engine", "torch") == [
        f"found run {run.info.run_id}, made by the engine native; --engine torch trains it anew with --force"
    ]
    assert command("train") == []
    assert command("train", "--engine", "torch", "--force") == []
    assert command("train", "--engine", "torch") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("train", ("--seed", "0,1"), 2),
        ("prune", ("--ratio", "2,4", "--fine-tune-epochs", 1, "--seed", "0,1"), 8),
        ("iterate", ("--iterations", 3), 3),
    ],
)
def test_several_found_runs_are_counted_in_one_line(command, name, options, found):
    command(name, *options, "--engine", "torch")
    tag_as_native()
    assert command(name, *options, "--engine", "torch") == [
        f"found {found} runs, made by the engine native; --engine torch trains them anew with --force"
    ]


@pytest.mark.slow
def test_a_dense_run_that_is_named_is_not_counted(command):
    command("train", "--engine", "torch")
    tag_as_native()
    named = ("--dense-run-id", runs("dense")[0].info.run_id)
    prune = ("prune", *named, "--control", "none", "--ratio", 2, "--fine-tune-epochs", 1, "--engine", "torch")
    assert command(*prune) == []
    tag_as_native()
    assert [line.split(",")[0] for line in command(*prune)] == [f"found run {runs('pruned')[0].info.run_id}"]


@pytest.mark.slow
def test_a_found_run_of_an_earlier_arithmetic_is_named(command, run_command, tiny_npz):
    command("train", "--engine", "torch")
    tag_as_native()
    (run,) = runs("dense")
    MlflowClient().delete_tag(run.info.run_id, "arithmetic")
    output = run_command("train", "--dataset", tiny_npz, *QUICK).output
    assert [line for line in output.splitlines() if "arithmetic" in line] == [
        f"found run {run.info.run_id}, made with an earlier arithmetic (no tag arithmetic); this version "
        "trains it anew with --force"
    ]


@pytest.mark.slow
def test_a_study_of_an_earlier_arithmetic_takes_no_runs_of_another(run_command, tiny_npz, store_uri, tmp_path):
    file = tmp_path / "study.yaml"
    text = f"dataset: [{tiny_npz}]\npruner: [mp]\nratio: [2]\nseed: SEEDS\n"
    text += "epochs: 1\nfine_tune_epochs: 1\nbatch_size: 64\n"
    file.write_text(text.replace("SEEDS", "[0]"))
    assert run_command("study", file, "--workers", 1, "--engine", "torch").exit_code == 0
    tag_as_native()
    for run in (*runs("dense"), *runs("pruned")):
        MlflowClient().delete_tag(run.info.run_id, "arithmetic")
    found = run_command("study", file, "--workers", 1)
    assert found.exit_code == 0
    assert "found 2 runs, made with an earlier arithmetic" in found.output
    file.write_text(text.replace("SEEDS", "[0, 1]"))
    refused = run_command("study", file, "--workers", 1)
    assert refused.exit_code == 2
    assert "2 of the runs that were found have an earlier arithmetic" in refused.output
    assert len(runs("dense")) == 1


@pytest.mark.slow
def test_a_study_says_how_many_it_found(run_command, tiny_npz, store_uri, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        f"dataset: [{tiny_npz}]\npruner: [mp]\nratio: [2, 4]\nseed: [0]\n"
        "epochs: 1\nfine_tune_epochs: 1\nbatch_size: 64\n"
    )
    study = ("study", file, "--workers", 1, "--engine", "torch")
    assert "made by the engine" not in run_command(*study).output
    tag_as_native()
    output = run_command(*study).output
    assert output.count("made by the engine") == 1
    assert "found 3 runs, made by the engine native; --engine torch trains them anew in another --experiment" in output


def test_no_line_where_the_engine_that_is_asked_for_cannot_train_the_network(command, tmp_path, monkeypatch):
    """`--force` would train it with torch again."""
    (tmp_path / "strided_net.py").write_text(
        "from torch import nn\n"
        "def net(num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 2, 5, 2), nn.Flatten(), nn.Linear(288, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        assert command("train", "--model", "strided_net:net", "--engine", "native") == []
    (run,) = runs("dense")
    assert run.data.tags["engine"] == "torch"
