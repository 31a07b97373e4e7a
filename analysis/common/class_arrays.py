"""Check arrays of class labels, from files or from Python."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.common.printable import LONGEST_NAME

_PLAIN = ("string", "integer", "empty")
_WHAT = "give the class of each image as text or a whole number"


def as_array(where: object, source: Any) -> np.ndarray:
    """Convert a user's values to an array; a list that contains strings gets dtype object.

    Raises
    ------
    StudyError
        If the values are ragged or cannot be an array, if a value is masked, or if a string has a NUL character, which
        NumPy would cut off at the string's end.
    """
    parts = source if isinstance(source, list | tuple) else [source]
    if any(np.ma.is_masked(part) for part in parts if isinstance(part, np.ma.MaskedArray)):
        raise StudyError(f"{where} has masked values: fill them in, or leave these images out")
    try:
        values = np.asarray(source)
        if values.dtype.kind == "U" and not isinstance(source, np.ndarray):
            values = np.asarray(source, object)  # NumPy would turn NaN into a string
    except Exception as error:  # arrays of other libraries may raise any error
        raise StudyError(f"{where} cannot be an array ({error}): give lists of equal length, or an array") from error
    if values.dtype.kind == "O" and any(isinstance(value, str) and "\0" in value for value in values.flat):
        raise StudyError(f"{where}: a name has a NUL character in it")
    return values


def without_objects(values: np.ndarray) -> np.ndarray:
    """Convert an array of objects that are all strings, or all integers; leave other arrays as they are."""
    is_plain = values.dtype.kind == "O" and pd.api.types.infer_dtype(values.ravel(), skipna=False) in _PLAIN
    return np.array(values.tolist()) if is_plain else values


def classes(where: object, values: np.ndarray) -> np.ndarray:
    """Convert an array of class labels to strings, integers or Booleans.

    Raises
    ------
    StudyError
        If a number is not whole, or is too large to be exact, or if the values are neither numbers, text nor Booleans.
    """
    if values.dtype.kind == "f":
        check_floats(where, values)
        return values.astype(np.int64)
    if values.dtype.kind not in "biuUS":
        raise StudyError(f"{where} has type {values.dtype}: {_WHAT}")
    texts = decoded(where, values)
    return np.char.strip(texts) if texts.dtype.kind == "U" else texts


def check_floats(where: object, values: np.ndarray, *, whole: bool = True) -> None:
    """Refuse numbers that are infinite, NaN or too large to be exact, and fractions if `whole` is true."""
    largest = min(2 / float(np.finfo(values.dtype).eps), 2.0**63)
    with np.errstate(invalid="ignore"):
        exact = (np.abs(values) < largest) & ((values == np.trunc(values)) | (not whole))
    if not exact.all():
        raise StudyError(f"{where} contains {values[~exact][0]}: {_WHAT} (store large numbers with an integer type)")


def decoded(where: object, values: np.ndarray) -> np.ndarray:
    """Decode an array of bytes; leave other arrays as they are."""
    try:
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeError as error:
        raise StudyError(f"{where} is not text in UTF-8 ({error})") from error


def check_names(where: object, names: Iterable[str], what: str = "a class") -> None:
    """Refuse names that are too long, or that NumPy or a file cannot store."""
    for name in names:
        if len(name) > LONGEST_NAME:
            raise StudyError(f"{where}: {what} has {len(name):,} characters, but at most {LONGEST_NAME} are allowed")
        if "\0" in name:  # NumPy would cut the NUL off the end of a name, which could merge two classes
            raise StudyError(f"{where}: {what} has a NUL character in its name")
        if any("\ud800" <= char <= "\udfff" for char in name):
            raise StudyError(f"{where}: {what} has half a surrogate pair in its name, which UTF-8 cannot encode")
