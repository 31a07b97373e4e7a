"""Write and read CSV, with a quote before each string that a spreadsheet would take for a formula."""

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

# A formula may follow quotes: `'=x` gets one more quote, so that it is not read back as `=x`.
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
# The faster engine of pandas 2 cuts a string at a NUL.
_ENGINE: dict[str, Any] = {} if pd.__version__ >= "3" else {"engine": "python"}


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet may take a string for a formula. Numbers with a sign are no formulas."""
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def quoted(text: str) -> str:
    """Put a quote before a string that a spreadsheet may take for a formula."""
    return f"'{text}" if is_formula(text) else text


def unquoted(text: str) -> str:
    """Undo `quoted`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write(frame: pd.DataFrame, path: Path, *, index: bool = False, missing: str = "") -> None:
    """Write a frame as CSV, with `quoted` applied to its strings and column names.

    Parameters
    ----------
    frame : DataFrame
    path : Path
    index : bool
        Whether to write the index too, as the first column.
    missing : str
        Text to write for NaN.
    """
    table = frame.reset_index(allow_duplicates=True) if index else frame
    names = [_cell(name) for name in table.columns]
    columns = [_cells(table.iloc[:, place], missing) for place in range(len(names))]
    # By default Python's writer does not quote a carriage return, which readers take for the end of a line.
    is_quoted = _has_carriage_return([names, *columns])
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(
            file, quoting=csv.QUOTE_NONNUMERIC if is_quoted else csv.QUOTE_MINIMAL, lineterminator=os.linesep
        )
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def read(file: Path | io.BytesIO, **how: Any) -> pd.DataFrame:
    """Read a frame that `write` wrote; `how` has options of `pandas.read_csv`."""
    frame = pd.read_csv(file, **how, **_ENGINE).rename(columns=unquoted)
    texts = {
        name: column.map(lambda value: unquoted(value) if isinstance(value, str) else value)
        for name, column in frame.items()
        if not (is_numeric_dtype(column) or is_bool_dtype(column))
    }
    return frame.assign(**{str(name): column for name, column in texts.items()})


def _cells(column: pd.Series, missing: str) -> list[Any]:
    """Return the cells of a column: each string is `quoted`, and NaN is replaced by `missing`."""
    cells = column.astype(object).where(column.notna(), missing).tolist()
    return cells if is_numeric_dtype(column) or is_bool_dtype(column) else [_cell(value) for value in cells]


def _cell(value: Any) -> Any:
    return quoted(value) if isinstance(value, str) else value


def _has_carriage_return(columns: Iterable[Sequence[Any]]) -> bool:
    return any("\r" in cell for column in columns for cell in column if isinstance(cell, str))
