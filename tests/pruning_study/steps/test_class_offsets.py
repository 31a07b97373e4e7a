"""`prune --class-offsets dense`: the same network but for the bias of its output layer, in every form that it takes."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import pruning_study
from pruning_study.models import onnx_export
from pruning_study.training.evaluation import Predictions
from tests.samples import first_images
from tests.stored_runs import artifact, runs

BIAS = "fc3.bias"


@pytest.fixture
def data(tmp_path):
    """Write 60 training and 20 test images of each class, two thirds of the former for validation."""
    arrays = first_images(train=60)
    np.savez(tmp_path / "small.npz", **arrays)
    return arrays


@pytest.fixture
def prune(run_command, data, store_uri):
    def run(*arguments, code=0):
        quick = ("--epochs", 4, "--fine-tune-epochs", 2, "--batch-size", 32, "--validation-fraction", 0.667)
        result = run_command("prune", "--dataset", "small.npz", "--control", "none", *quick, *arguments)
        assert result.exit_code == code, result.output
        return result.output

    return run


def images(data):
    return torch.from_numpy(np.ascontiguousarray(data["test_images"].transpose(0, 3, 1, 2)))


def logits(run, data):
    with torch.no_grad():
        return pruning_study.load_model(run.info.run_id)(images(data)).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--pruner", "mp", "--ratio", 10, "--schedule", "cubic", "--distill", 0.5),
        ("--pruner", "none"),
        ("--pruner", "mp", "--ratio", 10, "--start", "initialization", "--frequency", 5),
    ],
)
def test_offsets_are_added_to_the_logits_and_nothing_else_changes(prune, data, options):
    prune(*options)
    (plain,) = runs("pruned")
    prune(*options, "--class-offsets", "dense")
    (with_offsets,) = (run for run in runs("pruned") if run.info.run_id != plain.info.run_id)
    assert len(runs("dense")) == 1
    table = pd.read_csv(artifact(with_offsets, "class_offsets.csv"))
    assert table["class"].tolist() == data["class_names"].tolist()
    assert table["images"].tolist() == [40] * 10
    states = [pruning_study.load_model(run.info.run_id).network.state_dict() for run in (plain, with_offsets)]
    offsets = torch.tensor(table["offset"].to_numpy(), dtype=torch.float32)
    assert torch.equal(states[1][BIAS], states[0][BIAS] + offsets)
    assert all(torch.equal(states[1][name], states[0][name]) for name in states[0] if name != BIAS)
    predicted = Predictions.load(artifact(with_offsets, "predictions.npz")).predicted
    assert predicted.tolist() == (logits(plain, data) + offsets.numpy()).argmax(1).tolist()
    assert (plain.data.params["class_offsets"], with_offsets.data.params["class_offsets"]) == ("none", "dense")
    assert "offset_shrinkage" not in plain.data.params
    assert with_offsets.data.params["offset_shrinkage"] == "1.0"
    assert "class offsets" in with_offsets.data.tags["mlflow.note.content"]
    assert "class offsets" in with_offsets.info.run_name


def test_the_excess_on_validation_images_is_that_of_the_logged_predictions(prune):
    prune("--ratio", 10, "--class-offsets", "dense")
    (pruned,), (dense,) = runs("pruned"), runs("dense")
    table = pd.read_csv(artifact(pruned, "class_offsets.csv"))
    after, before = (Predictions.load(artifact(run, "val_predictions.npz")) for run in (pruned, dense))
    change = pd.Series(after.right * 1.0 - before.right).groupby(after.label).mean()
    assert (change - change.mean()).tolist() == pytest.approx(table["excess_fitted"].tolist(), abs=1e-9)


def test_too_few_validation_images_are_one_line_before_anything_is_made(prune):
    output = prune("--class-offsets", "dense", "--validation-fraction", 0.5, code=2)
    said = " ".join(output.split())
    assert re.search(r"--class-offsets: class '.*' has 30 images, too few to fit its offset", said), said
    assert "give at least 40 images of each class" in said
    assert not runs(status=None)


@pytest.mark.onnx
@pytest.mark.structured
def test_offsets_are_in_every_form_that_the_network_takes(prune, run_command, data, tmp_path):
    prune("--pruner", "l1-structured", "--sparsity", 0.45, "--class-offsets", "dense", "--shrink", "true")
    (pruned,) = runs("pruned")
    assert pd.read_csv(artifact(pruned, "class_offsets.csv"))["offset"].abs().max() > 0.01
    wanted = logits(pruned, data)
    for shrink in ("false", "true"):
        path = tmp_path / f"{shrink}.onnx"
        options = ("--dataset", "small.npz", "--shrink", shrink, "--output", path)
        exported = run_command("export", pruned.info.run_id, *options)
        assert exported.exit_code == 0, exported.output
        found = onnx_export.logits(onnx_export.load(path, path.name), images(data).numpy())
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    quantized = run_command("quantize", pruned.info.run_id, "--dataset", "small.npz", "--number-format", "float16")
    assert quantized.exit_code == 0, quantized.output
    found = Predictions.load(artifact(runs("quantized")[0], "predictions.npz")).predicted
    assert np.mean(found == wanted.argmax(1)) > 0.98
