"""Files that are written aside and then moved, so that no folder holds half a report, and the errors of a full disk."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis.common.errors import StudyError
from analysis.common.overwriting import check_own

# A full disk, a spent quota, and the largest size of a file (ulimit -f).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def aside(output: Path, *, alone: bool = False) -> Iterator[Path]:
    """Give a block a scratch folder, and move its files into another folder when the block ends.

    Parameters
    ----------
    output : Path
        The folder that the files move to. It is made if it does not exist, and other files in it stay.
    alone : bool
        Whether the block makes one file, which the user named.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to, or if a file would take the place of one that this project did not
        make. The folder then has no new file, unless the moving itself fails.
    """
    is_new = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".") as scratch:
            yield Path(scratch)
            paths = written(Path(scratch))
            check_own(output, Path(scratch), paths, alone=alone)
            for path in paths:
                sync(Path(scratch) / path)
            for path in paths:
                (output / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / path).replace(output / path)
    except OSError as error:
        if is_new:
            with suppress(OSError):  # it holds files
                output.rmdir()
        option = None if error.errno in _NO_ROOM else "output"
        raise StudyError(fault(error, output), option=option) from error


@contextmanager
def one_aside(output: Path) -> Iterator[Path]:
    """Give a block the path of a scratch file, and move the file to another path when the block ends, as `aside` does.

    Parameters
    ----------
    output : Path
        Where the file moves to.
    """
    with aside(output.parent, alone=True) as folder:
        yield folder / output.name


def sync(path: Path) -> None:
    """Have the disk take all of a file or folder, so that a name that it is given later never stands for less.

    Raises
    ------
    OSError
        If the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fault(error: OSError, where: Path) -> str:
    """Return one line on a file that cannot be written: where, why, and what to do if there is no room.

    Parameters
    ----------
    error : OSError
    where : Path
        Named if the error names no file.
    """
    advice = "; make room and start the command again" if error.errno in _NO_ROOM else ""
    return f"{error.filename or where}: {error.strerror or error}{advice}"


def written(folder: Path) -> list[Path]:
    """Return the files below a folder, relative to it, sorted."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
