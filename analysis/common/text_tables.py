"""Read tables delimited by commas, semicolons, tabs or bars, in UTF-8 or UTF-16, optionally gzipped."""

import codecs
import csv
import gzip
import io
import itertools
import math
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from analysis.common.errors import StudyError
from analysis.common.input_files import GIB, SizeLimit, kind_of, opened
from analysis.common.printable import shortened

_GZIP = b"\x1f\x8b"
_SEPARATORS = (",", ";", "\t", "|")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


class TextTable(NamedTuple):
    """A table whose rows are read one by one.

    Attributes
    ----------
    header : list of str
        Names of the columns, stripped of surrounding spaces.
    rows : iterator of (int, list of str)
        Line number and cells of each line that is not empty; all lines have as many cells as the header.
    """

    header: list[str]
    rows: Iterator[tuple[int, list[str]]]


@contextmanager
def opened_table(path: Path, limit: SizeLimit, *, option: str | None = None) -> Iterator[TextTable]:
    """Open a text table, whose rows can be read within the `with` block.

    The separator is inferred from the first two lines, and the encoding from the first two bytes.

    Parameters
    ----------
    path : Path
    limit : SizeLimit
        Limit on the size of the file, and on its size when unpacked.
    option : str, optional
        The option to name in errors.

    Raises
    ------
    StudyError
        If the file is damaged, too large or not a text table, or if a line has more or fewer cells than the first.
    """
    with opened(path) as file:
        limit.check(path, os.fstat(file.fileno()).st_size)
        start = file.read(512)
        file.seek(0)
        if not start.startswith(_GZIP) and (kind := kind_of(start)):
            raise StudyError(f"{path}: cannot be read as CSV (it begins as {kind} does)", option=option)
        try:
            content = _unpacked(path, file, limit) if start.startswith(_GZIP) else file
            with io.TextIOWrapper(content, _encoding(content), newline="") as lines:
                before, header_line = 0, lines.readline()
                while _stands_before_a_header(header_line):
                    before, header_line = before + 1, lines.readline()
                first_lines = [line for line in (header_line, lines.readline()) if line]
                reader = csv.reader(
                    itertools.chain(first_lines, lines),
                    delimiter=_separator(first_lines),
                    strict=True,
                    skipinitialspace=True,
                )
                first = next(reader, [])
                yield TextTable([name.strip() for name in first], _rows(path, reader, first, before))
        except (OSError, EOFError, zlib.error, UnicodeError, csv.Error) as error:
            raise StudyError(f"{path}: cannot be read as CSV ({_reason(error)})", option=option) from error


def without_empty_end(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Yield rows, without empty rows at the end, which spreadsheets write."""
    empty = 0
    for line, row in rows:
        if not row[0] and not any(row):
            empty = empty or line
            continue
        if empty:
            raise StudyError(f"{path}, line {empty:,}: all cells are empty: fill them in, or remove the line")
        yield line, row


def number(where: str, text: str, what: str = "value") -> float:
    """Read a cell as a number, or NaN if it is empty.

    Raises
    ------
    StudyError
        If the cell is not a number, for example because it has a decimal comma.
    """
    text = text.strip()
    try:
        return float(text) if text else math.nan
    except ValueError as error:
        raise StudyError(
            f"{where} has the {what} {shortened(text)}, which is not a number{decimal_hint(text)}"
        ) from error


def decimal_hint(text: str) -> str:
    """Return a hint to write a point if the text is a number with a decimal comma; otherwise an empty string."""
    return f" (write {text.replace(',', '.')}, with a point)" if _DECIMAL_COMMA.fullmatch(text) else ""


def _rows(path: Path, reader: Any, first: Sequence[str], before: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's line number and cells; `before` is the number of lines before the header."""
    columns = len(first)
    for row in reader:
        if not row or (row == [""] and columns > 1):  # an empty or blank line
            continue
        if len(row) != columns:
            raise StudyError(
                f"{path}, line {before + reader.line_num:,}: {len(row)} values for {columns} columns; quote a value "
                "that has a comma in it"
            )
        if row == first:
            raise StudyError(
                f"{path}, line {before + reader.line_num:,}: repeats the first line; a file must contain one table"
            )
        yield before + reader.line_num, row


def _unpacked(path: Path, file: BinaryIO, limit: SizeLimit) -> BinaryIO:
    content = gzip.GzipFile(fileobj=file).read(int(limit.gib * GIB) + 1)
    limit.check(path, len(content))
    return io.BytesIO(content)


def _encoding(file: BinaryIO) -> str:
    """Infer the encoding from the first two bytes; UTF-16 may lack a byte order mark."""
    start = file.read(2)
    file.seek(0)
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if len(start) < 2 or start.count(0) != 1:
        return "utf-8-sig"
    return "utf-16-be" if start[0] == 0 else "utf-16-le"


def _stands_before_a_header(line: str) -> bool:
    """Return whether a line is empty, a comment, or Excel's `sep=` line."""
    return bool(line) and (not line.strip() or line.startswith("#") or line.casefold().startswith("sep="))


def _separator(lines: Sequence[str]) -> str:
    """Return the separator that splits every line, and the first into the most cells; a comma if none splits them."""
    cells = {mark: [len(next(csv.reader([line], delimiter=mark), [])) for line in lines] for mark in _SEPARATORS}
    fitting = [mark for mark in _SEPARATORS if lines and min(cells[mark]) > 1]
    return max(fitting, key=lambda mark: cells[mark][0], default=_SEPARATORS[0])


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return f"{error}: save it in UTF-8; spreadsheets on Windows often write Latin-1 or Windows-1252"
    return str(error)
