import numpy as np
import pytest

from analysis.statistics.intensification import weighted_alpha
from analysis.statistics.new_images import alpha_new
from analysis.statistics.recalls import Recalls
from analysis.study.cells import cell_summary, ratio_summary
from tests.analysis.statistics.test_new_images import predictions, recalls


def test_a_cell_by_hand():
    row = cell_summary(Recalls([[0.9, 0.7], [0.9, 0.7]], [0.8, 0.8]), Recalls([[0.7, 0.5], [0.8, 0.5]], [0.6, 0.65]))
    # b = 1/8; b_t = 1/6, and .15 / .65; B = .1, B_t = .1 and .15.
    assert row["n"] == 2
    assert row["alpha_mean"] == pytest.approx((4 / 3 + 8 * 0.15 / 0.65) / 2)
    assert row["raw_slope_mean"] == pytest.approx((1 + 1.5) / 2)
    # t for one degree of freedom is 12.706, the standard error .25.
    assert row["raw_slope_high"] == pytest.approx(1.25 + 12.7062 * 0.25, rel=1e-5)
    assert row["largest_excess"] == pytest.approx((0 + 0.05) / 2)
    assert row["worst_class_change"] == pytest.approx(-0.2)
    assert row["accuracy_after"] == pytest.approx((0.6 + 0.65) / 2)
    assert np.isnan([row["alpha_new"], row["alpha_weighted"]]).all()


def test_a_cell_without_networks_has_no_numbers():
    row = cell_summary(*2 * [Recalls(np.empty((0, 2)), np.empty(0))])
    assert row["n"] == 0
    assert row["mark"] == ""
    assert np.isnan([row["alpha_mean"], row["raw_slope_mean"], row["alpha_shared"], row["accuracy_before"]]).all()


def test_a_cell_holds_the_slopes_of_their_own_functions():
    label, before, after = predictions((60, 20, 30))
    support = np.bincount(label)
    rows = [recalls(label, right)[np.newaxis] for right in (before, after, before & after)]
    sides = [Recalls(recall, [right.mean()]) for recall, right in zip(rows, (before, after), strict=False)]
    row = cell_summary(*sides, support=support, both_right=rows[2])
    assert row["alpha_new"] == pytest.approx(alpha_new(*rows, support).estimate)
    assert row["alpha_weighted"] == pytest.approx(weighted_alpha(*(side.balance for side in sides), support)[0])
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


def test_without_differences_before_pruning_no_ratio_is_defined():
    assert np.isnan([*ratio_summary(np.zeros((2, 2)), np.ones((2, 2))).values()]).all()
