"""`prune --weight-bits`: the network of a run has its weights on a grid, whatever reads it, and other runs stay."""

import numpy as np
import pytest
import torch

import pruning_study
from pruning_study.models import checkpoints
from pruning_study.options.config import PruneConfig
from tests.plans import planned
from tests.samples import first_images
from tests.stored_runs import artifact, runs

LAYERS = [f"{name}.weight" for name in ("conv1", "conv2", "fc1", "fc2", "fc3")]


@pytest.fixture
def prune(run_command, tmp_path, store_uri):
    np.savez(tmp_path / "small.npz", **first_images(train=60))

    def run(*arguments):
        """Prune, and return the new run and its weights."""
        known = {run.info.run_id for run in runs("pruned")}
        quick = ("--epochs", 2, "--fine-tune-epochs", 2, "--batch-size", 32)
        result = run_command("prune", "--dataset", "small.npz", "--control", "none", *quick, *arguments)
        assert result.exit_code == 0, result.output
        (made,) = (run for run in runs("pruned") if run.info.run_id not in known)
        return made, checkpoints.load(artifact(made, "checkpoint.safetensors"))[0]

    return run


@pytest.mark.parametrize("engine", [None, "torch"])
def test_the_engine_of_a_training_with_quantized_weights_is_that_of_the_dense_network(tiny_npz, engine):
    def engines(**options):
        setting = planned(PruneConfig(dataset=str(tiny_npz), engine=engine, **options))
        trainings = setting.dense[0].hyperparameters, setting.plan.hyperparameters
        return setting.context.engine, *(setting.context.engine_of(training) for training in trainings)

    own, dense, fine_tuned = engines(weight_bits=4)
    assert own is dense is not fine_tuned
    assert fine_tuned.name == own.name
    assert fine_tuned.identity != own.identity
    assert "with weights of 4 bits" in fine_tuned.identity
    assert len(set(engines(weight_bits=4, quantization="after-training"))) == 1


@pytest.mark.slow
def test_networks_are_quantized_while_and_after_training(prune):
    control, plain = prune("--pruner", "none")
    (dense,) = runs("dense")
    after, rounded = prune("--pruner", "none", "--weight-bits", 4, "--quantization", "after-training")
    trained, on_grid = prune("--pruner", "none", "--weight-bits", 4)
    assert len(runs("dense")) == 1
    assert len({run.data.tags["engine"] for run in (dense, control, after, trained)}) == 1
    hashes = {run.data.tags["config_hash"] for run in (control, after, trained)}
    assert len(hashes) == 3
    for name in LAYERS:
        steps = plain[name].flatten(1).abs().amax(1) / 7
        moved = (rounded[name] - plain[name]).flatten(1).abs() / steps[:, None]
        assert 0 < moved.max() < 0.5001
        for weights in (rounded[name], on_grid[name]):
            assert max(len(channel.unique()) for channel in weights.flatten(1)) <= 15
    images = torch.from_numpy(np.ascontiguousarray(first_images(train=60)["test_images"].transpose(0, 3, 1, 2)))
    with np.load(artifact(trained, "predictions.npz")) as predictions, torch.no_grad():
        logits = pruning_study.load_model(trained.info.run_id)(images)
        assert (logits.argmax(1).numpy() == predictions["predicted"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["one-shot", "cubic"])
def test_pruned_weights_are_0_on_the_grid(prune, schedule):
    run, weights = prune("--ratio", 10, "--schedule", schedule, "--weight-bits", 8, "--batch-size", 64)
    masks = checkpoints.load(artifact(run, "mask.safetensors"))[0]
    assert sum(int(mask.sum()) for mask in masks.values()) == 4_931
    assert all(not weights[name][~mask].any() for name, mask in masks.items())
