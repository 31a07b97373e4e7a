"""Bounds of losses from the images that change, and how they change with more networks and images."""

import numpy as np
import pytest

from analysis.statistics import class_losses, class_sums, promises
from analysis.statistics.hypothesis_tests import change_interval
from analysis.statistics.image_bounds import ImageBounds, unchanged_bound


def flipped(networks, images=1000, share=0.2, seed=0):
    """Changes of networks that are right about half of the images of two classes, and change a share of them."""
    generator = np.random.default_rng(seed)
    label = np.repeat([0, 1], images)
    start = generator.random((networks, len(label))) < 0.5
    return class_losses.from_predictions(label, start, start ^ (generator.random(start.shape) < share))


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4])
def test_more_networks_on_the_same_images_never_widen_the_bound(share):
    found = flipped(3, share=share).image_bounds(np.full(2, 1000), 0.005)
    above = [found.projected(networks=factor).upper - found.loss for factor in (1, 2, 4, 16, 256, np.inf)]
    assert (np.diff(above, axis=0) <= 1e-12).all()
    assert (np.array(above) > -1e-12).all()


def test_the_bound_of_more_networks_is_projected():
    """Each network loses most of 5 % of the images, and 3 % of the others at random."""
    generator, label = np.random.default_rng(0), np.zeros(1000, int)
    right = np.ones((40, 1000), bool)
    after = generator.random(right.shape) > np.where(np.arange(1000) < 50, 0.8, 0.03)
    few, many = (
        class_losses.from_predictions(label, right[:networks], after[:networks]).image_bounds(np.array([1000]), 0.005)
        for networks in (5, 40)
    )
    now, projected, found = (each.upper - each.loss for each in (few, few.projected(networks=8.0), many))
    assert projected == pytest.approx(found, rel=0.03)
    assert now > 1.05 * found


def test_no_bound_is_below_that_of_an_unchanged_class():
    found = flipped(30, images=100, share=0.02).image_bounds(np.full(2, 100), 0.005)
    assert (found.upper >= unchanged_bound(100, 0.005)).all()


def test_small_changes_of_a_class_count_as_larger_if_those_of_all_classes_are():
    """All five networks lose an image of the first class, and one network loses an image of the second."""
    label, right = np.repeat([0, 1], 100), np.ones((5, 200), bool)
    after = right.copy()
    after[:, 0] = after[0, 100] = False
    found = class_losses.from_predictions(label, right, after).image_bounds(np.full(2, 100), 0.025)
    usual_size = (1 + 0.2**2) / (1 + 0.2)
    assert found.usual_size == pytest.approx(usual_size)
    size = (0.2 * 0.2 + 30 * usual_size) / (0.2 + 30)
    assert found.upper[1] == pytest.approx(max(-size * change_interval(0.2 / size, 0, 100)[0], 1 - 0.025**0.01))


def test_the_bound_of_a_sum_is_normal_if_many_images_change():
    """One network loses 3,000 of the 10,000 images of each of ten classes."""
    lost = np.full(10, 0.3)
    found = ImageBounds(lost, lost, lost, np.full(10, 10_000), 0.005, np.zeros(10))
    # Each cost has the variance of .9 of a class's loss and a tenth of those of nine other classes.
    error = np.sqrt(0.3 * 0.7 / 10_000 * (0.9**2 + 9 * 0.1**2))
    assert found.of_sums(class_sums.excess_weights(np.full(10, 0.1))) == pytest.approx(2.576 * error, rel=0.01)


def test_images_are_not_too_few_where_the_loss_is_above_the_limit():
    """More networks would then show that it is."""
    label, image = np.repeat([0, 1], 100), np.arange(200)
    right = np.ones((4, 200), bool)
    after = np.array([image % 100 >= lost for lost in (4, 5, 6, 7)])
    changes = class_losses.from_predictions(label, right, after)
    support = np.full(2, 100)
    assert [promises.images_are_too_few(changes, limit, support) for limit in (0.05, 0.08, 0.5)] == [False, True, False]


def test_an_image_in_which_networks_cancel_is_no_changed_image():
    found = ImageBounds(np.zeros(1), np.zeros(1), np.zeros(1), np.array([50]), 0.025, np.full(1, 0.01))
    assert found.upper == pytest.approx(1 - 0.025 ** (1 / 50))


@pytest.mark.parametrize("changed", [0.03, 1, 5, 50])
def test_bounds_are_below_a_limit_as_often_as_chance_has_it(changed):
    """Lost and won images are two Poisson variables, each with half of the mean."""
    share, support = np.full(1, changed / 1000), np.full(1, 1000)
    lost, won = np.random.default_rng(0).poisson(changed / 2, (2, 4000))
    others = ImageBounds((lost - won) / 1000, (lost + won) / 1000, (lost + won) / 1000, support, 0.005, np.zeros(1))
    limit = np.quantile(others.upper, 0.95) + 1e-6
    found = ImageBounds(np.zeros(1), share, share, support, 0.005, np.zeros(1)).chance_below(limit)
    # An upper end that lies between two numbers of images may count for the lower one.
    assert found[0] == pytest.approx((others.upper < limit).mean(), abs=0.05)
