"""Lines and names that fit a terminal."""

import pytest
from wcwidth import wcswidth

from analysis.common.printable import cut, folded


def test_a_line_is_broken_between_words_and_goes_on_as_far_in_as_it_began():
    lines = folded("  " + 20 * "word " + "10 %", "short").splitlines()
    assert lines == ["  " + " ".join(15 * ["word"]), "  " + " ".join([*5 * ["word"], "10 %"]), "short"]
    address = "http://127.0.0.1/" + 90 * "x"
    assert folded(f"see {address}").splitlines() == ["see", address]


def test_a_number_keeps_its_percent_sign():
    assert folded(f"{'x' * 76} 10 %").splitlines()[1] == "10 %"


@pytest.mark.attack
@pytest.mark.parametrize("name", ["\x1b[2J" * 9, "猫" * 40, "e\u0301" * 40, "a\nb"], ids=ascii)
def test_a_long_name_with_wide_or_terminal_characters__is_cut_to_its_columns(name):
    assert wcswidth(cut(name, 12)) <= 12
    assert "\n" not in cut(name, 12)
