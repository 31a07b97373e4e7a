"""Read NumPy archives (.npz) and arrays (.npy) without pickle, after checking their sizes."""

import io
import math
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from analysis.common.errors import StudyError, first_line
from analysis.common.input_files import SizeLimit, begins_as, opened

# A NumPy header has about a hundred bytes.
_LONGEST_HEADER = 10_000
_CHUNK = 2**20
# With compression methods other than deflate, zipfile unpacks each chunk in full: 4 KiB may become tens of megabytes.
_SMALL_CHUNK = 2**12
_USUAL = SizeLimit()
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class _Header(NamedTuple):
    """The header of an array in an .npz file.

    Parameters
    ----------
    entry : zipfile.ZipInfo
    length : int
        Number of bytes before the values.
    dtype : numpy.dtype
    shape : tuple of int
    fortran : bool
        Whether the first index varies fastest.
    """

    entry: zipfile.ZipInfo
    length: int
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool


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
        headers = {name: _header(archive, name, entry) for name, entry in entries.items()}
        arrays = {name: _array(archive, header) for name, header in headers.items()}
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
            raise StudyError(f"{path}: not a complete .npz file ({reason})") from error


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


def _header(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> _Header:
    """Read the header of an array, and check that its shape and dtype match the size that the archive states."""
    with archive.open(entry) as file:
        start = io.BytesIO(file.read(min(_LONGEST_HEADER, _chunk(entry))))
    version = npy.read_magic(start)
    if version not in _HEADERS:
        raise ValueError(
            f"{name} has version {version} of the format, but NumPy writes numbers and text in version 1.0 or 2.0"
        )
    shape, fortran, dtype = _HEADERS[version](start, max_header_size=_LONGEST_HEADER)
    if dtype.hasobject:
        raise ValueError(f"{name} contains pickled objects, which may run code: save it as numbers or text")
    if dtype.kind == "V":
        raise ValueError(f"{name} contains records of several values: save it as numbers or text")
    if not dtype.itemsize:
        raise ValueError(f"{name} contains values of size 0")
    if any(type(side) is not int or side < 0 for side in shape):
        raise ValueError(f"{name} has an impossible shape")
    size = start.tell() + math.prod(shape) * dtype.itemsize
    if size != entry.file_size:
        raise ValueError(f"the header of {name} implies {size:,} bytes, but the archive has {entry.file_size:,}")
    return _Header(entry, start.tell(), dtype, shape, fortran)


def _array(archive: zipfile.ZipFile, header: _Header) -> np.ndarray:
    content = np.empty(header.entry.file_size, np.uint8)
    with archive.open(header.entry) as file:
        offset = 0
        while part := file.read(_chunk(header.entry)):
            content[offset : offset + len(part)] = np.frombuffer(part, np.uint8)
            offset += len(part)
    if offset != len(content):
        raise ValueError(f"{header.entry.filename} ends after {offset:,} of {len(content):,} bytes")
    values = content[header.length :].view(header.dtype)
    if header.dtype.kind == "U":
        codes = content[header.length :].view(np.dtype("u4").newbyteorder(header.dtype.byteorder))
        if ((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes < 0xE000))).any():
            raise ValueError(f"{header.entry.filename} is text with invalid character codes")
    return values.reshape(header.shape, order="F" if header.fortran else "C")


def _chunk(entry: zipfile.ZipInfo) -> int:
    return _CHUNK if entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else _SMALL_CHUNK
