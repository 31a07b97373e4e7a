"""Margins of networks whose errors are known by construction."""

from pathlib import Path

import margins
import numpy as np
import pytest
from margins import Margins
from published import Study
from scipy import stats

# Of each class some images lie near the border, normally and with a mean of 1, and the others far from it.
NEAR = np.array([0.05, 0.1, 0.2])
IMAGES = 20_000


def made_up(spread):
    """Networks whose margins near the border vary by `spread` in the last class and by 1 in the others."""
    margin = np.full((3, IMAGES), 100.0)
    for each, share, scale in zip(margin, NEAR, (1, 1, spread), strict=True):
        count = int(share * IMAGES)
        each[:count] = 1 + scale * stats.norm.ppf((np.arange(count) + 0.5) / count)
    label = np.repeat(np.arange(3), IMAGES)
    # With noise of the variance 3 a margin is 1 with a standard deviation of 2, so that .3085 of these are wrong.
    wrong = stats.norm.cdf(-1 / np.sqrt(np.array([1, 1, spread**2]) + 3)) * NEAR
    right = np.tile(np.arange(IMAGES), 3) >= np.rint(wrong * IMAGES)[label]
    return Margins(label, np.tile(margin.ravel(), (2, 1)), np.tile(right, (2, 1)))


def test_the_noise_and_the_losses_follow_from_the_error():
    alike = made_up(1)
    assert alike.noise[0] == pytest.approx(np.sqrt(3), rel=0.01)
    # .3085 of the near images are wrong after, and .1587 before.
    for losses in (alike.expected_from_margins, alike.losses, alike.expected_in_proportion):
        assert losses[0] == pytest.approx(NEAR * (0.3085 - 0.1587), abs=2e-4)


def test_only_margins_predict_the_loss_of_a_class_of_another_shape(monkeypatch):
    monkeypatch.setattr(margins, "read", lambda study: {"mnist": made_up(3)})
    of_margins, in_proportion = margins.explained(Study(Path()))["value"]
    assert of_margins == pytest.approx(1, abs=1e-3)
    assert in_proportion < 0.5


def test_margins_of_one_shape_have_lines_that_agree():
    assert np.ptp(margins.shares_below(made_up(1)), axis=0).max() < 0.02


def test_without_a_lost_image_there_is_no_noise():
    assert margins.noise(np.array([-1.0, 1.0]), 0.5) == 0
