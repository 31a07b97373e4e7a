import numpy as np
import pytest

from analysis.statistics.equal_accuracy import Curve, difference

# Alpha rises by .1 for every point of accuracy lost, for every network.
ACCURACY = np.array([0.9, 0.88, 0.85])[:, np.newaxis] + np.array([0.0, 0.01, -0.01])
BASELINE = Curve(ACCURACY, 1 + 10 * (0.9 - ACCURACY), np.ones((3, 3)))


def method(accuracy, alpha):
    return Curve(accuracy[np.newaxis], alpha[np.newaxis], np.ones((1, len(accuracy))))


def test_a_method_on_the_baselines_line_does_not_differ():
    accuracy = np.array([0.86, 0.875, 0.865])
    value, *ends = difference(method(accuracy, 1 + 10 * (0.9 - accuracy)), BASELINE)
    assert value == pytest.approx(0, abs=1e-9)
    assert np.isnan(ends).all()  # the differences vary only by rounding


def test_the_interval_is_the_t_interval_where_the_slope_is_linear_in_accuracy():
    accuracy = np.array([0.86, 0.875, 0.865])
    above = np.array([0.1, 0.2, 0.3])
    value, low, high = difference(method(accuracy, 1 + 10 * (0.9 - accuracy) + above), BASELINE)
    assert value == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.2 - 4.3026527 * 0.1 / 3**0.5, 0.2 + 4.3026527 * 0.1 / 3**0.5))


@pytest.mark.parametrize("accuracy", [0.95, 0.8])
def test_outside_the_baselines_range_nothing_is_compared(accuracy):
    assert np.isnan(difference(method(np.full(3, accuracy), np.ones(3)), BASELINE)).all()


def test_one_ratio_is_no_curve():
    one = Curve(*(part[:1] for part in BASELINE))
    assert np.isnan(difference(method(ACCURACY[0], np.ones(3)), one)).all()


def test_a_ratio_without_a_slope_is_left_out():
    unknown = BASELINE._replace(numerators=np.where(np.arange(3)[:, np.newaxis] == 1, np.nan, BASELINE.numerators))
    accuracy = ACCURACY[1]
    assert difference(method(accuracy, 1 + 10 * (0.9 - accuracy)), unknown)[0] == pytest.approx(0)


def test_pooled_slopes_are_ratios_of_sums():
    pooled = Curve(np.full((1, 2), 0.88), np.array([[3.0, 1.0]]), np.array([[1.0, 3.0]]))
    baseline = Curve(np.array([[0.9, 0.9], [0.86, 0.86]]), np.ones((2, 2)), np.ones((2, 2)))
    assert difference(pooled, baseline)[0] == pytest.approx(4 / 4 - 1)
