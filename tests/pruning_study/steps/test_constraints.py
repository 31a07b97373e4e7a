"""`prune --constraint`: what is logged, and options that contradict each other."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis.common.errors import StudyError
from pruning_study.options.config import PruneConfig
from pruning_study.steps import dense, pruned
from pruning_study.steps.plan import Settings, dense_training
from pruning_study.tracking.connect import connect
from pruning_study.training.evaluation import Predictions
from tests.plans import planned
from tests.stored_runs import artifact

OPTIONS = {"epochs": 6, "fine_tune_epochs": 1, "batch_size": 16, "learning_rate": 0.05, "engine": "torch"}


@pytest.fixture
def store(store_uri):
    return connect()


def made(store, tiny_npz, **options):
    setting = planned(PruneConfig(dataset=str(tiny_npz), **OPTIONS | options)).in_job(store)
    parent = dense.train(*setting.dense)
    return parent, pruned.prune(*setting.at_ratio(setting.plan.options.ratio[0]), parent)


@pytest.mark.slow
@pytest.mark.parametrize("pruning", [{"ratio": "8"}, {"pruner": "none"}], ids=str)
def test_one_epoch_makes_one_dual_step_on_validation_images(store, tiny_npz, pruning):
    parent, run = made(store, tiny_npz, constraint="ceag", constraint_images="validation", **pruning)
    before, after = (
        Predictions.load(artifact(store.get(each.run_id), "val_predictions.npz")) for each in (parent, run)
    )
    gaps = pd.Series(before.right * 1.0 - after.right).groupby(after.label).mean() - (before.accuracy - after.accuracy)
    table = pd.read_csv(artifact(store.get(run.run_id), "multipliers.csv"))
    assert table["gap"].to_numpy() == pytest.approx(gaps.to_numpy(), abs=1e-6)
    assert table["multiplier"].to_numpy() == pytest.approx(np.maximum(0, 0.5 * (gaps.to_numpy() - 0.01)), abs=1e-6)
    assert table["multiplier"].max() > 0


@pytest.mark.slow
def test_the_constraint_is_a_setting_and_changes_the_network(store, tiny_npz):
    (_, plain), (_, run) = (
        made(store, tiny_npz, fine_tune_epochs=4, ratio="8", schedule="cubic", **more)
        for more in ({}, {"constraint": "equalized-loss"})
    )
    params = [store.get(each.run_id).data.params for each in (plain, run)]
    assert (params[0]["constraint"], params[1]["constraint"]) == ("none", "equalized-loss")
    assert (params[1]["constraint_images"], params[1]["constraint_step"]) == ("train", "0.0001")
    assert "constraint_step" not in params[0]
    assert plain.config_hash != run.config_hash
    assert pd.read_csv(artifact(store.get(run.run_id), "multipliers.csv"))["multiplier"].min() > 0
    changed = run.model.state_dict(), plain.model.state_dict()
    assert any((first != second).any() for first, second in zip(*(state.values() for state in changed), strict=True))


def test_means_of_all_images_count_each_class_as_the_training_images_do(tiny_npz):
    """Of 40 images of a class 4 are for validation, and a quarter of the other 36 is 9."""
    options = {"constraint": "equalized-loss", "class_fractions": "Shirt=0.25"}
    plan, context = planned(PruneConfig(dataset=str(tiny_npz), **OPTIONS, **options))
    rule = pruned._weighting(plan.at(10.0), context, SimpleNamespace(model=context.model))
    assert rule.sizes.tolist() == [9 if name == "Shirt" else 36 for name in context.data.classes]


@pytest.mark.parametrize(
    ("options", "words", "step"),
    [
        ({}, "mp", 0.0),
        ({"constraint": "ceag"}, "mp constraint ceag", 0.01),
        (
            {"constraint": "ceag", "schedule": "cubic"},
            "mp cubic constraint ceag",
            0.01,
        ),
        ({"constraint": "equalized-loss"}, "mp constraint equalized-loss", 1e-4),
        (
            {"constraint": "equalized-loss", "constraint_images": "validation"},
            "mp constraint equalized-loss constraint-images validation",
            0.01,
        ),
    ],
)
def test_a_constraint_is_part_of_the_method_and_has_a_step_of_its_own(options, words, step):
    config = PruneConfig(**options)
    assert (config.method, Settings.of(config, dense_training(config)).constraint_step) == (words, step)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constraint": "fair"}, "it takes none, ceag, equalized-loss"),
        ({"constraint_images": "test"}, "it takes train, validation"),
        ({"constraint": "ceag", "performance_weighted": "0.5,1"}, "weights images too: use only one of the two"),
        ({"constraint": "ceag", "start": "initialization"}, "it applies only with --start dense"),
    ],
)
def test_contradictory_options_are_one_line(options, message):
    with pytest.raises(StudyError, match=message) as error:
        PruneConfig(**options)
    assert "\n" not in str(error.value)
