import pickle

import click.testing
import pytest

from analysis.__main__ import cli
from analysis.common.errors import StudyError, first_line
from analysis.common.printable import fault_of_name, printable, shortened
from tests.error_lines import error_line


@pytest.mark.attack
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J\x1b]0;title\x07b", r"a\x1b[2J\x1b]0;title\x07b"),
        ("runs.csv\nError: all is well", r"runs.csv\nError: all is well"),
        ("\udcff\udcfe.png", r"\udcff\udcfe.png"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("a\u2028b\x9bc", r"a\u2028b\x9bc"),
    ],
)
def test_a_text_that_commands_the_terminal__is_shown_with_escapes(text, shown):
    error = StudyError(text, "and more", option="dataset")
    assert printable(text) == str(StudyError(text)) == shown
    assert first_line(OSError(text.replace("\n", " ").replace("\u2028", " "))).isprintable()
    copy = pickle.loads(pickle.dumps(error))  # as it comes from a worker
    assert (str(copy), copy.option) == (f"{shown}\n  and more", "dataset")


def test_what_people_write_stays():
    for text in ("Größe 3\xa0mm", "👩\u200d🔬", "می\u200cخواهم", "a\\b"):
        assert printable(text) == text
        assert fault_of_name(text) is None


@pytest.mark.parametrize(("name", "fault"), [(" ", "empty"), ("x" * 251, "251 characters"), ("a\nb", "control")])
def test_names_that_cannot_be(name, fault):
    assert fault in fault_of_name(name)


@pytest.mark.attack
def test_a_list_that_is_nested_thirty_times_tenfold__is_shown_in_200_characters():
    value = ["lol"] * 10
    for _ in range(30):
        value = [value] * 10
    assert len(shown := shortened(value)) < 210
    assert shown.startswith("[[[...], ")
    assert shortened(1 << 90_000) == "a very long int"
    assert len(shortened("\x1b" * 10_000)) < 210


@pytest.mark.attack
def test_an_argument_that_commands_the_terminal__is_shown_with_escapes():
    for arguments in (
        ["compare", "\x1b[2Jextra"],
        ["audit\x1b[2J"],
        ["audit", "--\x1b[2J"],
        ["report", "--variance", "\x1b[2J"],
    ):
        result = click.testing.CliRunner().invoke(cli, arguments, color=True)
        assert result.exit_code == 2
        assert r"\x1b[2J" in error_line(result.output)
        assert result.output.replace("\n", "").isprintable()
