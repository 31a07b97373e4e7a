"""Open the files that a user names, and limit the memory that they may need."""

import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from analysis.common.errors import StudyError, option_name

GIB = 2**30
_KINDS = {
    b"PK\3\4": "a zip archive or a spreadsheet",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow or Feather file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF file",
    b"\x93NUMPY": "an .npy file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x80\2": "a pickle",
    b"\x80\3": "a pickle",
    b"\x80\4": "a pickle",
    b"\x80\5": "a pickle",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls)",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"version https://git-lfs": "a pointer of Git LFS (get the file itself by git lfs pull)",
    b"<!DOCTYPE": "a web page",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"GGUF": "a GGUF file",
}
_LONGEST = max(map(len, _KINDS))


def kind_of(start: bytes) -> str:
    """Identify the kind of a file by its first bytes; return an empty string if unknown."""
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), "")


class SizeLimit(NamedTuple):
    """Limit on the memory that the content of files may take.

    Parameters
    ----------
    gib : float, > 0
        The limit in gibibytes (2^30 bytes).
    option : str, optional
        The option that sets the limit, for the error.
    """

    gib: float = 16.0
    option: str | None = None

    def check(self, where: object, size: int) -> None:
        """Raise a StudyError if the content of a file would take more bytes than the limit."""
        if not size <= self.gib * GIB:  # a limit of NaN allows nothing
            hint = "make sure that the content is what you expect"
            # Three digits, or as many as show that the size is above the limit
            digits = next((n for n in range(3, 17) if not float(f"{size / GIB:.{n}g}") <= self.gib), 17)
            raise StudyError(
                f"{where}: {size / GIB:,.{digits}g} GiB of memory are needed, but the limit is {self.gib:g} GiB: {hint}"
                + (f", then raise {option_name(self.option)}" if self.option else ""),
                option=self.option,
            )


def begins_as(path: Path) -> str:
    """Describe the kind of a file by its first bytes, for errors; return an empty string if unknown."""
    with opened(path) as file:
        kind = kind_of(file.read(_LONGEST))
    return f"it begins as {kind} does" if kind else ""


def opened(path: Path) -> BufferedReader:
    """Open a regular file for reading. Refuse a named pipe or a device, which might never end.

    Raises
    ------
    StudyError
        If the file does not exist or is not a regular file.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "Is a directory" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise StudyError(f"{path}: {kind}; give an ordinary file")
    return os.fdopen(descriptor, "rb")
