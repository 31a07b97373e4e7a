"""The commands with both engines, from the command line to the stored runs."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.stored_runs import artifact, runs

pytestmark = pytest.mark.compiler

QUICK = ("--epochs", 2, "--fine-tune-epochs", 1, "--batch-size", 32, "--pruner", "up", "--ratio", 4)


@pytest.fixture
def prune(run_command, tiny_npz, store_uri):
    def run(*arguments):
        result = run_command("prune", "--dataset", tiny_npz, "--control", "none", *QUICK, *arguments)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_runs_of_one_engine_are_found_by_the_other(prune):
    assert "found" not in prune("--engine", "torch")
    assert prune("--engine", "native").count("(already made") == 2
    assert prune().count("(already made") == 2
    assert [run.data.tags["engine"] for run in (*runs("dense"), *runs("pruned"))] == ["torch", "torch"]
    assert "engine" not in runs("dense")[0].data.params


@pytest.mark.parametrize("recipe", ["lenet5", "resnet-cifar"])
def test_both_engines_give_the_same_runs(prune, recipe):
    """The second recipe flips and crops the images."""
    for name in ("torch", "native"):
        prune("--engine", name, "--force", "--recipe", recipe)
    for kind in ("dense", "pruned"):
        by_engine = {run.data.tags["engine"]: run for run in runs(kind)}
        torch, native = by_engine["torch"], by_engine["native"]
        assert torch.data.params == native.data.params
        assert np.isclose(torch.data.metrics["val_loss"], native.data.metrics["val_loss"], rtol=1e-3)
        weights, wanted = (load_file(artifact(run, "checkpoint.safetensors")) for run in (native, torch))
        assert weights.keys() == wanted.keys()
        if kind == "dense":
            assert torch.data.tags["config_hash"] == native.data.tags["config_hash"]
            for name, weight in wanted.items():
                assert (weights[name] - weight).norm() <= 1e-3 * weight.norm()
    masks = load_file(artifact(native, "mask.safetensors"))
    assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())


def test_each_engine_fine_tunes_with_weights_of_few_bits(prune):
    for name in ("torch", "native"):
        prune("--engine", name, "--force", "--weight-bits", 4)
    pruned = runs("pruned")
    assert sorted(run.data.tags["engine"] for run in pruned) == ["native", "torch"]
    assert np.isclose(*(run.data.metrics["val_loss"] for run in pruned), rtol=1e-2)
    for run in pruned:
        weights = load_file(artifact(run, "checkpoint.safetensors"))
        for name, mask in load_file(artifact(run, "mask.safetensors")).items():
            assert max(len(channel.unique()) for channel in weights[name].flatten(1)) <= 15
            assert (weights[name][~mask] == 0).all()


def test_the_readme_shows_the_numbers_that_every_machine_gives(run_command, store_uri):
    """Every line that the README quotes is printed as it stands there."""
    readme = (Path(__file__).parents[4] / "README.md").read_text(encoding="utf-8")
    quoted = readme.split("```text\n", 1)[1].split("```", 1)[0].splitlines()
    result = run_command("prune", "--pruner", "up")
    assert result.exit_code == 0, result.output
    printed = result.output.splitlines()
    assert [line for line in quoted if line != "..." and line not in printed] == []
