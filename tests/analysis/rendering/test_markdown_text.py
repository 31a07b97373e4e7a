"""Text in Markdown, held against a parser: it comes out as it went in, and nothing in it is obeyed."""

import re
from collections.abc import Iterator, Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from analysis.common.printable import printable
from analysis.rendering.formats import markdown_cell, markdown_line, markdown_table

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
# Pieces of which Markdown is made, next to letters of several scripts.
PIECES = [
    *"ab1 _*`~<>/![]()#|\\&;:@$.=+-\"'{}^éש猫\n\t\r\x1b",
    *("http://x.y", "www.a.b", "javascript:", "<b>", "<script>", "](", "![", "&amp;", "&#60;", "1. ", "- ", "**", "__"),
    *("\u0301", "\u202e", "mailto:a@b.c", "<!--", "<a@b.c>", "<http://a.b>", "---", "```", "[ ] ", " #", "\u2028"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)


def tokens(of: Sequence[Token]) -> Iterator[Token]:
    for token in of:
        yield token
        yield from tokens(token.children or [])


def parsed(markdown: str) -> tuple[set[str], str]:
    """What elements a text has for the parser, and which words it shows."""
    found = list(tokens(PARSER.parse(markdown)))
    shown = "".join(token.content for token in found if token.type in ("text", "text_special"))
    return {token.type.removesuffix("_open") for token in found if token.nesting >= 0}, re.sub(r"\s+", "", shown)


@pytest.mark.attack
@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_any_markup_in_a_line_of_markdown__is_shown_and_not_obeyed(text):
    shown = re.sub(r"\s+", "", printable(text))
    line = markdown_line(text)
    for before, after, words, around in (
        ("", "", "", {"paragraph"}),
        ("# ", "", "", {"heading"}),
        ("- ", "", "", {"bullet_list", "list_item", "paragraph"}),
        ("**Verdict ", ".**", "Verdict{}.", {"paragraph", "strong"}),
    ):
        elements, seen = parsed(f"{before}{line}{after}")
        assert elements <= {"inline", "text", "text_special", *around}
        assert seen == (words or "{}").replace("{}", shown)


@pytest.mark.slow
@pytest.mark.attack
@settings(max_examples=500, deadline=None)
@given(TEXTS, TEXTS)
def test_any_markup_in_a_table_of_markdown__is_shown_and_not_obeyed(first, second):
    cells = [markdown_cell(text) for text in (first, second)]
    elements, seen = parsed(f"| class | {cells[0]} |\n| --- | --- |\n| {cells[1]} | 1 |")
    assert elements <= {"inline", "text", "text_special", "table", "thead", "tbody", "tr", "th", "td"}
    assert seen == re.sub(r"\s+", "", f"class{printable(first)}{printable(second)}1")


@pytest.mark.attack
@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("http://tracker/x", r"http\://tracker/x"),
        ("WWW.tracker.org", r"WWW\.tracker.org"),
        ("me@tracker.org", "me&#64;tracker.org"),
        ("mailto:me", r"mailto\:me"),
        ("@me", "&#64;me"),
        ("[x] (http:x)", r"\[x\] (http:x)"),
        ("$x$", "&#36;x&#36;"),
        (":smile:", r"\:smile:"),
        ("[ ] done", r"\[ ] done"),
    ],
)
def test_what_only_github_or_mlflow_obey_in_markdown__is_escaped_too(text, escaped):
    """Addresses become links there, `$` formulas, `@` people, and MLflow allows a space within a link."""
    assert markdown_line(text) == escaped


@pytest.mark.parametrize(
    "text",
    [
        *("T-shirt/top", "lenet5_x", "up-signed", "CIFAR-10 @ ResNet-56 -> MP", "p <0.001", "+0.23 (-0.15 to +0.61) *"),
        *("1.5 (1 to 2) *, n 3", "-0.12", "<", ">", "R&D", "my.module:score", '"[alpha, of all] is smaller" (7.4)'),
    ],
)
def test_ordinary_names_and_numbers_stay_as_they_are(text):
    assert markdown_cell(text) == text


def test_a_table_is_escaped_in_its_header_and_its_cells():
    table = markdown_table(pd.DataFrame({"<b>": ["a|b"], "n": [1]}))
    assert table == "| &lt;b> | n |\n| --- | --- |\n| a\\|b | 1 |"
