"""CSV that people open in spreadsheets: a text that a spreadsheet would take for a formula gets a quote in front."""

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

# Quotes in front count as part of the text, so that `'=x` gets one more and is not taken for `=x` when it is read.
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
# The faster engine of pandas 2 ends a text at a NUL.
_ENGINE: dict[str, Any] = {} if pd.__version__ >= "3" else {"engine": "python"}


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet may take a text for a formula; a number is none, whatever its sign."""
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def quoted(text: str) -> str:
    """Return a text with a quote in front if a spreadsheet may take it for a formula."""
    return f"'{text}" if is_formula(text) else text


def unquoted(text: str) -> str:
    """Return the text that `quoted` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write(frame: pd.DataFrame, path: Path, *, index: bool = False, missing: str = "") -> None:
    """Write a frame as CSV, its texts and the names of its columns as `quoted` gives them.

    Parameters
    ----------
    frame : DataFrame
    path : Path
    index : bool
        Whether the index is the first column.
    missing : str
        What stands for NaN.
    """
    table = frame.reset_index(allow_duplicates=True) if index else frame
    names = [_cell(name) for name in table.columns]
    columns = [_cells(table.iloc[:, place], missing) for place in range(len(names))]
    # Python's writer puts no quotation marks round a carriage return, which readers take for the end of a line.
    is_quoted = _has_carriage_return([names, *columns])
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(
            file, quoting=csv.QUOTE_NONNUMERIC if is_quoted else csv.QUOTE_MINIMAL, lineterminator=os.linesep
        )
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def read(file: Path | io.BytesIO, **how: Any) -> pd.DataFrame:
    """Read a frame that `write` has written, with options of `pandas.read_csv`."""
    frame = pd.read_csv(file, **how, **_ENGINE).rename(columns=unquoted)
    texts = {
        name: column.map(lambda value: unquoted(value) if isinstance(value, str) else value)
        for name, column in frame.items()
        if not (is_numeric_dtype(column) or is_bool_dtype(column))
    }
    return frame.assign(**{str(name): column for name, column in texts.items()})


def _cells(column: pd.Series, missing: str) -> list[Any]:
    """Return the text of a column, its floats with as many digits as they need."""
    cells = column.astype(object).where(column.notna(), missing).tolist()
    return cells if is_numeric_dtype(column) or is_bool_dtype(column) else [_cell(value) for value in cells]


def _cell(value: Any) -> Any:
    return quoted(value) if isinstance(value, str) else value


def _has_carriage_return(columns: Iterable[Sequence[Any]]) -> bool:
    return any("\r" in cell for column in columns for cell in column if isinstance(cell, str))
