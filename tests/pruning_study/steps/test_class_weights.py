"""Runs of `prune --class-weights`."""

import numpy as np
import pandas as pd
import pytest
import torch

from pruning_study.options.config import PruneConfig
from pruning_study.steps import dense, pruned
from tests.plans import planned
from tests.stored_runs import artifact

OPTIONS = {"epochs": 1, "fine_tune_epochs": 2, "batch_size": 32, "engine": "torch"}


def made(store, data, **options):
    setting = planned(PruneConfig(dataset=str(data), **OPTIONS, **options)).in_job(store)
    return pruned.prune(*setting.at_ratio(setting.plan.options.ratio[0]), dense.train(*setting.dense))


@pytest.mark.parametrize(
    "options", [{"ratio": "4"}, {"pruner": "none"}, {"ratio": "4", "schedule": "cubic", "distill": 0.5}], ids=str
)
def test_power_0_is_plain_fine_tuning_to_the_last_bit_and_another_power_is_not(shared_store, options):
    plain, none, weighted = (
        made(*shared_store, **options, **more)
        for more in ({}, {"class_weights": "dense", "class_weight_power": 0}, {"class_weights": "dense"})
    )
    assert len({plain.config_hash, none.config_hash, weighted.config_hash}) == 3
    torch.testing.assert_close(none.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)
    assert not torch.equal(weighted.model.conv1.weight, plain.model.conv1.weight)
    found = pd.read_csv(artifact(shared_store[0].get(none.run_id), "class_weights.csv"))
    assert found["weight"].tolist() == [1.0] * 10


def test_the_weights_are_logged(shared_store):
    """Of each class there are 36 training images and 4 validation images."""
    run = shared_store[0].get(made(*shared_store, ratio="4", class_weights="dense", class_weight_power=2).run_id)
    assert run.data.params["class_weights"] == "dense"
    assert run.data.params["class_weight_power"] == "2.0"
    found = pd.read_csv(artifact(run, "class_weights.csv"))
    assert found["support"].tolist() == [4] * 10
    unscaled = np.maximum(found["recall"], 1 / 8) ** -2.0
    np.testing.assert_allclose(found["weight"], unscaled / unscaled.mean())
