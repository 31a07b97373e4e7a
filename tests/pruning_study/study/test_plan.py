"""The steps that a study's file comes to."""

import json
from pathlib import Path

import pytest

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models import checkpoints
from pruning_study.options.config import PruneConfig
from pruning_study.study import grid, plan
from tests.plans import planned

HASHES = Path(__file__).parents[1] / "steps" / "config_hashes.jsonl"


def read(tmp_path, text, **given):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return plan.plan(grid.read(file, given), download=False)


def test_a_dense_run_is_planned_once_for_all_that_is_pruned_from_it(tmp_path):
    steps = read(tmp_path, "{pruner: [mp, gp, none], ratio: [2, 10], seed: 0-1}").steps
    assert [step.kind for step in steps].count("dense") == 2
    assert [step.kind for step in steps].count("pruned") == 2 * 5
    for seed in (0, 1):
        dense, *pruned = [step for step in steps if step.config.seed == seed]
        assert (dense.kind, dense.parent_hash, dense.iteration) == ("dense", "", 0)
        assert {(step.parent_hash, step.iteration) for step in pruned} == {(dense.config_hash, 1)}
    assert len({step.config_hash for step in steps}) == len(steps)


def test_a_study_of_both_precisions_has_dense_runs_of_both(tmp_path):
    steps = read(tmp_path, "{ratio: [2], grids: [{}, {precision: bf16}]}").steps
    assert [(step.kind, step.config.precision) for step in steps] == [
        *(("dense", "float32"), ("pruned", "float32")),
        *(("dense", "bf16"), ("pruned", "bf16")),
    ]
    assert len({step.config_hash for step in steps}) == 4
    assert [step.parent_hash for step in steps[1::2]] == [step.config_hash for step in steps[::2]]


def test_given_weights_with_two_orders_of_classes_are_two_networks(tmp_path, tiny_npz, tiny):
    model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
    checkpoints.save(tmp_path / "net.safetensors", model.state_dict())
    for file, names in (("same.txt", tiny["class_names"]), ("reversed.txt", tiny["class_names"][::-1])):
        (tmp_path / file).write_text("\n".join(names))
    weights = f"weights: {tmp_path}/net.safetensors, count_zeros: true"
    orders = ", ".join(f"{{class_names: {tmp_path}/{file}}}" for file in ("same.txt", "reversed.txt"))
    text = f"{{dataset: [{tiny_npz}], ratio: [2], {weights}, grids: [{{}}, {orders}]}}"
    steps = read(tmp_path, text).steps
    assert [step.kind for step in steps] == ["dense", "pruned"] * 2
    assert [(step.config.class_names, step.config.count_zeros) for step in steps[::2]] == [
        (None, True),
        (tmp_path / "reversed.txt", True),
    ]
    assert len({step.config_hash for step in steps}) == 4


def test_the_hash_of_a_step_is_that_of_the_run_that_prune_makes(tmp_path):
    _, step = read(tmp_path, "{pruner: [up], ratio: [4], seed: [29]}").steps
    recorded = {"pruner": "up", "ratio": "4", "seed": "29"}
    lines = HASHES.read_text().splitlines()
    (wanted,) = [of["pruned"] for of in map(json.loads, lines) if of["options"] == recorded]
    assert step.config_hash == wanted


def test_a_sparsity_is_the_run_of_its_ratio(tmp_path):
    grids = "grids: [{sparsity: [0.5, 0.9]}, {ratio: [%s]}]" % (60_074 / (29_499 + 1_076))
    steps = read(tmp_path, "{pruner: [mp, none], " + grids + "}").steps
    assert sorted(step.config.ratio for step in steps if step.kind == "pruned") == [
        (1.0,),
        (60_074 / (29_499 + 1_076),),
        (60_074 / (5_900 + 1_076),),
    ]
    assert {step.config.sparsity for step in steps} == {None}


def test_a_sparsity_whose_data_are_elsewhere_is_named_by_itself(tmp_path):
    (_, step) = read(tmp_path, "{dataset: [cifar10], sparsity: [0.9]}", data_dir=tmp_path).steps
    assert step.name == "cifar10 lenet5 mp sparsity 0.9 seed 0"


def test_a_run_pruned_again_has_its_own_hash_name_and_parent():
    config = PruneConfig(ratio="2")
    setting = planned(config)
    dense = plan.dense_step(config, setting.plan.dense)
    once = plan.pruned_step(config, setting.plan, dense)
    again = plan.pruned_step(config, setting.plan, once)
    assert (again.parent_hash, again.iteration) == (once.config_hash, 2)
    assert again.config_hash not in (once.config_hash, dense.config_hash)
    assert again.name == "fashion-mnist-mini lenet5 mp ratio 2 iteration 2 seed 0"


def test_a_data_set_that_is_elsewhere_has_steps_without_a_hash(tmp_path):
    steps = read(tmp_path, "{dataset: [cifar10], pruner: [mp, up]}", data_dir=tmp_path).steps
    assert [(step.kind, step.config_hash) for step in steps] == [("dense", ""), ("pruned", ""), ("pruned", "")]


def test_what_takes_fine_tuning_is_named_with_its_place_in_the_file(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("{schedule: [one-shot, cubic], ratio: [2, 0.5], fine_tune_epochs: 0}")
    with pytest.raises(StudyError) as error:
        plan.plan(grid.read(file), download=False)
    ratio, epochs = str(error.value).splitlines()[1:]
    assert ratio.startswith("  ratio[1]: 0.5 ")
    assert epochs.startswith("  fine_tune_epochs: 0 ")
    assert "gradual pruning" in epochs


def test_a_ratio_that_leaves_a_layer_no_channel_is_named_with_its_place_in_the_file(tmp_path):
    """LeNet5's first layer has one channel: half of the prunable weights is the most that every layer can prune."""
    with pytest.raises(StudyError, match=r"ratio\[1\]: sparsity 0\.764 leaves no input channel of conv1\.weight"):
        read(tmp_path, "{pruner: [l1-structured], ratio: [1.5, 4]}")


def test_steps_of_two_precisions_have_different_names():
    """Progress lines named both alike."""
    config = PruneConfig(ratio="4", precision="bf16", engine="torch", pruner="mp")
    names = [plan.Step(kind, config).name for kind in ("dense", "pruned")]
    assert [name.split(" ", 1)[1] for name in names] == ["lenet5 dense bf16 seed 0", "lenet5 mp bf16 ratio 4 seed 0"]
