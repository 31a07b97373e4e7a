"""A network that is found predicts what its run has stored, or it is not used."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from pruning_study.options.config import TrainConfig
from pruning_study.steps import dense, runs, stored_network
from pruning_study.steps.stored_network import OtherNetworkError, check_predictions
from pruning_study.tracking.connect import connect
from tests.plans import planned
from tests.stored_runs import artifact
from tests.stored_runs import runs as stored_runs

# The file that it reads is no source, so that no digest tells of its change.
MODEL = """
from pathlib import Path
from torch import nn
from tests.plans import planned

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        convolution = nn.Sequential(nn.Conv2d(in_channels, 4, 5, 2), nn.ReLU(), nn.Flatten())
        self.layers = nn.Sequential(convolution, nn.Linear(4 * 12 * 12, 32), nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, x):
        return self.layers(x) * float(Path("factor.txt").read_text())
"""
QUICK = ("--model", "reading_net:Net", "--epochs", 1, "--engine", "torch")
PRUNE = ("--ratio", 2, "--fine-tune-epochs", 1, "--control", "none")


@pytest.fixture
def command(run_command, tiny_npz, tmp_path, store_uri, monkeypatch):
    """Return a function that runs a command for the network above, and checks its exit code."""
    (tmp_path / "reading_net.py").write_text(MODEL)
    (tmp_path / "factor.txt").write_text("1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "reading_net", raising=False)

    def run(name, *arguments, code=0):
        result = run_command(name, "--dataset", tiny_npz, *QUICK, *arguments)
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.mark.slow
def test_another_network_with_the_same_weights_is_not_pruned_until_it_is_trained_anew(command, tmp_path):
    command("train")
    (run,) = stored_runs("dense")
    (tmp_path / "factor.txt").write_text("-1")  # the least probable class is predicted, of all 200 images
    for _ in range(2):
        output = command("prune", *PRUNE, code=1)
        assert f"run {run.info.run_id}: reading_net:Net" in output
        assert "differs from predictions.npz on 200 of 200 test images" in output
        assert "--force" in output
    assert "undo the change" in command("prune", *PRUNE, "--dense-run-id", run.info.run_id, code=1)
    assert "undo the change" in command("train", code=1)
    assert (len(stored_runs("dense")), stored_runs("pruned")) == (1, [])
    command("prune", *PRUNE, "--force")
    command("prune", *PRUNE)
    assert (len(stored_runs("dense")), len(stored_runs("pruned"))) == (2, 1)


@pytest.mark.slow
def test_a_level_that_is_pruned_again_is_checked_too(command):
    command("iterate", "--iterations", 3)
    (level, _) = stored_runs("pruned")
    path = artifact(level, "predictions.npz")
    with np.load(path) as arrays:
        others = {**arrays, "predicted": (arrays["predicted"] + 1) % 10}
    np.savez(path, **others)
    output = command("iterate", "--iterations", 4, code=1)
    assert f"run {level.info.run_id}: reading_net:Net" in output
    assert len(stored_runs("pruned")) == 2


@pytest.mark.slow
def test_a_step_of_a_study_fails_by_a_line(command, tmp_path, tiny_npz, run_command):
    file = tmp_path / "study.yaml"
    options = "epochs: 1\nfine_tune_epochs: 1"
    grid = f"dataset: [{tiny_npz}]\nmodel: ['reading_net:Net']\npruner: [mp]\nratio: [2]\nseed: [0]\n"
    file.write_text(f"{grid}{options}\n")
    command("train")
    (tmp_path / "factor.txt").write_text("-1")
    result = run_command("study", file, "--workers", 1, "--engine", "torch")
    assert result.exit_code == 1
    assert "on 200 of 200 test images" in result.output
    assert (len(stored_runs("dense")), stored_runs("pruned")) == (1, [])


@pytest.mark.parametrize(("images", "compared", "tied"), [(200, 200, 4), (199, 199, 4), (600, 200, 4), (50, 50, 1)])
def test_few_other_predictions_are_ties_that_rounding_breaks(tiny_npz, tiny, images, compared, tied):
    """Up to a fiftieth, rounded up; of more than 256 images every n-th is compared."""
    repeated = {name: np.resize(tiny[name], (images, *tiny[name].shape[1:])) for name in ("test_images", "test_labels")}
    np.savez(tiny_npz, **{**tiny, **repeated})
    setting = planned(TrainConfig(dataset=str(tiny_npz), engine="torch"))
    model = setting.context.model.eval()
    stored = stored_network.predict(model, setting.context.test)[0]
    step = images // compared

    def check(others):
        predicted = stored.predicted.copy()
        predicted[: others * step : step] += 1
        other = replace(stored, predicted=predicted)
        check_predictions("ID", "lenet5", model, setting.context, other)

    check(tied)
    with pytest.raises(OtherNetworkError, match=rf"run ID: lenet5 .* {tied + 1} of {compared} test images"):
        check(tied + 1)


def test_a_run_is_compared_once_in_a_process(tiny_npz, store_uri):
    setting = planned(TrainConfig(dataset=str(tiny_npz), epochs=1))
    store = connect()
    run = store.get(dense.train(*setting.in_job(store).dense).run_id)
    runs.load(store, run, *setting)
    path = artifact(run, "predictions.npz")
    with np.load(path) as arrays:
        label, predicted = arrays["label"], arrays["predicted"]
        wrong = label != predicted
        others = np.where(
            wrong, [next(iter({0, 1, 2} - {*pair})) for pair in zip(label, predicted, strict=True)], label
        )
        np.savez(path, **{**arrays, "predicted": others})  # of the same accuracy
    assert wrong.sum() > 5
    runs.load(store, run, *setting)
    runs.verified.remove(run.info.run_id)
    with pytest.raises(OtherNetworkError):
        runs.load(store, run, *setting)
