import subprocess
import sys

import numpy as np
import pytest

from analysis.statistics.intensification import (
    alpha,
    alpha_new,
    alpha_new_from_predictions,
    alpha_shared,
    at_chance,
    cell_summary,
    correlation,
    intensification_ratios,
    mean_balance,
    other_seed,
    ratio_summary,
    recall_balance,
    spread_ratio,
    unbalanced,
    weighted_alpha,
    worst_class_change,
)
from analysis.statistics.resampling import mean_interval

# The paper's example: A = .8, R = (.9, .7); A_t = .6, R_t = (.7, .5).
BEFORE = recall_balance([0.9, 0.7], 0.8)
AFTER = recall_balance([0.7, 0.5], 0.6)


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
    before, after = (recall_balance(r, r @ support / 100) for r in recalls)
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
    equal = recall_balance(np.full(3, 0.7), np.full(3, 0.7).mean())
    assert np.isnan(alpha(equal, [0.1, 0, -0.1]))
    assert np.isnan(alpha(recall_balance(np.float32([0.7] * 3), 0.7), [0.1, 0, -0.1]))
    assert np.isnan(spread_ratio(equal, [0.1, 0, -0.1]))


def test_accuracy_zero_has_no_balance():
    assert np.isnan(recall_balance([[0, 0], [0.9, 0.7]], [0, 0.8])).tolist() == [[True, True], [False, False]]


def test_precision_is_centred_on_its_own_mean():
    assert mean_balance([0.9, 0.6, 0.0]) == pytest.approx([0.8, 0.2, -1])


def test_chance_is_below_one_and_a_half_over_the_classes():
    assert at_chance([0.14, 0.15, 0.9], 10).tolist() == [True, False, False]


# alpha_new: classes of different size, a network that changes its mind on some of the images.


def predictions(support):
    rng = np.random.default_rng(3)
    label = np.repeat(np.arange(len(support)), support)
    before = rng.random(len(label)) < np.array([0.95, 0.6, 0.8])[label]
    after = np.where(rng.random(len(label)) < 0.6, before, rng.random(len(label)) < 0.7)
    return label, before, after


def recalls(label, right):
    return np.array([right[label == c].mean() for c in range(label.max() + 1)])


def from_recalls(label, before, after):
    parts = (recalls(label, right)[np.newaxis] for right in (before, after, before & after))
    return alpha_new(*parts, np.bincount(label))


@pytest.mark.parametrize("support", [(40, 40, 40), (60, 20, 30)])
def test_alpha_new_is_the_limit_over_random_splits_in_halves(support):
    label, before, after = predictions(support)
    rng = np.random.default_rng(0)
    splits, classes = 20_000, range(3)
    halves = np.hstack([rng.permuted(np.tile(np.arange(n) % 2, (splits, 1)), axis=1) for n in support]) == 0
    share = np.array(support) / len(label)

    def balance(right, half):
        of_half = np.stack([(half & right)[:, label == c].sum(1) / (support[c] / 2) for c in classes], axis=-1)
        return of_half - (of_half @ share)[:, np.newaxis]

    b1, b2, after1, after2 = (balance(right, h) for right in (before, after) for h in (halves, ~halves))
    cross, own = (b1 * after2 + b2 * after1).sum(-1).mean(), 2 * (b1 * b2).sum(-1).mean()
    by_splitting = before.mean() / after.mean() * cross / own

    new = from_recalls(label, before, after)
    printed = alpha(*(recall_balance(recalls(label, right), right.mean()) for right in (before, after)))
    assert new.estimate == pytest.approx(by_splitting, abs=0.005)
    assert abs(printed - by_splitting) > 0.01


def test_alpha_new_of_balanced_classes_by_hand():
    # Four images a class, R = (1, .5), R_t = (.75, .25), right after only where right before.
    # sum B^2 = .125, v = (0, 1/12), k = (0, 1/24); K = (1 - 1/C) sum = v: 1/24, k: 1/48; sum B B_t = .125.
    new = alpha_new(np.array([[1, 0.5]]), np.array([[0.75, 0.25]]), np.array([[0.75, 0.25]]), np.array([4, 4]))
    assert new.estimate == pytest.approx((0.75 / 0.5) * (1 / 8 - 1 / 48) / (1 / 8 - 1 / 24))
    assert new.reliability == pytest.approx(1 - (1 / 24) / (1 / 8))
    assert np.isnan([new.low, new.high]).all()
    assert not new.identified


def test_predictions_and_recalls_give_the_same_alpha_new():
    label, before, after = predictions((60, 20, 30))
    new = alpha_new_from_predictions(label, before[np.newaxis], after[np.newaxis], resamples=50)
    assert new[0] == pytest.approx(from_recalls(label, before, after).estimate)
    assert new.reliability == pytest.approx(from_recalls(label, before, after).reliability)
    assert new.resampled == "seeds and images"


def test_a_cell_is_a_ratio_of_sums_and_not_the_mean_of_ratios():
    parts = [predictions((40, 40, 40)), predictions((40, 40, 40))]
    label, before, after = parts[0]
    worse = np.roll(before, 7)
    both = [np.array([recalls(label, x), recalls(label, y)]) for x, y in ((before, worse), (after, after))]
    both_right = np.array([recalls(label, before & after), recalls(label, worse & after)])
    support = np.bincount(label)
    together = alpha_new(*both, both_right, support).estimate
    alone = [alpha_new(b[None], a[None], r[None], support) for b, a, r in zip(*both, both_right, strict=True)]
    # The denominator of one seed is its reliability times its sum of squares.
    squares = np.square(recall_balance(both[0], both[0].mean(1))).sum(1)
    weights = np.array([one.reliability for one in alone]) * squares
    assert together == pytest.approx(np.average([one.estimate for one in alone], weights=weights))
    assert together != pytest.approx(np.mean([one.estimate for one in alone]), rel=1e-3)


def test_identical_models_have_alpha_new_one_whatever_is_drawn():
    label, before, after = predictions((40, 40, 40))
    seeds = np.array([before, after, np.roll(before, 5)])
    new = alpha_new_from_predictions(label, seeds, seeds, resamples=100)
    assert (new.estimate, new.low, new.high) == pytest.approx((1, 1, 1))
    assert new.identified


def test_classes_that_differ_by_noise_alone_do_not_identify_alpha_new():
    right = np.random.default_rng(0).random((2, 8, 1000)) < 0.9
    label = np.repeat(np.arange(10), 100)
    new = alpha_new_from_predictions(label, *right, resamples=200)
    recall = right.reshape(2, 8, 10, 100).mean(-1)
    both = right.all(0).reshape(8, 10, 100).mean(-1)
    assert abs(new.reliability) < 0.5
    assert not new.identified
    assert not alpha_new(*recall, both, np.full(10, 100)).identified


def test_the_bootstrap_is_centred_on_the_estimate_and_not_on_the_biased_slope():
    # 40 images a class and half the answers drawn anew: alpha is far below alpha_new.
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(60), 40)
    right = np.linspace(0.6, 0.95, 60)[label]
    before, after = rng.random((2, 12, 2400)) < right
    new = alpha_new_from_predictions(label, before, after, resamples=500)
    balances = [recall_balance(x.reshape(12, 60, 40).mean(-1), x.mean(1)) for x in (before, after)]
    printed = alpha(*balances).mean()
    assert (new.low + new.high) / 2 == pytest.approx(new.estimate, abs=0.05)
    assert new.low < 1 < new.high
    assert printed < new.low


def test_a_class_of_one_image_leaves_alpha_new_undefined():
    label, right = np.array([0, 0, 0, 1]), np.array([[True, False, True, True]])
    new = alpha_new_from_predictions(label, right, right, resamples=20)
    assert np.isnan([new.estimate, new.low, new.high]).all()
    assert np.isnan(from_recalls(label, right[0], right[0]).estimate)


def test_alpha_shared_by_hand():
    # b' is the other seed's b: numerator (2)(1) + (1)(3) = 5, and its negative twin; denominator 2 * 2 * 1.
    before = np.array([[1.0, -1.0], [2.0, -2.0]])
    after = np.array([[1.0, -1.0], [3.0, -3.0]])
    assert alpha_shared(before, after).estimate == pytest.approx(5 / 4)


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


def test_one_seed_shares_nothing():
    slope = alpha_shared(np.array([[0.1, -0.1]]), np.array([[0.2, -0.2]]))
    assert np.isnan([slope.estimate, slope.low, slope.high]).all()
    assert not slope.identified
    assert np.isnan(other_seed(np.array([[0.1, -0.1]]))).all()


def test_other_seed_averages_alpha_over_the_other_networks():
    balance = np.random.default_rng(0).normal(size=(4, 10))
    pairs = alpha(balance[:, np.newaxis], balance[np.newaxis])
    np.fill_diagonal(pairs, 0)
    assert other_seed(balance) == pytest.approx(pairs.sum(1) / 3)


def test_a_cell_leaves_out_undefined_slopes_and_counts_networks_at_chance():
    recall_before = np.array([[0.9, 0.7], [0.9, 0.7], [0.9, 0.7], [0.9, 0.7]])
    recall_after = np.array([[0.7, 0.5], [0.7, 0.5], [0.0, 0.0], [1.0, 0.0]])
    row = cell_summary(recall_before, recall_after, recall_before.mean(1), recall_after.mean(1))
    assert (row["n"], row["n_at_chance"]) == (3, 3)
    # 1 / .5 over 1 / 8: the slope of the network that says only the first class is 8.
    assert row["alpha_mean"] == pytest.approx((4 / 3 + 4 / 3 + 8) / 3)
    assert row["alpha_median"] == pytest.approx(4 / 3)
    assert row["worst_class_change"] == pytest.approx((-0.2 - 0.2 - 0.7) / 3)
    assert row["accuracy_after"] == pytest.approx((0.6 + 0.6 + 0.5) / 3)
    assert np.isnan([row["alpha_new"], row["alpha_weighted"]]).all()


def test_a_cell_of_undefined_slopes_has_no_numbers():
    row = cell_summary(np.full((2, 2), 0.5), np.full((2, 2), 0.4), np.full(2, 0.5), np.full(2, 0.4))
    assert row["n"] == 0
    assert row["mark"] == ""
    assert np.isnan([row["alpha_mean"], row["alpha_shared"], row["accuracy_before"]]).all()


def test_a_cell_holds_the_slopes_of_their_own_functions():
    label, before, after = predictions((60, 20, 30))
    support = np.bincount(label)
    rows = [recalls(label, right)[np.newaxis] for right in (before, after, before & after)]
    accuracies = [np.array([right.mean()]) for right in (before, after)]
    row = cell_summary(*rows[:2], *accuracies, support=support, both_right=rows[2])
    assert row["alpha_new"] == pytest.approx(alpha_new(*rows, support).estimate)
    balances = [recall_balance(r, a) for r, a in zip(rows[:2], accuracies, strict=True)]
    assert row["alpha_weighted"] == pytest.approx(weighted_alpha(*balances, support)[0])
    assert np.isnan([row["alpha_sd"], row["ci_low"]]).all()


def test_one_ratio_far_off_moves_the_mean_ratio_and_not_alpha():
    # Section G: a class at (.0004, -.0285) among classes on the line y = 1.5 x.
    before = np.array([[0.1, -0.1, 0.0004], [0.1, -0.1, 0.0]])
    after = np.array([[0.15, -0.15, -0.0285], [0.15, -0.15, 0.01]])
    summary = ratio_summary(before, after)
    assert summary["worst_ratio"] == pytest.approx(-71.25)
    assert summary["ratio_min"] == pytest.approx((1.5 + 1.5 - 71.25) / 3)
    assert summary["ratio_max"] == pytest.approx(1.5)
    assert summary["alpha_min"] == pytest.approx(1.5, abs=1e-3)
    assert summary["pooled_alpha"] == pytest.approx(1.5, abs=1e-3)


def test_importing_takes_numpy_alone():
    loaded = "import analysis.statistics.intensification, sys; print({'scipy', 'pandas', 'torch'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "set()"
