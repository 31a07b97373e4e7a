"""Write files in a scratch folder and then move them, so that an interruption never leaves a file half written."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from analysis.common.errors import StudyError
from analysis.common.written_files import LIST, replacing

# Full disk, exceeded quota, and exceeded limit on the size of a file (ulimit -f).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def aside(output: Path, *, obsolete: Sequence[str] = (), in_git: bool = False) -> Iterator[Path]:
    """Provide a scratch folder, and move its files to the output folder when the block ends.

    The files are listed in the output folder with their digests. A later call replaces only files that are listed and
    unchanged.

    Parameters
    ----------
    output : Path
        The folder that the files are moved to. It is created if it does not exist, and its other files stay.
    obsolete : sequence of str
        Names of files to delete if the block does not write them, an earlier block did, and they are unchanged.
    in_git : bool
        Whether the output folder is kept in git, so that any file may be replaced and no list is needed.

    Raises
    ------
    StudyError
        If the folder cannot be created or written to, or if a file would replace one that is not listed or was changed.
        No file is then moved, unless the error occurs while files are moved.
    """
    is_new = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".") as scratch:
            yield Path(scratch)
            paths = written(Path(scratch))
            for path in paths:
                sync(Path(scratch) / path)
            with nullcontext() if in_git else replacing(output, Path(scratch), paths, obsolete):
                for path in paths:
                    (output / path).parent.mkdir(parents=True, exist_ok=True)
                    (Path(scratch) / path).replace(output / path)
    except OSError as error:
        if is_new:
            with suppress(OSError):  # the folder has files
                output.rmdir()
        option = None if error.errno in _NO_ROOM else "output"
        raise StudyError(fault(error, output), option=option) from error


@contextmanager
def one_aside(output: Path, *, in_git: bool = False) -> Iterator[Path]:
    """Provide the path of a scratch file, and move the file to `output` when the block ends, as `aside` does.

    Parameters
    ----------
    output : Path
        Path to move the file to.
    in_git : bool
        As for `aside`.
    """
    if output.name.startswith(LIST):
        raise StudyError(f"{output}: a list of written files has this name: choose another name", option="output")
    with aside(output.parent, in_git=in_git) as folder:
        yield folder / output.name


def sync(path: Path) -> None:
    """Write all of a file or folder to the disk, so that after a later renaming its content is always complete.

    Raises
    ------
    OSError
        If the disk refuses the data.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fault(error: OSError, where: Path) -> str:
    """Describe in one line a file that cannot be written: where, why, and what to do if the disk is full.

    Parameters
    ----------
    error : OSError
    where : Path
        Path to name if the error has no file name.
    """
    advice = "; make room and start the command again" if error.errno in _NO_ROOM else ""
    return f"{error.filename or where}: {error.strerror or error}{advice}"


def written(folder: Path) -> list[Path]:
    """List all files in a folder and its subfolders as sorted relative paths, without the lists of `aside`."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name != LIST)
