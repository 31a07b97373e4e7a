"""Files of a report or an audit, written aside and then moved, so that a folder never holds half a report."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.runs.errors import StudyError


@contextmanager
def aside(output: Path) -> Iterator[Path]:
    """Give a block a scratch folder, and move its files into another folder when the block ends.

    Parameters
    ----------
    output : Path
        The folder that the files move to. It is made if it does not exist, and other files in it stay.

    Raises
    ------
    StudyError
        If the folder cannot be made or written to.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".") as scratch:
            yield Path(scratch)
            for path in written(Path(scratch)):
                (output / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / path).replace(output / path)
    except OSError as error:
        raise StudyError(f"{output}: {error.strerror or error}", option="--output") from error


def written(folder: Path) -> list[Path]:
    """Return the files below a folder, relative to it, sorted."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
