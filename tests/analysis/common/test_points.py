"""Shares in percentage points."""

import pytest

from analysis.common.points import points


@pytest.mark.parametrize(
    ("share", "text"), [(0.0125, "1.2"), (-0.031, "-3.1"), (-0.0, "0.0"), (-0.0001, "0.0"), (1.0, "100.0")]
)
def test_a_share_has_one_decimal_and_zero_no_sign(share, text):
    assert points(share) == text
