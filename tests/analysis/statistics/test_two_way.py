import numpy as np
import pytest
from scipy import stats

from analysis.statistics.hypothesis_tests import paired
from analysis.statistics.resampling import mean_interval
from analysis.statistics.two_way import Variances, detectable, half_width, p_value, variances


def test_without_images_the_interval_is_the_t_interval_and_p_the_t_tests():
    values = np.array([0.3, 0.1, 0.5, 0.2])
    found = variances(values)
    half = half_width(found)
    assert (values.mean() - half, values.mean() + half) == pytest.approx(mean_interval(values))
    assert p_value(found, values.mean()) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


@pytest.mark.parametrize("values", [np.array([0.1 + 0.2, 0.3]), np.full(7, 0.1)])
def test_values_that_differ_by_rounding_have_no_variance_and_no_p(values):
    assert variances(values).total == 0
    assert np.isnan(p_value(variances(values), values.mean()))


def test_without_networks_the_interval_is_normal():
    found = Variances(images=4.0)
    assert half_width(found) == pytest.approx(2 * stats.norm.isf(0.025))
    assert p_value(found, 5.0) == pytest.approx(2 * stats.norm.sf(2.5))


def test_own_answers_are_counted_once():
    # Each network's own answers vary over images; all the images' variance is in the variance over networks.
    found = Variances([(1.0, 29)], images=0.2, in_both=0.2)
    assert half_width(found) == half_width(Variances([(1.0, 29)]))
    assert found.total == 1.0


def test_networks_that_agree_by_chance_do_not_hide_the_images():
    found = Variances([(1e-9, 1)], images=1.0, in_both=0.9)
    assert half_width(found) == pytest.approx(stats.norm.isf(0.025))
    assert found.total == 1.0


def test_what_is_counted_twice_counts_once():
    # The first image moves both networks by 2, the second by 1 and -1. The products of these moves sum to (5, 3, 3, 5).
    # Without what they count twice, (2, 1, 1, 2), it is (3, 2, 2, 3). The mean of these is the variance of the mean of
    # two networks: 2.5. Each network's own answers have the variance 3 - 2, half of which is in the mean.
    found = variances(np.array([1.0, 2.0]), np.array([[2.0, 1.0], [2.0, -1.0]]), np.array([[2.0, 1.0], [1.0, 2.0]]))
    assert (found.images, found.in_both) == pytest.approx((2.5, 0.5))


def test_the_variance_is_at_least_the_part_that_is_counted_twice():
    found = variances(np.array([1.0]), np.array([[0.1]]), np.array([[4.0]]))
    assert found.images == 4


def test_two_independent_groups_have_a_t_quantile_each():
    found = Variances([(1.0, 1), (2.0, 3)])
    assert half_width(found) ** 2 == pytest.approx(stats.t.isf(0.025, 1) ** 2 + 2 * stats.t.isf(0.025, 3) ** 2)


@pytest.mark.parametrize("level", [0.5, 0.05, 0.001, 0.00025, 1e-12])
def test_p_is_the_level_at_which_the_interval_touches(level):
    found = Variances([(1.0, 3)], images=0.7, in_both=0.2)
    assert p_value(found, half_width(found, level)) == pytest.approx(level, rel=1e-6)


def test_p_at_the_ends():
    found = Variances([(1.0, 3)])
    assert p_value(found, 0.0) == 1
    assert 0 < p_value(found, 1e200) < 1e-90
    assert np.isnan(p_value(Variances([(0.0, 3)]), 1.0))
    assert np.isnan(p_value(found, np.nan))


def test_the_detectable_difference_is_that_of_the_paired_t_test():
    values = np.array([0.3, 0.1, 0.5, 0.2, 0.25])
    expected = paired(values, np.zeros(5), family=4)["detectable_difference"]
    assert detectable(variances(values), 0.05 / 4) == pytest.approx(expected)


def test_the_interval_covers_where_few_networks_vary_as_much_as_images():
    # 20,000 studies of two to five networks; the standard error of a coverage of .95 is .0015.
    rng = np.random.default_rng(0)
    for n in (2, 3, 5):
        for images in (0.1, 1.0, 10.0):
            common = np.sqrt(images) * rng.standard_normal(20_000)
            own = rng.standard_normal((20_000, n))
            over_networks = own.var(1, ddof=1) / n
            factor = [half_width(Variances([(s, n - 1)], images=images)) for s in over_networks[:2000]]
            covered = np.abs(common + own.mean(1))[:2000] <= factor
            assert covered.mean() > 0.95 - 0.015
