"""How steps are grouped into tasks, and what becomes of a task."""

from dataclasses import replace

import pytest

from pruning_study.options.config import IterateConfig, PruneConfig
from pruning_study.study import plan
from pruning_study.study.lineage import Site, lineages, make
from pruning_study.study.plan import Step
from pruning_study.tracking.connect import connect
from tests.plans import planned
from tests.stored_runs import artifact, runs


def step(key, parent="", config=None):
    return Step("pruned" if parent else "dense", config or PruneConfig(seed=ord(key[0])), parent, key)


PRUNED = [PruneConfig(seed=ord("a"), ratio=(float(ratio),)) for ratio in (2, 4, 8)]
CHAIN = IterateConfig(seed=ord("b"), iterations=3)
A, A2, A4, A8 = step("a"), *(step(f"a{int(each.ratio[0])}", "a", each) for each in PRUNED)
B, B1, B2 = step("b"), step("b1", "b", CHAIN), step("b2", "b1", CHAIN)


@pytest.mark.parametrize(
    ("found", "workers", "tasks"),
    [
        ("", 2, [[(A, A2, A4, A8)], [(B, B1, B2)]]),
        ("a b b1", 1, [[(A, A2, A4, A8)], [(B, B1, B2)]]),  # a chain's levels are found again
        ("a a2 a8 b b1 b2", 2, [[(A, A4)]]),
        ("a2 a4 a8 b b1 b2", 2, [[(A,)]]),
        ("", 4, [[(A, A2, A8), (A, A4)], [(B, B1, B2)]]),
        ("b b1 b2", 9, [[(A, A2), (A, A4), (A, A8)]]),
        ("a a2 a4 a8 b b1 b2", 2, []),
    ],
)
def test_a_task_has_a_dense_network_and_what_is_missing_from_it(found, workers, tasks):
    assert lineages([A, A2, A4, A8, B, B1, B2], found.split(), workers) == tasks


@pytest.fixture
def config(tiny_npz):
    return PruneConfig(dataset=str(tiny_npz), epochs=1, fine_tune_epochs=1, batch_size=64, ratio="1")


@pytest.fixture
def setting(config):
    return planned(config)


@pytest.fixture
def outcomes(config, setting, store_uri):
    """Return a function that makes steps, and returns their hashes and outcomes."""
    store = connect()
    site = Site(store.uri, store.experiment_id, "small", "0", {plan.source(config): lambda: setting.context.data})
    return lambda *steps: [(step.config_hash, outcome) for step, outcome in make(steps, site)]


def of_ratios(config, setting, *ratios):
    dense = plan.dense_step(config, setting.plan.dense)
    return [dense, *(plan.pruned_step(replace(config, ratio=(each,)), setting.plan, dense) for each in ratios)]


def test_runs_are_made_and_then_found(outcomes, config, setting):
    steps = of_ratios(config, setting, 2.0, 4.0)
    for state in ("made", "found"):
        ended = outcomes(*steps)
        assert [(key, outcome.state) for key, outcome in ended] == [(step.config_hash, state) for step in steps]
    assert {run.data.tags["config_hash"]: run.info.run_id for kind in ("dense", "pruned") for run in runs(kind)} == {
        key: outcome.run_id for key, outcome in ended
    }


def test_each_network_has_the_engine_of_its_own_options(outcomes, config, setting):
    """The engine is in no hash, so one dense network serves both."""
    dense, pruned = of_ratios(config, setting, 2.0)
    other = replace(pruned.config, engine="torch", ratio=(4.0,))
    outcomes(dense, pruned, plan.pruned_step(other, setting.plan, dense))
    native, torch = (run.data.tags["engine"] for run in runs("pruned"))
    assert (native, torch) == ("native", "torch")


def test_what_fails_is_one_line_and_ends_what_starts_from_it(outcomes, config, setting):
    diverging = replace(config, learning_rate=1e30)
    dense, *pruned = of_ratios(diverging, planned(diverging, setting.context.data), 2.0, 4.0)
    ((key, outcome),) = outcomes(dense, *pruned)
    assert (key, outcome.state) == (dense.config_hash, "failed")
    assert "diverged" in outcome.error
    assert "\n" not in outcome.error


def test_a_damaged_level_is_made_again_and_the_next_one_starts_from_it(outcomes, tiny_npz):
    config = IterateConfig(dataset=str(tiny_npz), epochs=1, batch_size=64, iterations=4)
    steps = plan.chain_steps(config, planned(config).plan)
    outcomes(*steps)
    first, damaged, _ = runs("pruned")
    artifact(damaged, "checkpoint.safetensors").write_bytes(b"damaged")
    assert [outcome.state for _, outcome in outcomes(*steps)] == ["found", "found", "made", "found"]
    assert runs("pruned")[-1].data.tags["parent_run_id"] == first.info.run_id
