"""Keep a run in files if the tracking store did not take it, and read it back."""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.runs.errors import StudyError, first_line

FOLDER = Path("unsent")
ARTIFACTS = "artifacts"
RECORD = "run.json"


@dataclass(frozen=True)
class UnsentRun:
    """The part of a run that its store does not have yet; the artifacts lie beside it.

    Parameters
    ----------
    tracking_uri : str
    run_id : str
    job_run_id : str or None
        The job that made the run.
    tags : dict of str
    metrics : list of (name, value, time in milliseconds, step)
    """

    tracking_uri: str
    run_id: str
    job_run_id: str | None
    tags: dict[str, str]
    metrics: list[tuple[str, float, int, int]]


def keep(run: UnsentRun, artifacts: Path) -> Path:
    """Keep a run in `unsent/` of the current folder, or in a temporary folder if that one cannot be written.

    Parameters
    ----------
    run : UnsentRun
    artifacts : Path
        The folder of the run's artifacts, which is copied.

    Returns
    -------
    Path
        The folder that holds the run.
    """
    kept = FOLDER.absolute() / run.run_id
    try:
        shutil.copytree(artifacts, kept / ARTIFACTS)
    except OSError:
        kept = Path(tempfile.mkdtemp(prefix=f"unsent-{run.run_id}-"))
        shutil.copytree(artifacts, kept / ARTIFACTS)
    part = kept / "run.part"
    part.touch(mode=0o600)  # the URI may hold a password
    part.write_text(json.dumps(asdict(run), indent=1))
    part.replace(kept / RECORD)
    return kept


def read(folder: Path) -> UnsentRun:
    """Read a run that `keep` wrote.

    Raises
    ------
    StudyError
        If the folder holds no such run.
    """
    try:
        run = UnsentRun(**json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise StudyError(f"{folder}: no unsent run in this folder ({first_line(error)})") from error
    return run


def kept() -> list[Path]:
    """Return the folders below `unsent/` of the current folder that hold a run."""
    return sorted(record.parent for record in FOLDER.glob(f"*/{RECORD}"))
