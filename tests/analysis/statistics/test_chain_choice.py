"""The choice between chains by upper bounds, on chains whose outcome is known by hand."""

import pandas as pd

from analysis.statistics.chain_choice import Choice, choose, on_front, shown
from analysis.statistics.limits import Limits

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
        assert on_front(FOUR).tolist() == [True, True, False, True]


def test_chains_within_the_limits_are_shown_first_and_of_them_the_cheapest():
    """Both is cheapest and breaks the limit of a class; half the channels is neither on the front nor a choice."""
    assert shown(FOUR, choose(FOUR, LIMITS), LIMITS)["number"].tolist() == [1, 0, 3]
