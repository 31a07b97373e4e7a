"""Sentences on disproportionate losses."""

import numpy as np
import pytest

from analysis.compare.proportion_text import implied_loss


@pytest.mark.parametrize(
    ("recall", "accuracy", "accuracy_loss"),
    [
        ([0.97, 0.95, 0.05], 0.93, 0.01),  # a loss of 13.6 points, of 5 points of recall
        ([1.0, 1.0, 1.0], 1.0, 0.01),
        ([1.0, 0.9, 0.8], 0.9, np.inf),
    ],
)
def test_no_loss_is_implied_that_a_class_cannot_have(recall, accuracy, accuracy_loss):
    assert list(implied_loss(["cat", "dog", "rare"], np.array(recall), accuracy, accuracy_loss)) == []


def test_the_class_with_most_errors_is_named():
    (sentence,) = implied_loss(["cat", "dog", "rare"], np.array([0.95, 0.85, 0.9]), 0.9, 0.02)
    assert sentence.endswith("a loss of 2 points of accuracy costs dog 3.0 points.")
