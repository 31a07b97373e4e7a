"""Numbers of networks with which a study can promise that no class loses more than a limit."""

import numpy as np
import pytest
from scipy import stats

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
