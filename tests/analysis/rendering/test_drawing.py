"""What all figures share: the ends of an axis."""

import pandas as pd
import pytest

from analysis.rendering import drawing


def test_an_axis_holds_all_values_and_a_twelfth_more():
    assert drawing.axis_limits(pd.Series(range(101)), 50) == pytest.approx((-8, 108))


def test_an_axis_leaves_out_a_long_tail():
    assert drawing.axis_limits(pd.Series([*range(101), 10_000]), 50) == pytest.approx((-8, 108))


def test_an_axis_holds_what_it_goes_through_however_far_it_is():
    low, high = drawing.axis_limits(pd.Series([2.0, 2.5, 3.0]), -20)
    assert low < -20
    assert high > 3


def test_an_axis_of_one_value_has_a_width():
    assert drawing.axis_limits(pd.Series([3.0, 3.0]), 3) == pytest.approx((2.9, 3.1))
