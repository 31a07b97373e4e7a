import json
from functools import cache
from pathlib import Path

import pytest

from analysis.runs import schema
from pruning_study.data import datasets
from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.steps.identity import config_hash, hashed_params
from pruning_study.study import plan
from tests.plans import planned

FOLDER = Path(__file__).parent
# Recorded by earlier versions: the stores that they made have to be found.
RECORDED = [json.loads(line) for line in (FOLDER / "config_hashes.jsonl").read_text().splitlines()]
RECORDED_CHAINS = [json.loads(line) for line in (FOLDER / "chain_hashes.jsonl").read_text().splitlines()]


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
    assert twice.config_hash == "a792a56f2c3902d0d6a2c78e36eb083f0e8beac6fa5959acbb6be3ab36b161a0"


def test_the_hashes_of_quantized_networks_are_those_of_the_second_version():
    setting = setting_of(PruneConfig(ratio="10"))
    dense = config_hash(schema.DENSE, setting.params)
    pruned = setting.plan.at(10.0, setting.params, dense)
    assert [
        config_hash(schema.QUANTIZED, {**setting.params, "number_format": "float16"}, dense),
        config_hash(schema.QUANTIZED, {**pruned.params, "number_format": "dynamic-int8"}, pruned.hash),
    ] == [
        "15bf9da4a4eef06ad682cfc53af390bdf947bdc05a0a710ba53f3d25874ef94c",
        "72bd87ccc3c75314ea347fa0e45efe72e5bcc98dcc5273254bdda324d643dc40",
    ]


def test_a_later_param_is_hashed_only_where_it_differs_from_what_was_always_done():
    before = {"pruner": "mp", "ratio": "10.0"}
    assert hashed_params({**before, "scope": "global", "iteration": "1"}) == before
    assert hashed_params({**before, "scope": "layer"}) == {**before, "scope": "layer"}


def test_schedule_and_distillation_are_always_hashed():
    params = {"schedule": "one-shot", "distill": "0.0"}
    assert hashed_params(params) == params


def test_a_param_that_the_schema_does_not_know_is_hashed():
    assert config_hash("dense", {"own": "1"}) != config_hash("dense", {"own": "2"})


def test_kind_and_parent_are_hashed():
    hashes = {config_hash("dense", {}), config_hash("pruned", {}), config_hash("pruned", {}, "abc")}
    assert len(hashes) == 3
