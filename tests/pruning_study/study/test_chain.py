"""A study of three levels: made, killed, resumed and found."""

import pytest
import torch

import pruning_study
from pruning_study.models import checkpoints
from tests.chained_study import chain, make
from tests.deadline import wait_until
from tests.stored_runs import artifact, runs
from tests.warm_processes import WarmProcess, run_module


def level(run):
    return int(run.data.params.get("iteration", 0))


@pytest.fixture
def planned(tiny_npz, store_uri):
    return chain(str(tiny_npz), seeds=2)


@pytest.mark.slow
def test_every_level_starts_from_the_one_before_and_is_found_again(planned):
    assert make(planned, workers=2) == {"made": 6}
    by_id = {run.info.run_id: run for kind in ("dense", "pruned") for run in runs(kind)}
    assert sorted(map(level, by_id.values())) == [0, 0, 1, 1, 2, 2]
    for run in runs("pruned"):
        parent = by_id[run.data.tags["parent_run_id"]]
        dense = by_id[run.data.tags["dense_run_id"]]
        assert level(parent) == level(run) - 1
        assert (level(dense), dense.data.params["seed"]) == (0, run.data.params["seed"])
        masks, _ = checkpoints.load(artifact(run, "mask.safetensors"))
        network = pruning_study.load_model(run.info.run_id).network
        assert all(torch.all(network.get_parameter(name)[~mask] == 0) for name, mask in masks.items())
        if level(run) == 2:
            before, _ = checkpoints.load(artifact(parent, "mask.safetensors"))
            assert all(torch.all(before[name] | ~mask) for name, mask in masks.items())
    assert make(planned, workers=1) == {"found": 6}


@pytest.mark.slow
def test_a_killed_chain_goes_on_where_it_was(planned, tiny_npz):
    process = WarmProcess(run_module, "tests.chained_study", tiny_npz, 2)
    wait_until(lambda: runs("pruned"), process)
    process.kill_group()
    process.wait()
    counts = make(planned, workers=2)
    assert counts["found"] >= 2
    assert counts["found"] + counts["made"] == 6
    made = [run.data.tags["config_hash"] for kind in ("dense", "pruned") for run in runs(kind)]
    assert sorted(made) == sorted(step.config_hash for step in planned.steps)
