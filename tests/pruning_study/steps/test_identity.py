import json
from pathlib import Path

import pytest

from analysis.runs import schema
from pruning_study.options.config import PruneConfig
from pruning_study.steps.identity import config_hash, hashed_params
from pruning_study.steps.settings import PruneSetting

# Recorded before params were given roles and runs a parent: stores made then have to be found.
RECORDED = [json.loads(line) for line in (Path(__file__).parent / "config_hashes.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: json.dumps(recorded["options"]))
def test_the_hash_of_every_setting_is_what_it_was(recorded):
    setting = PruneSetting(PruneConfig(**recorded["options"]))
    dense = config_hash(schema.DENSE, setting.params)
    params = setting.pruned_params(setting.params, setting.config.ratio[0])
    assert dense == recorded["dense"]
    assert config_hash(schema.PRUNED, params, dense) == recorded["pruned"]


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
