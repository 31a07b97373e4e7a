import numpy as np
import pytest

from analysis.statistics.resampling import (
    jackknife_interval,
    mark,
    mean_interval,
    pseudo_values,
    ratio_interval,
)


def test_the_t_interval_of_r():
    # t.test(extra ~ 1) of the second group of R's `sleep`: mean 2.33, 95 % interval .8976775 to 3.7623225.
    extra = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    assert mean_interval(extra) == pytest.approx((0.8976775, 3.7623225))
    assert np.isnan(mean_interval([1.0])).all()


def test_marks():
    assert [mark(0.7, 0.9), mark(1.1, 1.2), mark(0.9, 1.1), mark(np.nan, np.nan)] == ["<", ">", "?", ""]


def test_pseudo_values_by_hand():
    # (2 + 4) / (1 + 2) = 2; without the first 4 / 2 = 2, without the second 2 / 1 = 2.
    assert pseudo_values(np.array([2.0, 4.0]), np.array([1.0, 2.0])).tolist() == [2, 2]
    # (1 + 3 + 2) / 3 = 2; without one of them 5/2, 3/2, 2: 3 * 2 - 2 * these.
    assert pseudo_values(np.array([1.0, 3.0, 2.0]), np.ones(3)).tolist() == [1, 3, 2]
    assert np.isnan(pseudo_values(np.array([1.0, 1.0]), np.array([1.0, 0.0]))).tolist() == [True, False]


def test_the_jackknife_of_a_mean_is_its_t_interval():
    values = np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    without_one = np.array([values.sum() - values, np.full(5, 4.0)])
    interval = jackknife_interval([values.sum(), 5.0, 5.0], without_one, confidence=0.9)
    assert interval.estimate == pytest.approx(3.2)
    assert (interval.low, interval.high) == pytest.approx(mean_interval(values, confidence=0.9))
    assert (interval.reliability, interval.resampled) == (1, "seeds")


def test_the_jackknife_of_a_ratio_has_the_pseudo_values_of_its_parts():
    rng = np.random.default_rng(0)
    numerators, denominators = rng.normal(size=6), rng.uniform(1, 2, size=6)
    sums = numerators.sum(), denominators.sum()
    without_one = np.array([sums[0] - numerators, sums[1] - denominators])
    interval = jackknife_interval([*sums, 10.0], without_one, confidence=0.95)
    assert (interval.low, interval.high) == pytest.approx(mean_interval(pseudo_values(numerators, denominators)))


@pytest.mark.parametrize(("low", "identified"), [(0.1, True), (0.0, False), (-0.1, False), (np.nan, False)])
def test_a_ratio_is_identified_where_the_interval_of_its_denominator_is_above_zero(low, identified):
    interval = ratio_interval([3.0, 2.0, 4.0], (1.0, 2.0), (low, 4.0), "seeds")
    assert (interval.estimate, interval.reliability, interval.identified) == (1.5, 0.5, identified)


def test_a_ratio_with_the_denominator_zero_is_undefined():
    interval = ratio_interval([3.0, 0.0, 0.0], (np.nan, np.nan), (-1.0, 1.0), "seeds")
    assert np.isnan([interval.estimate, interval.reliability]).all()
    assert not interval.identified
