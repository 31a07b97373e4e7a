import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics import pareto

# Sparsity and fairness of four networks: the second is beaten by the first, the others by none.
NETWORKS = np.array([[0.68, -0.02], [0.60, -0.03], [0.80, -0.05], [0.50, -0.01]])


def test_unfairness_is_the_distance_between_the_extreme_classes_or_of_the_lowest_from_the_mean():
    recalls = np.array([[0.9, 0.7, 0.5], [1.0, 1.0, 1.0]])
    assert pareto.spread(recalls) == pytest.approx([0.4, 0.0])
    assert pareto.below_mean(recalls) == pytest.approx([0.2, 0.0])


def test_a_class_that_a_network_does_not_have_counts_nowhere():
    assert pareto.spread(np.array([0.9, np.nan, 0.5])) == pytest.approx(0.4)
    assert pareto.below_mean(np.array([0.9, np.nan, 0.5])) == pytest.approx(0.2)


def test_a_network_that_another_is_both_fairer_and_sparser_than_is_not_on_the_front():
    assert pareto.front(NETWORKS).tolist() == [True, False, True, True]


def test_a_third_good_keeps_a_network_on_the_front():
    with_accuracy = np.column_stack([NETWORKS, [0.98, 0.99, 0.98, 0.98]])
    assert pareto.front(with_accuracy).tolist() == [True, True, True, True]


def test_equal_points_are_both_on_the_front_and_a_tie_in_one_good_is_decided_by_the_other():
    points = np.array([[0.5, -0.1], [0.5, -0.1], [0.5, -0.2], [0.4, -0.1]])
    assert pareto.front(points).tolist() == [True, True, False, False]


def test_a_point_that_is_not_known_is_not_on_the_front_and_beats_no_other():
    points = np.array([[np.nan, 1.0], [0.5, 0.5], [0.6, np.nan]])
    assert pareto.front(points).tolist() == [False, True, False]


def test_the_front_of_no_points_is_empty():
    assert pareto.front(np.empty((0, 2))).tolist() == []


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
