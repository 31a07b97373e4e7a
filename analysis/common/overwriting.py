"""What an output may take the place of: nothing that a command reads, and no file that this project did not make."""

import csv
import filecmp
import gzip
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path

from analysis.common.errors import StudyError
from analysis.common.input_files import opened

# The maker that a picture names whose file a user named, so that no page stands beside it.
MAKER = "pruning-study"
_DRAWN_BY = "Matplotlib"
_SOFTWARE = b"tEXtSoftware\0"
# The names of an exported network's inputs and outputs, and the property that holds its classes.
_NETWORK = (b"images", b"logits", b"\x0a\x07classes\x12")
# The files that every exported study has.
_EXPORT = {"study.json", "runs.csv.gz", "dense_runs.csv.gz"}
# Two pages that share a line of as many characters share their maker.
_LONG_LINE = 60
# Columns of other classes, ratios or formats are alike.
_VARYING = re.compile(r"^params\.|/.*|[\d.]+")
_MOST_READ = 2**24
_UNREADABLE = (
    StudyError,
    OSError,
    EOFError,
    ValueError,
    RecursionError,
    NotImplementedError,
    AttributeError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
)


class _Likeness(IntEnum):
    """Whether an older file is of this project."""

    NO = 0
    MAYBE = 1
    SURELY = 2
    THE_SAME_KIND = 3


def check_inputs(
    output: Path,
    inputs: Iterable[Path | None],
    read: str,
    *,
    names: Sequence[str] = (),
    option: str = "output",
) -> None:
    """Raise a usage error if an output is an input, by whatever name, or lies in a folder that is read.

    Parameters
    ----------
    output : Path
        File or folder.
    inputs : iterable of Path or None
        Files and folders. Those that do not exist are left to whoever reads them.
    read : str
        What is read from them, in the plural, for the error.
    names : sequence of str
        Files in an output folder that are written whatever the inputs hold.
    option : str
        That named the output.
    """
    read_from = [path for path in inputs if path is not None and is_there(path)]
    for each in (output, *(output / name for name in names)):
        location = Path(os.path.realpath(each))
        reached = [above for above in (location, *location.parents) if is_there(above)]
        if any(above.samefile(path) for above in reached for path in read_from):
            raise StudyError(f"{read} are read from {each}: name another place", option=option)


def is_there(path: Path | str) -> bool:
    """Return whether a file or folder has this path; a text that is too long for a path is that of none."""
    return os.path.exists(path)  # noqa: PTH110 - `Path.exists` raises an error of a text that is too long


def check_file(output: Path | None, inputs: Iterable[Path | None], read: str, *, option: str = "output") -> None:
    """Raise a usage error if an output file is a folder, or as `check_inputs` does."""
    if output is None:
        return
    if output.is_dir():
        raise StudyError(f"{output} is a folder: name a file", option=option)
    check_inputs(output, inputs, read, option=option)


def check_own(folder: Path, new_folder: Path, names: Sequence[Path], *, alone: bool = False) -> None:
    """Raise a StudyError if one of the files that are to be replaced is not of this project.

    An older file of the project is known by what it has in common with the new one, such as columns of a table or lines
    of a page. The tables of two studies may have few common columns, and a picture says little of its maker. These
    count as the project's if they stand beside a file that surely is: one that is replaced too, or a study in one file.

    Parameters
    ----------
    folder : Path
        Where the files are moved to.
    new_folder : Path
        Folder that holds the new files.
    names : sequence of Path
        Of the files, relative to both folders.
    alone : bool
        Whether the user named the file itself. Nothing beside it then tells its maker, so that a table must have the
        same columns.
    """
    likenesses = {name: _likeness(folder / name, new_folder / name) for name in names if os.path.lexists(folder / name)}
    needed = _Likeness.THE_SAME_KIND if alone else _Likeness.SURELY
    is_known = any(likeness >= needed for likeness in likenesses.values())
    is_known |= not alone and bool(likenesses) and any(map(_is_study, folder.glob("*.zip")))
    for name, likeness in likenesses.items():
        if likeness == _Likeness.NO or not is_known:
            raise StudyError(
                f"{folder / name} is not a file that this command made: name another --output, or move the file away"
            )


def column_names(table: Path) -> set[str]:
    """Return the names of a CSV file's columns; none of a file that is no such table."""
    try:
        return _names(table, ".csv")
    except _UNREADABLE:
        return set()


def _likeness(old: Path, new: Path) -> _Likeness:
    try:
        if old.is_dir() or filecmp.cmp(old, new, shallow=False):
            return _Likeness.THE_SAME_KIND  # no file can take a folder's place, and equal bytes are no loss
        match new.suffix:
            case ".csv" | ".gz" | ".json" | ".npz":
                return _likeness_of_names(_names(old, new.suffix), _names(new, new.suffix))
            case ".zip":
                return _Likeness.THE_SAME_KIND if _is_study(old) else _Likeness.NO
            case ".md" | ".html":
                return _Likeness.NO if _long_lines(old).isdisjoint(_long_lines(new)) else _Likeness.SURELY
            case ".svg":
                return _Likeness.MAYBE if _DRAWN_BY.encode() in _start(old)[:4096] else _Likeness.NO
            case ".png":
                software = _start(old).partition(_SOFTWARE)[2]
                ours = software.startswith(MAKER.encode())
                drawn = software.startswith(_DRAWN_BY.encode())
                return _Likeness.THE_SAME_KIND if ours else _Likeness.MAYBE if drawn else _Likeness.NO
            case _:
                return _Likeness.THE_SAME_KIND if _is_network(old) else _Likeness.NO
    except _UNREADABLE:
        return _Likeness.NO


def _likeness_of_names(old: set[str], new: set[str]) -> _Likeness:
    if old == new:
        return _Likeness.THE_SAME_KIND
    common = len(old & new)
    return _Likeness.SURELY if 2 * common >= len(new) else _Likeness.MAYBE if common else _Likeness.NO


def _names(path: Path, suffix: str) -> set[str]:
    """Return the names of a table's columns, of an archive's arrays, or of the values in JSON."""
    match suffix:
        case ".npz" | ".zip":
            with opened(path) as file, zipfile.ZipFile(file) as archive:
                return set(archive.namelist())
        case ".json":
            return set(json.loads(_start(path)).keys())
        case ".gz":
            with opened(path) as file, gzip.open(file) as table:
                header = table.readline(_MOST_READ)
        case _:
            header = _start(path).partition(b"\n")[0]
    columns = next(csv.reader([header.decode()]), [])
    return {_VARYING.sub("", column).strip() for column in columns}


def _is_study(archive: Path) -> bool:
    try:
        return _names(archive, ".zip") >= _EXPORT
    except _UNREADABLE:
        return False


def _long_lines(page: Path) -> set[bytes]:
    return {line for line in _start(page).splitlines() if len(line) >= _LONG_LINE}


def _is_network(path: Path) -> bool:
    with opened(path) as file:
        content = file.read()
    return all(part in content for part in _NETWORK)


def _start(path: Path) -> bytes:
    with opened(path) as file:
        return file.read(_MOST_READ)
