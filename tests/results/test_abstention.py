"""Accuracy on the images that are left, and dispute: by hand, and against all orders and pairs."""

from itertools import permutations, product

import numpy as np
import pytest
from abstention import disputes, retained_accuracy

COVERAGES = np.array([1, 0.8, 0.6, 0.4, 0.2])


def test_ties_count_as_the_mean_over_all_orders_of_the_images_that_are_doubted_alike():
    right, doubt = np.array([1, 0, 1, 1, 0]), np.array([0.1, 0.2, 0.2, 0.2, 0.3])
    expected = []
    for tied in permutations([1, 2, 3]):
        answers = right[[0, *tied, 4]]
        expected.append([answers[:left].mean() for left in (5, 4, 3, 2, 1)])
    assert retained_accuracy(right, doubt, COVERAGES) == pytest.approx(np.mean(expected, axis=0))


def test_doubt_that_says_nothing_leaves_the_accuracy_and_one_that_knows_leaves_no_mistake():
    right = np.array([1, 1, 1, 0, 0])
    assert retained_accuracy(right, np.zeros(5), COVERAGES) == pytest.approx([0.6] * 5)
    assert retained_accuracy(right, 1 - right, COVERAGES) == pytest.approx([0.6, 0.75, 1, 1, 1])
    assert retained_accuracy(right, right, COVERAGES) == pytest.approx([0.6, 0.5, 1 / 3, 0, 0])


def test_at_least_one_image_is_left():
    assert retained_accuracy(np.array([0, 1]), np.array([1, 0]), np.array([0.01])).tolist() == [1]


def test_dispute_is_the_share_of_differing_pairs_of_other_networks():
    generator = np.random.default_rng(0)
    dense, pruned = generator.integers(0, 3, (2, 5, 7))
    between, within = disputes(dense, pruned), disputes(dense)
    for own, image in product(range(5), range(7)):
        others = [seed for seed in range(5) if seed != own]
        pairs = [dense[one, image] != pruned[other, image] for one, other in product(others, others)]
        assert between[own, image] == pytest.approx(np.mean(pairs))
        pairs = [dense[one, image] != dense[other, image] for one, other in permutations(others, 2)]
        assert within[own, image] == pytest.approx(np.mean(pairs))
