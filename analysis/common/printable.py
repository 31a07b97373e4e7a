"""Make text of unknown origin safe for a terminal, a log or a store, and fit it to the width of a terminal."""

import reprlib
import textwrap
import unicodedata

COLUMNS = 80
LONGEST_NAME = 250
# Unicode categories: control characters, invisible marks (which may reverse the direction of a line), surrogates (which
# represent bytes that are not UTF-8), code points without a character (XML forbids some, so a picture would not open),
# and breaks of lines and paragraphs.
_UNFIT = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
# Some scripts, and emoji, are written with these marks.
_JOINERS = "\u200c\u200d"
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 100, 100
_MOST_SHOWN = 200


def printable(text: str) -> str:
    """Replace control and invisible characters by escapes such as `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if _is_fit(char) else char.encode("unicode_escape").decode() for char in text)


def shortened(value: object) -> str:
    """Return the `repr` of a value, shortened if it is long."""
    try:
        shown = printable(_SHORT.repr(value))
    except ValueError:  # Python does not print integers of more than 4,300 digits
        return f"a very long {type(value).__name__}"
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."


def fault_of_name(name: str) -> str | None:
    """Return the reason why a class, data set or study cannot have this name, or None if it can."""
    if not name.strip():
        return "is empty"
    if len(name) > LONGEST_NAME:
        return f"has {len(name):,} characters, but at most {LONGEST_NAME} are allowed"
    # Category Cn is allowed, because characters newer than Python's Unicode tables, such as a new emoji, have it.
    if not all(_is_fit(char) or unicodedata.category(char) == "Cn" for char in name):
        return "has a control character, an invisible mark or a byte that is not UTF-8"
    return None


def _is_fit(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _UNFIT


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
