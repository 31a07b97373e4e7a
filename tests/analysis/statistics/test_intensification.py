import subprocess
import sys

import numpy as np
import pytest

from analysis.statistics.intensification import (
    alpha,
    alpha_shared,
    at_chance,
    correlation,
    excess_loss,
    intensification_ratios,
    largest_excess_floor,
    other_seed,
    raw_slope,
    spread_ratio,
    unbalanced,
    weighted_alpha,
    worst_class_change,
)
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval

# The paper's example: A = .8, R = (.9, .7); A_t = .6, R_t = (.7, .5).
BEFORE = Recalls([0.9, 0.7], 0.8).balance
AFTER = Recalls([0.7, 0.5], 0.6).balance


def test_the_papers_example():
    assert pytest.approx([1 / 8, -1 / 8]) == BEFORE
    assert pytest.approx([1 / 6, -1 / 6]) == AFTER
    assert alpha(BEFORE, AFTER) == pytest.approx(4 / 3)
    assert intensification_ratios(BEFORE, AFTER) == pytest.approx([4 / 3, 4 / 3])
    assert correlation(BEFORE, AFTER) == pytest.approx(1)
    assert spread_ratio(BEFORE, AFTER) == pytest.approx(4 / 3)
    assert worst_class_change([0.9, 0.7], [0.7, 0.5]) == pytest.approx(-0.2)


def test_alpha_is_the_slope_of_a_least_squares_fit_without_intercept():
    before, after = np.random.default_rng(0).normal(size=(2, 7))
    assert alpha(before, after) == pytest.approx(np.linalg.lstsq(before[:, None], after, rcond=None)[0][0])


def test_weighted_alpha_is_the_slope_of_a_weighted_fit_with_intercept():
    support = np.array([50, 30, 20])
    recalls = np.array([[0.9, 0.7, 0.4], [0.8, 0.7, 0.1]])
    before, after = (Recalls(r, r @ support / 100).balance for r in recalls)
    slope = np.polyfit(before, after, 1, w=np.sqrt(support))[0]
    assert weighted_alpha(before, after, support) == pytest.approx(slope)
    assert alpha(before, after) != pytest.approx(slope, rel=1e-3)


def test_balanced_supports_leave_alpha_as_it_is():
    before, after = np.random.default_rng(0).normal(size=(2, 4, 5))
    assert weighted_alpha(before, after, [7] * 5) == pytest.approx(alpha(before, after))
    assert unbalanced([[100, 101], [100, 102]]).tolist() == [False, True]


def test_properties_of_alpha():
    before, after = np.random.default_rng(0).normal(size=(2, 6, 10))
    order = np.random.default_rng(1).permutation(10)
    assert alpha(before, before) == pytest.approx(np.ones(6))
    assert alpha(3 * before, 3 * after) == pytest.approx(alpha(before, after))
    assert alpha(before[:, order], after[:, order]) == pytest.approx(alpha(before, after))
    assert correlation(before, after) * spread_ratio(before, after) == pytest.approx(alpha(before, after))


def test_alpha_is_undefined_where_all_classes_are_equal_up_to_rounding():
    equal = Recalls(np.full(3, 0.7), np.full(3, 0.7).mean()).balance
    assert np.isnan(alpha(equal, [0.1, 0, -0.1]))
    assert np.isnan(alpha(Recalls(np.float32([0.7] * 3), 0.7).balance, [0.1, 0, -0.1]))
    assert np.isnan(spread_ratio(equal, [0.1, 0, -0.1]))


def alike(accuracy, classes):
    """Recalls that are all the accuracy."""
    return Recalls(np.repeat(accuracy[:, np.newaxis], classes, axis=1), accuracy)


def test_guesses_are_among_all_classes_also_if_few_have_images():
    for support, accuracy in (([100, 100], [0.1, 0.425]), ([300, 100], [0.105, 0.4875])):
        recalls = Recalls([[0.11, 0.09], [0.55, 0.3]], accuracy)
        assert at_chance(recalls, support, classes=10).tolist() == [True, False]
        assert at_chance(recalls, support).tolist() == [True, True]


def test_two_classes_are_told_from_chance_by_the_number_of_images():
    # 1,000 balanced images: 500 + 2.326 * 15.8 = 537. Without images the bound of 1.5 / 2 stays.
    accuracy = np.array([0.6, 0.53])
    assert at_chance(alike(accuracy, 2), [500, 500]).tolist() == [False, True]
    assert at_chance(alike(accuracy, 2)).tolist() == [True, True]


def test_a_detector_of_a_rare_class_is_not_at_chance():
    """Of 950 and 50 images it is right about .955 and .9; who says the first class always has more right, and guesses.

    Who answers the first in 95 % of cases has a mean recall of .5 with a standard deviation of
    sqrt(.0475 / 950 + .0475 / 50) / 2 = .0158, so that .537 is the bound.
    """
    recall = np.array([[0.955, 0.9], [1, 0], [0.955, 0.1], [0.97, 0.12]])
    assert at_chance(Recalls(recall, recall @ [0.95, 0.05]), [950, 50]).tolist() == [False, True, True, True]


@pytest.mark.parametrize("support", [(950, 50), (600, 300, 100), (500, 400, 300, 200, 100)])
def test_guesses_of_any_kind_are_seldom_above_chance(support):
    """Of 20,000 networks that answer without looking, 1 % may be; a tenth of it is a standard error of .0007."""
    rng = np.random.default_rng(0)
    for answers in (np.ones(len(support)), np.array(support), rng.random(len(support))):
        recall = rng.binomial(support, answers / sum(answers), size=(20_000, len(support))) / support
        assert 1 - at_chance(Recalls(recall, recall @ support / sum(support)), support).mean() < 0.015


def test_the_raw_slope_is_alpha_times_the_accuracies_ratio():
    rng = np.random.default_rng(0)
    before, after = (Recalls(rng.random((5, 10)), rng.random(5)) for _ in range(2))
    expected = alpha(before.balance, after.balance) * after.accuracy / before.accuracy
    assert raw_slope(before, after) == pytest.approx(expected)


def test_alpha_shared_is_the_sum_over_seeds_of_the_definition():
    before, after = np.random.default_rng(0).normal(size=(2, 6, 10))
    others = np.array([np.delete(before, m, axis=0).mean(0) for m in range(6)])
    assert alpha_shared(before, after).estimate == pytest.approx((others * after).sum() / (others * before).sum())


def test_accidents_that_fine_tuning_undoes_lower_alpha_and_not_alpha_shared():
    rng = np.random.default_rng(0)
    shared = np.linspace(-0.1, 0.1, 10)
    before = shared + rng.normal(scale=0.05, size=(200, 10))
    after = shared + rng.normal(scale=0.05, size=(200, 10))
    slope = alpha_shared(before, after)
    assert alpha(before, after).mean() < 0.75
    assert slope.low < 1 < slope.high
    assert slope.high - slope.low < 0.1
    assert slope.identified


def test_the_jackknife_of_a_mean_is_the_t_interval():
    # Equal balances before: the slopes' ratio of sums is their mean, whose jackknife is the t interval.
    before = np.tile([1.0, -1.0], (5, 1))
    after = before * np.array([[1.0], [2], [3], [4], [6]])
    pairs = alpha_shared(before, after)
    assert (pairs.low, pairs.high) == pytest.approx(mean_interval(alpha(before, after)))


@pytest.mark.parametrize("seeds", [0, 1])
def test_one_seed_shares_nothing(seeds):
    slope = alpha_shared(np.array([[0.1, -0.1]])[:seeds], np.array([[0.2, -0.2]])[:seeds])
    assert np.isnan([slope.estimate, slope.low, slope.high]).all()
    assert not slope.identified
    assert np.isnan(other_seed(np.array([[0.1, -0.1]]))).all()


def test_two_seeds_leave_no_pair_for_an_interval():
    """Without one of them no pair is left, and the sums over pairs are rounding errors."""
    slope = alpha_shared(
        np.array([[0.1, -0.1, 0], [0.001, 0, -0.001]]), np.array([[0.1, -0.1, 0], [0.02, 0.03, -0.05]])
    )
    assert slope.estimate == pytest.approx(-4.5)
    assert np.isnan([slope.low, slope.high]).all()
    assert not slope.identified


@pytest.mark.parametrize("seeds", [3, 10])
def test_noise_alone_seldom_identifies_a_shared_slope(seeds):
    """No class is weaker than another, so the denominator is 0 on average."""
    balances = np.random.default_rng(0).normal(size=(400, seeds, 10))
    balances -= balances.mean(-1, keepdims=True)
    assert np.mean([alpha_shared(each, each).identified for each in balances]) <= 0.04


def test_other_seed_averages_alpha_over_the_other_networks():
    balance = np.random.default_rng(0).normal(size=(4, 10))
    pairs = alpha(balance[:, np.newaxis], balance[np.newaxis])
    np.fill_diagonal(pairs, 0)
    assert other_seed(balance) == pytest.approx(pairs.sum(1) / 3)


def test_importing_takes_numpy_alone():
    loaded = "import analysis.statistics.new_images, sys; print({'scipy', 'pandas', 'torch'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "set()"


def test_ten_equal_classes_have_the_expected_maximum_of_ten_normal_variables():
    # 1.53875 standard deviations (Teichroew 1956). A tenth of 1,001 images is lost and a tenth won: .2 / 1,000.
    shares = [np.full(10, share) for share in (0.8, 0.8, 0.7)]
    assert largest_excess_floor(*shares, np.full(10, 1001)) == pytest.approx(1.53875 * np.sqrt(0.2 / 1000), rel=1e-5)


def test_a_change_that_all_images_share_is_no_noise():
    assert largest_excess_floor([1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [50, 50]) == 0
    assert largest_excess_floor([0.9, 0.7], [0.9, 0.7], [0.9, 0.7], [50, 50]) == 0


def test_a_class_without_images_counts_as_if_it_were_not_there():
    shares = np.array([[0.8, 0.6], [0.8, 0.6], [0.7, 0.5]])
    with_empty = np.column_stack([shares, np.full(3, np.nan)])
    expected = largest_excess_floor(*shares, [101, 51])
    assert largest_excess_floor(*with_empty, [101, 51, 0]) == pytest.approx(expected)
    assert np.isnan(largest_excess_floor(*with_empty, [101, 51, 10]))


def test_it_is_the_mean_of_simulated_test_sets_in_which_every_class_loses_the_same():
    # Classes of unequal size and churn; each loses 2 % of its images more than it wins.
    support, won = np.array([1000, 400, 700, 1000]), np.array([0.01, 0.05, 0.02, 0.1])
    lost = won + 0.02
    rng, excess, floors = np.random.default_rng(1), [], []
    for _ in range(4000):
        counts = np.array([rng.multinomial(n, [w, m, 1 - w - m]) for n, w, m in zip(support, won, lost, strict=True)])
        gained, missed, kept = (counts / support[:, np.newaxis]).T
        both = kept - 0.1  # a tenth of the images is wrong both times
        before, after = both + missed, both + gained
        recalls = (Recalls(recall, (recall * support).sum() / support.sum()) for recall in (before, after))
        excess.append(excess_loss(*recalls).max())
        floors.append(largest_excess_floor(before, after, both, support))
    error = np.std(excess) / np.sqrt(len(excess))
    assert np.mean(floors) == pytest.approx(np.mean(excess), abs=4 * error)
