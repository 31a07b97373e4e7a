"""Numbers of networks with which a study can promise that no class loses more than a limit."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import class_losses, class_table
from analysis.statistics.class_losses import Changes
from analysis.statistics.promises import promises


def needed(values, images, support, limit):
    """Return the numbers of networks for the present images and for 1,000 of each class."""
    table = promises(Changes([np.array(values)], np.array(images), np.zeros(len(images))), support, limits=[limit])
    return table.set_index("images")["networks"]


@pytest.mark.parametrize("classes", [1, 10])
def test_four_of_five_studies_can_make_the_promise(classes):
    values = np.repeat([[-0.01], [0.0], [0.01]], classes, axis=1)
    networks = int(needed(values, np.zeros(classes), np.full(classes, 10_000), 0.011).iloc[0])

    def share(networks):
        losses = np.random.default_rng(0).normal(0, 0.01, (4000, networks, classes))
        t = stats.t.isf(0.05 / classes, networks - 1)
        upper = losses.mean(1) + t * losses.std(1, ddof=1) / networks**0.5
        return (upper < 0.011).all(1).mean()

    assert share(networks) > 0.79  # known within .01
    assert share(networks - 2) < 0.8


def test_each_class_has_the_images_that_it_has():
    """The second class has 1,000 images already, and its noise does not shrink if the first class gets as many."""
    values = np.array([[0.0, 0.0], [0.001, 0.01], [-0.001, -0.01]])
    both = needed(values, [0.0, 2e-5], np.array([100, 1000]), 0.02)
    large = needed(values, [0.0, 2e-5], np.array([1000, 1000]), 0.02)
    assert list(both.index) == [100, 1000, 10_000]
    assert both[1000] == large[1000] > large[10_000] == both[10_000]


def test_too_few_images_to_lose_one_of_them_promise_nothing():
    """Without a loss, 106 images rule out one of .05 at the level .005; with one image lost, they do not."""
    label, before = np.repeat(np.arange(10), 106), np.ones((5, 1060), bool)
    after = before.copy()
    after[:4, ::106] = False  # an image of each class
    after[0, 1::106] = False
    changes, support = class_losses.from_predictions(label, before, after), np.full(10, 106)
    unmoved = changes._replace(moved=np.zeros(10), moved_square=np.zeros(10))
    present, unchanged = (promises(each, support, limits=[0.05])["networks"] for each in (changes, unmoved))
    assert unchanged.notna().all()
    assert np.isnan(present[0])
    assert present[1:].tolist() == unchanged[1:].tolist()


def moving(rng, networks, images, classes=10):
    """Networks that lose nothing on average: .5 % of images are right or wrong at random, before and after."""
    label = np.repeat(np.arange(classes), images)
    hard = rng.random(len(label)) < 0.005
    before, after = (
        ~hard | (rng.random((networks, len(label))) < np.where(hard, rng.beta(0.5, 0.5, len(label)), 1))
        for _ in range(2)
    )
    return label, before, after


@pytest.mark.slow
def test_four_of_five_studies_of_few_changed_images_can_make_the_promise():
    """Of studies with twenty networks, a third rule out losses of .02, and all rule out losses of .035."""
    rng, held = np.random.default_rng(0), []
    for _ in range(10):
        label, before, after = moving(rng, 5, 300)
        changes = class_losses.from_predictions(label, before, after)
        for limit, _, networks in promises(changes, np.bincount(label), limits=[0.02, 0.035])[::3].to_numpy():
            if networks < 60:
                studies = (moving(rng, int(networks), 300) for _ in range(6))
                held += [(class_table.losses(*study).upper < limit).all() for study in studies]
    assert len(held) >= 30
    assert np.mean(held) > 0.8
