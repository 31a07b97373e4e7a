"""Runs that a step starts from: what loading one takes, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.common.errors import StudyError
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.options.config import PruneConfig, TrainConfig
from pruning_study.steps import dense, pruned, runs
from pruning_study.steps.followed import following
from tests.plans import planned
from tests.stored_runs import artifact

OPTIONS = {"epochs": 1, "fine_tune_epochs": 1, "batch_size": 32}


@pytest.fixture
def store(shared_store):
    """Return a store in which a test finds the runs of the tests before it. One that is left damaged is made again."""
    return shared_store[0]


@pytest.fixture
def tiny_npz(shared_store):
    return shared_store[1]


@pytest.fixture
def made(store, tiny_npz):
    """The run id of a dense run of given weights, whose file names a normalisation of its own."""
    config = TrainConfig(dataset=str(tiny_npz))
    weights = tiny_npz.with_suffix(".safetensors")
    checkpoints.save(weights, planned(config).context.model.state_dict(), {"mean": "[0.25]", "std": "[0.5]"})
    setting = planned(TrainConfig(dataset=str(tiny_npz), weights=weights))
    return dense.train(*setting.in_job(store).dense).run_id


def setting_for(store, run_id, tiny_npz, **options):
    config = PruneConfig(dataset=str(tiny_npz), dense_run_id=run_id, ratio="2", **OPTIONS, **options)
    return planned(following(config, store.get(run_id)))


def test_loading_a_parent_changes_nothing_of_the_setting(store, made, tiny_npz):
    setting = setting_for(store, made, tiny_npz)
    own, weights = setting.context.normalization, {k: v.clone() for k, v in setting.context.model.state_dict().items()}
    parent = runs.load(store, store.get(made), *setting.dense)
    assert parent.normalization == Normalization([0.25], [0.5]) != own
    assert setting.context.normalization == own
    assert all(torch.equal(setting.context.model.state_dict()[name], weight) for name, weight in weights.items())


def test_every_pruner_uses_the_normalisation_of_its_parent(store, made, tiny_npz):
    """Also the second one, whose setting has not loaded the parent itself."""
    settings = [setting_for(store, made, tiny_npz, pruner=pruner) for pruner in ("mp", "rp")]
    parent = runs.load(store, store.get(made), *settings[0].dense)
    for setting in settings:
        run = pruned.prune(*setting.at_ratio(2.0).in_job(store), parent)
        _, metadata = checkpoints.load(artifact(store.get(run.run_id), "checkpoint.safetensors"))
        assert (metadata["mean"], metadata["std"]) == ("[0.25]", "[0.5]")
        assert store.get(run.run_id).data.tags["normalization_mean"] == "[0.25]"


def test_a_pruned_run_is_loaded_with_its_masks_and_its_dense_run(store, tiny_npz):
    setting = planned(PruneConfig(dataset=str(tiny_npz), ratio="2", **OPTIONS))
    parent = dense.train(*setting.in_job(store).dense)
    run = pruned.prune(*setting.at_ratio(2.0).in_job(store), parent)
    loaded = runs.load(store, store.get(run.run_id), *setting.dense)
    assert (loaded.iteration, loaded.config_hash, loaded.gradient) == (1, run.config_hash, None)
    assert loaded.dense.run_id == parent.run_id
    assert np.array_equal(loaded.dense.predictions.predicted, parent.dense.predictions.predicted)
    for name, mask in loaded.masks.items():
        assert torch.equal(mask, run.masks[name])
        assert torch.equal(loaded.model.get_parameter(name), run.model.get_parameter(name))


def test_a_run_that_was_pruned_from_another_dense_run_of_the_same_options_is_not_found(store, tiny_npz):
    setting = planned(PruneConfig(dataset=str(tiny_npz), ratio="2", seed=5, **OPTIONS)).in_job(store)
    plan, context = setting.dense
    first, second = (dense.train(replace(plan, force=True), context) for _ in range(2))
    assert first.config_hash == second.config_hash
    made = {parent.run_id: pruned.prune(*setting.at_ratio(2.0), parent) for parent in (first, second)}
    assert [run.is_reused for run in made.values()] == [False, False]
    for parent in (first, second):
        found = pruned.prune(*setting.at_ratio(2.0), parent)
        assert (found.run_id, found.is_reused) == (made[parent.run_id].run_id, True)
        assert store.get(found.run_id).data.tags["dense_run_id"] == parent.run_id


@pytest.fixture
def once(store, tiny_npz):
    """Return a network that has been pruned once, to a quarter of its parameters."""
    setting = planned(PruneConfig(dataset=str(tiny_npz), ratio="4", **OPTIONS))
    run = pruned.prune(*setting.at_ratio(4.0).in_job(store), dense.train(*setting.in_job(store).dense))
    return runs.load(store, store.get(run.run_id), *setting.dense)


def test_a_ratio_that_keeps_more_than_is_left_is_an_error(store, tiny_npz, once):
    setting = planned(PruneConfig(dataset=str(tiny_npz), ratio="4", **OPTIONS))
    with pytest.raises(StudyError, match="larger ratio"):
        pruned.prune(*setting.at_ratio(2.0).in_job(store), once)


def test_the_control_keeps_what_its_parent_has_left(tiny_npz, once):
    control = planned(PruneConfig(dataset=str(tiny_npz), pruner="none", **OPTIONS))
    masks = pruned.pruning_masks(pruned.plan_for(*control.at_ratio(1.0), once), control.context, once)
    assert all(torch.equal(mask, once.masks[name]) for name, mask in masks.items())


@pytest.mark.attack
def test_a_checkpoint_of_another_model__is_named(store, tiny_npz):
    setting = planned(TrainConfig(dataset=str(tiny_npz), epochs=1))
    run = store.get(dense.train(*setting.in_job(store).dense).run_id)
    checkpoints.save(artifact(run, "checkpoint.safetensors"), {"conv1.weight": torch.zeros(2)})
    with pytest.raises(StudyError, match="conv1"):
        runs.load(store, run, *setting.dense)


@pytest.mark.attack
def test_a_run_of_other_images__is_refused(store, tiny_npz, tiny, tmp_path):
    setting = planned(TrainConfig(dataset=str(tiny_npz), epochs=1))
    run = store.get(dense.train(*setting.in_job(store).dense).run_id)
    other = tmp_path / "other.npz"
    np.savez(other, **{**tiny, "test_images": 255 - tiny["test_images"]})
    with pytest.raises(StudyError, match="--dataset"):
        runs.load(store, run, *planned(TrainConfig(dataset=str(other), epochs=1)))


CHAINS = [
    {"pruner": "rp", "schedule": "cubic", "regrow": True},
    {"pruner": "gp", "schedule": "cubic", "regrow": True, "scope": "layer"},
    {"pruner": "up-signed", "schedule": "cubic", "regrow": True, "scope": "layer"},
    {"pruner": "rp", "schedule": "cubic"},
    {"pruner": "up", "distill": 0.5},
    {"pruner": "mp", "scope": "layer"},
]


@pytest.mark.parametrize("options", CHAINS, ids=str)
def test_a_weight_that_the_parent_has_pruned_stays_pruned(store, tiny_npz, once, options):
    again = planned(PruneConfig(dataset=str(tiny_npz), ratio="6", **{**OPTIONS, "fine_tune_epochs": 3}, **options))
    twice = pruned.prune(*again.at_ratio(6.0).in_job(store), once)
    for name, mask in twice.masks.items():
        assert not (mask & ~once.masks[name]).any()
        assert (twice.model.get_parameter(name)[~once.masks[name]] == 0).all()
    assert store.get(twice.run_id).data.params["iteration"] == "2"


def test_a_parent_with_a_pruned_output_layer_needs_the_same_option(store, tiny_npz):
    setting = planned(PruneConfig(dataset=str(tiny_npz), ratio="4", prune_output_layer=True, **OPTIONS))
    once = pruned.prune(*setting.at_ratio(4.0).in_job(store), dense.train(*setting.in_job(store).dense))
    without = planned(PruneConfig(dataset=str(tiny_npz), ratio="8", **OPTIONS))
    with pytest.raises(StudyError, match="output layer") as error:
        pruned.prune(*without.at_ratio(8.0).in_job(store), once)
    assert error.value.option == "prune_output_layer"


@pytest.fixture
def dense_run(store, tiny_npz):
    """Return the setting and the run of a trained network."""
    setting = planned(PruneConfig(dataset=str(tiny_npz), ratio="4", pruner="gp", **OPTIONS))
    return setting, store.get(dense.train(*setting.in_job(store).dense).run_id)


def test_a_network_without_a_prunable_weight_has_no_norm_of_its_gradient(store, tiny_npz, tmp_path, monkeypatch):
    source = "from torch import nn\ndef made(num_classes, in_channels):\n    "
    source += "return nn.Sequential(nn.Flatten(), nn.Linear(784 * in_channels, num_classes))\n"
    (tmp_path / "only_an_output.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    options = {"epochs": 1, "batch_size": 32, "model": "only_an_output:made"}
    run = dense.train(*planned(TrainConfig(dataset=str(tiny_npz), **options)).in_job(store).dense)
    assert run.metrics["test_accuracy"] > 0
    assert not [name for name in run.metrics if name.endswith("gradient_norm")]


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({"pruner": "gp"}, 1.0),
        ({"pruner": "gp", "scope": "layer"}, 1.0),
        ({"pruner": "mp"}, None),
        ({"pruner": "gp", "schedule": "cubic", "fine_tune_epochs": 2}, None),
        ({"pruner": "gp", "start": "initialization", "begin": 0, "end": 0}, None),
    ],
)
def test_what_magnitude_pruning_keeps_too_is_measured_where_a_gradient_prunes_at_once(store, dense_run, options, share):
    setting = dense_run[0].at(**{"fine_tune_learning_rate": 0.02, **options})  # not that of other tests' runs
    parent = runs.load(store, dense_run[1], *dense_run[0].dense)
    parent.gradient.update({name: parent.model.get_parameter(name).detach().clone() for name in parent.gradient})
    run = pruned.prune(*setting.at_ratio(4.0).in_job(store), parent)
    assert run.metrics.get("mp_overlap") == share


def test_a_mask_of_the_weights_that_magnitude_pruning_removes_has_no_overlap(store, dense_run):
    """At ratio 4 a quarter of all parameters is left, so that the gradient can choose none of the largest weights."""
    parent = runs.load(store, dense_run[1], *dense_run[0].dense)
    weights = {name: parent.model.get_parameter(name).detach() for name in parent.gradient}
    parent.gradient.update({name: 1 / (weight * weight.abs() + 1e-30) for name, weight in weights.items()})
    run = pruned.prune(*dense_run[0].at(fine_tune_learning_rate=0.03).at_ratio(4.0).in_job(store), parent)
    assert run.metrics["mp_overlap"] == 0


@pytest.fixture
def pruned_run(store, dense_run):
    """Return the setting and the run of a pruned network."""
    setting, run = dense_run
    made = pruned.prune(*setting.at_ratio(4.0).in_job(store), runs.load(store, run, *setting.dense))
    return setting, store.get(made.run_id)


def refused(store, run, setting):
    """Return the message with which a run is refused."""
    with pytest.raises(StudyError) as error:
        runs.load(store, store.get(run.info.run_id), *setting.dense)
    assert str(error.value).isprintable()
    assert run.info.run_id in str(error.value)
    return str(error.value)


@pytest.mark.attack
def test_a_run_whose_checkpoint_names_no_normalisation__is_refused(store, dense_run):
    setting, run = dense_run
    weights, _ = checkpoints.load(artifact(run, "checkpoint.safetensors"))
    checkpoints.save(
        artifact(run, "checkpoint.safetensors"), {name: weight.clone() for name, weight in weights.items()}
    )
    assert "lack mean and std" in refused(store, run, setting)
