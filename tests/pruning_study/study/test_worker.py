"""What a worker keeps in memory, and what it does where a parent is gone."""

from dataclasses import replace

import numpy as np
import pytest

from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.study import plan
from pruning_study.study.worker import KEPT_MODELS, SharedDataset, Worker
from pruning_study.tracking.connect import connect
from tests.plans import planned
from tests.stored_runs import artifact, runs


class Array:
    """An array of this process, in place of one in shared memory."""

    def __init__(self, array):
        self._array = array

    def numpy(self):
        return self._array


@pytest.fixture
def config(tiny_npz):
    return PruneConfig(dataset=str(tiny_npz), epochs=1, fine_tune_epochs=1, batch_size=64, ratio="1")


@pytest.fixture
def setting(config):
    return planned(config)


@pytest.fixture
def new_worker(config, setting, store_uri):
    """Return a function that makes a worker, which has no model in memory."""
    store = connect()
    data = {plan.source(config): SharedDataset(setting.context.data, Array)}
    return lambda: Worker(store.uri, store.experiment_id, "small", "0", data)


@pytest.fixture
def worker(new_worker):
    return new_worker()


def chain(config, setting, *ratios, seed=0):
    config = replace(config, seed=seed)
    steps = [plan.dense_step(config, setting.plan.dense)]
    for ratio in ratios:
        steps.append(plan.pruned_step(replace(config, ratio=(ratio,)), setting.plan, steps[-1]))
    return steps


def test_a_step_is_made_and_then_found(worker, config, setting):
    steps = chain(config, setting, 2.0)
    assert [worker(step).state for step in steps] == ["made", "made"]
    assert [worker(step).state for step in steps] == ["found", "found"]
    assert len(runs("dense")) == len(runs("pruned")) == 1


def test_the_hash_of_a_run_is_that_of_its_step(worker, config, setting):
    steps = chain(config, setting, 2.0, 4.0)
    for step in steps:
        worker(step)
    made = {run.data.tags["config_hash"] for kind in ("dense", "pruned") for run in runs(kind)}
    assert made == {step.config_hash for step in steps}


@pytest.mark.slow
def test_one_parent_of_many_is_never_loaded(worker, config, setting, caplog):
    """As many steps as fill the memory several times over start from one dense run, which stays in it."""
    dense, *_ = chain(config, setting)
    worker(dense)
    artifact(runs("dense")[0], "checkpoint.safetensors").unlink()
    for ratio in range(2, 2 + 2 * KEPT_MODELS):
        step = plan.pruned_step(replace(config, ratio=(float(ratio),)), setting.plan, dense)
        assert worker(step).state == "made"
    assert len(runs("dense")) == 1


def test_a_parent_that_is_not_in_memory_is_loaded(worker, new_worker, config, setting):
    first, second, third = chain(config, setting, 2.0, 4.0)
    worker(first)
    worker(second)
    outcome = new_worker()(third)
    assert outcome.state == "made"
    assert runs("pruned")[-1].data.tags["parent_run_id"] == runs("pruned")[0].info.run_id


def test_a_dense_parent_that_is_gone_is_made_again(worker, config, setting):
    dense, pruned = chain(config, setting, 2.0)
    outcome = worker(pruned)
    assert outcome.state == "made"
    assert [run.data.tags["config_hash"] for run in runs("dense")] == [dense.config_hash]


def test_a_pruned_parent_that_is_gone_is_a_failed_step(worker, config, setting):
    *_, last = chain(config, setting, 2.0, 4.0)
    outcome = worker(last)
    assert (outcome.state, outcome.run_id) == ("failed", "")
    assert "missing or damaged" in outcome.error


def test_a_damaged_level_is_made_again_and_the_next_one_starts_from_it(worker, new_worker, tiny_npz):
    config = IterateConfig(dataset=str(tiny_npz), epochs=1, batch_size=64, iterations=4)
    steps = plan.chain_steps(config, planned(config).plan)
    for step in steps[:-1]:
        worker(step)
    *_, damaged = runs("pruned")
    artifact(damaged, "checkpoint.safetensors").write_bytes(b"damaged")
    assert new_worker()(steps[-1]).state == "made"
    first, _, again, last = runs("pruned")
    assert [run.data.tags["config_hash"] for run in (damaged, again)] == [steps[2].config_hash] * 2
    assert again.data.tags["parent_run_id"] == first.info.run_id
    assert last.data.tags["parent_run_id"] == again.info.run_id


def test_what_fails_is_one_line(worker, config, setting):
    diverging = replace(config, learning_rate=1e30)
    step = plan.dense_step(diverging, planned(diverging, setting.context.data).plan.dense)
    outcome = worker(step)
    assert outcome.state == "failed"
    assert "diverged" in outcome.error
    assert "\n" not in outcome.error


def test_a_shared_data_set_is_the_data_set(setting):
    shared = SharedDataset(setting.context.data, Array).dataset()
    assert (shared.name, shared.classes, shared.digest) == (
        setting.context.data.name,
        setting.context.data.classes,
        setting.context.data.digest,
    )
    assert np.array_equal(shared.train_images, setting.context.data.train_images)
