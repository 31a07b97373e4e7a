"""Excess losses of groups: variances by hand, few images that change alike, and what retraining alone does."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.group_excess import excess_losses


def test_of_large_groups_of_one_network_it_is_the_difference_of_two_shares():
    """Of 200 images 60 are lost and of 200 others 20: the group's loss beyond all is half the difference."""
    place, image = np.repeat([0, 1], 200), np.tile(np.arange(200), 2)
    after = (image >= np.where(place == 0, 60, 20))[np.newaxis]
    found = excess_losses(place, np.ones((1, 400), bool), after)
    assert found.value == pytest.approx([0.1, -0.1])
    lost = 80 / 400
    drawn = lost * (1 - lost) * 400 / 399 / 200
    variance = 0.25 * (max(0.3 * 0.7 / 199, drawn) + max(0.1 * 0.9 / 199, drawn))
    assert found.p == pytest.approx(2 * stats.norm.sf(0.1 / np.sqrt(variance)))
    assert found.high - found.value == pytest.approx(stats.norm.isf(0.025) * np.sqrt(variance))


def test_a_few_images_that_none_is_lost_of_are_no_proof():
    """A fifth of 1,000 images is lost; a group of 8 loses none, as one group in six of them does."""
    place = np.repeat([0, 1], [8, 992])
    after = np.concatenate([np.ones(8, bool), np.arange(992) % 5 > 0])[np.newaxis]
    found = excess_losses(place, np.ones((1, 1000), bool), after)
    assert found.p[0] > 0.05
    assert found.low[0] < 0 < found.high[0]


def test_networks_that_lose_of_other_groups_each_differ_by_networks():
    place, before = np.repeat(np.arange(4), 100), np.ones((4, 400), bool)
    same = np.tile(place != 0, (4, 1))
    other = place != np.arange(4)[:, np.newaxis]
    assert excess_losses(place, before, same).p[0] < 1e-6
    assert excess_losses(place, before, other).p.min() == 1


def test_losses_as_large_as_retraining_alone_shifts_groups_are_not_significant():
    place, image = np.repeat([0, 1], 1000), np.tile(np.arange(1000), 2)
    dense = image >= np.where(place == 0, 30, 10)
    shifted = (image < 960) | (image >= np.where(place == 0, 970, 990))
    control = (image >= np.where(place == 0, 10, 30)) & shifted
    after = (image >= np.where(place == 0, 60, 20))[np.newaxis]
    without = excess_losses(place, control[np.newaxis], after)
    allowed = excess_losses(place, control[np.newaxis], after, dense[np.newaxis])
    assert without.p[0] < 0.01 < 0.05 < allowed.p[0]


def test_where_nothing_changes_the_interval_is_not_nothing():
    right = np.ones((2, 20), bool)
    found = excess_losses(np.repeat([0, 1], 10), right, right)
    assert found.value.tolist() == [0, 0]
    assert (found.low[0], found.high[0]) == pytest.approx((-0.2775, 0.2775), abs=1e-4)
