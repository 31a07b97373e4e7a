"""A grouping as a whole: hand-worked numbers, and groups that are classes give what classes give."""

import numpy as np
import pytest

from analysis.statistics.grouping import summary
from analysis.statistics.pair_slopes import slopes
from tests.made_up_groups import AFTER, BEFORE, LABEL, WRITER


def answers(right, networks=2):
    return np.tile(right, (networks, 1))


def test_the_writer_who_loses_most_and_how_much_beyond_the_accuracy():
    found = summary(np.unique(WRITER), WRITER, LABEL, answers(BEFORE), answers(AFTER), answers(BEFORE))
    # Accuracy falls from 159 / 160 to 104 / 160, that of writer 7 from 1 to .3.
    assert found["largest_excess"] == pytest.approx(0.7 - 55 / 160)
    assert found["largest_excess_group"] == "7"
    assert (found["groups"], found["fewest_images"], found["most_images"], found["n"]) == (8, 20, 20, 2)
    # Before, writer 0 has 19 of 20: balances are -.04375 and seven times .00625. After, 1 - k / 10 - .65.
    before = np.array([-0.04375, *[0.00625] * 7])
    after = 0.35 - np.arange(8) / 10
    raw_slope = before @ after / (before @ before)
    assert found["raw_slope"] == pytest.approx(raw_slope)
    assert found["alpha"] == pytest.approx(raw_slope * (159 / 160) / 0.65)
    assert (found["raw_slope_control"], found["alpha_control"]) == pytest.approx((1, 1))
    assert found["largest_excess_control"] == 0
    # Changes are +.05 of writer 0 and -k / 10 of the others.
    changes = np.array([0.05, *(-np.arange(1, 8) / 10)])
    assert found["spread_change"] == pytest.approx(changes.std())


def test_the_floor_of_a_grouping_is_that_of_two_normal_variables():
    # Of each group's 8 images one is lost and one won: a variance of .25 / 7, and no change.
    place = np.repeat([0, 1], 8)
    before = np.tile([1, 0, 1, 1, 1, 1, 0, 0], 2).astype(bool)[np.newaxis]
    after = np.tile([0, 1, 1, 1, 1, 1, 0, 0], 2).astype(bool)[np.newaxis]
    found = summary(np.arange(2), place, np.zeros(16, int), before, after, control=before)
    assert found["largest_excess"] == 0
    assert found["largest_excess_floor"] == pytest.approx(np.sqrt(2 * 0.25 / 7 / (2 * np.pi)), rel=1e-5)
    assert found["largest_excess_floor_control"] == 0


def test_groups_that_are_classes_give_the_slopes_of_classes():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 40)
    before, after = (rng.random((3, 120)) < 0.9 - fall * label for fall in (0.05, 0.2))
    found, classes = summary(np.arange(3), label, label, before, after), slopes(label, before, after, [])
    assert (found["alpha"], found["raw_slope"]) == (classes.alpha, classes.raw_slope)
    assert (found["alpha_new"], found["alpha_new_low"]) == classes.new[:2]
    assert found["spread_change"] == pytest.approx(found["spread_change_chance"])


def test_a_group_of_one_image_counts_in_the_slope_and_not_in_that_for_new_images():
    place = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    before = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 1]], bool)
    after = np.array([[1, 1, 0, 0, 1, 0, 0, 0, 0]], bool)
    found = summary(np.arange(3), place, np.zeros(9, int), before, after)
    without = summary(np.arange(2), place[:8], np.zeros(8, int), before[:, :8], after[:, :8])
    assert found["alpha_new"] == without["alpha_new"]
    assert found["alpha"] != without["alpha"]
    assert np.isnan([found["alpha_control"], found["largest_excess_control"]]).all()


def test_the_group_that_costs_most_on_average_is_read_beside_the_control():
    """The control loses group a; compression loses another 40 of the 100 images of group c, .1 of all images."""
    place, image = np.repeat(np.arange(4), 100), np.tile(np.arange(100), 4)
    before = np.ones((3, 400), bool)
    control = before & (place > 0)
    after = control & ((place != 2) | (image >= 40))
    names, label = np.array(list("abcd")), np.zeros(400, int)
    found = summary(names, place, label, before, after, control)
    assert (found["worst_group"], found["worst_group_shown"]) == ("c", True)
    assert found["worst_group_cost"] == pytest.approx(0.3)
    assert found["worst_group_cost_low"] < 0.3 < found["worst_group_cost_high"]
    assert summary(names, place, label, before, after)["worst_group"] == "a"
    for alone in (
        summary(names, place, label, before[:1], after[:1]),
        summary(names, place, label, before, after, control[:2], control_paired=False),
    ):
        assert (alone["worst_group"], alone["worst_group_shown"]) == ("", False)
        assert np.isnan(alone["worst_group_cost"])
