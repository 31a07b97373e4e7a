"""Text of unknown origin, made fit for Markdown: it is shown as it is, and nothing in it is obeyed."""

import re

from analysis.common.printable import printable

# A character is escaped only where a reader of Markdown obeys it. Readers are CommonMark, GitHub and MLflow's UI.
_ANYWHERE = (
    r"[\\`~$]",  # escapes, code, struck-out words, formulas
    r"(?<!\w)_+(?=\S)",  # emphasis; an underscore within a word is none
    r"<(?=[A-Za-z/!?])",  # HTML, and links in angle brackets
    r"&(?=#?\w+;)",  # entities
    r"@(?=\w)",  # addresses, and names of people
    r"\](?=\s*[(\[:])",  # links, images, and what they refer to
    r":(?=//|[\w+-]+:)|(?<=mailto):|(?<=xmpp):|(?<=www)\.",  # addresses, and emoji
)
_IN_A_LINE = (
    r"(?<!\s)\*|\*(?!\s)",  # emphasis
    r"^[ #>+=\[-]|^[0-9](?=[0-9]*[.)])",  # code, headings, quotations, lists and boxes to tick
    r"#(?=#*\s*$)",  # the end of a heading
)
# Our own tables mark a number by ` *`, and no other asterisk in the cell is left to close that as emphasis.
_IN_A_TABLE = (r"\|", r"(?<=\S)\*|\*(?=[^\s,])")
_LINE, _CELL = (re.compile("|".join((*_ANYWHERE, *more)), re.IGNORECASE) for more in (_IN_A_LINE, _IN_A_TABLE))
# MLflow's UI takes a backslash before these characters alone.
_TAKE_A_BACKSLASH = frozenset(r"\`*_[]#+-.>=~|:")


def markdown_line(text: str) -> str:
    """Return text that Markdown shows as it is: as a heading, as a paragraph, or within one of them.

    Examples
    --------
    >>> print(markdown_line("<b>*bold*</b>, a_b and _c_"))
    &lt;b>\\*bold\\*&lt;/b>, a_b and \\_c_
    """
    return _LINE.sub(_escaped, printable(text))


def markdown_cell(text: str) -> str:
    """Return text that Markdown shows as it is in a cell of a table."""
    return _CELL.sub(_escaped, printable(text))


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\{char}" if char in _TAKE_A_BACKSLASH else _entity(char) for char in match[0])


def _entity(char: str) -> str:
    return {"<": "&lt;", "&": "&amp;"}.get(char, f"&#{ord(char)};")
