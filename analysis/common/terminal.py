"""Fit lines to the width of a terminal."""

import textwrap
import unicodedata

from analysis.common.printable import printable

COLUMNS = 80


def folded(*lines: str) -> str:
    """Wrap lines between words to fit a terminal, and keep their indentation.

    Parameters
    ----------
    *lines : str
        Text of unknown origin. A word that is longer than a line, such as a path, is not broken.
    """
    return "\n".join(_folded(printable(line)) for line in lines)


def _folded(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    line = line.replace(" %", "\N{NO-BREAK SPACE}%")
    hanging = indent + "  " if line.lstrip().startswith("- ") else indent
    lines = textwrap.fill(
        line.strip(),
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def cut(name: str, columns: int) -> str:
    """Return a name in at most the given number of terminal columns; if it is cut, it ends in an ellipsis."""
    name = printable(name)
    if sum(map(_columns, name)) <= columns:
        return name
    kept, used = "", 1
    for char in name:
        used += _columns(char)
        if used > columns:
            break
        kept += char
    return f"{kept}…"


def _columns(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
