"""Costs of classes: tests and bounds against plain loops and scipy, and the worst class where it is known."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import class_costs, class_losses, class_sums, class_table
from analysis.statistics.class_costs import (
    ImageHalves,
    bounds,
    excess,
    smallest_p,
    step_down_p,
    worst_class,
)


def values(networks, classes, seed=0):
    made = np.random.default_rng(seed).normal(0, 1, (networks, classes))
    made[:, 0] += 1
    return made


def t_of(column):
    return stats.ttest_1samp(column, 0).statistic


def step_down_by_loops(made):
    """Westfall and Young's step-down procedure as it is told: the largest statistic first, each beside the rest."""
    observed = [t_of(column) for column in made.T]
    order = np.argsort(observed)[::-1]
    flips = [np.array(signs)[:, np.newaxis] * made for signs in product([1, -1], repeat=len(made))]
    statistics = np.array([[t_of(column) for column in flipped.T] for flipped in flips])
    adjusted, so_far = np.empty(made.shape[1]), 0.0
    for place, name in enumerate(order):
        share = np.mean(statistics[:, order[place:]].max(1) >= observed[name] - 1e-9)
        so_far = max(so_far, share)
        adjusted[name] = so_far if observed[name] > 0 else 1
    return adjusted


@pytest.mark.slow
def test_the_step_down_test_is_that_of_plain_loops():
    made = values(10, 4)
    assert step_down_p(made) == pytest.approx(step_down_by_loops(made))


def test_one_class_has_the_p_of_its_own_flips_and_many_networks_a_floor():
    made = values(10, 1)
    means = [abs(np.array(signs) @ made[:, 0]) for signs in product([1, -1], repeat=10)]
    share = np.mean([mean >= abs(made.sum()) - 1e-9 for mean in means]) / 2
    assert step_down_p(made).tolist() == pytest.approx([share])
    strong = np.abs(values(20, 2)) + 1
    assert step_down_p(strong).tolist() == [smallest_p(20)] * 2 == [1 / 8192] * 2


def test_classes_that_gain_or_never_change_are_not_harmed():
    made = np.column_stack([-np.abs(values(12, 1)), np.zeros(12)])
    assert step_down_p(made).tolist() == [1, 1]


def test_bounds_have_bonferronis_correction():
    losses = np.array([[0.1, 0.0, 0.02], [0.2, 0.01, 0.0], [0.15, 0.02, 0.01]])
    changes = class_losses.from_recalls(np.full((3, 3), 0.9), 0.9 - losses)
    found = bounds(changes, np.eye(3))
    half = stats.t.ppf(1 - 0.05 / 3, 2) * losses.std(0, ddof=1) / 3**0.5
    assert found.upper_all == pytest.approx(losses.mean(0) + half)
    single = stats.ttest_1samp(losses, 0).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(single.low), pytest.approx(single.high))
    p = np.array(stats.ttest_1samp(losses, 0, alternative="greater").pvalue)
    order = np.argsort(p)
    assert found.p[order] == pytest.approx(np.maximum.accumulate(p[order] * [3, 2, 1]).clip(max=1))


def test_classes_that_lose_alike_have_the_same_correction():
    # Their networks vary together, but the noise of their images is independent, so the correction stays that of four.
    losses = 0.3 + np.repeat(values(12, 1), 4, axis=1) / 1000
    found = bounds(class_losses.from_recalls(np.full((12, 4), 0.9), 0.9 - losses), np.eye(4))
    half = stats.t.ppf(1 - 0.05 / 4, 11) * losses.std(0, ddof=1) / 12**0.5
    assert found.upper_all == pytest.approx(losses.mean(0) + half)


def test_a_loss_that_all_classes_share_is_no_cost_and_is_bounded_all_the_same():
    losses = 0.3 + values(12, 4) / 1000
    share = np.full(4, 0.25)
    assert excess(losses, share).mean(0) == pytest.approx(np.zeros(4), abs=1e-3)
    changes = class_losses.from_recalls(np.full((12, 4), 0.9), 0.9 - losses)
    assert (bounds(changes, np.eye(4)).upper_all > 0.3).all()
    assert np.abs(bounds(changes, class_sums.excess_weights(share)).upper_all).max() < 0.002


def test_images_that_never_change_are_bounded_by_the_rule_of_three():
    label, right = np.repeat([0, 1], 300), np.ones((3, 600), bool)
    changes = class_losses.from_predictions(label, right, right)
    assert np.isnan(bounds(changes, np.eye(2)).upper_all).all()
    # .025 ** (1 / 300) is the share that n images without a loss leave.
    assert class_table.losses(label, right, right).upper.tolist() == pytest.approx([1 - 0.025 ** (1 / 300)] * 2)


def study(losses, networks=12, images=200, seed=0):
    """Networks that are right about .9 of each class's images before, and lose single images at random."""
    generator = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(losses)), images)
    before = generator.random((networks, len(label))) < 0.9
    after = before & (generator.random(before.shape) >= np.repeat(losses, images) / 0.9)
    return label, before, after


def worst_of(label, before, after):
    changes = class_losses.from_predictions(label, before, after)
    weights = class_sums.excess_weights(np.bincount(label) / len(label))
    return worst_class(changes, weights, label=label, differences=before.astype(int) - after)


def test_the_class_that_costs_most_is_found_and_measured():
    found = worst_of(*study([0.0, 0.1, 0.0, 0.0]))
    assert found.place == 1
    # The accuracy loses a fourth of .1.
    assert found.cost == pytest.approx(0.075, abs=0.01)
    assert found.low < 0.075 < found.high


@pytest.mark.slow
def test_where_no_class_costs_anything_the_cost_is_0_on_average_and_the_largest_is_not():
    costs, largest = [], []
    for seed in range(60):
        label, before, after = study([0.05] * 5, networks=5, seed=seed)
        costs.append(worst_of(label, before, after).cost)
        lost = (before.astype(int) - after).reshape(5, 5, -1).mean(2)
        largest.append((lost - lost.mean(1, keepdims=True)).max(1).mean())
    error = np.std(costs, ddof=1) / 60**0.5
    assert abs(np.mean(costs)) < 4 * error
    assert np.mean(largest) > 0.01


def test_a_single_network_and_unpaired_networks_have_no_worst_class():
    label, before, after = study([0.0, 0.2], networks=1)
    assert worst_of(label, before, after).place == -1
    unpaired = class_losses.from_predictions(label, np.vstack([before] * 2), np.vstack([after] * 3), paired=False)
    weights = class_sums.excess_weights(np.full(2, 0.5))
    assert worst_class(unpaired, weights).place == -1
    assert np.isfinite(bounds(unpaired, np.eye(2)).value).all()


def test_two_classes_of_equal_size_cost_opposite_amounts():
    label, before, after = study([0.1, 0.0])
    changes = class_losses.from_predictions(label, before, after)
    found = bounds(changes, class_sums.excess_weights(np.full(2, 0.5)))
    assert found.value[0] == pytest.approx(-found.value[1])
    assert (found.p[0] < 0.05, found.p[1]) == (True, 1)


def test_halves_hold_every_image_once_and_the_only_image_of_a_class_twice():
    label = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    differences = np.array([[1, 0, 0, 0, 1, 0, -1, 1]])
    first, second = ImageHalves(label, differences).split(0)
    assert (first + second)[0, 0] == pytest.approx(0.5)
    # Of three images one half has one, the other two.
    assert first[0, 1] + 2 * second[0, 1] == pytest.approx(0)
    assert (first[0, 2], second[0, 2]) == (1, 1)
    assert class_costs.ImageHalves(label, differences).split(0)[0].tolist() == first.tolist()


def test_of_classes_that_cost_the_same_the_first_is_chosen_whatever_rounding_says():
    """In the networks left in, .1 + .2 is above .3 by rounding alone."""
    costs = np.array([[0.3, 0.1 + 0.2], [0.3, 0.3], [0.0, 0.0]])
    places, _ = class_costs.read_left_out(costs, np.eye(2), None, None)
    assert places.tolist() == [[0, 0, 0]]


def test_a_class_is_not_shown_to_cost_anything_because_another_is():
    """The first class loses most on average, but not in every network; the second loses a tenth in each."""
    losses = np.array([[0.6, 0.1, 0.0], [0.0, 0.101, 0.0], [0.5, 0.099, 0.0], [0.0, 0.1, 0.0], [0.5, 0.1, 0.0]])
    changes = class_losses.from_recalls(np.ones((5, 3)), 1 - losses)
    found = worst_class(changes, np.eye(3))
    assert (found.place, found.low > 0, found.is_shown) == (0, True, False)
    assert worst_class(changes, np.eye(3), p=np.array([0.06, 0.01, 1.0])).is_shown is False
    assert worst_class(changes, np.eye(3), p=np.array([0.05, 0.01, 1.0])).is_shown is True


def few_lost(networks=4):
    """All networks lose the three images of class 0, and each loses one image of its own of classes 1 and 2."""
    label = np.repeat(np.arange(4), [3, 100, 100, 100])
    before = np.ones((networks, len(label)), bool)
    after = before & (label > 0)
    for network in range(networks):
        after[network, [10 + 7 * network, 150 + 3 * network]] = False
    return label, before, after


def test_a_class_of_three_images_that_are_all_lost_is_not_shown_to_cost_anything():
    found = class_table.costs(*few_lost())
    # By coins, three images are all lost with probability 1 / 8, times four classes.
    assert found.columns["cost_p"][0] == 0.5
    assert (found.worst.place, found.worst.is_shown) == (0, False)
    assert found.worst.low <= 0
    assert found.worst.high > found.worst.cost > 0.9
    assert class_table.worst_class(*few_lost()) == found.worst


def test_joint_bounds_of_a_class_that_is_lost_alike_contain_its_own_interval():
    """Ten images of one class are all lost: coins would lose them with probability 2 / 2 ** 10."""
    label, before = np.repeat([0, 1], [10, 90]), np.ones((4, 100), bool)
    after = before & (label > 0) & (np.arange(100) != 50 + np.arange(4)[:, np.newaxis])
    found = class_table.costs(label, before, after)
    assert found.worst.is_shown
    assert 0 < found.worst.low < found.columns["cost_low"][0]
    # The variance between networks alone would give an interval of a few points.
    assert found.worst.low < 0.8 < 0.88 < found.worst.cost


def test_coins_guard_each_class_for_itself():
    """The second class of 400 is shown to lose 20 images, and the first loses three of three in nearly all networks."""
    label, before = np.repeat([0, 1, 2], [3, 400, 400]), np.ones((5, 803), bool)
    after = before & (label > 0) & (np.arange(803) >= 23 + np.arange(5)[:, np.newaxis])
    after[0, 0] = True
    found = class_table.worst_class(label, before, after)
    assert (found.place, found.is_shown) == (0, False)
    assert 0 < found.low < 0.06


def test_a_class_that_stays_as_it_is_while_others_win_is_shown_to_cost():
    """Half of the 60 errors of both other classes are repaired, other ones in each network: the accuracy wins .1."""
    label, place = np.repeat([0, 1, 2], 200), np.tile(np.arange(200), 3)
    before = np.array([(place < 140) | (label == 0) for _ in range(5)])
    after = np.array([before[0] | ((place - 140 + network * 12) % 60 < 30) & (place >= 140) for network in range(5)])
    found = class_table.costs(label, before, after)
    assert found.columns["cost"][0] == pytest.approx(0.1)
    assert found.columns["cost_p"][0] < 0.001
    assert found.worst.is_shown
    assert 0 < found.worst.low < 0.1


def test_few_images_that_stay_as_they_are_while_others_win_are_not_shown_to_cost():
    """As above, but the class that stays has ten images: none changes with a probability of about .9 ** 10."""
    label, place = np.repeat([0, 1, 2], [10, 200, 200]), np.r_[:10, :200, :200]
    before = np.array([(place < 140) | (label == 0) for _ in range(5)])
    after = np.array([before[0] | ((place - 140 + network * 12) % 60 < 30) & (place >= 140) for network in range(5)])
    found = class_table.costs(label, before, after)
    assert found.columns["cost"][0] > 0.1
    assert found.columns["cost_p"][0] > 0.5
    assert (found.worst.place, found.worst.is_shown) == (0, False)


def test_classes_that_change_differently_have_bounds_from_their_variances():
    label, before, after = study([0.02, 0.1, 0.02, 0.02], networks=4, images=1000)
    recall = (before.reshape(-1, 4, 1000).mean((0, 2)) + after.reshape(-1, 4, 1000).mean((0, 2))) / 2
    changes = class_losses.moderated(class_losses.from_predictions(label, before, after), recall)
    weights, differences = class_sums.excess_weights(np.full(4, 0.25)), before.astype(int) - after
    plain = worst_class(changes, weights, label=label, differences=differences)
    found = class_table.worst_class(label, before, after)
    assert found == plain._replace(low=pytest.approx(plain.low), high=pytest.approx(plain.high))
