"""Names in pictures: cut if long, escapes for control characters, no warning for letters that the font lacks."""

import io
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from analysis.rendering.picture_text import (
    fitted_name,
    name_in_legend,
    name_in_picture,
    width_in_picture,
    with_east_asian,
)

NAMES = ["$\\frac{", "$x$", "\x1b[31m", "a\x00b", "\ufffe", "<script>", "]]>", "&x;", "a\nb", "\u202eabc", "x" * 5000]


def drawn(name):
    figure = Figure((3, 3))
    axes = figure.subplots()
    axes.set_yticks([0], [name_in_picture(name)], parse_math=False)
    axes.set_title(name_in_picture(name), parse_math=False)
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    return content.getvalue()


@pytest.mark.attack
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_with_formulas_or_control_characters_in_a_picture__leaves_a_file_that_is_valid_xml(name):
    assert ET.fromstring(drawn(name)).tag.endswith("svg")


@pytest.mark.attack
def test_a_name_in_letters_that_the_font_lacks__is_drawn_without_a_warning():
    program = f"from {__name__} import drawn; drawn('猫')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_fonts_with_east_asian_letters_are_taken_where_the_system_has_them__after_those_in_use():
    installed = ["DejaVu Sans", "Noto Sans CJK JP", "SimHei", "Comic Sans MS"]
    assert with_east_asian(["sans-serif"], installed) == ["sans-serif", "Noto Sans CJK JP", "SimHei"]
    assert with_east_asian(["SimHei"], installed) == ["SimHei", "Noto Sans CJK JP"]
    assert with_east_asian(["sans-serif"], ["DejaVu Sans"]) == ["sans-serif"]


@pytest.mark.attack
def test_a_name_of_thousands_of_letters_in_a_picture__is_cut():
    assert name_in_picture("x" * 5000) == "x" * 59 + "…"
    assert name_in_picture("x" * 60) == "x" * 60


@pytest.mark.attack
def test_a_pruner_whose_name_begins_with_an_underscore__is_still_in_the_legend():
    figure = Figure((3, 3))
    axes = figure.subplots()
    axes.plot([0], [0], label=name_in_legend("_mine:score"))
    assert [text.get_text() for text in axes.legend().get_texts()] == [" _mine:score"]
    assert name_in_legend("mp") == "mp"


def test_the_width_of_a_text_is_that_of_its_letters():
    # The letter m of DejaVu Sans is .974 of the font's size wide.
    assert width_in_picture("m" * 100, 10) == pytest.approx(974, abs=5)
    assert width_in_picture("m" * 100, 20) == pytest.approx(2 * 974, abs=10)


def test_a_name_that_is_too_wide_is_broken_and_cut():
    assert fitted_name("shirt", 100, 10) == "shirt"
    assert fitted_name("mmmmmmmmmm", 50, 10) == "mmmm…"
    assert fitted_name("mmmmmmmmmm", 60, 10, lines=2) == "mmmmmm\nmmmm"
    assert fitted_name("mm mmmmmmmm", 50, 10, lines=2) == "mm\nmmmm…"
    assert fitted_name("", 50, 10, lines=2) == ""
