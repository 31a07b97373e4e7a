"""Votes: by hand, against scipy, PIEs of halves against each split and chance, and the jackknife by its definition."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from analysis.statistics import votes


def test_halves_give_as_many_exemplars_as_chance_says():
    # Five networks a half; each votes 1 with probability .3. A half has the mode 0 if three, four or five vote 0.
    p, images = 0.3, 20_000
    dense, other = (np.random.default_rng(seed).random((10, images)) < p for seed in (0, 1))
    votes_zero = 0.7**5 + 5 * 0.7**4 * 0.3 + 10 * 0.7**3 * 0.3**2
    expected = 2 * votes_zero * (1 - votes_zero) * images
    for second in (dense, other):
        found = votes.exemplars_of_halves(dense.astype(int), second.astype(int))
        assert found.pies == pytest.approx(expected, abs=4 * (expected / 2) ** 0.5)
        assert found.untied == found.pies  # an odd number of votes for one of two classes has no tie
    assert np.isnan(votes.exemplars_of_halves(dense[:9].astype(int), dense[:9].astype(int))).all()


def test_modal_labels_of_halves_take_five_networks_in_each():
    label = np.zeros(3, int)
    assert votes.Halves(np.zeros((10, 3), int), label).placebo.n_pie[0] == 0
    with pytest.raises(ValueError, match="9 networks, but modal labels of halves need 10"):
        votes.Halves(np.zeros((9, 3), int), label)


def test_ties_of_halves_are_no_untied_exemplars():
    """Of six networks a half, three predict 1 and three 0 in one population; all predict 0 in the other."""
    first, second = np.zeros((12, 1), int), np.zeros((12, 1), int)
    first[::2] = 1
    found = votes.Halves(first, np.zeros(1, int)).against(second)
    ones = first[votes.halves(12)[0], 0].sum(1)
    assert found.of_splits.tolist() == (ones >= 3).astype(int).tolist()
    assert found.untied == pytest.approx((ones > 3).mean())
    assert (ones == 3).any()


@pytest.mark.parametrize("networks", [4, 7, 30])
def test_halves_share_no_network_and_stay_the_same(networks):
    first, second = votes.halves(networks)
    assert first.shape == second.shape == (votes.SPLITS, networks // 2)
    for one, other in zip(first, second, strict=True):
        assert len({*one, *other}) == 2 * (networks // 2)
    assert (votes.halves(networks)[0] == first).all()


@pytest.mark.slow
@given(st.integers(10, 13), st.integers(0, 2**32 - 1))
def test_exemplars_of_halves_are_those_of_each_split(networks, seed):
    generator = np.random.default_rng(seed)
    likely = generator.uniform(0.5, 1, 40)
    first, second = (np.where(generator.random((networks, 40)) < likely, 1, generator.integers(0, 3, 40)) for _ in "ab")
    splits = zip(*votes.halves(networks), strict=True)
    each = [votes.exemplars(first[one], second[other]) for one, other in splits]
    found = votes.exemplars_of_halves(first, second)
    assert found.pies == pytest.approx(np.mean([split.identified.sum() for split in each]))
    untied = [(split.identified & ~split.dense.tied & ~split.compressed.tied).sum() for split in each]
    assert found.untied == pytest.approx(np.mean(untied))
    assert votes.Halves(first, np.zeros(40, int)).against(second).untied == pytest.approx(np.mean(untied))


def populations_of(networks, images=60, seed=0):
    generator = np.random.default_rng(seed)
    label, likely = generator.integers(0, 4, images), generator.uniform(0.3, 1, images)
    first, second = (
        np.where(generator.random((networks, images)) < likely, label, generator.integers(0, 4, (networks, images)))
        for _ in "ab"
    )
    return label, first, second


@pytest.mark.parametrize("networks", [10, 11, 16])
def test_accuracies_on_exemplars_of_halves_are_those_of_each_split_put_together(networks):
    label, first, second = populations_of(networks)
    found = votes.Halves(first, label).against(second)
    differ, right, share = [], [], []
    for one, other in zip(*votes.halves(networks), strict=True):
        each = votes.exemplars(first[one], second[other])
        differ.append(each.identified)
        right.append((first[one] == label).mean(0))
        share.append(each.dense.share + 2 * len(share))  # shares of other splits are others
    differ, right = np.array(differ), np.array(right)
    assert found.n_pie[0] == differ.sum(1).mean() == votes.exemplars_of_halves(first, second).pies
    assert found.of_splits.tolist() == differ.sum(1).tolist()
    assert found.pie[0] == pytest.approx(right[differ].mean())
    assert found.non_pie[0] == pytest.approx(right[~differ].mean())
    assert found.matched == pytest.approx(votes.matched_share(right.ravel(), np.concatenate(share), differ.ravel()))
    placebo = votes.Halves(first, label).placebo
    assert placebo.n_pie[0] == votes.exemplars_of_halves(first, first).pies


def test_a_group_left_out_is_in_no_half():
    # Three networks vote 0. A half that has all of them has the mode 0. Without one, two of four are a tie, which is 1.
    dense = np.ones((10, 3), int)
    dense[[1, 4, 7]] = 0
    found = votes.Halves(dense, np.zeros(3, int)).placebo
    assert found.n_pie.shape == (11,)
    assert found.n_pie[0] > 0
    assert (found.n_pie[1:][[1, 4, 7]] == 0).all()
    assert found.n_pie[1:].any()
    assert [votes.groups(networks) for networks in (4, 5, 30)] == [0, 5, 10]


def test_jackknife_values_have_the_mean_and_the_error_of_the_jackknife():
    # Leaving out one of n of a mean: the values are those of the sample.
    sample = np.array([1.0, 4.0, 7.0, 8.0])
    without = [np.delete(sample, place).mean() for place in range(4)]
    assert votes.jackknife_values(np.array([sample.mean(), *without])) == pytest.approx(sample)
    # A biased statistic keeps its own value as the mean.
    variances = np.array([sample.var(), *(np.delete(sample, place).var() for place in range(4))])
    assert votes.jackknife_values(variances).mean() == pytest.approx(sample.var())
    assert len(votes.jackknife_values(np.array([1.0]))) == 0


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 300, 40_000]))
def test_leaders_are_modes(seed, classes):
    generator = np.random.default_rng(seed)
    predicted = generator.integers(0, classes, (6, 300)).astype(np.min_scalar_type(classes))
    members = generator.random((5, 6)) < 0.7
    members[:, 0] = True
    label, counts, tied = votes.leaders(members, predicted)
    for own, found, count, is_tied in zip(members, label.T, counts.T, tied.T, strict=True):
        expected = votes.modes(predicted[own])
        assert found.tolist() == expected.label.tolist()
        assert count == pytest.approx(expected.share * own.sum())
        assert is_tied.tolist() == expected.tied.tolist()


VOTES = arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=st.integers(0, 3))


@given(VOTES)
def test_modes_are_scipys_with_ties_to_the_highest_label(predicted):
    found = votes.modes(predicted)
    # scipy gives the smallest of several modes.
    mirrored = stats.mode(3 - predicted.astype(int), axis=0)
    assert found.label.tolist() == (3 - mirrored.mode).tolist()
    assert found.share == pytest.approx(mirrored.count / len(predicted))
    for image, column in enumerate(predicted.T):
        counts = np.bincount(column, minlength=4)
        assert found.tied[image] == (np.count_nonzero(counts == counts.max()) > 1)


def test_exemplars_by_hand():
    # Votes for three images: 0 0 1 | 1 1 0 | 0 1 2, and after compression 0 0 0 | 0 0 1 | 2 2 2.
    dense = np.array([[0, 1, 0], [0, 1, 1], [1, 0, 2]])
    compressed = np.array([[0, 0, 2], [0, 0, 2], [0, 1, 2]])
    found = votes.exemplars(dense, compressed)
    assert found.dense.label.tolist() == [0, 1, 2]
    assert found.compressed.label.tolist() == [0, 0, 2]
    assert found.identified.tolist() == [False, True, False]
    assert found.ties == 1
    assert found.dense.share.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3])


@given(VOTES, st.integers(0, 2**32 - 1))
def test_disagreement_counts_all_pairs(first, seed):
    second = np.random.default_rng(seed).integers(0, 4, (3, first.shape[1])).astype(np.uint8)
    pairs = [(a != b) for a, b in product(first, second)]
    assert votes.disagreement(first, second) == pytest.approx(np.mean(pairs, axis=0))
    if len(first) > 1:
        own = [first[i] != first[j] for i, j in product(range(len(first)), repeat=2) if i != j]
        assert votes.disagreement_within(first) == pytest.approx(np.mean(own, axis=0))


def test_matched_share_weights_other_images_as_the_exemplars():
    right = np.array([0.0, 0.0, 0.0, 0.5, 0.7, 1.0, 0.2])
    share = np.array([0.6, 0.6, 1.0, 0.6, 0.6, 1.0, 0.8])
    identified = np.array([True, True, True, False, False, False, False])
    # Two PIEs of share .6, whose others have the mean .6, and one of share 1, whose other has 1.
    assert votes.matched_share(right, share, identified) == pytest.approx((2 * 0.6 + 1) / 3)
    alone = np.array([True, False])
    assert np.isnan(votes.matched_share(np.array([0.0, 1.0]), np.array([0.5, 1.0]), alone))
