"""The choice between chains by upper bounds, on chains whose outcome is known by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.statistics.limits import Limits, gate
from pruning_study.study.compression import judgement
from pruning_study.study.compression.judgement import Choice, Sides, Validated, choose

LIMITS = Limits(class_loss=0.03, accuracy_loss=0.01)
# The network as it is; in integers, which costs one class a little; half the channels, which costs it 5 points; both.
FOUR = pd.DataFrame(
    {
        "number": [0, 1, 2, 3],
        "cost": [1000.0, 300.0, 500.0, 150.0],
        "class_loss_upper": [0.005, 0.02, 0.05, 0.08],
        "accuracy_loss_upper": [0.001, 0.004, 0.006, 0.009],
    }
)


class TestChoose:
    def test_the_cheapest_that_keeps_to_both_limits(self):
        """Both is cheapest and keeps to the accuracy's limit alone; of the others int8 is cheaper than the network."""
        assert choose(FOUR, LIMITS) == Choice(best=1, nearest=1, by_accuracy=3)

    def test_a_larger_limit_of_classes_lets_the_cheapest_in(self):
        assert choose(FOUR, Limits(0.09, 0.01)) == Choice(3, 3, 3)

    def test_a_bound_at_the_limit_is_not_below_it(self):
        assert choose(FOUR, Limits(0.02, 0.01)).best == 0

    def test_where_none_keeps_to_both_the_nearest_is_told(self):
        """Limits of .1 points: the network as it is is .4 points beyond, int8 1.9, the others more."""
        assert choose(FOUR, Limits(0.001, 0.01)) == Choice(best=None, nearest=0, by_accuracy=3)

    def test_where_none_keeps_to_the_accuracy_there_is_no_choice_by_it(self):
        assert choose(FOUR, Limits(0.03, 0.0005)) == Choice(best=None, nearest=0, by_accuracy=None)

    def test_of_equal_costs_the_one_counts_whose_worst_class_may_lose_least(self):
        assert choose(FOUR.assign(cost=1.0), LIMITS) == Choice(0, 0, 0)

    def test_the_front_has_what_none_is_better_than_in_both(self):
        """Half the channels cost more than integers, and may lose more."""
        assert judgement.on_front(FOUR).tolist() == [True, True, False, True]


class TestImages:
    @pytest.mark.parametrize(("limit", "images"), [(0.03, 125), (0.1, 35), (0.01, 381)])
    def test_the_number_that_would_do(self, limit, images):
        """The upper end is z^2 / (n + z^2), z^2 = 3.8415: n above 3.8415 (1 / limit - 1), 124.2, 34.6 and 380.3."""
        assert judgement.images_needed(limit) == images
        assert judgement.least_bound(images) < limit <= judgement.least_bound(images - 1)

    def test_the_bound_of_no_loss_is_tangos(self):
        assert judgement.least_bound(100) == pytest.approx(3.841459 / 103.841459, rel=1e-6)

    @pytest.mark.parametrize(
        ("limits", "option", "message"),
        [
            (
                LIMITS,
                "max_class_loss",
                r"3 points cannot be shown: class 'bag' has 60 .* 6\.1 points\. Give 125 ",
            ),
            (Limits(0.1, 0.01), "max_accuracy_loss", r"1 points cannot be shown: there are 180 .* Give 381 images"),
        ],
    )
    def test_too_few_for_a_limit_is_one_line(self, limits, option, message):
        with pytest.raises(StudyError, match=message) as error:
            judgement.check_images(np.array([120, 60]), ("hat", "bag"), limits)
        assert error.value.option == option
        assert "\n" not in str(error.value)

    def test_enough_is_no_error(self):
        judgement.check_images(np.array([200, 200]), ("hat", "bag"), LIMITS)


def test_losses_are_those_beyond_the_control_and_the_worst_is_that_of_the_largest_bound():
    """Of 100 hats and 100 bags the compressed network loses 10 hats; the control has lost none."""
    label, right = np.repeat([0, 1], 100), np.ones((1, 200), bool)
    after = right.copy()
    after[0, :10] = False
    table = judgement.losses(("hat", "bag"), label, Sides(right, right, after))
    assert table["name"].tolist() == ["accuracy", "hat", "bag"]
    assert table["loss"].tolist() == pytest.approx([0.05, 0.1, 0.0])
    found = judgement.judged(table, 0.95, cost=7.0, model_bytes=8, macs=9, run_id="run")
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
