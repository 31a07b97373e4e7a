"""Tests of classes: against scipy and statsmodels, and against what chance gives."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics import populations
from analysis.statistics.recalls import Recalls


@pytest.mark.parametrize("measure", ["difference", "ratio"])
def test_class_tests_are_scipys(measure):
    rng = np.random.default_rng(3)
    dense, compressed = rng.uniform(0.7, 0.9, (6, 5)), rng.uniform(0.6, 0.9, (6, 5))
    sides = (Recalls(recall, recall.mean(1)) for recall in (dense, compressed))
    found = populations.class_significance(*sides, paired=True, measure=measure)
    shift = np.subtract if measure == "difference" else np.divide
    before, after = (shift(recall, recall.mean(1)[:, None]) for recall in (dense, compressed))
    expected = stats.ttest_ind(after, before, equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.dof == pytest.approx(expected.df)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.p_paired == pytest.approx(stats.ttest_rel(before, after).pvalue)
    assert found.p_holm == pytest.approx(multipletests(expected.pvalue, method="holm")[1])
    assert found.p_bh == pytest.approx(multipletests(expected.pvalue, method="fdr_bh")[1])
    assert found.difference == pytest.approx(compressed.mean(0) - dense.mean(0))
    assert found.normalised_difference == pytest.approx(compressed.mean(0) / dense.mean(0) - 1)
    assert found.significant.tolist() == (expected.pvalue <= 0.05).tolist()


def test_what_cannot_be_tested_is_nan():
    single = Recalls([[0.5, 0.7]], [0.6])
    alone = populations.class_significance(single, single, paired=True)
    assert np.isnan([alone.p, alone.p_holm, alone.p_bh, alone.p_paired]).all()
    assert not alone.significant.any()
    constant = single[np.zeros(3, int)]
    same = populations.class_significance(constant, constant)
    assert np.isnan(same.p).all()
    never = populations.class_significance(Recalls(0 * constant.recall, constant.accuracy), constant)
    assert np.isnan(never.normalised_difference).all()


def test_classes_of_halves_are_significant_at_the_level_of_the_test():
    recall = np.random.default_rng(1).normal(0.8, 0.01, (30, 2000))
    share = populations.placebo_significance(Recalls(recall, np.zeros(30)))
    # Welch's t-test at .05: the classes are independent, the splits of one class are not.
    assert share.mean() == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 2000) ** 0.5)
    assert np.isnan(populations.placebo_significance(Recalls(recall[:3], np.zeros(3)))).all()
