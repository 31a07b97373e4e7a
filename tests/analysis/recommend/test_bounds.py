"""Validation images: answers, estimates and their bounds by hand, and how often the bounds hold."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.common.errors import StudyError
from analysis.recommend import bounds
from analysis.recommend.bounds import ValidationAnswers

RUNS = pd.DataFrame({"dense_run_id": ["d"], "run_id": ["p"]})


def right(label, recalls):
    """Answers that are right about the first images of each class, the share that `recalls` says."""
    place = np.concatenate([np.arange(count) for count in np.bincount(label)])
    return place < np.round(np.bincount(label) * np.array(recalls))[label]


def test_answers_are_of_the_images_of_the_dense_run():
    found = {
        "d": {"label": np.array([0, 0, 2, 2]), "predicted": np.array([0, 0, 2, 1])},
        "p": {"label": np.array([0, 0, 2, 2]), "predicted": np.array([0, 1, 1, 2])},
    }
    (network,) = bounds.answers(RUNS, lambda run_ids: found, [])
    assert network.before.tolist() == [True, True, True, False]
    assert network.after.tolist() == [True, False, False, True]


def test_other_images_than_the_dense_runs_do_not_count():
    found = {
        "d": {"label": np.array([0, 1]), "predicted": np.array([0, 1])},
        "p": {"label": np.array([1, 0]), "predicted": np.array([0, 1])},
    }
    with pytest.raises(StudyError, match="same images"):
        bounds.answers(RUNS, lambda run_ids: found, [])


def test_losses_by_hand_and_a_class_without_images_is_none():
    label = np.repeat([0, 2], 100)
    networks = [
        ValidationAnswers(label, right(np.repeat([0, 1], 100), before), right(np.repeat([0, 1], 100), after))
        for before, after in (((0.9, 0.7), (0.8, 0.4)), ((0.9, 0.7), (0.9, 0.5)))
    ]
    found = bounds.measure(networks, 0.05)
    assert (found.n, found.n_at_chance) == (2, 0)
    assert found.loss.value == pytest.approx(0.15)
    assert {label: excess.value for label, excess in found.excess.items()} == pytest.approx({0: -0.1, 2: 0.1})
    assert found.largest_excess.value == pytest.approx(0.1)
    # Balances .1 before; .2 and .2 after, of accuracies .8, .6 and .7.
    assert found.raw_slope == pytest.approx(2)
    assert found.alpha == pytest.approx((2 * 0.8 / 0.6 + 2 * 0.8 / 0.7) / 2)


def other_images(label, seed):
    return np.random.default_rng(seed).permutation(label)


def test_the_bound_over_images_of_each_networks_own_is_that_of_the_t_test():
    # Losses of accuracy .05, .10, .20: the networks vary by more than the images of each.
    label = np.repeat([0, 1], 500)
    networks = []
    for seed, loss in enumerate((0.05, 0.10, 0.20)):
        own = other_images(label, seed)
        place = np.argsort(np.argsort(own, kind="stable"))
        networks.append(
            ValidationAnswers(own, right(label, (0.9, 0.7))[place], right(label, (0.9 - loss, 0.7 - loss))[place])
        )
    found = bounds.measure(networks, 0.05)
    losses = np.array([0.05, 0.10, 0.20])
    t_bound = losses.mean() + stats.t.isf(0.05, 2) * losses.std(ddof=1) / 3**0.5
    assert found.loss.high == pytest.approx(t_bound)


def test_networks_that_lose_the_same_do_not_hide_that_their_images_vary():
    label = np.repeat([0, 1], 500)
    networks = []
    for seed in range(3):
        own = other_images(label, seed)
        place = np.argsort(np.argsort(own, kind="stable"))
        networks.append(ValidationAnswers(own, right(label, (0.9, 0.7))[place], right(label, (0.8, 0.7))[place]))
    found = bounds.measure(networks, 0.05)
    # Of each network 50 of 1,000 images are lost.
    of_images = 0.05 * 0.95 / 999 / 3
    assert found.loss.high == pytest.approx(0.05 + stats.norm.isf(0.05) * of_images**0.5)
    # Excess loss .05 of the first class: half of its loss, which images of its own vary.
    of_class = 0.1 * 0.9 / 499 / 3 / 4
    assert found.excess[0].high == pytest.approx(0.05 + stats.norm.isf(0.05) * of_class**0.5)


@pytest.mark.parametrize("networks", [1, 3])
def test_where_no_prediction_changed_losses_are_bounded_by_the_rule_of_three(networks):
    label = np.repeat([0, 1], 500)
    same = right(label, (0.9, 0.7))
    found = bounds.measure([ValidationAnswers(label, same, same)] * networks, 0.05)
    # (1 - x)^1000 = .05 at x = .002991.
    assert (found.loss.value, found.loss.high) == (0, pytest.approx(0.002991, abs=1e-6))
    # Of each class (1 - x)^500 = .05 at x = .005974; half of it for each of both classes, by their squares.
    assert found.largest_excess.high == pytest.approx(0.005974 / 2**0.5, abs=1e-6)
    assert (found.alpha_new.value, found.alpha_new.high) == (pytest.approx(1), pytest.approx(1))


def test_networks_that_guess_are_left_out_and_those_pruned_to_it_counted():
    label = np.repeat([0, 1], 500)
    sound, guess = right(label, (0.9, 0.7)), right(label, (0.5, 0.53))
    networks = [
        ValidationAnswers(label, sound, sound),
        ValidationAnswers(label, sound, guess),
        ValidationAnswers(label, guess, guess),
        ValidationAnswers(label, guess, sound),
    ]
    found = bounds.measure(networks, 0.05)
    assert (found.n, found.n_at_chance, found.loss.value) == (1, 1, 0)
    nothing = bounds.measure(networks[1:], 0.05)
    assert (nothing.n, nothing.n_at_chance) == (0, 1)
    assert np.isnan([nothing.loss.high, nothing.alpha, nothing.alpha_new.high, nothing.largest_excess.high]).all()


def test_a_class_of_one_image_hides_alpha_and_not_the_losses():
    label = np.append(np.repeat([0, 1], 500), 2)
    before = np.append(right(np.repeat([0, 1], 500), (0.9, 0.7)), True)
    after = np.append(right(np.repeat([0, 1], 500), (0.8, 0.7)), True)
    found = bounds.measure([ValidationAnswers(label, before, after)] * 2, 0.05)
    assert found.loss.high == pytest.approx(50 / 1001 + stats.norm.isf(0.05) * (50 / 1001 * 951 / 1001 / 1000) ** 0.5)
    assert np.isnan(found.alpha_new.high)
    assert found.excess[0].value < found.excess[0].high < 0.1


def test_alpha_that_is_not_identified_has_no_bound():
    label = np.repeat([0, 1], 50)
    networks = [
        ValidationAnswers(label, right(label, recalls), right(label, recalls))
        for recalls in ((0.9, 0.9), (0.88, 0.92), (0.92, 0.88))
    ]
    assert np.isnan(bounds.measure(networks, 0.025).alpha_new.high)


@pytest.mark.slow
@pytest.mark.parametrize("networks", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_bounds_are_seldom_too_low(networks):
    """Ten classes of which one loses .1 beyond the accuracy, networks that differ, images of their own."""
    rng = np.random.default_rng(networks)
    label = np.repeat(np.arange(10), 60)
    share = np.linspace(0.95, 0.5, 10)
    lost = np.append(np.full(9, 0.05), 0.15 + 0.1 / 9)
    true_loss = lost.mean()
    too_low = np.zeros(2)
    for _ in range(200):
        cell = []
        for seed in range(networks):
            own = other_images(label, seed)
            loss = lost + rng.normal(0, 0.03) + rng.normal(0, 0.03, 10)
            draw = rng.random(len(own))
            cell.append(ValidationAnswers(own, draw < share[own], draw < (share - loss)[own]))
        found = bounds.measure(cell, 0.05)
        too_low += found.loss.high < true_loss, found.largest_excess.high < (lost - true_loss).max()
    # .05 and three standard errors of 200 draws.
    assert (too_low / 200 <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5).all()


def test_bounds_of_ten_classes_have_moderated_variances():
    label = np.repeat(np.arange(10), 100)
    # Class i loses i, 2 i and 3 i of 100 images in three networks.
    networks = [
        ValidationAnswers(label, right(label, [0.9] * 10), right(label, 0.9 - 0.01 * times * np.arange(10)))
        for times in (1, 2, 3)
    ]
    found = bounds.measure(networks, 0.05)
    few = bounds.measure([ValidationAnswers(*(each[label < 9] for each in network)) for network in networks], 0.05)
    # By the plain test of nine classes, t for two degrees of freedom and a one-sided level of 5 % is 2.92.
    excess = 0.01 * np.outer([1, 2, 3], np.arange(9) - 4)
    plain = excess.mean(0) + 2.92 * excess.std(0, ddof=1) / 3**0.5
    assert few.largest_excess.high >= plain.max() - 1e-3
    assert found.largest_excess.value == pytest.approx(0.09)
    assert found.largest_excess.high < 0.09 + 2.92 * 0.045 / 3**0.5
