"""Numbers, intervals and tables as text, and text of unknown origin in Markdown."""

import re
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from analysis.common.printable import printable

NOT_AVAILABLE = "n/a"
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


def decimals(digits: int, *, sign: bool = False) -> Callable[[float], str]:
    """Return a function that writes a number with `digits` decimals, and with its sign if `sign` is true.

    A number that is NaN or infinite becomes `n/a`.

    Examples
    --------
    >>> decimals(2)(0.125), decimals(1, sign=True)(0.25), decimals(3)(float("nan"))
    ('0.12', '+0.2', 'n/a')
    """
    form = f"{'+' if sign else ''}.{digits}f"
    return lambda value: format(value, form) if np.isfinite(value) else NOT_AVAILABLE


def three_decimals(value: float) -> str:
    """Return a number with three decimals, or `n/a`."""
    return decimals(3)(value)


def short_ratio(value: float) -> str:
    """Return a pruning ratio with four significant digits, or as a whole number from 1000 on: 10, 1.965, 1250.

    Examples
    --------
    >>> short_ratio(10.0), short_ratio(60_074 / 30_575), short_ratio(1250.0)
    ('10', '1.965', '1250')
    """
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def exact(value: float) -> str:
    """Return a number with as few digits as identify it exactly: 10, 1.965, 1.964808503..."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def told_apart(ratios: Iterable[float]) -> dict[float, str]:
    """Return pruning ratios as `short_ratio` writes them, or in all digits if two would look alike.

    Examples
    --------
    >>> told_apart([1.10894, 1.10949, 10.0])
    {1.10894: '1.10894', 1.10949: '1.10949', 10.0: '10'}
    """
    short = {ratio: short_ratio(ratio) for ratio in ratios}
    times = Counter(short.values())
    return {ratio: text if times[text] == 1 else exact(ratio) for ratio, text in short.items()}


def p_value(p: float) -> str:
    """Return a p-value as text: three decimals, `<0.001`, or `n/a`."""
    return "<0.001" if p < 0.001 else three_decimals(p)


def number(value: object) -> str:
    """Return a value as tables show it: a number with three decimals, four if it is near 0, none if it is whole."""
    if not isinstance(value, float | np.floating):
        return str(value)
    if np.isnan(value):
        return NOT_AVAILABLE
    if float(value).is_integer():
        return f"{value:g}"
    return f"{value:.4f}" if -0.0095 < float(value) < 0.0095 else f"{value:.3f}"


def interval(low: float, high: float, write: Callable[[float], str]) -> str:
    """Return the ends of an interval, each written by `write`: `-0.15 to +0.61`."""
    return f"{write(low)} to {write(high)}"


def with_interval(value: float, low: float, high: float, write: Callable[[float], str]) -> str:
    """Return a value with its interval in brackets, or the value alone if it or an end of its interval is NaN.

    Parameters
    ----------
    value, low, high : float
    write : callable
        Function that formats a number, such as one from `decimals`.

    Examples
    --------
    >>> with_interval(0.234, -0.15, 0.61, decimals(2, sign=True))
    '+0.23 (-0.15 to +0.61)'
    """
    if np.isnan([value, low, high]).any():
        return write(value)
    return f"{write(value)} ({interval(low, high, write)})"


def values_with_intervals(frame: pd.DataFrame, name: str, ends: str) -> pd.Series:
    """Return a column's values with their intervals as text, with numbers formatted by `number`.

    Parameters
    ----------
    frame : DataFrame
    name : str
        Column of the values.
    ends : str
        The intervals are in the columns `<ends>_low` and `<ends>_high`.
    """
    rows = zip(frame[name], frame[f"{ends}_low"], frame[f"{ends}_high"], strict=True)
    return pd.Series([with_interval(value, low, high, number) for value, low, high in rows], dtype=str)


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of strings, with every value formatted by `number`."""
    return pd.DataFrame({name: [number(value) for value in frame[name]] for name in frame.columns})


def markdown_table(frame: pd.DataFrame) -> str:
    """Return a frame as a Markdown table without its index; Markdown in its cells is escaped."""
    header, *rows = ([markdown_cell(str(value)) for value in row] for row in (frame.columns, *frame.to_numpy()))
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


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
