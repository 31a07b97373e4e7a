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


LONG = "a class whose name has forty characters."
SIX = ["before", "control", "after", "95 % interval", "p", "images"]


@pytest.mark.parametrize("name", [LONG, LONG.replace(" ", "_"), "猫" * 40, "T-shirt/top"], ids=ascii)
def test_a_table_that_is_too_wide_is_folded_beside_the_names_and_loses_no_cell(name):
    rows = [[name, "0.91", "0.92", "0.93", "+15.8 to +32.2", "<0.001", "1,234,567"]]
    table = text_table(["class", *SIX], rows, [["accuracy", *["1"] * 6]])
    assert max(map(wcswidth, table.splitlines())) <= 80
    assert all(cell in table for cell in (*SIX, *rows[0][1:]))
    parts = table.split("\n\n")
    assert len(parts) == (2 if len(name) == 40 else 1)
    assert all(part.startswith("class") and f"\n{name[:7]}" in part for part in parts)


def test_a_title_is_broken_where_its_cells_are_narrow():
    assert text_table(["chain", "loss of accuracy"], [["one", "1.5"]]).splitlines() == [
        "        loss of",
        "chain  accuracy",
        "-----  --------",
        "one         1.5",
    ]
