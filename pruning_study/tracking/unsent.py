"""Keep a run in files if the tracking store did not accept it, and read it back.

The folder of such a run contains the run's artifacts and, in `run.json`, the rest of the run. It is the scratch folder
in which the run was made, so keeping a run copies nothing and takes no space on a full disk.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote

from analysis.common import files
from analysis.common.errors import StudyError, first_line
from analysis.runs.address import without_password
from pruning_study.tracking import scratch

FOLDER = Path("unsent")
ARTIFACTS = "artifacts"
RECORD = scratch.RUN_FILE
RESERVED = "run.part"
RESERVED_BYTES = 2**19  # the record of a run with 1,000 classes takes half of it


@dataclass(frozen=True)
class UnsentRun:
    """The part of a run that its store does not have yet, except the artifacts, which are in files beside the record.

    Parameters
    ----------
    tracking_uri : str
        Tracking URI with `***` in place of a password. A record of an older version contains the password.
    run_id : str
    job_run_id : str or None
        The job that made the run.
    tags : dict of str
    metrics : list of (name, value, time in milliseconds, step)
    sizes : dict of int
        Artifact -> number of bytes. Empty in a record of an older version.
    """

    tracking_uri: str
    run_id: str
    job_run_id: str | None
    tags: dict[str, str]
    metrics: list[tuple[str, float, int, int]]
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts = [self.tracking_uri, self.run_id, *self.tags, *self.tags.values(), *self.sizes]
        numbers = [number for _, *values in self.metrics for number in values]
        texts += [name for name, *_ in self.metrics]
        if not all(isinstance(text, str) for text in [*texts, self.job_run_id or ""]):
            raise TypeError("a name or a tag is not a string")
        if not all(isinstance(number, int | float) for number in [*numbers, *self.sizes.values()]):
            raise TypeError("a metric or a size is not a number")
        if any(len(metric) != 4 for metric in self.metrics):
            raise TypeError("a metric lacks its name, value, time or step")


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Reserve disk space for a run's record while the run is made, since the run's own files may fill the disk.

    Until the block ends, `opened` refuses the folder.

    Raises
    ------
    OSError
        If there is no space.
    """
    with (folder / RESERVED).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(bytes(RESERVED_BYTES))
        file.flush()
        yield


def keep(run: UnsentRun, folder: Path) -> Path:
    """Keep a run: write its record into its folder, and move the folder to `unsent/` of the current folder.

    The folder stays where it is if it cannot be moved, for example between two disks or into a current folder that is
    not writable.

    Parameters
    ----------
    run : UnsentRun
    folder : Path
        The run's scratch folder.

    Returns
    -------
    Path
        Current path of the run's folder.

    Raises
    ------
    OSError
        If the record cannot be written, or if the disk has lost an artifact; the run is then not kept.
    """
    sizes = _sizes(folder)
    for name in sizes:
        files.sync(folder / ARTIFACTS / name)
    _write(replace(run, sizes=sizes), folder)
    return _moved(folder, run.run_id)


def address(uri: str) -> str:
    """Return a tracking URI as a record stores it: without its password, and with an absolute, percent-encoded path."""
    scheme, separator, location = uri.partition(":///")
    if scheme.startswith("sqlite") and location:
        path, mark, query = location.partition("?")
        uri = f"{scheme}{separator}{quote(str(Path(unquote(path)).absolute()))}{mark}{query}"
    return without_password(uri)


def set_address(folder: Path, uri: str) -> None:
    """Replace the tracking URI in the record of a kept run."""
    _write(replace(read(folder), tracking_uri=address(uri)), folder)


def read(folder: Path) -> UnsentRun:
    """Read the record of a run that `keep` kept.

    Raises
    ------
    StudyError
        If the folder has no kept run.
    """
    try:
        return UnsentRun(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StudyError(f"{folder}: no unsent run in this folder ({first_line(error)})") from error


@contextmanager
def opened(folder: Path) -> Iterator[UnsentRun]:
    """Read a run, and keep other processes from sending it while the block runs.

    Raises
    ------
    StudyError
        If the folder has no run, if an artifact is missing or truncated, or if another process has the run open.
    """
    run = read(folder)
    with (folder / RECORD).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudyError(f"{folder}: another process is ending or sending this run") from error
        there = _sizes(folder)
        if damaged := ", ".join(name for name, size in run.sizes.items() if there.get(name) != size):
            raise StudyError(f"{folder}: {damaged} missing or truncated: delete the folder, and make the run again")
        yield run


def list_unsent(project: Path = Path()) -> list[Path]:
    """Return the folders with a run: those in `unsent/` of a project's folder, and this user's temporary ones."""
    return [*sorted(record.parent for record in (project / FOLDER).glob(f"*/{RECORD}")), *scratch.list_unsent()]


def _write(run: UnsentRun, folder: Path) -> None:
    # The record overwrites the reserved file, which is then truncated, so no further space is needed.
    with os.fdopen(os.open(folder / RESERVED, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(json.dumps(asdict(run)).encode())
        file.truncate()
    files.sync(folder / RESERVED)
    (folder / RESERVED).replace(folder / RECORD)
    files.sync(folder)


def _sizes(folder: Path) -> dict[str, int]:
    return {str(path): (folder / ARTIFACTS / path).stat().st_size for path in files.written(folder / ARTIFACTS)}


def _moved(folder: Path, run_id: str) -> Path:
    """Move a folder to where a user will look for it, if possible, and return its location."""
    try:
        location = FOLDER.absolute()  # fails if the current folder has been deleted
        location.mkdir(exist_ok=True)
    except OSError:
        return folder
    try:
        return folder.rename(location / run_id)
    except OSError:
        with suppress(OSError):  # `unsent/` is not empty
            location.rmdir()
        return folder
