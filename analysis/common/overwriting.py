"""Check that an output replaces neither a command's input nor a file that this project did not make."""

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

# Stored as the maker in a picture whose file name the user chose, because no page beside it can identify it.
MAKER = "pruning-study"
_DRAWN_BY = "Matplotlib"
_SOFTWARE = b"tEXtSoftware\0"
# Names of an exported network's inputs and outputs, and the property for its classes.
_NETWORK = (b"images", b"logits", b"\x0a\x07classes\x12")
# The files that every exported study has.
_EXPORT = {"study.json", "runs.csv.gz", "dense_runs.csv.gz"}
# Two pages that share a line at least this long were made by the same program.
_LONG_LINE = 60
# Ignored in column names: parts that vary with classes, ratios or formats.
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
    """How certain it is that an older file was made by this project."""

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
    """Raise a usage error if an output is an input under any name, or is in a folder that is read.

    Parameters
    ----------
    output : Path
        File or folder.
    inputs : iterable of Path or None
        Files and folders that are read. Those that do not exist are skipped.
    read : str
        Plural noun for the contents of the inputs, for the error.
    names : sequence of str
        Files that are always written to an output folder.
    option : str
        The option that gives the output.
    """
    read_from = [path for path in inputs if path is not None and is_there(path)]
    for each in (output, *(output / name for name in names)):
        location = Path(os.path.realpath(each))
        reached = [above for above in (location, *location.parents) if is_there(above)]
        if any(above.samefile(path) for above in reached for path in read_from):
            raise StudyError(f"{read} are read from {each}: name another place", option=option)


def is_there(path: Path | str) -> bool:
    """Return whether a file or folder exists; False if the text is too long for a path."""
    return os.path.exists(path)  # noqa: PTH110 - `Path.exists` raises an error if the text is too long


def check_file(output: Path | None, inputs: Iterable[Path | None], read: str, *, option: str = "output") -> None:
    """Raise a usage error if an output file is a folder or fails `check_inputs`."""
    if output is None:
        return
    if output.is_dir():
        raise StudyError(f"{output} is a folder: name a file", option=option)
    check_inputs(output, inputs, read, option=option)


def check_own(folder: Path, new_folder: Path, names: Sequence[Path], *, alone: bool = False) -> None:
    """Raise a StudyError if a file that would be replaced was not made by this project.

    An older file of the project is recognised by what it shares with the new one, such as columns of a table or lines
    of a page. Because tables of two studies may share few columns, and a picture tells little about its maker, these
    are accepted only beside a file that certainly is the project's: another one to be replaced, or a study in one file.

    Parameters
    ----------
    folder : Path
        Folder that the files are moved to.
    new_folder : Path
        Folder that holds the new files.
    names : sequence of Path
        Paths of the files, relative to both folders.
    alone : bool
        Whether the user chose the file's name. Since no neighbouring file then tells its maker, a table must have the
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
    """Return the column names of a CSV file, or an empty set if the file is not a CSV table."""
    try:
        return _names(table, ".csv")
    except _UNREADABLE:
        return set()


def _likeness(old: Path, new: Path) -> _Likeness:
    try:
        if old.is_dir() or filecmp.cmp(old, new, shallow=False):
            return _Likeness.THE_SAME_KIND  # replacing a folder fails anyway, and equal bytes lose nothing
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
    """Return the names of a table's columns, an archive's members, or a JSON object's keys."""
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
