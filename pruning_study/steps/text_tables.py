"""Tables on the terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wcwidth import wcswidth

from analysis.common.printable import COLUMNS, printable

GAP = "  "
LONGEST_NAME, LONGEST_CELL = 34, 26  # columns of a terminal; longer cells are broken into lines


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], totals: Sequence[Sequence[str]] = (), *, names: int = 1
) -> str:
    """Return a table with a header, rows and totals as text that fits a terminal.

    If a table is too wide, the columns that do not fit follow in a further table below, after the same names.

    Parameters
    ----------
    header : sequence of str
    rows, totals : sequences of sequences of str, each as long as `header`
    names : int
        Number of columns on the left that hold words; the other columns hold numbers and are right-aligned.
    """
    columns = [
        _column(title, [row[place] for row in rows], [row[place] for row in totals], is_name=place < names)
        for place, title in enumerate(header)
    ]
    named, others = columns[:names], columns[names:]
    return "\n\n".join("\n".join(_lines([*named, *part])) for part in _parts(others, _width(named)))


class _Column(NamedTuple):
    """The cells of a column, each a list of lines, and the width of the widest line."""

    title: list[str]
    rows: list[list[str]]
    totals: list[list[str]]
    width: int
    is_name: bool


def _column(title: str, rows: Sequence[str], totals: Sequence[str], *, is_name: bool) -> _Column:
    """Break cells that are too wide into lines, and the title if it is wider than the cells."""
    longest = LONGEST_NAME if is_name else LONGEST_CELL
    row_cells, total_cells = ([_broken(cell, longest) for cell in cells] for cells in (rows, totals))
    widest = _widest([*row_cells, *total_cells])
    title_lines = _broken(title, max([widest, *map(wcswidth, title.split())]))
    return _Column(title_lines, row_cells, total_cells, max(widest, _widest([title_lines])), is_name)


def _broken(text: str, longest: int) -> list[str]:
    """Break a text into lines no wider than `longest`; break a word only if it is too long."""
    text = printable(text)
    columns_of_a_letter = wcswidth(text) / max(len(text), 1)
    return textwrap.wrap(text, max(int(longest / max(columns_of_a_letter, 1)), 1), break_on_hyphens=False) or [""]


def _widest(cells: Sequence[Sequence[str]]) -> int:
    return max((wcswidth(line) for cell in cells for line in cell), default=0)


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _parts(columns: Sequence[_Column], used: int) -> Iterator[list[_Column]]:
    """Yield groups of at least one table column that fit beside `used` columns of the terminal."""
    part: list[_Column] = []
    for column in columns:
        if part and used + len(GAP) + _width([*part, column]) > COLUMNS:
            yield part
            part = []
        part.append(column)
    yield part


def _lines(columns: Sequence[_Column]) -> Iterator[str]:
    rule = GAP.join("-" * column.width for column in columns)
    yield from _row([column.title for column in columns], columns, at_end=True)
    yield rule
    for place in range(len(columns[0].rows)):
        yield from _row([column.rows[place] for column in columns], columns)
    if columns[0].totals:
        yield rule
    for place in range(len(columns[0].totals)):
        yield from _row([column.totals[place] for column in columns], columns)


def _row(cells: Sequence[list[str]], columns: Sequence[_Column], *, at_end: bool = False) -> Iterator[str]:
    """Yield the lines of a row; shorter cells are filled with blank lines below, or above if `at_end`."""
    height = max(map(len, cells))
    blank = [[""] * (height - len(cell)) for cell in cells]
    filled = [[*more, *cell] if at_end else [*cell, *more] for cell, more in zip(cells, blank, strict=True)]
    for line in zip(*filled, strict=True):
        padded = (_padded(text, column) for text, column in zip(line, columns, strict=True))
        yield GAP.join(padded).rstrip()


def _padded(text: str, column: _Column) -> str:
    padding = " " * (column.width - wcswidth(text))
    return text + padding if column.is_name else padding + text
