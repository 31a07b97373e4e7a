"""Escape text of unknown origin, so that Markdown shows it literally."""

import re

from analysis.common.printable import printable

# A character is escaped only where a Markdown renderer (CommonMark, GitHub or MLflow's UI) would interpret it.
_ANYWHERE = (
    r"[\\`~$]",  # escapes, code, struck-out words, formulas
    r"(?<!\w)_+(?=\S)",  # emphasis; an underscore within a word is literal
    r"<(?=[A-Za-z/!?])",  # HTML, and links in angle brackets
    r"&(?=#?\w+;)",  # entities
    r"@(?=\w)",  # addresses, and names of people
    r"\](?=\s*[(\[:])",  # links, images, and definitions of references
    r":(?=//|[\w+-]+:)|(?<=mailto):|(?<=xmpp):|(?<=www)\.",  # addresses, and emoji
)
_IN_A_LINE = (
    r"(?<!\s)\*|\*(?!\s)",  # emphasis
    r"^[ #>+=\[-]|^[0-9](?=[0-9]*[.)])",  # code, headings, quotations, lists and checkboxes
    r"#(?=#*\s*$)",  # the end of a heading
)
# Our own tables mark numbers with ` *`, which is not escaped. Other asterisks in a cell are escaped, so that none can
# pair with such a mark and turn the text between them into emphasis.
_IN_A_TABLE = (r"\|", r"(?<=\S)\*|\*(?=[^\s,])")
_LINE, _CELL = (re.compile("|".join((*_ANYWHERE, *more)), re.IGNORECASE) for more in (_IN_A_LINE, _IN_A_TABLE))
# MLflow's UI accepts a backslash only before these characters.
_TAKE_A_BACKSLASH = frozenset(r"\`*_[]#+-.>=~|:")


def markdown_line(text: str) -> str:
    """Escape text that is a heading or a paragraph, or a part of one, so that Markdown shows it literally.

    Examples
    --------
    >>> print(markdown_line("<b>*bold*</b>, a_b and _c_"))
    &lt;b>\\*bold\\*&lt;/b>, a_b and \\_c_
    """
    return _LINE.sub(_escaped, printable(text))


def markdown_cell(text: str) -> str:
    """Escape text so that Markdown shows it literally in a cell of a table."""
    return _CELL.sub(_escaped, printable(text))


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\{char}" if char in _TAKE_A_BACKSLASH else _entity(char) for char in match[0])


def _entity(char: str) -> str:
    return {"<": "&lt;", "&": "&amp;"}.get(char, f"&#{ord(char)};")
