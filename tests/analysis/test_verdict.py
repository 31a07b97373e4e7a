"""The verdict on runs whose alpha, accuracy and recalls are known."""

import re

import numpy as np
import pandas as pd
import pytest

from analysis.study import AnalyzedStudy
from analysis.verdict import telling_ratio, to_know, verdict
from tests import made_up_runs

SPREAD = np.linspace(-0.1, 0.1, 8)


def runs(pruner="mp", ratio=2, alpha=1.0, *, networks=8, dataset="mnist", model="lenet5", **params):
    return made_up_runs.runs(dataset, model, pruner, ratio, alpha + SPREAD[:networks], **params)


def judged(*cells):
    return verdict(AnalyzedStudy(made_up_runs.study(*cells)))


def test_the_pruner_that_keeps_most_accuracy_and_the_class_that_loses_most():
    mp, up = runs("mp", 10, 1.5).assign(accuracy_after=0.79), runs("up", 10).assign(accuracy_after=0.75)
    # Accuracy falls from .8 to .79; class b from .7 to .8 - .1 * 1.5 = .65 on average.
    said = judged(mp, up, runs("mp", 2), runs("none", 1))
    assert re.search(r"mnist with lenet5, at ratio 10 .* mp, costs 1\.0 points", said)
    assert "mean of 8 networks" in said
    assert "class b loses 5.0 points" in said


def test_what_is_gained_is_no_cost():
    assert re.search(r"mp, gains 1\.0 points", judged(runs().assign(accuracy_after=0.81)))


@pytest.mark.parametrize(
    ("alpha", "phrase"),
    [
        (1.5, "mp: intensified at 2."),
        (0.5, "mp: de-intensified at 2."),
        # The classes change places, and differ by as much as before and half as much again.
        (-1.5, "mp: alpha below 1 without less spread at 2."),
    ],
)
def test_the_differences_between_classes(alpha, phrase):
    assert judged(runs(alpha=alpha)).endswith(phrase)


def test_an_interval_that_holds_1_says_neither():
    said = judged(runs())
    assert said.endswith("at 2.")
    assert "intensified" not in said


def test_ratios_and_pruners_stand_in_order():
    said = judged(runs("mp", 2, 0.5), runs("mp", 10, 1.5), runs("mp", 20, 1.6), runs("gp", 2, 1.5))
    assert said.endswith("gp: intensified at 2 | mp: intensified at 10, 20; de-intensified at 2.")


def test_one_network_has_no_interval():
    said = judged(runs("mp", 2, networks=1), runs("mp", 4, networks=1))
    assert "(one network)" in said
    assert re.search(r"mp: too few networks .* at 2, 4\.", said)


def test_classes_that_are_all_alike_have_no_alpha():
    alike = runs().assign(**{"recall_before/a": 0.8, "recall_before/b": 0.8})
    assert "mp: alpha undefined at 2." in judged(alike)


def test_networks_at_chance_are_named_and_not_judged():
    said = judged(runs("mp", 2, 1.5), runs("mp", 4, 1.5).assign(accuracy_after=0.5))
    assert "at ratio 2 the pruner" in said
    assert re.search(r"at chance, .* at 4; intensified at 2\.", said)


def test_an_experiment_of_the_control_alone_says_so():
    said = judged(runs("none", 1))
    assert "No network" in said
    assert "none" in said


def test_the_control_of_one_data_set_does_not_hide_what_was_pruned_on_another():
    many = made_up_runs.runs("mnist", "lenet5", "none", 1, np.linspace(0.9, 1.1, 20))
    assert "On cifar10 with resnet56" in judged(many, runs(dataset="cifar10", model="resnet56"))


def test_of_several_settings_the_one_of_most_runs_counts():
    # In the other setting class b loses 65 points.
    one, other = runs(learning_rate="0.1"), runs(alpha=7.5, networks=3, learning_rate="0.2")
    said = judged(one, other)
    assert "mean of 8 networks" in said
    assert re.search(r"class [ab] loses 0\.0 points", said)


def test_the_best_pruner_may_lack_what_another_varies():
    ups = (runs("up", 10, epsilon=epsilon) for epsilon in ("0.0005", "0.1"))
    assert re.search(r"mp, gains 1\.0 points", judged(runs("mp", 10).assign(accuracy_after=0.81), *ups))


@pytest.mark.parametrize(
    ("at_chance", "ratio"),
    [
        ([0, 0, 0], 10),
        ([0, 1, 2], 4),  # of four networks: half are at chance at 10
        ([4, 4, 4], 10),
        ([4, 1, 4], 4),
    ],
)
def test_the_telling_ratio_is_the_largest_at_which_most_networks_are_above_chance(at_chance, ratio):
    cells = pd.DataFrame({"ratio": [2.0, 4.0, 10.0], "n": 4, "n_at_chance": at_chance})
    assert telling_ratio(cells) == ratio


def test_the_telling_ratio_is_over_all_cells_of_a_ratio():
    cells = pd.DataFrame({"ratio": [2.0, 2.0, 4.0, 4.0], "n": [4, 4, 4, 8], "n_at_chance": [0, 0, 4, 1]})
    assert telling_ratio(cells) == 4


def test_what_a_reader_has_to_know():
    assert to_know(runs()) == []
    assert ["`released`" in note for note in to_know(runs(protocol="released"))] == [True]
    released, signed = to_know(runs("up-signed", protocol="released"))
    assert "test loss" in released
    assert "`up-signed`" in signed
