"""The choice between chains by upper bounds, on chains whose outcome is known by hand."""

import numpy as np
import pytest

from analysis.statistics.limits import Limits
from analysis.statistics.losses import spread
from pruning_study.study.compression import judgement
from pruning_study.study.compression.judgement import Validated
from tests.error_lines import refused

LIMITS = Limits(class_loss=0.03, accuracy_loss=0.01)


class TestImages:
    @pytest.mark.parametrize(("limit", "images"), [(0.03, 88), (0.1, 25), (0.01, 268)])
    def test_the_number_that_would_do(self, limit, images):
        """2.7055 (1 / .03 - 1) is 87.5, 2.7055 * 9 is 24.3, and 2.7055 * 99 is 267.8."""
        assert judgement.images_needed(limit) == images

    def test_no_number_of_images_shows_a_limit_of_nothing(self):
        assert judgement.images_needed(0.0) == 10**6

    @pytest.mark.parametrize(
        ("limits", "images", "option", "message"),
        [
            (LIMITS, 500, "max_class_loss", r"88 images of each class .*-fraction 0\.18\), .* 4\.4 points$"),
            *((LIMITS, n, "max_class_loss", r"88 .* for validation \(more images\)") for n in (60, 88)),
            (LIMITS, 89, "max_class_loss", r"88 .* for validation \(--validation-fraction 0\.99\)"),
            (Limits(0.1, 0.01), 500, "max_accuracy_loss", r"268 images for .* 0\.44\), or a limit of 1\.5 points$"),
        ],
    )
    def test_too_few_for_a_limit_is_one_line_that_says_what_would_do(self, limits, images, option, message):
        """2.7055 / 62.7055 is .0431 and 2.7055 / 182.7055 .0148. 88 is 17.6 % of 500, and 268 43.2 % of 620."""
        with refused(option, message):
            judgement.check_images(np.array([120, 60]), np.array([120, images]), ("hat", "bag"), limits)

    def test_the_split_of_a_dense_run_takes_another_network(self):
        with refused("max_class_loss", r"88 .* \(train a network with --validation-fraction 0\.18\), or a limit of"):
            judgement.check_images(np.array([120, 60]), np.array([120, 500]), ("hat", "bag"), LIMITS, is_trained=True)

    def test_enough_is_no_error(self):
        judgement.check_images(np.array([200, 200]), np.array([200, 200]), ("hat", "bag"), LIMITS)


def validated(images, lost):
    """Return a network that loses the first so many of its first class's images, half of all."""
    right = np.ones(len(images), bool)
    return Validated(images, right, np.arange(len(images)) >= lost)


def test_the_worst_class_is_that_of_the_largest_bound():
    """Of 100 hats and 100 bags the compressed network loses 10 hats."""
    found = judgement.losses_on_validation(np.repeat([0, 1], 100), [validated(np.arange(200), 10)])
    worst = judgement.worst_losses(("hat", "bag"), *found)
    assert worst["worst_class"] == "hat"
    assert (worst["class_loss"], worst["accuracy_loss"]) == (pytest.approx(0.1), pytest.approx(0.05))
    # None is won, so that the end is Wilson's: (.1 + .013527 + 1.645 sqrt(.0009 + .000068)) / 1.027055
    assert worst["class_loss_upper"] == pytest.approx(0.16033, abs=2e-4)


class TestSeveralNetworks:
    """Two networks; the first loses 10 of its 100 hats, the second 30, and neither loses a bag."""

    def hats(self, places):
        networks = [
            validated(np.concatenate([place, 200 + place]), lost) for place, lost in zip(places, (10, 30), strict=True)
        ]
        return judgement.losses_on_validation(np.repeat([0, 1], 200), networks)[0].of(np.array([0]))

    def test_the_loss_is_the_mean_over_networks_with_images_of_their_own(self):
        """The losses .1 and .3 have the variance .02, so that of the mean is .01; images are .09 / 99 and .21 / 99."""
        found = self.hats([np.arange(100), 100 + np.arange(100)])
        assert (found.value, found.networks) == (pytest.approx([0.2]), pytest.approx([0.01]))
        assert found.images == pytest.approx([0.3 / 99 / 4])
        assert found.beyond == pytest.approx([0], abs=1e-12)

    def test_images_that_both_have_add_a_variance_as_in_an_audit(self):
        same = self.hats([np.arange(100)] * 2)
        difference = (np.arange(100) < np.array([[10], [30]])).astype(int)
        wanted = spread(np.zeros(100, int), difference)
        assert same.images == pytest.approx(wanted.images)
        assert same.beyond == pytest.approx(wanted.beyond)
