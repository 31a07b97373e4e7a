"""Intervals of classes whose images all answer alike: they have a width, and cover."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.class_table import accuracy_loss, class_table, costs, losses
from analysis.statistics.hypothesis_tests import change_interval
from analysis.statistics.proportion import disproportionate_losses

ENDS = ["change_low", "change_high", "excess_low", "excess_high"]


def table_of(label, before, after):
    names = np.array([f"class {index}" for index in range(max(label) + 1)])
    return class_table(names, label, np.atleast_2d(before), np.atleast_2d(after))


def test_the_excess_of_a_class_without_a_change_has_the_width_of_its_own_images():
    # Six classes of 100 images; one loses all but one, the others nothing: the accuracy falls by .165.
    label = np.repeat(np.arange(6), 100)
    row = table_of(label, np.ones(600, bool), (label < 5) | (np.arange(600) == 599)).iloc[0]
    assert row["excess"] == pytest.approx(0.165)
    # 5/6 of the distance to Wilson's end of no change in 100, z^2 / (100 + z^2), and 1/6 of it for four other classes.
    end = 1.959964**2 / (100 + 1.959964**2)
    of_the_last = 1.959964 * (0.99 * 0.01 / 99) ** 0.5 / 6
    half = (((5 / 6) ** 2 + 4 / 6**2) * end**2 + of_the_last**2) ** 0.5
    assert [row["excess_low"], row["excess_high"]] == pytest.approx([0.165 - half, 0.165 + half], rel=1e-5)


def unchanged_class(classes, networks, images):
    """Networks that differ in 2 % of their answers to all classes but the first, and are right about .9 of each."""
    generator = np.random.default_rng(9)
    label = np.repeat(np.arange(classes), [images, *[1000] * (classes - 1)])
    start = generator.random(len(label)) < 0.9
    moves = generator.random((2, networks, len(label))) < 0.02
    return label, *(start ^ (moves & (label != 0)))


@pytest.mark.parametrize("networks", [2, 4, 12])
@pytest.mark.parametrize("classes", [9, 10, 12])
def test_a_class_without_a_change_is_bounded_by_its_own_images_although_other_classes_change(classes, networks):
    """From ten classes on, the bound used to be that of the other classes, however few images the class had."""
    answers = unchanged_class(classes, networks, images=20)
    # A loss of this share or more is seen in one of 20 images with a chance of more than 1 - .05 / classes.
    least = 1 - (0.05 / classes) ** (1 / 20)
    assert losses(*answers).upper[0] == pytest.approx(least, abs=1e-12)
    of_class = costs(*answers).columns
    wilson = 1.959964**2 / (20 + 1.959964**2)
    assert [of_class["loss_low"][0], of_class["loss_high"][0]] == pytest.approx([-wilson, wilson], abs=1e-5)
    assert of_class["loss_upper_all"][0] == pytest.approx(least, abs=1e-12)
    assert of_class["cost_high"][0] - of_class["cost"][0] > 0.9 * wilson


def test_the_bound_of_a_class_without_a_change_allows_for_the_movement_of_other_classes():
    """Two networks seldom show how far a class moves, even on many images."""
    assert losses(*unchanged_class(10, 2, images=50_000)).upper[0] > 10 * (1 - 0.005 ** (1 / 50_000))


def upper_bounds(lost, networks, classes=10, images=174):
    """Bounds for the first class if all networks lose the same images of it, so many as `lost` says."""
    label = np.repeat(np.arange(classes), images)
    right = np.ones((networks, len(label)), bool)
    return [losses(label, right, right & (np.arange(len(label)) >= each)).upper[0] for each in lost]


@pytest.mark.parametrize("networks", [2, 5, 12])
def test_networks_that_lose_the_same_images_are_bounded_as_one_that_loses_them(networks):
    """With two networks, the bound used to fall from 3.00 to 2.06 points if an image was lost."""
    found = upper_bounds(range(4), networks)
    assert found == pytest.approx(upper_bounds(range(4), 1))
    assert found == sorted(found)
    # If a share of this size is lost, at most so many of 174 images are lost in one case of 200 (Clopper and Pearson).
    exact = stats.beta.ppf(1 - 0.05 / 10, np.arange(1, 5), 174 - np.arange(4))
    assert (np.array(found) > exact - 1e-9).all()


@pytest.mark.parametrize("networks", [2, 5])
def test_images_that_each_network_loses_alone_count_less_but_not_less_than_none(networks):
    label = np.repeat(np.arange(10), 174)
    right = np.ones((networks, len(label)), bool)
    none_lost, all_lost = upper_bounds([0, 1], networks)
    found = []
    for own in range(1, 5):
        alone = right.copy()
        for network, answers in enumerate(alone):
            answers[own * network : own * (network + 1)] = False
        found.append(losses(label, right, alone).upper[0])
    assert none_lost <= found[0] < all_lost
    assert found == sorted(found)


def test_changes_of_an_image_that_cancel_over_networks_leave_the_bound_of_an_unchanged_class():
    """One network loses the image that the other network wins."""
    label = np.repeat(np.arange(10), 174)
    start, after = np.ones((2, 2, len(label)), bool)
    start[1, 0] = after[0, 0] = False
    assert losses(label, start, after).upper[0] >= 1 - (0.05 / 10) ** (1 / 174)


def test_the_joint_bound_of_a_rare_loss_fails_as_seldom_as_promised():
    """All networks lose 3.3 % of new images. Without the bound of images, it used to fail in 6.5 % of studies."""
    generator = np.random.default_rng(3)
    label = np.repeat(np.arange(10), 174)
    right = np.ones((2, len(label)), bool)
    failures = 0
    for _ in range(400):
        lost = generator.random(len(label)) < np.where(label == 0, 0.033, 0.005)
        failures += losses(label, right, right & ~lost).upper[0] < 0.033
    assert failures <= stats.binom.ppf(0.999, 400, 0.05 / 10)


def test_the_bound_of_the_accuracy_is_at_least_that_of_no_lost_image():
    label, right = np.repeat(np.arange(10), 100), np.ones((2, 1000), bool)
    found = [accuracy_loss(label, right, right & (np.arange(1000) >= lost)).upper[0] for lost in range(4)]
    assert found[0] == pytest.approx(1 - 0.05 ** (1 / 1000))
    assert found == sorted(found)


@pytest.mark.parametrize("networks", [2, 5])
def test_networks_that_lose_the_same_images_bound_the_accuracy_as_one_that_loses_them(networks):
    label, right = np.repeat(np.arange(10), 100), np.ones((networks, 1000), bool)
    after = right & ~np.isin(np.arange(1000), [0, 1, 200])
    assert accuracy_loss(label, right, after).upper == pytest.approx(accuracy_loss(label, right[:1], after[:1]).upper)


@pytest.mark.parametrize("networks", [1, 2, 5])
def test_the_bound_of_a_cost_adds_the_squared_distances_of_the_bounds_of_all_losses(networks):
    """Zou and Donner: Tango's bound of three lost images of the first class, and the rule of three for the others."""
    label, right = np.repeat(np.arange(4), 100), np.ones((networks, 400), bool)
    found = costs(label, right, right & (np.arange(400) >= 3), right).columns["cost_upper_all"][0]
    level = 0.05 / 4
    own = -change_interval(3, 0, 100, 1 - 2 * level)[0] - 0.03
    of_others = 1 - level ** (1 / 100)
    assert found == pytest.approx(0.0225 + np.sqrt((0.75 * own) ** 2 + 3 * (0.25 * of_others) ** 2), rel=1e-6)


def test_the_joint_bounds_of_losses_hold_if_half_of_the_images_are_lost_by_single_networks():
    """Every class loses 6 % of new images. The bounds used to fail in a fifth of studies."""
    generator, label = np.random.default_rng(3), np.repeat(np.arange(10), 100)
    right, failures = np.ones((10, 1000), bool), 0
    for _ in range(100):
        is_lost = generator.random((11, 1000)) < 0.06
        lost = np.where(generator.random((10, 1000)) < 0.5, is_lost[:10], is_lost[10])
        failures += (losses(label, right, right & ~lost).upper < 0.06).any()
    assert failures <= stats.binom.ppf(0.999, 100, 0.05)


def test_the_joint_bounds_of_costs_and_disproportionate_losses_fail_as_seldom_as_promised():
    """Every class loses .6 % of new images, a fifth of them in single networks. The bounds used to fail in half."""
    generator, label, failures = np.random.default_rng(1), np.repeat(np.arange(10), 300), np.zeros(2)
    shares = np.array([0.1, 0.006, 0.2])[:, np.newaxis, np.newaxis]
    for _ in range(40):
        is_wrong, is_lost, has_own = generator.random((3, 6, 3000)) < shares
        wrong, lost = (np.where(has_own[:5], each[:5], each[5]) for each in (is_wrong, is_lost))
        of_cost = costs(label, ~wrong, ~wrong & ~lost, ~wrong).columns["cost_upper_all"]
        of_rest = disproportionate_losses(label, ~wrong, ~wrong & ~lost).upper_all
        failures += (of_cost < 0).any(), (of_rest < 0).any()
    assert (failures <= stats.binom.ppf(0.999, 40, 0.05)).all()


def test_moderated_variances_of_an_unchanged_class_count_once_in_its_excess():
    label, start, after = unchanged_class(10, 3, images=1000)
    row = class_table(np.array(list("abcdefghij")), label, start, after).iloc[0]
    own, of_excess = row["change_high"] - row["change"], row["excess_high"] - row["excess"]
    # Nine tenths of the excess are its own change, and the rest is of nine classes that change alike.
    assert 0.9 * own < of_excess < 1.1 * own


def chance(counts, shares):
    """The chance that so many images of a class are lost, won, and neither."""
    return stats.multinomial.pmf(counts, sum(counts), [*shares, 1 - sum(shares)])


@pytest.mark.slow
def test_intervals_of_two_small_classes_cover_by_exact_enumeration():
    sizes = 4, 6
    label = np.repeat([0, 1], sizes)
    counts = [[(lost, won, n - lost - won) for lost in range(n + 1) for won in range(n + 1 - lost)] for n in sizes]
    ends = {}
    for both in product(*counts):
        before, after = (
            np.concatenate([np.repeat(right, each) for each in both]).astype(bool) for right in ([1, 0, 1], [0, 1, 1])
        )
        ends[both] = table_of(label, before, after)[ENDS].to_numpy().reshape(2, 2, 2)
    for shares in product([(0.0, 0.0), (0.1, 0.0), (0.1, 0.05), (0.3, 0.2), (0.9, 0.02), (1.0, 0.0)], repeat=2):
        change = np.array([won - lost for lost, won in shares])
        true = np.stack([change, change - np.average(change, weights=sizes)], axis=1)[..., np.newaxis]
        covered = sum(
            np.prod([chance(*each) for each in zip(both, shares, strict=True)])
            * ((found[..., :1] <= true + 1e-9) & (true - 1e-9 <= found[..., 1:]))
            for both, found in ends.items()
        )
        assert covered.min() > 0.92


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 2)])
@pytest.mark.parametrize("images", [6, 200])
def test_a_class_that_all_networks_lose_has_the_interval_of_one(before, after, images):
    label = np.repeat([0, 1], images)
    found = table_of(label, np.ones((before, 2 * images), bool), np.zeros((after, 2 * images), bool))
    expected = [float(end) for end in change_interval(images, 0, images)]
    assert found[["change_low", "change_high"]].iloc[0].tolist() == pytest.approx(expected)
    assert (found["excess_high"] - found["excess_low"] > 0.005).all()


def test_networks_that_know_halves_of_a_class_have_an_interval_of_its_recall():
    label = np.zeros(200, int)
    right = np.repeat([[True, False], [False, True]], 100, axis=1)
    row = table_of(label, right, right).iloc[0]
    # Wilson's of 100 in 200, half as wide as z / (200 + z^2)^.5.
    assert [row["recall_before_low"], row["recall_before_high"]] == pytest.approx([0.431362, 0.568638], abs=1e-5)


def test_the_accuracy_that_one_network_loses_is_counted_from_its_control():
    """Of 200 images the network before gets 20 wrong, the control 20 others, and the compressed network 40 others."""
    tens = np.arange(200)[np.newaxis] % 100 // 10
    before, control, after = tens != 0, tens != 1, (tens != 2) & (tens != 3)
    found = accuracy_loss(np.repeat([0, 1], 100), before, after, control)
    assert found.value.tolist() == pytest.approx([0.1])
    assert found.bounds[0, 0, 0] < 0.1 < found.upper[0] < found.bounds[0, 1, 0]


def test_a_control_that_is_the_network_before_does_not_lower_the_bound_of_an_accuracy_that_nothing_changes():
    right = np.ones((1, 60), bool)
    uppers = [accuracy_loss(np.repeat([0, 1], 30), right, right, control).upper for control in (None, right)]
    assert uppers == pytest.approx([1 - 0.05 ** (1 / 60)] * 2)


def test_the_accuracy_that_one_network_loses_has_a_one_sided_bound():
    """The control is the network before, and none of 200 images is won, so the end is Wilson's of 20 in 200."""
    before, after = np.ones((1, 200), bool), np.arange(200)[np.newaxis] >= 20
    found = accuracy_loss(np.repeat([0, 1], 100), before, after, before)
    # (.1 + .006764 + 1.644854 (.00045 + .0000169)^.5) / 1.013528
    assert found.upper.tolist() == pytest.approx([0.140407], abs=1e-5)


@pytest.mark.parametrize("networks", [1, 3, 10])
def test_a_class_of_two_lost_images_is_not_shown_to_cost_anything(networks):
    label = np.repeat([0, 1, 2], [1000, 1000, 2])
    lost = (np.arange(len(label)) % 1000 < 10) & (label < 2) | (label == 2)
    right = np.ones((networks, len(label)), bool)
    found = costs(label, right, right & ~lost).columns
    assert found["cost"][2] == pytest.approx(1 - 22 / 2002)
    # Two coins fall alike with a probability of 1/4, and there are three classes.
    assert found["cost_p"][2] == pytest.approx(0.75)
    assert found["cost_p"][:2].tolist() == [1, 1]


def test_a_class_is_shown_to_cost_as_before_if_many_images_change():
    label = np.repeat([0, 1, 2], 1000)
    right = np.ones((1, len(label)), bool)
    found = costs(label, right, right & (np.arange(len(label)) >= 100)).columns
    # 100 of 1000 images are lost, and the accuracy loses a third as much.
    error = 2 / 3 * (0.1 * 0.9 / 999) ** 0.5
    assert found["cost_p"][0] == pytest.approx(3 * stats.norm.sf(2 / 3 * 0.1 / error), rel=1e-6)
