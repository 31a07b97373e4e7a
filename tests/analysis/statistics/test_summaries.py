import numpy as np
import pytest

from analysis.statistics.intensification import recall_balance, weighted_alpha
from analysis.statistics.new_images import alpha_new
from analysis.statistics.summaries import cell_summary, ratio_summary
from tests.analysis.statistics.test_new_images import predictions, recalls


def test_undefined_slopes_and_networks_at_chance_are_out_of_every_estimate():
    recall_before = np.array([[0.9, 0.7], [0.9, 0.7], [0.9, 0.7], [0.9, 0.7], [0.8, 0.8]])
    recall_after = np.array([[0.7, 0.5], [0.8, 0.5], [0.0, 0.0], [1.0, 0.0], [0.7, 0.5]])
    accuracies = recall_before.mean(1), recall_after.mean(1)
    row = cell_summary(recall_before, recall_after, *accuracies, support=np.array([500, 500]))
    assert (row["n"], row["n_at_chance"]) == (2, 2)
    # b = 1/8; b_t = 1/6, and .15 / .65; B = .1, B_t = .1 and .15.
    assert row["alpha_mean"] == pytest.approx((4 / 3 + 8 * 0.15 / 0.65) / 2)
    assert row["alpha_median"] == pytest.approx(row["alpha_mean"])
    assert row["raw_slope_mean"] == pytest.approx((1 + 1.5) / 2)
    assert row["largest_excess"] == pytest.approx((0 + 0.05) / 2)
    assert row["worst_class_change"] == pytest.approx(-0.2)
    assert row["accuracy_after"] == pytest.approx((0.6 + 0.65) / 2)
    assert np.isnan(row["alpha_new"])


def test_without_supports_chance_is_one_and_a_half_over_the_classes():
    recall_before = np.array([[0.9, 0.7], [0.9, 0.7]])
    recall_after = np.array([[0.7, 0.5], [0.9, 0.7]])
    row = cell_summary(recall_before, recall_after, recall_before.mean(1), recall_after.mean(1))
    assert (row["n"], row["n_at_chance"]) == (1, 1)
    assert np.isnan(row["alpha_weighted"])


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
