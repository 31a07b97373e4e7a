"""The tables and the picture of compress/, on three chains of four networks whose losses are known by hand."""

import re
import shlex
from pathlib import Path

import compress
import compress_answers
import numpy as np
import pandas as pd
import pytest

from analysis.runs.options.values import seeds
from pruning_study.__main__ import cli
from pruning_study.options.config import CompressConfig

CLASSES, IMAGES, NETWORKS = 10, 400, 4
# Bytes of the network as it is, of a chain that loses nothing, and of one that loses a twelfth of the first class: .8 %
# of all images.
BYTES = (1000, 500, 100)
LOST = (32, 33, 32, 31)


def answers(label):
    """Every network and control has all images right, and the last chain loses the first images of the first class."""
    right = np.ones((len(BYTES), NETWORKS, len(label)), bool)
    after = right.copy()
    for network, lost in enumerate(LOST):
        after[-1, network, :lost] = False
    return compress.Answers(right, right, after)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Each network has other images for validation, and all have the same for testing."""
    results = tmp_path_factory.mktemp("results")
    (made := results / "compress").mkdir()
    own = np.repeat(np.arange(CLASSES), IMAGES)
    train = np.tile(own, NETWORKS)
    places = np.arange(len(train)).reshape(NETWORKS, -1)
    compress.save(made / "validation.npz", train, answers(own), places)
    compress.save(made / "test.npz", own, answers(own))
    pd.DataFrame({"chain": ["as it is", "spares", "costs"], "bytes": BYTES}).to_csv(made / "chains.csv", index=False)
    compress.write(results)
    return made


@pytest.fixture(scope="module")
def chosen(folder):
    return pd.read_csv(folder / "choices.csv")


def test_accuracy_alone_chooses_the_chain_that_costs_a_class(chosen):
    alone = chosen[(chosen["rule"] == compress.ESTIMATE) & (chosen["judges"] == compress.ALONE)]
    assert alone["chain"].tolist() == ["costs"] * 4
    assert alone["share"].tolist() == [0.1] * 4
    # The three networks that did not choose lose 32, 33, 32 and 31 images of 400, but for one of them.
    assert alone["loss"].tolist() == pytest.approx([96 / 1200, 95 / 1200, 96 / 1200, 97 / 1200])
    assert set(alone["state"]) == {"beyond"}


def test_the_rules_keep_the_bounds_of_the_plan(folder):
    measured = compress.read(folder)
    table = compress.measure_on_test(measured, 1, [0, 1])
    # None of 400 images is lost: Wilson's end for each class alone, and not the bound for ten classes, .0132.
    assert table["upper"].tolist()[1:] == pytest.approx([1.96**2 / (400 + 1.96**2)] * CLASSES, abs=1e-5)


def test_the_bounds_of_every_class_choose_the_chain_that_spares_it(chosen):
    spared = chosen[chosen["rule"] == compress.EVERY_CLASS]
    assert spared["chain"].tolist() == ["spares"] * 5
    assert set(spared["state"]) == {"within"}


def test_the_summary_counts_choices_and_what_it_costs_to_respect_the_limit(folder):
    row = pd.read_csv(folder / "summary.csv").set_index(["rule", "judges"]).loc[compress.ESTIMATE, compress.ALONE]
    assert (row["n"], row["beyond"], row["within"], row["undecided"]) == (4, 1, 0, 0)
    assert row["beyond_low"] == pytest.approx(4 / (4 + 1.96**2), abs=1e-3)  # Wilson, four of four
    assert row["larger"] == row["larger_low"] == row["larger_high"] == pytest.approx(5)


def test_the_costliest_class_of_each_chain_is_named(folder):
    table = pd.read_csv(folder / "class_costs.csv").set_index("chain")
    row = table.loc["costs"]
    # A mean of 32 images of 400 are 8 points of the class, and .8 of the accuracy.
    assert (row["class"], row["n"]) == ("T-shirt/top", NETWORKS)
    assert row[["loss", "accuracy_loss", "cost"]].tolist() == pytest.approx([0.08, 0.008, 0.072])
    assert table.loc["spares", "loss"] == 0


def test_the_picture_marks_what_all_networks_choose(folder, chosen):
    costs = pd.read_csv(folder / "class_costs.csv")
    (axes,) = compress.picture(costs, chosen, BYTES[0]).axes
    marks = {drawn.get_label(): drawn.get_offsets().tolist() for drawn in axes.collections}
    # A mean of 32 images of 400 are 8 points; the chain has 100 of 1,000 bytes.
    assert marks[compress.ESTIMATE] == [pytest.approx([10, 8])]
    assert marks[compress.EVERY_CLASS] == [pytest.approx([50, 0])]
    assert (folder / "figures" / "chains.png").is_file()


def test_answers_are_read_as_they_were_saved(folder):
    found, own = compress.read(folder), np.repeat(np.arange(CLASSES), IMAGES)
    for kept in (found.validation, found.test):
        for given, wanted in zip(kept, answers(own), strict=True):
            assert (given == wanted).all()
    assert (found.places == np.arange(NETWORKS * CLASSES * IMAGES).reshape(NETWORKS, -1)).all()
    assert (found.test_label == own).all()


def test_answers_of_networks_that_differ_are_read_as_they_were_saved(tmp_path):
    rng = np.random.default_rng(0)
    before = np.broadcast_to(rng.random((2, 50)) < 0.9, (3, 2, 50))
    control, after = rng.random((2, 3, 2, 50)) < 0.9
    label = np.repeat(np.arange(10), 5)
    for name in ("validation.npz", "test.npz"):
        compress.save(tmp_path / name, label, compress.Answers(before, control, after))
    pd.DataFrame({"chain": list("abc"), "bytes": BYTES}).to_csv(tmp_path / "chains.csv", index=False)
    found = compress.read(tmp_path).test
    assert (found.before == before).all()
    assert (found.control == control).all()
    assert (found.after == after).all()


@pytest.mark.parametrize("study", [compress.LENET5, compress.RESNET20])
def test_the_command_of_the_plan_is_what_is_collected(study):
    page = (Path(compress_answers.__file__).parent / study / "plan.md").read_text()
    (line,) = re.findall(r"^pruning-study (.*)$", page, re.MULTILINE)
    name, *arguments = shlex.split(line)
    typed = cli.commands[name].make_context(name, arguments, parent=cli.make_context("pruning-study", [name])).params
    assert seeds(typed["seed"]) == tuple(compress_answers.SEEDS)
    wanted = CompressConfig(**{**typed, "seed": 200})
    assert CompressConfig(seed=200, **compress_answers.OPTIONS[study]) == wanted
