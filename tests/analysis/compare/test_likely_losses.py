"""Guesses from dense networks."""

import numpy as np
import pytest

from analysis.compare.likely_losses import sentence
from analysis.statistics.proportion import implied_losses


def test_implied_losses_sum_to_the_loss_of_accuracy_and_leave_no_recall_below_0():
    recall, images = np.array([0.97, 0.95, 0.05]), np.array([50, 30, 20])
    losses = implied_losses(recall, images, 0.1)
    assert losses @ images / 100 == pytest.approx(0.1)
    assert (losses < recall).all()


@pytest.mark.parametrize(
    ("recall", "accuracy_loss"),
    [([1.0, 1.0], 0.01), ([1.0, 0.9], 0.46), ([0.9, 0.8], np.inf), ([np.nan, 0.9], 0.01)],
)
def test_nothing_is_said_if_no_power_gives_the_loss_of_accuracy(recall, accuracy_loss):
    assert list(sentence(["cat", "dog"], np.array(recall), np.array([50, 50]), accuracy_loss)) == []
