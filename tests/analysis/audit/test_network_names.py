"""Files of networks that belong together: names by hand, and any folders of named files."""

from pathlib import Path

import click.testing
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.__main__ import cli
from analysis.audit import audit, prediction_sources
from analysis.audit.network_names import matched, natural
from analysis.common.errors import StudyError
from tests.error_lines import error_line


def pairs(before, after, *control):
    """Each name before with those of its partners."""
    sides = dict(zip(("before", "after", "control"), (before, after, *control), strict=False))
    return list(zip(*([sides[side][place] for place in order] for side, order in matched(sides).items()), strict=True))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["seed_3.csv", "seed_11.csv"], ["pruned_seed_03.npz", "pruned_seed_11.npz"]),
        (["dense3", "dense4"], ["pruned-003", "pruned-004"]),
        (["3.csv", "4.csv"], ["b2/seed_3.csv", "b2/seed_4.csv"]),
        (["resnet20_seed_3", "resnet20_seed_4"], ["resnet20_seed_3_ratio_10", "resnet20_seed_4_ratio_10"]),
        (["resnet20_3", "resnet20_4"], ["resnet20_pruned_3", "resnet20_pruned_4"]),
        (["seed_1_fold_2", "seed_2_fold_1"], ["fold_2_seed_1", "fold_1_seed_2"]),
        (["dense/1/2.csv", "dense/2/1.csv"], ["pruned/1/2.csv", "pruned/2/1.csv"]),
        (["resnet20_seed_1", "vgg16_seed_1"], ["pruned_ResNet20_seed_1", "pruned_VGG16_seed_1"]),
        (["anna.csv", "bert.csv"], ["pruned_anna.csv", "pruned_bert.csv"]),
        (["a/model.csv", "a/model_1.csv", "a/model_2.csv"], ["b/net.csv", "b/net_1.csv", "b/net_2.csv"]),
        (["a/seed0/predictions.npz", "a/seed1.npz"], ["b/seed0.npz", "b/seed1/predictions.npz"]),
        (["dense_lr0.1", "dense_lr0.05"], ["pruned_lr0.1", "pruned_lr0.05"]),
        (["t-1", "t-2"], ["t_01", "t_2"]),
        (["M\u00fcnchen", "Ulm"], ["Mu\u0308nchen", "Ulm"]),
    ],
)
def test_files_that_a_reader_takes_for_partners(before, after):
    assert pairs(before, after[::-1]) == list(zip(before, after, strict=True))
    assert pairs(after[::-1], before) == list(zip(after, before, strict=True))[::-1]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (["seed_0", "seed_1"], ["seed_1", "seed_2"], "--before seed_0; --after seed_2"),
        (["seed_0", "seed_1"], ["seed_0_epoch_0", "seed_0_epoch_1"], "--before seed_0, seed_1; --after seed_0_epoch_0"),
        (["s3_f1", "s1_f3"], ["fold3_seed1", "fold1_seed3"], "--before s3_f1"),
        (["seed1/run5", "seed2/run6"], ["seed1/run6", "seed2/run5"], "--before seed1/run5"),
        (["a/seed_3", "a/seed_03"], ["b/seed_3", "b/seed_4"], "a/seed_3, a/seed_03 have the same"),
        (["a/seed_3.npz", "a/seed_3.csv"], ["b/seed_3.npz", "b/seed_4.npz"], "have the same"),
        (["anna", "bert"], ["seed_0", "seed_1"], "anna, bert"),
        (["lr0.1", "lr0.05"], ["lr0.01", "lr0.5"], "--before lr0.1"),
        (["t_-1", "t_2"], ["t_1", "t_-2"], "--before t_-1"),
        (["lr1e-3", "lr1e4"], ["lr1e3", "lr1e-4"], "--before lr1e-3"),
        (["a+", "b-"], ["a-", "b+"], r"--before a\+"),
    ],
)
def test_files_that_are_no_partners_are_named(before, after, named):
    with pytest.raises(StudyError, match=named) as caught:
        pairs(before, after)
    assert "--pair-by-order" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_control_has_the_partners_of_both_other_sides():
    sides = ["a/1.csv", "a/2.csv"], ["b/pruned_2", "b/pruned_1"], ["c/retrained_02", "c/retrained_01"]
    assert pairs(*sides) == [
        ("a/1.csv", "b/pruned_1", "c/retrained_01"),
        ("a/2.csv", "b/pruned_2", "c/retrained_02"),
    ]
    with pytest.raises(StudyError, match="--control c/retrained_03"):
        pairs(*sides[:2], ["c/retrained_01", "c/retrained_03"])


def test_numbers_are_sorted_by_value():
    names = [f"seed_{seed}" for seed in range(12)]
    assert sorted(sorted(names), key=natural) == names
    assert sorted(["seed_2", "seed_02", "seed_1"], key=natural) == ["seed_1", "seed_02", "seed_2"]


MEANINGS = ("seed", "fold")
CONSTANTS = st.sampled_from([*MEANINGS, "dense", "20", "7", "resnet20"])


def numbered(place):
    """A number of the network, the first or the second of its two, with a word before it and zeros."""
    return st.tuples(st.sampled_from([MEANINGS[place], "net", "x"]), st.just(place), st.integers(1, 4))


# A name has the network's seed, and maybe its fold and constant texts, in any order.
FOLDERS = st.tuples(
    st.tuples(numbered(0), st.lists(CONSTANTS | numbered(0) | numbered(1), max_size=3))
    .map(lambda parts: [parts[0], *parts[1]])
    .flatmap(st.permutations),
    st.sampled_from("_-."),
    st.sampled_from([".csv", ".npz"]),
)
NETWORKS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=2, max_size=6, unique_by=lambda own: own[0]
)


def name_in(folder, network):
    """The name of a network's file."""
    parts, between, kind = folder
    return (
        between.join(part if isinstance(part, str) else f"{part[0]}{network[part[1]]:0{part[2]}}" for part in parts)
        + kind
    )


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(NETWORKS, FOLDERS, FOLDERS, st.randoms(use_true_random=False))
def test_any_two_folders_are_paired_rightly_or_refused(networks, first, second, random):
    before, after = ([name_in(folder, network) for network in networks] for folder in (first, second))
    try:
        found = pairs(before, random.sample(after, len(after)))
    except StudyError:
        return
    assert found == list(zip(before, after, strict=True))


@given(
    st.sets(st.integers(0, 2000), min_size=2, max_size=20),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.randoms(use_true_random=False),
)
def test_seeds_are_paired_whatever_their_zeros_and_their_order(seeds, widths, random):
    names = [
        [f"{side}/net_{seed:0{width}}.csv" for seed in sorted(seeds)] for side, width in zip("ab", widths, strict=True)
    ]
    assert pairs(names[0], random.sample(names[1], len(seeds))) == list(zip(*names, strict=True))


@pytest.fixture
def damaged(tmp_path):
    """Folders a and b of twelve networks, of which each loses half of the images of one class.

    Names differ in their zeros. A network differs from the others in its weak class, and so pairs count.
    """
    label = np.repeat(np.arange(10), 20)
    place = np.tile(np.arange(20), 10)
    for seed in range(12):
        weak = seed % 10
        right = np.where(label == weak, 8, 18)
        for folder, name, answers in (("a", f"seed_{seed}", right), ("b", f"seed_{seed:02}", right - 4)):
            (tmp_path / folder).mkdir(exist_ok=True)
            predicted = np.where(place < answers, label, (label + 1) % 10)
            np.savez(tmp_path / folder / f"{name}.npz", label=label, predicted=predicted)
    return tmp_path


@pytest.mark.usefixtures("blank_picture")
def test_folders_with_and_without_zeros_are_paired_by_seed(damaged, tmp_path):
    given = ["audit", "--before", str(damaged / "a"), "--after", str(damaged / "b"), "--output", str(tmp_path / "out")]
    result = click.testing.CliRunner().invoke(cli, given)
    assert result.exit_code == 0
    unfolded = " ".join(result.output.split())
    assert unfolded.count("Pair ") == 10
    assert f"Pair 3: before {damaged}/a/seed_2.npz, after {damaged}/b/seed_02.npz." in unfolded
    assert "And 2 more pairs." in result.output
    # Every class of every pair loses four of twenty images.
    found = audit.audit([str(damaged / "a")], [str(damaged / "b")])
    assert found.table["loss"].tolist() == pytest.approx([0.2] * 10)
    assert found.slopes.raw_slope == pytest.approx(1)
    reversed_ = audit.audit([str(damaged / "a")], [str(path) for path in sorted((damaged / "b").iterdir())[::-1]])
    assert reversed_.slopes.alpha == pytest.approx(found.slopes.alpha)


def test_a_seed_without_a_partner_ends_the_audit_in_one_line(damaged):
    before = [f"{damaged}/a/seed_{seed}.npz" for seed in range(7)]
    after = [f"{damaged}/b/seed_{seed:02}.npz" for seed in range(1, 8)]
    options = [
        part
        for option, paths in (("--before", before), ("--after", after))
        for path in paths
        for part in (option, path)
    ]
    result = click.testing.CliRunner().invoke(cli, ["audit", *options])
    assert result.exit_code == 2
    assert "seed_0.npz" in error_line(result.output)
    assert "seed_07.npz" in error_line(result.output)
    assert "seed_1.npz" not in result.output
    insisted = audit.audit(before, after, pair_by_order=True)
    assert insisted.notes[0] == f"Pair 1: before {before[0]}, after {after[0]}."


def test_a_single_network_before_has_its_control_paired_with_those_after():
    sides = {"before": ["dense.csv"], "after": ["p_2", "p_10"], "control": ["c_10", "c_02"]}
    found = {side: {Path(name): name for name in names} for side, names in sides.items()}
    ordered = prediction_sources.in_pairs(found, by_order=False)
    assert list(ordered["control"].values()) == ["c_02", "c_10"]
    assert prediction_sources.described(ordered) == [
        "Before: dense.csv.",
        "Pair 1: after p_2, control c_02.",
        "Pair 2: after p_10, control c_10.",
    ]
