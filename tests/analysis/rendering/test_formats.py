"""Numbers, intervals and tables as text, each held against a string worked out by hand."""

import numpy as np
import pytest

from analysis.rendering import formats

NAN = float("nan")


@pytest.mark.parametrize(
    ("digits", "sign", "value", "text"),
    [
        (3, False, 0.1234, "0.123"),
        (2, True, 0.126, "+0.13"),
        (2, True, -0.126, "-0.13"),
        (1, True, 0.0, "+0.0"),
        (0, False, 1234.5678, "1235"),
        (2, True, NAN, "n/a"),
        (2, False, np.inf, "n/a"),
    ],
)
def test_decimals(digits, sign, value, text):
    assert formats.decimals(digits, sign=sign)(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0009, "<0.001"), (0.001, "0.001"), (0.0384, "0.038"), (1.0, "1.000"), (NAN, "n/a")]
)
def test_p_value(p, text):
    assert formats.p_value(p) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-1.5, "-1.500"),
        (0.0049, "0.0049"),
        (-0.0094, "-0.0094"),
        (0.0096, "0.010"),
        (2.0, "2"),
        (0.0, "0"),
        (np.float64(30.0), "30"),
        (NAN, "n/a"),
        (7, "7"),
        ("mp", "mp"),
        (True, "True"),
    ],
)
def test_a_value_in_a_table(value, text):
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("row", "write", "text"),
    [
        ((0.234, -0.15, 0.61), formats.decimals(2, sign=True), "+0.23 (-0.15 to +0.61)"),
        ((0.017, 0.017, 0.017), formats.decimals(3), "0.017 (0.017 to 0.017)"),
        ((1.5, 1.0, 0.005), formats.number, "1.500 (1 to 0.0050)"),
        ((1.2, NAN, NAN), formats.decimals(1), "1.2"),
        ((1.2, 1.1, NAN), formats.decimals(1), "1.2"),
        ((NAN, NAN, NAN), formats.decimals(1), "n/a"),
    ],
)
def test_a_value_with_its_interval(row, write, text):
    assert formats.with_interval(*row, write) == text
