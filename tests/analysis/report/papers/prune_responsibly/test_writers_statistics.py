"""Statistics of writers: lines against statsmodels and by hand, the worst groups, and the placebo."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from analysis.report.papers.prune_responsibly.writers_statistics import (
    line,
    picked_and_judged,
    placebos,
)
from analysis.statistics.groups import spread, spread_by_chance

MEASURE = np.array([0.0, 0.1, 0.15, 0.3, 0.5, 0.9])
ACCURACY = np.array([0.95, 0.97, 0.9, 0.8, 0.85, 0.6])


def test_one_network_gives_the_line_of_statsmodels_with_its_hc3_errors():
    found = line(MEASURE, ACCURACY[np.newaxis])
    known = OLS(ACCURACY, np.column_stack([np.ones_like(MEASURE), MEASURE])).fit(cov_type="HC3", use_t=True)
    assert (found.intercept.value, found.slope.value) == pytest.approx(tuple(known.params))
    ends = [(coefficient.low, coefficient.high) for coefficient in found]
    np.testing.assert_allclose(ends, known.conf_int())
    assert (found.intercept.p, found.slope.p) == pytest.approx(tuple(known.pvalues))


def test_networks_that_differ_widen_the_interval():
    tilted = ACCURACY + np.array([[0.1], [-0.1]]) * MEASURE  # slopes of the networks are .1 above and below the mean
    found, one = line(MEASURE, tilted).slope, line(MEASURE, ACCURACY[np.newaxis]).slope
    over_networks = stats.t.ppf(0.975, 1) * np.sqrt(0.02 / 2)
    assert found.value == pytest.approx(one.value)
    assert (found.high - found.low) / 2 == pytest.approx(np.hypot((one.high - one.low) / 2, over_networks))


def test_without_enough_groups_or_with_one_measure_there_is_no_line():
    assert np.isnan(line(MEASURE[:3], ACCURACY[np.newaxis, :3]).slope.value)
    assert np.isnan(line(np.ones(6), ACCURACY[np.newaxis]).slope.value)


def test_groups_that_are_all_alike_look_worse_where_they_are_picked_and_not_elsewhere():
    rng = np.random.default_rng(0)
    names, before = np.arange(300), np.ones((6, 300))
    after = rng.binomial(20, 0.8, (6, 300)) / 20
    found = picked_and_judged(names, before, after, most=10)
    assert len(found) == 60
    assert found["loss"].mean() > 0.38
    assert found["loss_elsewhere"].mean() == pytest.approx(0.2, abs=0.015)


def test_a_group_that_every_network_loses_is_as_bad_elsewhere():
    before, after = np.full((3, 4), 0.9), np.full((3, 4), 0.8)
    after[:, 2] = [0.5, 0.4, 0.3]
    found = picked_and_judged(np.array(["a", "b", "c", "d"]), before, after)
    assert found["group"].tolist() == ["c"] * 3
    assert found["loss"].to_numpy() == pytest.approx([0.4, 0.5, 0.6])
    assert found["loss_elsewhere"].to_numpy() == pytest.approx([0.55, 0.5, 0.45])


def test_one_network_has_no_other_to_be_judged_on():
    found = picked_and_judged(np.array(["a", "b"]), np.ones((1, 2)), np.array([[0.5, 0.25]]), most=2)
    assert found["group"].tolist() == ["b", "a"]
    assert found["loss_elsewhere"].isna().all()


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
