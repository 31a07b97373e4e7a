"""The index of groups among PIEs: by hand, against a count of each split, and where there is nothing to find."""

import numpy as np
import pytest

from analysis.report.papers.compressed_networks.exemplars import over_indexing
from analysis.statistics import votes
from analysis.statistics.groups import over_index
from analysis.statistics.votes import Halves


def test_the_index_is_the_share_among_the_chosen_over_the_share_among_all():
    # Three groups of 2, 3 and 5 images; the chosen ones count 1, 0 and 1: shares 1/2, 0, 1/2 over .2, .3, .5.
    group_index = np.repeat([0, 1, 2], [2, 3, 5])
    chosen = np.zeros(10)
    chosen[[0, 5]] = 1
    assert over_index(chosen, group_index) == pytest.approx([2.5, 0, 1])
    assert over_index(chosen / 4, group_index) == pytest.approx([2.5, 0, 1])
    assert np.isnan(over_index(np.zeros((2, 10)), group_index)).all()


def test_image_shares_are_those_of_each_split():
    generator = np.random.default_rng(3)
    likely = generator.uniform(0.4, 1, 50)
    first, second = (np.where(generator.random((11, 50)) < likely, 1, generator.integers(0, 3, (11, 50))) for _ in "ab")
    shares = Halves(first, np.ones(50, int)).image_shares(second)
    splits = zip(*votes.halves(11), strict=True)
    expected = np.mean([votes.exemplars(first[one], second[other]).identified for one, other in splits], axis=0)
    assert shares.shape == (1 + votes.groups(11), 50)
    assert shares[0] == pytest.approx(expected)
    assert 0 < shares[0].mean() < 1
    found = Halves(first, np.ones(50, int)).against(second)
    assert shares.sum(1) == pytest.approx(found.n_pie, rel=1e-5)


def test_pies_of_one_group_over_index_by_the_inverse_of_its_share():
    # Compression changes the prediction for the four images of the second group, a fifth of all; nothing else differs.
    dense = np.zeros((12, 20), int)
    compressed = dense.copy()
    compressed[:, 16:] = 1
    half = Halves(dense, np.zeros(20, int))
    table = over_indexing(half.image_shares(compressed), half.image_shares(dense), np.repeat([0, 1], [16, 4]))
    assert table["pies"].tolist() == [0, 4]
    assert table["images"].tolist() == [16, 4]
    assert table[["index", "index_low", "index_high"]].to_numpy().tolist() == [[0, 0, 0], [5, 5, 5]]
    assert table[["index_placebo", "index_minus_placebo"]].isna().all(axis=None)


def test_a_group_that_networks_dispute_anyway_has_no_index_beyond_the_placebo():
    # Seeds dispute the first ten images, and compression changes nothing: the compressed networks are the dense ones.
    generator = np.random.default_rng(0)
    dense = np.zeros((20, 40), int)
    dense[:, :10] = generator.integers(0, 2, (20, 10))
    half = Halves(dense, np.zeros(40, int))
    shares = half.image_shares(dense)
    table = over_indexing(shares, shares, np.repeat([0, 1], [10, 30]))
    assert table["index_placebo"].tolist() == pytest.approx([4, 0])
    assert table["index_minus_placebo"].tolist() == [0, 0]
