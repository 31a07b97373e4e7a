"""Text of unknown origin, made fit for a terminal, a log or a store."""

import reprlib
import unicodedata

LONGEST_NAME = 250
# Categories of Unicode: control characters, invisible marks (which may turn the direction of a line), halves of
# characters (which stand for bytes that are no UTF-8), code points without a character (XML forbids some, and so a
# picture would not open), and breaks of lines and paragraphs.
_UNFIT = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
# Some scripts, and emoji, are written with these marks.
_JOINERS = "\u200c\u200d"
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 100, 100
_MOST_SHOWN = 200


def printable(text: str) -> str:
    """Return text with an escape such as `\\x1b` in place of each character that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if _is_fit(char) else char.encode("unicode_escape").decode() for char in text)


def shortened(value: object) -> str:
    """Return a value as Python writes it; a long one, or one of many parts, loses its middle."""
    try:
        shown = printable(_SHORT.repr(value))
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return f"a very long {type(value).__name__}"
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."


def fault_of_name(name: str) -> str | None:
    """Return why a name cannot be a class, a data set or a study; None if it can."""
    if not name.strip():
        return "is empty"
    if len(name) > LONGEST_NAME:
        return f"has {len(name):,} characters, and the most is {LONGEST_NAME}"
    # A character that is newer than Python's tables, such as a new emoji, has no category there.
    if not all(_is_fit(char) or unicodedata.category(char) == "Cn" for char in name):
        return "has a control character, an invisible mark or a byte that is no UTF-8 in it"
    return None


def _is_fit(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _UNFIT
