"""What is said of gaps, from intervals of the raw slope and the raw spread ratio."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.statistics.pair_slopes import GapChange, gap_change, gap_sentence
from analysis.statistics.resampling import Interval


def interval(low, high):
    return Interval((low + high) / 2, low, high, 1, True, "seeds")


AROUND_1 = (0.9, 1.1)


@pytest.mark.parametrize(
    ("raw", "spread", "said"),
    [
        ((1.1, 1.3), (1.1, 1.4), "the differences between classes grew"),
        (
            AROUND_1,
            (1.2, 1.4),
            "the differences between classes grew, although weak classes are not shown to have fallen further behind",
        ),
        ((0.1, 0.9), (1.2, 1.4), "the differences between classes grew, but between other classes than before"),
        ((0.1, 0.9), (0.2, 0.9), "the differences between classes shrank"),
        ((0.1, 0.9), AROUND_1, "the differences between classes moved to other classes"),
        (AROUND_1, AROUND_1, "the recalls of the classes are not shown to have become more or less unequal"),
        ((-0.2, 0.3), AROUND_1, "the differences between classes are not shown to be related to those before"),
        (
            (-0.2, 0.3),
            (0.1, 0.5),
            "the differences between classes shrank and are not shown to be related to those before",
        ),
        (
            (-0.2, 0.3),
            (1.2, 1.5),
            "the differences between classes grew and are not shown to be related to those before",
        ),
        ((-0.9, -0.7), AROUND_1, "the order of the classes reversed, so classes that were strong before are weak now"),
        (
            (-0.9, -0.7),
            (1.2, 1.5),
            "the order of the classes reversed, so classes that were strong before are weak now, "
            "and the differences grew",
        ),
    ],
)
def test_what_is_said_of_each_place_of_the_intervals(raw, spread, said):
    assert gap_sentence(gap_change(interval(*raw), interval(*spread), None)) == said


def test_what_is_shown_to_be_the_same_is_said_to_be():
    change = gap_change(interval(0.97, 1.03), interval(0.97, 1.03), interval(0.98, 1.02))
    assert gap_sentence(change) == "the differences between classes are the same to within 5 %"


bounds = st.floats(-3, 3)


@given(st.tuples(bounds, bounds).map(sorted), st.tuples(bounds, bounds).map(sorted))
def test_a_slope_below_0_is_a_reversed_order_and_one_that_may_be_0_has_no_relation(raw, spread):
    said = gap_sentence(gap_change(interval(*raw), interval(*spread), None))
    assert ("reversed" in said) == (raw[1] < 0)
    assert ("not shown to be related" in said) == (raw[0] <= 0 <= raw[1])


def test_slopes_that_are_1_but_for_rounding_are_the_same():
    above = 1 + 2**-52
    slope = Interval(above, above, above, 1, True, "seeds")
    assert gap_change(slope, slope, slope) == GapChange("same", "open")
