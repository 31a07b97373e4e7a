"""Shares of two kinds of images, against published intervals and SciPy, and agreement, against worked examples."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.ratings import agreement, share_difference


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    # Newcombe 1998, "Interval estimation for the difference between independent proportions", Table II, method 10
    [
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((0, 29), (5, 56), -0.0381, 0.1926),
        ((0, 20), (0, 10), -0.1611, 0.2775),
    ],
)
def test_the_interval_is_newcombes(first, second, low, high):
    sides = [np.arange(size) < count for count, size in (first, second)]
    found = share_difference(*sides)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.difference == pytest.approx(second[0] / second[1] - first[0] / first[1])
    assert (found.n_first, found.n_second) == (first[1], second[1])


def test_p_of_the_lady_tasting_tea():
    # Fisher: three of four cups right have one chance in 2.06 two-sided, 34/70
    found = share_difference(np.array([1, 0, 0, 0]), np.array([1, 1, 1, 0]))
    assert found.p == pytest.approx(34 / 70)


def test_shares_of_several_annotators_are_compared_image_by_image():
    first, second = np.array([0, 0.5, 0.5, np.nan]), np.array([1, 0.5, 1, 1])
    found = share_difference(first, second)
    expected = stats.ttest_ind(second, first[:3], equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (found.n_first, found.first, found.second) == (3, pytest.approx(1 / 3), 0.875)


def test_without_an_answer_for_one_kind_there_is_no_difference():
    found = share_difference(np.array([np.nan, np.nan]), np.array([1.0]))
    assert (found.n_first, found.n_second, found.second) == (0, 1, 1.0)
    assert np.isnan([found.first, found.difference, found.low, found.high, found.p]).all()


def test_agreement_of_two_annotators_is_cohens_kappa():
    # 20 both yes, 15 both no, 5 and 10 one of them: observed .7, by chance .5
    one = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    other = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert agreement(np.array([one, other])) == pytest.approx(0.4)


def test_agreement_of_three_is_the_mean_over_pairs_on_the_images_that_both_answered():
    answers = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, np.nan]])
    # The pairs have kappas of .5, 1 and .4 (agreement 2/3, by chance 4/9).
    assert agreement(answers) == pytest.approx((0.5 + 1 + 0.4) / 3)


def test_agreement_is_undefined_with_one_annotator_or_one_answer_to_everything():
    assert np.isnan(agreement(np.array([[1, 0, 1]])))
    assert np.isnan(agreement(np.ones((2, 5))))
    assert np.isnan(agreement(np.array([[1, np.nan], [np.nan, 1]])))
