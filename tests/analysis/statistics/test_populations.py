"""Modal labels, exemplars and class tests: by hand, against scipy and statsmodels, and against what chance gives."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics import modal_labels, populations
from analysis.statistics.recalls import Recalls

VOTES = arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=st.integers(0, 3))


@given(VOTES)
def test_modes_are_scipys_with_ties_to_the_highest_label(predicted):
    found = modal_labels.modes(predicted)
    # scipy gives the smallest of several modes.
    mirrored = stats.mode(3 - predicted.astype(int), axis=0)
    assert found.label.tolist() == (3 - mirrored.mode).tolist()
    assert found.share == pytest.approx(mirrored.count / len(predicted))
    for image, column in enumerate(predicted.T):
        votes = np.bincount(column, minlength=4)
        assert found.tied[image] == (np.count_nonzero(votes == votes.max()) > 1)


def test_modes_of_several_populations_at_once_are_those_of_each():
    predicted = np.random.default_rng(0).integers(0, 4, (3, 6, 20))
    together = modal_labels.modes(predicted)
    for place, population in enumerate(predicted):
        alone = modal_labels.modes(population)
        assert together.label[place].tolist() == alone.label.tolist()
        assert together.tied[place].tolist() == alone.tied.tolist()


def test_exemplars_by_hand():
    # Votes for three images: 0 0 1 | 1 1 0 | 0 1 2, and after compression 0 0 0 | 0 0 1 | 2 2 2.
    dense = np.array([[0, 1, 0], [0, 1, 1], [1, 0, 2]])
    compressed = np.array([[0, 0, 2], [0, 0, 2], [0, 1, 2]])
    found = populations.exemplars(dense, compressed)
    assert found.dense.label.tolist() == [0, 1, 2]
    assert found.compressed.label.tolist() == [0, 0, 2]
    assert found.identified.tolist() == [False, True, False]
    assert found.ties == 1
    assert found.dense.share.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3])


@given(VOTES, st.integers(0, 2**32 - 1))
def test_disagreement_counts_all_pairs(first, seed):
    second = np.random.default_rng(seed).integers(0, 4, (3, first.shape[1])).astype(np.uint8)
    pairs = [(a != b) for a, b in product(first, second)]
    assert populations.disagreement(first, second) == pytest.approx(np.mean(pairs, axis=0))
    if len(first) > 1:
        own = [first[i] != first[j] for i, j in product(range(len(first)), repeat=2) if i != j]
        assert populations.disagreement_within(first) == pytest.approx(np.mean(own, axis=0))


def test_one_network_does_not_disagree_within():
    assert np.isnan(populations.disagreement_within(np.zeros((1, 3), dtype=int))).all()


def test_matched_share_weights_other_images_as_the_exemplars():
    right = np.array([0.0, 0.0, 0.0, 0.5, 0.7, 1.0, 0.2])
    share = np.array([0.6, 0.6, 1.0, 0.6, 0.6, 1.0, 0.8])
    identified = np.array([True, True, True, False, False, False, False])
    # Two PIEs of share .6, whose others have the mean .6, and one of share 1, whose other has 1.
    assert populations.matched_share(right, share, identified) == pytest.approx((2 * 0.6 + 1) / 3)
    alone = np.array([True, False])
    assert np.isnan(populations.matched_share(np.array([0.0, 1.0]), np.array([0.5, 1.0]), alone))


@pytest.mark.parametrize("measure", ["difference", "ratio"])
def test_class_tests_are_scipys(measure):
    rng = np.random.default_rng(3)
    dense, compressed = rng.uniform(0.7, 0.9, (6, 5)), rng.uniform(0.6, 0.9, (6, 5))
    sides = (Recalls(recall, recall.mean(1)) for recall in (dense, compressed))
    found = populations.class_significance(*sides, paired=True, measure=measure)
    shift = np.subtract if measure == "difference" else np.divide
    before, after = (shift(recall, recall.mean(1)[:, None]) for recall in (dense, compressed))
    expected = stats.ttest_ind(after, before, equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.dof == pytest.approx(expected.df)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.p_paired == pytest.approx(stats.ttest_rel(before, after).pvalue)
    assert found.p_holm == pytest.approx(multipletests(expected.pvalue, method="holm")[1])
    assert found.p_bh == pytest.approx(multipletests(expected.pvalue, method="fdr_bh")[1])
    assert found.difference == pytest.approx(compressed.mean(0) - dense.mean(0))
    assert found.normalised_difference == pytest.approx(compressed.mean(0) / dense.mean(0) - 1)
    assert found.significant.tolist() == (expected.pvalue <= 0.05).tolist()


def test_what_cannot_be_tested_is_nan():
    single = Recalls([[0.5, 0.7]], [0.6])
    alone = populations.class_significance(single, single, paired=True)
    assert np.isnan([alone.p, alone.p_holm, alone.p_bh, alone.p_paired]).all()
    assert not alone.significant.any()
    constant = single[np.zeros(3, int)]
    same = populations.class_significance(constant, constant)
    assert np.isnan(same.p).all()
    never = populations.class_significance(Recalls(0 * constant.recall, constant.accuracy), constant)
    assert np.isnan(never.normalised_difference).all()


def test_classes_of_halves_are_significant_at_the_level_of_the_test():
    recall = np.random.default_rng(1).normal(0.8, 0.01, (30, 2000))
    share = populations.placebo_significance(Recalls(recall, np.zeros(30)))
    # Welch's t-test at .05: the classes are independent, the splits of one class are not.
    assert share.mean() == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 2000) ** 0.5)
    assert np.isnan(populations.placebo_significance(Recalls(recall[:3], np.zeros(3)))).all()
