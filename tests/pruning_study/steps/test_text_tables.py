"""Tables on the terminal: what a terminal would obey is shown, and columns stay aligned."""

import pytest
from wcwidth import wcswidth

from pruning_study.steps.text_tables import text_table


@pytest.mark.attack
def test_a_class_name_with_terminal_escapes_and_line_ends__is_one_line_of_the_table():
    table = text_table(["class", "recall"], [["\x1b[2J\x07", "0.5"], ["a\nb\r\u202e", "0.7"]], [["accuracy", "1"]])
    assert [line.split() for line in table.splitlines() if "--" not in line] == [
        ["class", "recall"],
        ["\\x1b[2J\\x07", "0.5"],
        ["a\\nb\\r\\u202e", "0.7"],
        ["accuracy", "1"],
    ]


@pytest.mark.attack
@pytest.mark.parametrize("name", ["猫の靴", "cafe\u0301", "a\u200bb", "ｘ"], ids=ascii)
def test_wide_combining_and_invisible_characters_in_a_class_name__leave_the_columns_aligned(name):
    rows = text_table(["class", "recall"], [[name, "0.5"], ["plain", "0.7"]]).splitlines()
    assert len({wcswidth(row) for row in rows[1:]}) == 1
