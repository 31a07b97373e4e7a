"""Files of a report or an audit, written aside and then renamed: a folder never holds half of one."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.runs.errors import StudyError


@contextmanager
def aside(output: Path) -> Iterator[Path]:
    """A scratch folder whose files move into a folder once the block is through; what else lies there stays.

    Parameters
    ----------
    output : Path
        Made where it is not there.

    Raises
    ------
    StudyError
        Where the folder cannot be made or written to.
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
    """The files below a folder, relative to it, sorted."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
