"""Lines that fit a terminal."""

import textwrap
import unicodedata

from analysis.common.printable import printable

COLUMNS = 80


def folded(*lines: str) -> str:
    """Return lines broken between words so that they fit a terminal; a broken line goes on as far in as it began.

    Parameters
    ----------
    *lines : str
        Of unknown origin. An address or a path that is longer than a line stays whole.
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
    """Return a name that takes no more columns of a terminal; a long one ends in an ellipsis."""
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
