import numpy as np
import pytest

from analysis.statistics.resampling import (
    jackknife_interval,
    mark,
    mean_interval,
    pseudo_values,
)


def test_the_t_interval_of_r():
    # t.test(extra ~ 1) of the second group of R's `sleep`: mean 2.33, 95 % interval .8976775 to 3.7623225.
    extra = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    assert mean_interval(extra) == pytest.approx((0.8976775, 3.7623225))
    assert np.isnan(mean_interval([1.0])).all()


def test_marks():
    assert [mark(0.7, 0.9), mark(1.1, 1.2), mark(0.9, 1.1), mark(np.nan, np.nan)] == ["<", ">", "?", ""]
    assert mark(1.3, 1.3 + 1e-15) == ""


def test_pseudo_values_by_hand():
    # (2 + 4) / (1 + 2) = 2; without the first 4 / 2 = 2, without the second 2 / 1 = 2.
    assert pseudo_values(np.array([2.0, 4.0]), np.array([1.0, 2.0])).tolist() == [2, 2]
    # (1 + 3 + 2) / 3 = 2; without one of them 5/2, 3/2, 2: 3 * 2 - 2 * these.
    assert pseudo_values(np.array([1.0, 3.0, 2.0]), np.ones(3)).tolist() == [1, 3, 2]
    assert np.isnan(pseudo_values(np.array([1.0, 1.0]), np.array([1.0, 0.0]))).tolist() == [True, False]


def without_one(terms):
    """Return the mean over seeds and the means over the other seeds."""
    return terms.mean(), (terms.sum() - terms) / (len(terms) - 1)


def test_the_jackknife_of_a_mean_is_its_t_interval():
    values = np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    mean, others = without_one(values)
    interval = jackknife_interval([mean, 1.0, 1.0], np.array([others, np.ones(5)]), confidence=0.9)
    assert interval.estimate == pytest.approx(3.2)
    assert (interval.low, interval.high) == pytest.approx(mean_interval(values, confidence=0.9))
    assert (interval.reliability, interval.resampled) == (1, "seeds")


def test_the_jackknife_of_a_ratio_has_the_pseudo_values_of_its_parts():
    rng = np.random.default_rng(0)
    numerators, denominators = rng.normal(size=6), rng.uniform(1, 2, size=6)
    (numerator, above), (denominator, below) = map(without_one, (numerators, denominators))
    interval = jackknife_interval([numerator, denominator, 2.0], np.array([above, below]), confidence=0.95)
    assert (interval.low, interval.high) == pytest.approx(mean_interval(pseudo_values(numerators, denominators)))
    assert interval.reliability == pytest.approx(denominator / 2)


@pytest.mark.parametrize("denominators", [[1.0, 4.0, 1.0], [1.0, 3.0, 2.0], [1.0, 1.1, 1.2], [-1.0, -1.1, -1.0]])
def test_a_ratio_is_identified_where_the_interval_of_its_mean_denominator_is_above_zero(denominators):
    mean, others = without_one(np.array(denominators))
    interval = jackknife_interval([1.0, mean, 4.0], np.array([np.ones(3), others]), confidence=0.95)
    assert interval.identified == (mean_interval(denominators)[0] > 0)


def test_a_ratio_with_the_denominator_zero_is_undefined():
    interval = jackknife_interval([3.0, 0.0, 0.0], np.array([[3.0, 3.0], [1.0, -1.0]]), confidence=0.95)
    assert np.isnan([interval.estimate, interval.reliability]).all()
    assert not interval.identified
