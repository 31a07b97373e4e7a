import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import pareto
from analysis.statistics.limits import Limits
from analysis.statistics.pareto import Choice, choose, on_front, shown

# Sparsity and fairness of four networks: the second is beaten by the first, the others by none.
NETWORKS = np.array([[0.68, -0.02], [0.60, -0.03], [0.80, -0.05], [0.50, -0.01]])


def test_unfairness_is_the_distance_between_the_extreme_classes_or_of_the_lowest_from_the_mean():
    recalls = np.array([[0.9, 0.7, 0.5], [1.0, 1.0, 1.0]])
    assert pareto.spread(recalls) == pytest.approx([0.4, 0.0])
    assert pareto.below_mean(recalls) == pytest.approx([0.2, 0.0])


def test_a_class_that_a_network_does_not_have_counts_nowhere():
    assert pareto.spread(np.array([0.9, np.nan, 0.5])) == pytest.approx(0.4)
    assert pareto.below_mean(np.array([0.9, np.nan, 0.5])) == pytest.approx(0.2)


def test_a_point_that_is_not_known_is_not_on_the_front_and_beats_no_other():
    points = np.array([[np.nan, 1.0], [0.5, 0.5], [0.6, np.nan]])
    assert pareto.front(points).tolist() == [False, True, False]


def test_fairness_worth_a_hundred_times_sparsity_chooses_the_fairest_and_worth_nothing_the_sparsest():
    sparsity, unfairness = NETWORKS[:, 0], -NETWORKS[:, 1]
    on_front = pareto.front(NETWORKS)
    hundred = pareto.value(sparsity, unfairness, 100)
    assert hundred == pytest.approx([-1.32, -2.4, -4.2, -0.5])
    assert pareto.best(hundred, on_front).tolist() == [False, False, False, True]
    assert pareto.best(pareto.value(sparsity, unfairness, 0), on_front).tolist() == [False, False, True, False]
    # .68 - 5 x .02 = .58; .8 - 5 x .05 = .55; .5 - 5 x .01 = .45
    assert pareto.best(pareto.value(sparsity, unfairness, 5), on_front).tolist() == [True, False, False, False]


def test_points_of_equal_value_are_all_the_best():
    # .5 - 10 x .01 = .4 = .6 - 10 x .02, but not in binary fractions
    values = pareto.value(np.array([0.5, 0.6, 0.9]), np.array([0.01, 0.02, 0.06]), 10)
    assert pareto.best(values, np.array([True, True, True])).tolist() == [True, True, False]
    assert pareto.best(values, np.array([False, False, False])).tolist() == [False, False, False]


GOOD = st.integers(0, 4).map(float)  # few values, so that there are ties


@given(st.integers(1, 3).flatmap(lambda goods: st.lists(st.tuples(*[GOOD] * goods), min_size=1, max_size=12)))
def test_the_front_is_that_of_its_definition(points):
    def beats(one, other):
        return all(a >= b for a, b in zip(one, other, strict=True)) and one != other

    expected = [not any(beats(other, point) for other in points) for point in points]
    assert pareto.front(np.array(points)).tolist() == expected
    assert any(expected)


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
