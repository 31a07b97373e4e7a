"""The ratio of each network: nearest on validation images, the smallest of a tie, or none."""

import numpy as np
import pytest

from analysis.report.methods.same_accuracy import NONE, nearest


@pytest.mark.parametrize(
    ("accuracies", "chosen"),
    [
        ([0.95, 0.91, 0.88], 1),
        # As far above as below: the smaller ratio, whose network is the more accurate one.
        ([0.92, 0.88, 0.80], 0),
        # Accuracy need not fall from ratio to ratio.
        ([0.93, 0.85, 0.905], 2),
        ([np.nan, 0.95, 0.91], 2),
        # Exactly at the tolerance counts, beyond it not.
        ([0.95, 0.93, 0.80], 1),
        ([0.95, 0.94, 0.80], NONE),
        ([np.nan, np.nan, np.nan], NONE),
    ],
)
def test_the_nearest_ratio_within_the_tolerance(accuracies, chosen):
    assert nearest(np.array([accuracies]), np.array([0.9]), 0.03).tolist() == [chosen]


def test_each_network_has_its_own_target_and_none_if_it_is_not_known():
    accuracy = np.array([[0.9, 0.8], [0.9, 0.8], [0.9, 0.8]])
    assert nearest(accuracy, np.array([0.9, 0.8, np.nan]), 0.01).tolist() == [0, 1, NONE]


def test_without_ratios_there_is_none():
    assert nearest(np.empty((2, 0)), np.array([0.9, 0.8]), 0.01).tolist() == [NONE, NONE]
