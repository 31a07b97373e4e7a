import numpy as np
import pytest

from analysis.statistics.error_factors import equal_factors_p, error_factors, proportionality_without_each
from analysis.statistics.proportion import on_these_images

SHARE = np.array([0.1, 0.2, 0.3, 0.4])


def networks(factors, number=12, seed=0):
    """Return errors of controls and of networks: those of four classes grow by these factors, with chance."""
    random = np.random.default_rng(seed)
    before = np.array([0.1, 0.2, 0.3, 0.4]) + random.normal(0, 0.01, (number, 4))
    return before, before * factors + random.normal(0, [0.01, 0.03, 0.01, 0.02], (number, 4))


def test_equal_factors_are_rejected_as_often_as_the_level_says_and_others_nearly_always():
    def rejected(factors, draws=400):
        return np.mean([equal_factors_p(*networks(factors, seed=seed), SHARE) <= 0.05 for seed in range(draws)])

    assert 0.02 < rejected([1.2] * 4) < 0.08
    assert rejected([1.1, 1.2, 1.2, 1.3]) > 0.95


def test_the_test_does_not_depend_on_the_order_of_classes():
    before, after = networks([1.2] * 4)
    order = [3, 1, 0, 2]
    assert equal_factors_p(before[:, order], after[:, order], SHARE[order]) == pytest.approx(
        equal_factors_p(before, after, SHARE)
    )


def test_classes_without_errors_are_left_out():
    before, after = networks([1.2] * 4)
    without = [np.c_[errors, np.zeros(len(errors))] for errors in (before, after)]
    assert equal_factors_p(*without, np.append(SHARE / 2, 0.5)) == pytest.approx(equal_factors_p(before, after, SHARE))
    assert np.isnan(error_factors(*without)[:, -1]).all()


def test_one_network_more_than_classes_is_enough_to_test():
    assert np.isnan(equal_factors_p(*networks([1.2] * 4, number=4), SHARE))
    assert np.isfinite(equal_factors_p(*networks([1.2] * 4, number=5), SHARE))


def test_networks_that_are_all_alike_cannot_be_tested():
    assert np.isnan(equal_factors_p(*(np.tile(errors[0], (9, 1)) for errors in networks([1.2] * 4)), SHARE))


def test_a_factor_may_be_that_of_one_class_alone():
    """Without the class with the largest error, the errors of the others grow by equal factors."""
    before = np.tile([0.1, 0.2, 0.3, 0.4], (3, 1))
    recalls = 1 - before, 1 - before * [1.5, 1.5, 1.5, 1]
    assert on_these_images(*recalls, SHARE).proportionality().estimate < 0
    assert proportionality_without_each(*recalls, SHARE)[:, 3] == pytest.approx([1, 1, 1])
