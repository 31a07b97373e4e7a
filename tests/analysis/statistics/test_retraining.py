"""Losses of single networks beyond what retraining does, against scipy and by hand."""

import numpy as np
import pytest
from scipy import optimize, stats

from analysis.statistics.retraining import Changed, accuracy_beyond_control, beyond_control, change, shift


def counts(lost, won, images=1000):
    return Changed(np.array(lost), np.array(won), np.full(len(lost), images))


def test_without_a_shift_p_is_the_binomial_one_of_scipy():
    _, _, p = change(counts([8, 1, 0], [2, 7, 0]))
    assert p.tolist() == pytest.approx([stats.binomtest(8, 10).pvalue, stats.binomtest(1, 8).pvalue, 1])


def test_a_control_that_is_the_network_before_adds_nothing():
    after = counts([30, 4], [5, 6])
    for one, other in zip(beyond_control(counts([0, 0], [0, 0]), after), change(after), strict=True):
        np.testing.assert_array_equal(one, other)


def test_coins_have_no_shift_and_a_shift_is_found():
    rng = np.random.default_rng(0)
    images = np.full(20_000, 60)
    lost = rng.binomial(images, 0.5)
    assert shift(counts(lost, images - lost)).variance < 0.002
    # Shares of mean 1/2 and standard deviation .1: (lost - won) / images varies by 4 * .01 beyond the coins.
    lost = rng.binomial(images, np.clip(rng.normal(0.5, 0.1, len(images)), 0, 1))
    assert shift(counts(lost, images - lost)).variance == pytest.approx(0.04, abs=0.002)


def test_the_variance_makes_the_squares_one_on_average():
    lost, won = np.array([90, 20, 9, 0]), np.array([30, 40, 3, 0])
    images, squares = np.array([120, 60, 12]), np.array([60.0, 20, 6]) ** 2
    root = optimize.brentq(lambda variance: (squares / (images + variance * images**2)).mean() - 1, 0, 1)
    found = shift(counts(lost, won))
    assert found.variance == pytest.approx(root)
    influence = images / (1 + root * images)
    assert found.dof == pytest.approx(influence.sum() ** 2 / (influence**2).sum())


def test_a_large_class_does_not_speak_for_all():
    """Without pruning, losses seem to be there in a fifth of such audits if one class sets the variance of all."""
    rng = np.random.default_rng(0)
    images = np.array([2000] + [40] * 20)

    def retrained(deviation):
        lost = rng.binomial(images, (1 + np.clip(rng.normal(0, deviation, len(images)), -1, 1)) / 2)
        return Changed(lost, images - lost, 20 * images)

    alarms = 0
    for _ in range(100):
        p = beyond_control(retrained(0.25), retrained(0.25 * 2**0.5))[2]
        alarms += (p < 0.05 / len(images)).any()
    assert alarms <= 5


def test_p_and_interval_by_hand():
    alone = counts([60, 40], [40, 60])  # (20^2 - 100) / 100^2 = .03
    value, bounds, p = beyond_control(alone, counts([150, 50], [50, 50]))
    assert value.tolist() == pytest.approx([-0.1, 0])
    of_shift, of_images = 6 * 0.03 * 100**2, 200

    def half(level):
        return np.sqrt(stats.t.isf(level / 2, 2) ** 2 * of_shift + stats.norm.isf(level / 2) ** 2 * of_images) / 1000

    assert bounds[:, 0].tolist() == pytest.approx([-0.1 - half(0.05), -0.1 + half(0.05)])
    assert half(p[0]) == pytest.approx(0.1)
    assert p[1] == 1


def test_no_bound_of_the_accuracy_is_beyond_all_images():
    """Retraining turned one class into the other, so that the bounds would be far beyond 1."""
    alone = counts([900, 0], [0, 900])
    _, bounds = accuracy_beyond_control(alone, counts([30, 10], [10, 20]))
    assert bounds == (-1, 1)


def test_losses_without_gains_are_found_however_far_retraining_shifts():
    alone = counts([60, 40, 45, 55], [40, 60, 55, 45])
    _, _, p = beyond_control(alone, counts([600, 50, 50, 50], [0, 50, 50, 50]))
    assert p[0] < 0.001
    assert (p[1:] > 0.9).all()


def test_p_of_pairs_that_differ_by_shifts_alone_are_small_rarely():
    """Ten classes; the network before, the control and the other one each stand on a level of their own."""
    rng = np.random.default_rng(1)
    label = np.repeat(np.arange(10), 300)
    alarms = 0
    for _ in range(100):
        level = np.repeat(rng.normal(0.8, 0.03, (3, 10)), 300, axis=1)
        before, control, after = rng.random((3, len(label))) < level
        sides = [
            Changed(*(np.bincount(label, which, 10) for which in (first & ~second, second & ~first, label >= 0)))
            for first, second in ((before, control), (control, after))
        ]
        alarms += (beyond_control(*sides)[2] < 0.05 / 10).any()
    assert alarms <= 0.05 * 100
