"""Temporary folders; folders of a killed process are removed by the next process."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analysis.common.errors import StudyError
from pruning_study.tracking import locks

PREFIX = "pruning-study-scratch-"
RUN_FILE = "run.json"  # a folder with this file has a run that its store did not accept: only `send` removes it


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a new folder, which is removed after the block unless it contains `RUN_FILE`."""
    path = Path(tempfile.gettempdir()) / f"{PREFIX}{uuid.uuid4().hex}"
    # The lock is held before the folder exists, so that the folder never seems to belong to a dead process.
    with locks.held(path.with_suffix(".lock"), waiting=f"{path}: another process checks whether it is in use"):
        ensure(path)
        try:
            yield path
        finally:
            _remove(path)


def ensure(path: Path) -> None:
    """Make a folder that only this user can read, unless it exists.

    Raises
    ------
    StudyError
        If the folder belongs to another user, who may have made it after a cleaner of temporary files removed ours.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_own(path):
        raise StudyError(f"{path} belongs to another user: set TMPDIR to a folder of your own, and start again")


def remove_dead() -> None:
    """Remove the folders that this user's dead processes left behind."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.lock"):
        with suppress(FileNotFoundError):  # the process has ended meanwhile
            if _is_own(lock):
                with locks.held_if_free(lock) as free:
                    if free:
                        _remove(lock.with_suffix(""))


def list_unsent() -> list[Path]:
    """Return the folders of this user with a run that its store did not accept."""
    # `_is_own` comes last, because another process may remove a folder without a run, for which `_is_own` would fail.
    return sorted(
        path
        for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}{'[0-9a-f]' * 32}")
        if (path / RUN_FILE).is_file() and path.is_dir() and _is_own(path)
    )


def _is_own(path: Path) -> bool:
    # A symlink is not our folder, whatever its target.
    return path.lstat().st_uid == os.getuid() and not path.is_symlink()


def _remove(path: Path) -> None:
    if not (path / RUN_FILE).exists():
        shutil.rmtree(path, ignore_errors=True)
