"""Check that an output replaces no input of its command."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from analysis.common.errors import StudyError


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
