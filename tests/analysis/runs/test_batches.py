"""Folders of one study: which may be joined."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.runs.batches import check_one_design

FIRST, SECOND = Path("first"), Path("second")


def dense(*seeds, dataset="mnist", **params):
    rows = [{"params.dataset": dataset, "params.model": "lenet5", "params.seed": str(seed)} for seed in seeds]
    known = {f"params.{name}": value for name, value in params.items()}
    return pd.DataFrame(rows).assign(**known, **{"tags.kind": "dense"})


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ({"epochs": "30"}, {"epochs": "3"}, "epochs is '30' and '3'"),
        ({"precision": "float32"}, {"precision": "bf16"}, "precision is 'float32' and 'bf16'"),
        ({"protocol": "paper"}, {"protocol": "released"}, "protocol is 'paper' and 'released'"),
        ({}, {"decay": "cosine"}, "decay is 'none' and 'cosine'"),
    ],
)
def test_seeds_that_were_trained_otherwise_are_no_batch_of_the_study(one, other, difference):
    with pytest.raises(StudyError) as caught:
        check_one_design({FIRST: dense(0, 1, **one), SECOND: dense(2, 3, **other)})
    assert str(caught.value) == (
        "first and second have networks of different seeds, which must be trained alike in one study: their "
        f"{difference}, respectively. Leave a folder out, or train its networks again"
    )


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ({"tags.arithmetic": "2"}, {"tags.arithmetic": "torch"}, "'2' and 'torch'"),
        ({"tags.arithmetic": "2"}, {}, "'2' and 'not recorded'"),
    ],
)
def test_seeds_that_were_trained_with_another_arithmetic_are_no_batch_of_the_study(one, other, difference):
    with pytest.raises(StudyError, match=f"their arithmetic is {difference}"):
        check_one_design({FIRST: dense(0, 1).assign(**one), SECOND: dense(2, 3).assign(**other)})


@pytest.mark.parametrize("third", [dense(0, 1), dense(0, 1, 4)], ids=["a copy", "a later export"])
def test_a_folder_that_overlaps_another_changes_nothing(third):
    folders = {FIRST: dense(0, 1), Path("third"): third}
    alike = {folder: networks.assign(**{"tags.arithmetic": "2"}) for folder, networks in folders.items()}
    with pytest.raises(StudyError, match=r"^first and second have .* their arithmetic is '2' and 'torch'"):
        check_one_design({**alike, SECOND: dense(2, 3).assign(**{"tags.arithmetic": "torch"})})


@pytest.mark.parametrize(
    "other",
    [
        dense(2, 3, epochs="30"),
        dense(2, 3, learning_rate="1e-2"),
        dense(1, 2, epochs="3"),
        dense(2, 3, dataset="pets", epochs="3"),
        pd.concat([dense(2, epochs="3"), dense(2, epochs="30")]),
    ],
    ids=["alike", "spelt otherwise", "a seed in common", "other images", "several values"],
)
def test_folders_that_can_be_joined(other):
    check_one_design({FIRST: dense(0, 1, epochs="30", learning_rate="0.01"), SECOND: other})


def test_folders_in_which_every_seed_has_both_settings_can_be_joined():
    settings = [dense(*seeds, decay=decay) for decay in ("none", "cosine") for seeds in ((0, 1), (2, 3))]
    check_one_design({Path(str(number)): each for number, each in enumerate(settings)})


def test_a_param_that_the_schema_does_not_know_says_nothing_of_the_design():
    check_one_design({FIRST: dense(0, 1, git_commit="a"), SECOND: dense(2, 3, git_commit="b")})
