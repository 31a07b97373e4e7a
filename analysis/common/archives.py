"""Read NumPy archives (.npz) and arrays (.npy) without pickle, after checking their sizes."""

import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from analysis.common.errors import StudyError, first_line
from analysis.common.input_files import SizeLimit, begins_as, opened

_USUAL = SizeLimit()


def read(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), *, limit: SizeLimit = _USUAL
) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file by their names.

    Parameters
    ----------
    path : Path
    required, optional : sequence of str
        Names of arrays. Other arrays of the file are not read.
    limit : SizeLimit
        Limit on the memory of the required and optional arrays together. If they need more, none is read.

    Returns
    -------
    dict of array
        The required arrays, and the optional ones that are in the file.

    Raises
    ------
    StudyError
        If the file is truncated or not an .npz file, lacks a required array, exceeds the limit, or if an array contains
        anything but numbers, Booleans, dates and strings.
    """
    with _archive(path) as archive:
        entries = _entries(archive, [*required, *optional])
        limit.check(path, sum(entry.file_size for entry in entries.values()))
        arrays = {name: _array(archive, entry) for name, entry in entries.items()}
    if missing := [name for name in required if name not in arrays]:
        raise StudyError(f"{path}: no array {', '.join(missing)} in it; the file needs {', '.join(required)}")
    return arrays


def names(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file, each once.

    Raises
    ------
    StudyError
        If the file is truncated or not an .npz file.
    """
    with _archive(path) as archive:
        return list(dict.fromkeys(map(_name, archive.infolist())))


def read_array(path: Path, limit: SizeLimit) -> np.ndarray:
    """Map an array of a .npy file into memory.

    Raises
    ------
    StudyError
        If the file is damaged, too large, or has Python objects.
    """
    with opened(path):
        limit.check(path, path.stat().st_size)
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy raises many types
            raise StudyError(f"{path}: not a complete .npy file ({first_line(error)[:200]})") from error
    return array


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an .npz file, and raise a StudyError for whatever error occurs while it is read."""
    with opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns about some headers although it can read them
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except StudyError:
            raise
        # Given arbitrary bytes, zipfile, the decompressors and NumPy raise errors of more than a dozen types.
        except Exception as error:
            kind = "" if zipfile.is_zipfile(path) else begins_as(path)
            reason = kind or f"{type(error).__name__}: {first_line(error)[:200]}"
            raise StudyError(f"{path}: not a complete .npz file of numbers and text ({reason})") from error


def _name(entry: zipfile.ZipInfo) -> str:
    return entry.filename.removesuffix(".npy")


def _entries(archive: zipfile.ZipFile, names: Sequence[str]) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's entry of each named array that it has."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = _name(entry)
        if name in names and entries.setdefault(name, entry) is not entry:
            raise ValueError(f"it contains {name} twice")
    return {name: entries[name] for name in names if name in entries}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        values: np.ndarray = npy.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError(f"{entry.filename} is longer than its header says")
    if values.dtype.kind == "V" or not values.dtype.itemsize:
        raise ValueError(f"{entry.filename} has type {values.dtype}")
    if values.dtype.kind == "U":
        codes = np.ascontiguousarray(values).view(np.dtype("u4").newbyteorder(values.dtype.byteorder))
        if ((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))).any():
            raise ValueError(f"{entry.filename} is text with invalid character codes")
    return values
