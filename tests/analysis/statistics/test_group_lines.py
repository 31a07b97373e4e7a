"""Lines through groups: against statsmodels for one network, and with the variance of several by hand."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from analysis.statistics import group_lines

MEASURE = np.array([0.0, 0.1, 0.15, 0.3, 0.5, 0.9])
ACCURACY = np.array([0.95, 0.97, 0.9, 0.8, 0.85, 0.6])


def test_one_network_gives_the_line_of_statsmodels_with_its_hc3_errors():
    found = group_lines.line(MEASURE, ACCURACY[np.newaxis])
    known = OLS(ACCURACY, np.column_stack([np.ones_like(MEASURE), MEASURE])).fit(cov_type="HC3", use_t=True)
    assert (found.intercept.value, found.slope.value) == pytest.approx(tuple(known.params))
    ends = [(coefficient.low, coefficient.high) for coefficient in found]
    np.testing.assert_allclose(ends, known.conf_int())
    assert (found.intercept.p, found.slope.p) == pytest.approx(tuple(known.pvalues))


def test_networks_that_differ_widen_the_interval():
    tilted = ACCURACY + np.array([[0.1], [-0.1]]) * MEASURE  # slopes of the networks are .1 above and below the mean
    found, one = group_lines.line(MEASURE, tilted).slope, group_lines.line(MEASURE, ACCURACY[np.newaxis]).slope
    over_networks = stats.t.ppf(0.975, 1) * np.sqrt(0.02 / 2)
    assert found.value == pytest.approx(one.value)
    assert (found.high - found.low) / 2 == pytest.approx(np.hypot((one.high - one.low) / 2, over_networks))


def test_without_enough_groups_or_with_one_measure_there_is_no_line():
    assert np.isnan(group_lines.line(MEASURE[:3], ACCURACY[np.newaxis, :3]).slope.value)
    assert np.isnan(group_lines.line(np.ones(6), ACCURACY[np.newaxis]).slope.value)
