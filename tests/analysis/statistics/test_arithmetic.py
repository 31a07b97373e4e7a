import numpy as np

from analysis.statistics.arithmetic import mean, quotient


def test_a_quotient_by_zero_is_nan():
    assert quotient([1, 0, 3], [2, 0, 0])[0] == 0.5
    assert np.isnan(quotient([1, 0, 3], [2, 0, 0])).tolist() == [False, True, True]


def test_the_mean_of_nothing_is_nan():
    assert mean(np.array([1.0, 2.0])) == 1.5
    assert np.isnan(mean(np.array([])))
