"""Runs that a step starts from: what loading one takes, and what it leaves alone."""

import numpy as np
import pytest
import torch

from analysis.runs.errors import StudyError
from pruning_study.config import PruneConfig, TrainConfig
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.steps import dense, pruned, runs
from pruning_study.steps.settings import PruneSetting, TrainSetting, following
from pruning_study.tracking.connect import connect
from tests.stored_runs import artifact

OPTIONS = {"epochs": 1, "fine_tune_epochs": 1, "batch_size": 32}


@pytest.fixture
def store(store_uri):
    return connect()


@pytest.fixture
def made(store, tiny_npz):
    """The run id of a dense run of given weights, whose file names a normalisation of its own."""
    config = TrainConfig(dataset=str(tiny_npz))
    weights = tiny_npz.with_suffix(".safetensors")
    checkpoints.save(weights, TrainSetting(config).model.state_dict(), {"mean": "[0.25]", "std": "[0.5]"})
    setting = TrainSetting(TrainConfig(dataset=str(tiny_npz), weights=weights))
    return dense.train(store, "0", setting).run_id


def setting_for(store, run_id, tiny_npz, **options):
    config = PruneConfig(dataset=str(tiny_npz), dense_run_id=run_id, ratio="2", **OPTIONS, **options)
    return PruneSetting(following(config, store.get(run_id)))


def test_loading_a_parent_changes_nothing_of_the_setting(store, made, tiny_npz):
    setting = setting_for(store, made, tiny_npz)
    own, weights = setting.normalization, {k: v.clone() for k, v in setting.model.state_dict().items()}
    parent = runs.load(store, store.get(made), setting)
    assert parent.normalization == Normalization([0.25], [0.5]) != own
    assert setting.normalization == own
    assert all(torch.equal(setting.model.state_dict()[name], weight) for name, weight in weights.items())


def test_every_pruner_uses_the_normalisation_of_its_parent(store, made, tiny_npz):
    """Also the second one, whose setting has not loaded the parent itself."""
    settings = [setting_for(store, made, tiny_npz, pruner=pruner) for pruner in ("mp", "rp")]
    parent = runs.load(store, store.get(made), settings[0])
    for setting in settings:
        run = pruned.prune(store, "0", setting, parent, 2.0)
        _, metadata = checkpoints.load(artifact(store.get(run.run_id), "checkpoint.safetensors"))
        assert (metadata["mean"], metadata["std"]) == ("[0.25]", "[0.5]")
        assert store.get(run.run_id).data.tags["normalization_mean"] == "[0.25]"


def test_a_pruned_run_is_loaded_with_its_masks_and_its_dense_run(store, tiny_npz):
    setting = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="2", **OPTIONS))
    parent = dense.train(store, "0", setting)
    run = pruned.prune(store, "0", setting, parent, 2.0)
    loaded = runs.load(store, store.get(run.run_id), setting)
    assert (loaded.iteration, loaded.config_hash, loaded.gradient) == (1, run.config_hash, None)
    assert loaded.dense.run_id == parent.run_id
    assert np.array_equal(loaded.dense.predictions.predicted, parent.dense.predictions.predicted)
    for name, mask in loaded.masks.items():
        assert torch.equal(mask, run.masks[name])
        assert torch.equal(loaded.model.get_parameter(name), run.model.get_parameter(name))


def test_a_ratio_that_keeps_more_than_is_left_is_an_error(store, tiny_npz):
    setting = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="4", **OPTIONS))
    once = pruned.prune(store, "0", setting, dense.train(store, "0", setting), 4.0)
    with pytest.raises(StudyError, match="larger ratio"):
        pruned.prune(store, "0", setting, once, 2.0)


def test_the_control_keeps_what_its_parent_has_left(store, tiny_npz):
    setting = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="4", **OPTIONS))
    once = pruned.prune(store, "0", setting, dense.train(store, "0", setting), 4.0)
    control = PruneSetting(PruneConfig(dataset=str(tiny_npz), pruner="none", **OPTIONS))
    masks = pruned.pruning_masks(control, once, 1.0)
    assert all(torch.equal(mask, once.masks[name]) for name, mask in masks.items())


@pytest.mark.parametrize(("name", "keyword"), [("checkpoint", "conv1"), ("gradient", r"gradient\.safetensors")])
def test_an_artifact_of_another_model_is_named(store, tiny_npz, name, keyword):
    setting = TrainSetting(TrainConfig(dataset=str(tiny_npz), epochs=1))
    run = store.get(dense.train(store, "0", setting).run_id)
    checkpoints.save(artifact(run, f"{name}.safetensors"), {"conv1.weight": torch.zeros(2)})
    with pytest.raises(StudyError, match=keyword):
        runs.load(store, run, setting)


def test_other_data_are_named(store, tiny_npz, tiny, tmp_path):
    setting = TrainSetting(TrainConfig(dataset=str(tiny_npz), epochs=1))
    run = store.get(dense.train(store, "0", setting).run_id)
    other = tmp_path / "other.npz"
    np.savez(other, **{**tiny, "test_images": 255 - tiny["test_images"]})
    with pytest.raises(StudyError, match="--dataset"):
        runs.load(store, run, TrainSetting(TrainConfig(dataset=str(other), epochs=1)))


CHAINS = [
    {"pruner": "rp", "schedule": "cubic", "regrow": True},
    {"pruner": "gp", "schedule": "cubic", "regrow": True, "scope": "layer"},
    {"pruner": "up-signed", "schedule": "cubic", "regrow": True, "scope": "layer"},
    {"pruner": "rp", "schedule": "cubic"},
    {"pruner": "up", "distill": 0.5},
    {"pruner": "mp", "scope": "layer"},
]


@pytest.mark.parametrize("options", CHAINS, ids=str)
def test_a_weight_that_the_parent_has_pruned_stays_pruned(store, tiny_npz, options):
    setting = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="4", **{**OPTIONS, "fine_tune_epochs": 3}))
    once = pruned.prune(store, "0", setting, dense.train(store, "0", setting), 4.0)
    again = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="6", **{**OPTIONS, "fine_tune_epochs": 3}, **options))
    twice = pruned.prune(store, "0", again, once, 6.0)
    for name, mask in twice.masks.items():
        assert not (mask & ~once.masks[name]).any()
        assert (twice.model.get_parameter(name)[~once.masks[name]] == 0).all()
    assert store.get(twice.run_id).data.params["iteration"] == "2"


def test_a_parent_with_a_pruned_output_layer_needs_the_same_option(store, tiny_npz):
    setting = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="4", prune_output_layer=True, **OPTIONS))
    once = pruned.prune(store, "0", setting, dense.train(store, "0", setting), 4.0)
    without = PruneSetting(PruneConfig(dataset=str(tiny_npz), ratio="8", **OPTIONS))
    with pytest.raises(StudyError, match="output layer") as error:
        pruned.prune(store, "0", without, once, 8.0)
    assert error.value.option == "--prune-output-layer"
