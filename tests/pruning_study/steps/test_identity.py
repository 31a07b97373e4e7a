import json
from functools import cache
from pathlib import Path

import pytest

from analysis.runs import schema
from pruning_study.data import datasets
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.steps.identity import STEP_VERSIONS, config_hash, hashed_params
from pruning_study.study import plan
from tests.plans import planned

FOLDER = Path(__file__).parent
# Recorded by 0.3.0: later versions have to find the runs in the stores that it made.
RECORDED = [json.loads(line) for line in (FOLDER / "config_hashes.jsonl").read_text().splitlines()]
RECORDED_CHAINS = [json.loads(line) for line in (FOLDER / "chain_hashes.jsonl").read_text().splitlines()]

DEFAULTS = {
    "average_epochs": "0",
    "channel_groups": "own",
    "class_offsets": "none",
    "class_weight_power": "1.0",
    "class_weights": "none",
    "constraint": "none",
    "constraint_images": "train",
    "data_density": "0.5",
    "data_quotas": "none",
    "dataset": "fashion-mnist-mini",
    "decay": "none",
    "distill": "0.0",
    "iteration": "1",
    "keep": "none",
    "model": "lenet5",
    "number_format": "float32",
    "offset_shrinkage": "1.0",
    "optimizer": "sgd",
    "performance_weighted": "none",
    "precision": "float32",
    "protocol": "paper",
    "prune_output_layer": "false",
    "pruner": "mp",
    "quantization": "while-training",
    "ramp": "0.5",
    "ramp_steps": "1",
    "regularizer": "l2",
    "rewind_step": "0",
    "schedule": "one-shot",
    "seed": "0",
    "start": "dense",
    "temperature": "2.0",
    "validation_fraction": "0.1",
    "weight_bits": "32",
    "weight_treatment": "finetune",
}


@cache
def load(dataset, image_size, test_fraction):
    return datasets.load(dataset, data_dir=Path("data"), image_size=image_size, test_fraction=test_fraction)


def setting_of(config):
    """Return the plan and the context of a config, with data that they share."""
    return planned(config, load(*plan.source(config)))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: json.dumps(recorded["options"]))
def test_the_hash_of_every_setting_is_what_it_was(recorded):
    setting = setting_of(PruneConfig(**recorded["options"]))
    dense = config_hash(schema.DENSE, setting.params)
    assert dense == recorded["dense"]
    assert setting.plan.at(setting.plan.options.ratio[0], setting.params, dense).hash == recorded["pruned"]


@pytest.mark.parametrize("recorded", RECORDED_CHAINS, ids=lambda recorded: json.dumps(recorded["options"]))
def test_the_hash_of_every_iteration_is_what_it_was(recorded):
    setting = setting_of(IterateConfig(**recorded["options"]))
    assert [step.config_hash for step in plan.chain_steps(setting.plan.chain, setting.plan)] == recorded["chain"]


def test_the_hash_of_a_network_pruned_twice_is_what_it_was():
    config = PruneConfig(ratio="10")
    setting = setting_of(config)
    dense = plan.dense_step(config, setting.plan.dense)
    once = plan.pruned_step(config, setting.plan, dense)
    twice = plan.pruned_step(PruneConfig(ratio="20"), setting.plan, once)
    assert twice.config_hash == "e8c654124821f90e62026082ec8789be43823e030d300a3aafddba4a9b2b5a35"


def test_the_hashes_of_quantized_networks_are_those_of_the_second_version():
    setting = setting_of(PruneConfig(ratio="10"))
    dense = config_hash(schema.DENSE, setting.params)
    pruned = setting.plan.at(10.0, setting.params, dense)
    assert [
        config_hash(schema.QUANTIZED, {**setting.params, "number_format": "float16"}, dense),
        config_hash(schema.QUANTIZED, {**pruned.params, "number_format": "dynamic-int8"}, pruned.hash),
    ] == [
        "537dd4cca08d1008107b375163d4451be9f1ea25b54eed2497df087bb2193480",
        "3923e004074b89622b07b8739eaca09c64fb88a4dc6a696cdbc7d8c966d09ee1",
    ]


def test_defaults_are_those_that_the_steps_of_these_versions_have():
    """A changed default needs a new step version: otherwise runs with the earlier default are found in its place."""
    assert STEP_VERSIONS == {"dense": 1, "pruned": 1, "quantized": 2, "compressed": 3}
    assert schema.DEFAULTS == DEFAULTS


def test_params_at_their_defaults_are_not_hashed():
    params = {"pruner": "up", "ratio": "10.0"}
    assert hashed_params({**params, "schedule": "one-shot", "distill": "0.0", "iteration": "1"}) == params
    assert hashed_params({**params, "schedule": "cubic"}) == {**params, "schedule": "cubic"}


def test_a_new_option_with_a_default_changes_no_hash(monkeypatch):
    params = {"pruner": "up", "ratio": "10.0"}
    before = config_hash("pruned", params)
    monkeypatch.setitem(schema.DEFAULTS, "new", "none")
    assert config_hash("pruned", {**params, "new": "none"}) == before
    assert config_hash("pruned", {**params, "new": "other"}) != before


def test_a_param_that_the_schema_does_not_know_is_hashed():
    assert config_hash("dense", {"own": "1"}) != config_hash("dense", {"own": "2"})


def test_kind_and_parent_are_hashed():
    hashes = {config_hash("dense", {}), config_hash("pruned", {}), config_hash("pruned", {}, "abc")}
    assert len(hashes) == 3
