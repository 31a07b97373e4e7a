"""Write files in a scratch folder and then move them, so that none is left half written, and protect inputs."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis.common.errors import StudyError

# Full disk, exceeded quota, and exceeded limit on the size of a file (ulimit -f).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def aside(output: Path, *, obsolete: Sequence[str] = ()) -> Iterator[Path]:
    """Provide a scratch folder, and move its files to the output folder when the block ends.

    Parameters
    ----------
    output : Path
        The folder that the files are moved to, in place of files of the same names. It is created if it does not exist,
        and its other files stay.
    obsolete : sequence of str
        Names of files to delete if the block does not write them. Their folders are deleted too if they become empty.

    Raises
    ------
    StudyError
        If the folder cannot be created or written to. No file is then moved, unless the error occurs while files are
        moved.
    """
    is_new = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".") as scratch:
            yield Path(scratch)
            paths = written(Path(scratch))
            for path in paths:
                sync(Path(scratch) / path)
            for path in paths:
                (output / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / path).replace(output / path)
        for name in set(map(Path, obsolete)).difference(paths):
            (output / name).unlink(missing_ok=True)
            with suppress(OSError):  # a folder has other files
                for parent in name.parents[:-1]:
                    (output / parent).rmdir()
    except OSError as error:
        if is_new:
            with suppress(OSError):  # the folder has files
                output.rmdir()
        option = None if error.errno in _NO_ROOM else "output"
        raise StudyError(fault(error, output), option=option) from error


@contextmanager
def one_aside(output: Path) -> Iterator[Path]:
    """Provide the path of a scratch file, and move the file to `output` when the block ends, as `aside` does."""
    with aside(output.parent) as folder:
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
    """List all files in a folder and its subfolders as sorted relative paths."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


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
            raise StudyError(f"{read} are read from {each}: choose another place", option=option)


def is_there(path: Path | str) -> bool:
    """Return whether a file or folder exists; False if the path is too long."""
    return os.path.exists(path)  # noqa: PTH110 - `Path.exists` raises an error if the text is too long


def check_file(output: Path | None, inputs: Iterable[Path | None], read: str, *, option: str = "output") -> None:
    """Raise a usage error if an output file is a folder or fails `check_inputs`."""
    if output is None:
        return
    if output.is_dir():
        raise StudyError(f"{output} is a folder: name a file", option=option)
    check_inputs(output, inputs, read, option=option)
