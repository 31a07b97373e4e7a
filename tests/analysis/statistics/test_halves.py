"""PIEs of halves: against each split by itself, against what chance says, and the jackknife against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import halves, modal_labels, populations


def test_halves_give_as_many_exemplars_as_chance_says():
    # Two networks a half; each votes 1 with probability p, and a tie goes to 1: a half has the mode 0 if both vote 0.
    p, images = 0.3, 20_000
    dense, other = (np.random.default_rng(seed).random((4, images)) < p for seed in (0, 1))
    votes_zero = (1 - p) ** 2
    expected = 2 * votes_zero * (1 - votes_zero) * images
    for second in (dense, other):
        found = halves.exemplars_of_halves(dense.astype(int), second.astype(int))
        assert found == pytest.approx(expected, abs=4 * (expected / 2) ** 0.5)
    assert np.isnan(halves.exemplars_of_halves(dense[:3].astype(int), dense[:3].astype(int)))


@pytest.mark.parametrize("networks", [4, 7, 30])
def test_halves_share_no_network_and_stay_the_same(networks):
    first, second = halves.halves(networks)
    assert first.shape == second.shape == (halves.SPLITS, networks // 2)
    for one, other in zip(first, second, strict=True):
        assert len({*one, *other}) == 2 * (networks // 2)
    assert (halves.halves(networks)[0] == first).all()


@given(st.integers(4, 9), st.integers(0, 2**32 - 1))
def test_exemplars_of_halves_are_those_of_each_split(networks, seed):
    generator = np.random.default_rng(seed)
    likely = generator.uniform(0.5, 1, 40)
    first, second = (np.where(generator.random((networks, 40)) < likely, 1, generator.integers(0, 3, 40)) for _ in "ab")
    splits = zip(*halves.halves(networks), strict=True)
    counts = [populations.exemplars(first[one], second[other]).identified.sum() for one, other in splits]
    assert halves.exemplars_of_halves(first, second) == pytest.approx(np.mean(counts))


def populations_of(networks, images=60, seed=0):
    generator = np.random.default_rng(seed)
    label, likely = generator.integers(0, 4, images), generator.uniform(0.3, 1, images)
    first, second = (
        np.where(generator.random((networks, images)) < likely, label, generator.integers(0, 4, (networks, images)))
        for _ in "ab"
    )
    return label, first, second


@pytest.mark.parametrize("networks", [4, 7, 12])
def test_accuracies_on_exemplars_of_halves_are_those_of_each_split_put_together(networks):
    label, first, second = populations_of(networks)
    found = halves.Halves(first, label).against(second)
    differ, right, share = [], [], []
    for one, other in zip(*halves.halves(networks), strict=True):
        each = populations.exemplars(first[one], second[other])
        differ.append(each.identified)
        right.append((first[one] == label).mean(0))
        share.append(each.dense.share + 2 * len(share))  # shares of other splits are others
    differ, right = np.array(differ), np.array(right)
    assert found.n_pie[0] == differ.sum(1).mean() == halves.exemplars_of_halves(first, second)
    assert found.pie[0] == pytest.approx(right[differ].mean())
    assert found.non_pie[0] == pytest.approx(right[~differ].mean())
    assert found.matched == pytest.approx(
        populations.matched_share(right.ravel(), np.concatenate(share), differ.ravel())
    )
    placebo = halves.Halves(first, label).placebo
    assert placebo.n_pie[0] == halves.exemplars_of_halves(first, first)


def test_a_group_left_out_is_in_no_half():
    # The second network of five votes for another class in both populations; without it all agree on all images.
    dense = np.zeros((5, 3), int)
    dense[1] = 1
    found = halves.Halves(dense, np.zeros(3, int)).placebo
    assert found.n_pie.shape == (6,)
    assert found.n_pie[0] > 0
    assert (found.n_pie[1:] == 0).tolist() == [False, True, False, False, False]
    assert [halves.groups(networks) for networks in (4, 5, 30)] == [0, 5, 10]


def test_jackknife_values_have_the_mean_and_the_error_of_the_jackknife():
    # Leaving out one of n of a mean: the values are those of the sample.
    sample = np.array([1.0, 4.0, 7.0, 8.0])
    without = [np.delete(sample, place).mean() for place in range(4)]
    assert halves.jackknife_values(np.array([sample.mean(), *without])) == pytest.approx(sample)
    # A biased statistic keeps its own value as the mean.
    variances = np.array([sample.var(), *(np.delete(sample, place).var() for place in range(4))])
    assert halves.jackknife_values(variances).mean() == pytest.approx(sample.var())
    assert len(halves.jackknife_values(np.array([1.0]))) == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 300, 40_000]))
def test_leaders_are_modes(seed, classes):
    generator = np.random.default_rng(seed)
    predicted = generator.integers(0, classes, (6, 300)).astype(np.min_scalar_type(classes))
    members = generator.random((5, 6)) < 0.7
    members[:, 0] = True
    label, votes = halves.leaders(members.astype(np.float32), predicted)
    for own, found, count in zip(members, label.T, votes.T, strict=True):
        expected = modal_labels.modes(predicted[own])
        assert found.tolist() == expected.label.tolist()
        assert count == pytest.approx(expected.share * own.sum())
