"""CSV that people open in spreadsheets: a text that a spreadsheet would take for a formula gets a quote in front."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

# Quotes in front count as part of the text, so that `'=x` gets one more and is not taken for `=x` when it is read.
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


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
    table = frame.reset_index(allow_duplicates=True) if index else frame.copy(deep=False)
    for place, dtype in enumerate(table.dtypes):
        if not (is_numeric_dtype(dtype) or is_bool_dtype(dtype)):
            cells = [_cell(value) for value in table.iloc[:, place]]
            table.isetitem(place, pd.Series(cells, index=table.index, dtype=object))
    table.columns = pd.Index([_cell(name) for name in table.columns], dtype=object)
    # Python's writer puts no quotation marks round a carriage return, which readers take for the end of a line.
    quoting = csv.QUOTE_NONNUMERIC if _has_carriage_return(table) else csv.QUOTE_MINIMAL
    table.to_csv(path, index=False, na_rep=missing, quoting=quoting, errors="backslashreplace")


def read(file: Path | io.BytesIO, **how: Any) -> pd.DataFrame:
    """Read a frame that `write` has written, with options of `pandas.read_csv`."""
    frame = pd.read_csv(file, **how).rename(columns=unquoted)
    texts = {
        name: column.map(lambda value: unquoted(value) if isinstance(value, str) else value)
        for name, column in frame.items()
        if not (is_numeric_dtype(column) or is_bool_dtype(column))
    }
    return frame.assign(**{str(name): column for name, column in texts.items()})


def _cell(value: Any) -> Any:
    return quoted(value) if isinstance(value, str) else value


def _has_carriage_return(table: pd.DataFrame) -> bool:
    texts = [*table.columns, *(value for _, column in table.items() if column.dtype == object for value in column)]
    return any("\r" in text for text in texts if isinstance(text, str))
