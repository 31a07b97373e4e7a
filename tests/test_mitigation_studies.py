"""Tests that the studies on mitigations and on equal accuracy hold what their pages say."""

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from analysis.runs.primaries import Primary
from analysis.runs.validation_counts import FEWEST_RATIOS
from pruning_study.study import grid

RESULTS = Path(__file__).parent.parent / "results"
KINDS = {("mp", 20.0, "one-shot"), ("mp", 20.0, "cubic"), ("mp", 50.0, "cubic")}


@cache
def configs(name):
    found = grid.read(RESULTS / f"{name}.yaml")
    found.check()
    return [cell.config for cell in found.cells]


def by_mitigation(name):
    """Return the kinds of pruning of each mitigation, on one network of each data set."""
    made = configs(name)
    first = min(config.seed for config in made)
    found = {}
    for config in made:
        if config.seed == first:
            plain = replace(config, pruner="mp", ratio=(20.0,), schedule="one-shot")
            kind = config.pruner, *config.ratio, config.schedule
            found.setdefault(replace(plain, pruner="fairgrape" if "fair" in config.pruner else "mp"), set()).add(kind)
    return found


def test_the_screening_has_each_mitigation_with_all_prunings_and_its_control():
    found = by_mitigation("mitigation/study")
    controls = [kinds - KINDS for config, kinds in found.items() if config.pruner == "mp"]
    assert all(kinds >= KINDS for config, kinds in found.items() if config.pruner == "mp")
    assert controls == [{("none", 1.0, "one-shot")}] * len(controls)
    assert Counter(config.dataset for config in found) == {"fashion-mnist": 13, "cifar10_jpeg": 13}
    assert {config.seed for config in configs("mitigation/study")} == set(range(10))


@pytest.mark.parametrize(("name", "seeds"), [("mitigation/best", (0, 29)), ("mitigation-confirmation/study", (30, 59))])
def test_the_chosen_methods_are_on_thirty_networks_of_three_data_sets(name, seeds):
    made, found = configs(name), by_mitigation(name)
    assert {config.seed for config in made} == set(range(seeds[0], seeds[1] + 1))
    assert Counter(config.dataset for config in found) == dict.fromkeys(("fashion-mnist", "cifar10_jpeg", "mnist"), 4)
    assert all(kinds == KINDS | {("none", 1.0, "one-shot")} for kinds in found.values())


def test_the_chosen_methods_are_the_same_in_both_halves_and_on_resnet20():
    """The rule may put others in their place: then in all three files."""
    halves = [
        {replace(config, seed=0) for config in configs(name)}
        for name in ("mitigation/best", "mitigation-confirmation/study")
    ]
    assert halves[0] == halves[1]
    options = ("class_offsets", "class_weights", "class_weight_power", "constraint", "constraint_images", "distill")
    used = [
        {tuple(getattr(config, name) for name in options) for config in configs(name)}
        for name in ("mitigation/best", "mitigation-resnet20/study")
    ]
    assert used[0] == used[1]


def test_the_confirmation_tests_one_method_for_each_goal_and_class_offsets():
    primaries = grid.read(RESULTS / "mitigation-confirmation" / "study.yaml").primaries
    first, second, offsets = (primary.as_given for primary in primaries)
    datasets = ("fashion-mnist", "cifar10-jpeg", "mnist")
    assert first == Primary(first.method, "mp cubic", 20.0, ("largest_excess",), datasets, "less")
    assert second == Primary(second.method, "mp cubic", 20.0, ("weakest_recall",), datasets, "greater")
    assert offsets == first._replace(method="mp cubic class offsets")


@pytest.mark.slow
def test_equal_accuracy_has_six_ratios_of_each_method_and_the_same_grid_on_new_networks():
    made = configs("equal-accuracy/study")
    ratios = {}
    for config in made:
        if config.seed == 0 and config.pruner != "none":
            ratios.setdefault((config.dataset, config.method), []).extend(config.ratio)
    methods = {"mp", "up", "gp", "rp", "mp cubic", "mp distill 0.5"}
    assert set(ratios) == {(dataset, method) for dataset in ("fashion-mnist", "cifar10_jpeg") for method in methods}
    assert {len(values) for values in ratios.values()} == {6}
    assert FEWEST_RATIOS <= 6
    assert all(low < high for values in ratios.values() for low, high in pairwise(values))
    again = configs("equal-accuracy-confirmation/study")
    assert {replace(config, seed=config.seed - 30) for config in again} == set(made)
