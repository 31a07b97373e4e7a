"""The choice between chains by upper bounds, on chains whose outcome is known by hand."""

import numpy as np
import pytest

from analysis.statistics.limits import Limits, gate
from pruning_study.study.compression import judgement
from pruning_study.study.compression.judgement import Sides, Validated
from tests.error_lines import refused

LIMITS = Limits(class_loss=0.03, accuracy_loss=0.01)


class TestImages:
    @pytest.mark.parametrize(
        ("limit", "classes", "images"), [(0.03, 1, 99), (0.03, 10, 174), (0.1, 1, 29), (0.01, 1, 299)]
    )
    def test_the_number_that_would_do(self, limit, classes, images):
        """log .05 / log .97 is 98.4, log .005 / log .97 is 173.9; log .05 / log .9 is 28.4, over log .99 298.1."""
        assert judgement.images_needed(limit, classes) == images
        assert judgement.least_bound(images, classes) < limit <= judgement.least_bound(images - 1, classes)

    def test_no_number_of_images_shows_a_limit_of_nothing(self):
        assert judgement.images_needed(0.0) == 10**6

    def test_the_bound_of_no_loss_is_the_rule_of_three(self):
        assert judgement.least_bound(100) == pytest.approx(3 / 100, rel=0.02)

    @pytest.mark.parametrize(
        ("limits", "images", "option", "message"),
        [
            (LIMITS, 500, "max_class_loss", r"122 images of each class .*-fraction 0\.25\), .* 6 points$"),
            *((LIMITS, n, "max_class_loss", r"122 .* for validation \(more images\)") for n in (60, 122, 123)),
            (LIMITS, 124, "max_class_loss", r"122 .* for validation \(--validation-fraction 0\.99\)"),
            (Limits(0.1, 0.01), 500, "max_accuracy_loss", r"299 images for .* 0\.49\), or a limit of 1\.7 points$"),
        ],
    )
    def test_too_few_for_a_limit_is_one_line_that_says_what_would_do(self, limits, images, option, message):
        """1 - .025^(1/60) is .0596 and 1 - .05^(1/180) .0165. 122 is a quarter of 500, and 299 48.2 % of 620.

        Of 123 images 122 are 99.2 %, and of 124 they are 98.4 %.
        """
        with refused(option, message):
            judgement.check_images(np.array([120, 60]), np.array([120, images]), ("hat", "bag"), limits)

    def test_the_split_of_a_dense_run_takes_another_network(self):
        with refused("max_class_loss", r"122 .* \(train a network with --validation-fraction 0\.25\), or a limit of"):
            judgement.check_images(np.array([120, 60]), np.array([120, 500]), ("hat", "bag"), LIMITS, is_trained=True)

    def test_enough_is_no_error(self):
        judgement.check_images(np.array([200, 200]), np.array([200, 200]), ("hat", "bag"), LIMITS)


class TestImagesOfEachNetwork:
    def test_a_network_with_one_image_of_a_class_is_one_line_that_says_what_would_do(self):
        """Two of 30 bags are 6.7 %, which is rounded up."""
        message = r"in each network, but class 'bag' has 1\. Give 2 images .* \(--validation-fraction 0\.07\)$"
        with refused("seed", message):
            judgement.check_each_network(np.array([[5, 2], [5, 1]]), np.array([50, 30]), ("hat", "bag"))

    def test_images_of_a_fixed_split_can_only_be_added(self):
        with refused("seed", r"class 'hat' has 1\. .* \(more images\)$"):
            judgement.check_each_network(np.array([[1, 5], [1, 5]]), np.array([1, 5]), ("hat", "bag"))

    def test_two_images_are_enough(self):
        judgement.check_each_network(np.full((2, 2), 2), np.array([50, 30]), ("hat", "bag"))


def test_losses_are_those_beyond_the_control_and_the_worst_is_that_of_the_largest_bound():
    """Of 100 hats and 100 bags the compressed network loses 10 hats; the control has lost none."""
    label, right = np.repeat([0, 1], 100), np.ones((1, 200), bool)
    after = right.copy()
    after[0, :10] = False
    table = judgement.losses(("hat", "bag"), label, Sides(right, right, after))
    assert table["name"].tolist() == ["accuracy", "hat", "bag"]
    assert table["loss"].tolist() == pytest.approx([0.05, 0.1, 0.0])
    found = judgement.judge(table, 0.95, cost=7.0, model_bytes=8, macs=9, run_id="run")
    assert found.worst_class == "hat"
    assert (found.class_loss, found.accuracy_loss) == (pytest.approx(0.1), pytest.approx(0.05))
    # None is won, so that the end is Wilson's: (.1 + .019207 + 1.96 sqrt(.0009 + .000096)) / 1.038415
    assert found.class_loss_upper == pytest.approx(0.17436, abs=1e-4)
    assert gate(table, LIMITS).state == "beyond"
    assert gate(table, Limits(0.18, 0.1)).state == "within"


class TestSeveralNetworks:
    """Two networks; the first loses 10 of its 100 hats, the second 30, and neither loses a bag."""

    LABEL = np.repeat([0, 1], 200)

    def networks(self, places):
        found = []
        for place, lost in zip(places, (10, 30), strict=True):
            right = np.ones(200, bool)
            found.append(Validated(np.concatenate([place, 200 + place]), right, right, np.arange(200) >= lost))
        return found

    def hats(self, places):
        return judgement.losses_on_validation(("hat", "bag"), self.LABEL, self.networks(places)).loc[1]

    def test_the_loss_is_the_mean_and_its_bound_is_that_of_two_networks(self):
        """The losses .1 and .3 have the standard error .1, and t for one degree of freedom is 12.706."""
        found = self.hats([np.arange(100), 100 + np.arange(100)])
        assert (found["support"], found["loss"]) == (200, pytest.approx(0.2))
        assert found["high"] == pytest.approx(1.0)  # .2 + 12.706 * .1, and no loss is larger than 1
        # Images of its own are in the variance over networks: (.1 * .9 + .3 * .7) / 99 / 4, nothing beside it.
        assert found["over_networks"] == pytest.approx(0.01)
        assert found["over_images"] == found["in_both"] == pytest.approx(0.3 / 99 / 4)

    def test_images_that_both_have_add_a_variance_as_in_an_audit(self):
        same = self.hats([np.arange(100)] * 2)
        right = np.ones((2, 200), bool)
        after = np.arange(200) >= np.array([[10], [30]])
        wanted = judgement.losses(("hat", "bag"), np.repeat([0, 1], 100), Sides(right, right, after)).loc[1]
        for name in ("loss", "high", "over_networks", "over_images", "in_both"):
            assert same[name] == pytest.approx(wanted[name])

    def test_what_the_controls_lost_too_is_no_loss(self):
        """Without pruning the first network loses 4 hats and the second 6, so that pruning loses 6 and 24 of 100."""
        networks = [
            network._replace(control=np.arange(200) >= lost)
            for network, lost in zip(self.networks([np.arange(100), 100 + np.arange(100)]), (4, 6), strict=True)
        ]
        found = judgement.losses_on_validation(("hat", "bag"), self.LABEL, networks)
        assert found["loss"].tolist() == pytest.approx([0.075, 0.15, 0])
