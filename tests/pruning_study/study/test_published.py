"""Which runs of published frames can be made again, and by which options."""

import re
from pathlib import Path

import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.runs.frames import Study
from pruning_study.options.config import PruneConfig, VerifyConfig
from pruning_study.study.published import PublishedRun, left_out, published_runs, steps_of
from tests.error_lines import refused
from tests.plans import planned

WHERE = Path("frames.zip")


@pytest.fixture(scope="module")
def params():
    """The params of a run that magnitude pruning made of LeNet5 and the embedded sample."""
    setting = planned(PruneConfig(ratio="4", seed=3, epochs=2))
    return setting.plan.at(4.0, setting.params).params


def study(*arithmetics):
    """Frames of a dense and a pruned run of each seed, from 5 on, with these arithmetics."""
    seeds = range(5, 5 + len(arithmetics))
    dense = pd.DataFrame(
        {"seed": seeds, "arithmetic": arithmetics, "dense_run_id": [f"dense {seed}" for seed in seeds]}
    )
    pruned = dense.assign(ratio=4.0, run_id=[f"pruned {seed}" for seed in seeds])
    return Study(pruned, dense, pd.DataFrame())


def test_the_runs_of_a_seed_are_its_dense_and_its_pruned_ones():
    runs = published_runs(study("2", "2"), 6, WHERE)
    assert [(run.run_id, run.kind) for run in runs] == [("dense 6", "dense"), ("pruned 6", "pruned")]
    assert runs[1].params == {"seed": "6", "ratio": "4.0"}


def test_a_network_that_was_pruned_from_one_of_torch_is_none_of_them():
    made = study("2", "2")
    made.dense_runs.loc[1, "arithmetic"] = "torch"
    assert [run.run_id for run in published_runs(made, 5, WHERE)] == ["dense 5", "pruned 5"]
    with pytest.raises(StudyError, match=r"no network has seed 6: frames\.zip has seed 5$"):
        published_runs(made, 6, WHERE)


def test_seeds_that_a_study_has_are_named():
    with refused("seed", r"^give one: frames\.zip has seeds 5 to 6, 8$"):
        published_runs(study("2", "2", "torch", "2"), None, WHERE)


def test_networks_that_cannot_be_compared_are_counted():
    """Of seed 0: three of PyTorch, two of an earlier version, one that PyTorch's was pruned to, a quantized one."""
    pruned, dense, rows = study("2", "torch", None, "torch", "2", "2")
    pruned.loc[3, "arithmetic"] = "2"
    pruned.loc[4, "arithmetic"] = None
    formats = ["none"] * 4 + ["float16", "none"]
    made = Study(
        pruned.assign(seed=[0] * 5 + [1], **{"params.number_format": formats}), dense.assign(seed=[0] * 5 + [1]), rows
    )
    assert left_out(made, 0) == (
        "7 of 10 networks of seed 0 cannot be compared: 3 with arithmetic torch, 2 without the tag arithmetic, 1 made "
        "from a dense network with arithmetic torch, 1 quantized"
    )
    assert left_out(made, 1) == ""
    assert len(published_runs(made, 0, WHERE)) == 3


@pytest.mark.parametrize(
    "made",
    [study("torch"), study(None), Study(*(frame.drop(columns="arithmetic", errors="ignore") for frame in study("2")))],
)
def test_a_study_of_an_earlier_arithmetic_cannot_be_verified(made):
    with refused("STUDY", r"^frames\.zip: no run has the tag arithmetic = 2; "):
        published_runs(made, 5, WHERE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "own.package:network"}, "run x names the model 'own.package:network', which is not built in"),
        ({"pruner": "own.package:scores"}, "run x has a pruner that this project lacks, 'own.package:scores'"),
        ({"dataset": "/etc/images"}, "run x names a path, '/etc/images', in place of a data set"),
        ({"dataset": "photos-of-mine"}, "photos_of_mine.npz: 'photos-of-mine' is no data set"),
        ({"dataset_digest": "0" * 32}, "fashion_mnist_mini.npz does not hold the images of run x"),
        (
            {"phases": "30x0.02"},
            "run x cannot be made again from its params: its phases is '30x0.02', but would be '2x0.01'",
        ),
        ({"own": "1"}, "run x cannot be made again from its params: its own is '1', but would be 'none'"),
        ({"iteration": "2"}, "run x cannot be made again from its params: its iteration is '2', but would be '1'"),
    ],
)
def test_a_run_that_cannot_be_made_again_is_named(params, change, message, tmp_path):
    with pytest.raises(StudyError, match=re.escape(message)):
        steps_of([PublishedRun("x", "pruned", {**params, **change})], VerifyConfig(data_dir=tmp_path))


@pytest.mark.parametrize("epochs", [1, 2, 6])
def test_runs_of_few_epochs_can_be_made_again_although_their_recipe_begins_later(epochs, tmp_path):
    """They log the rate of the first phase that gets an epoch, which `verify` used to take for the recipe's."""
    setting = planned(PruneConfig(ratio="4", epochs=epochs, fine_tune_epochs=1, recipe="resnet-cifar"))
    made = setting.plan.at(4.0, setting.params).params
    assert made["learning_rate"] != "0.01" or epochs == 6
    found = steps_of([PublishedRun("x", "pruned", made)], VerifyConfig(data_dir=tmp_path))
    assert found.by_run["x"].config_hash
