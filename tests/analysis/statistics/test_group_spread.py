"""The placebo of groups: the closed form against all ways to deal images out, and what must be chance or cannot be."""

from itertools import permutations

import numpy as np
import pytest

from analysis.statistics.group_spread import placebos, spread, spread_by_chance


def test_the_spread_by_chance_is_that_over_all_ways_to_deal_images_out_within_their_class():
    values = np.array([0.0, 1.0, 1.0, 0.5, 0.25, 1.0])
    place, label = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1])
    squares = [
        spread(np.concatenate([first, second]), place) ** 2
        for first in permutations(values[:3])
        for second in permutations(values[3:])
    ]
    assert spread_by_chance(values, place, label) ** 2 == pytest.approx(np.mean(squares))


def test_groups_that_are_classes_are_no_more_than_their_classes():
    values, label = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0]), np.array([0, 0, 0, 1, 1, 1])
    (found,) = placebos(values[np.newaxis], label, label)
    assert found.p == 1
    assert (found.spread, found.chance, found.low, found.high) == pytest.approx((1 / 6,) * 4)
    assert spread_by_chance(values, label, label) == pytest.approx(1 / 6)


def test_placebo_and_closed_form_agree_and_groups_that_mean_nothing_are_not_found():
    rng = np.random.default_rng(3)
    label, place = rng.integers(0, 3, 400), rng.permutation(np.repeat(np.arange(20), 20))
    values = (rng.random(400) < 0.9 - 0.2 * label).astype(float)
    (found,) = placebos(values[np.newaxis], place, label)
    assert found.chance == pytest.approx(spread_by_chance(values, place, label), rel=0.03)
    assert found.low < found.spread < found.high
    assert found.p > 0.05


def test_groups_that_differ_are_found_and_equal_answers_have_no_spread():
    place, label = np.repeat([0, 1], 48), np.tile([0, 1], 48)
    values = np.where(place, 1.0, np.arange(96) % 4 > 1)
    found, equal = placebos(np.array([values, np.ones(96)]), place, label)
    assert found[::4] == (0.25, 0.001)
    assert equal == (0, 0, 0, 0, 1)
