"""Temporary folders; the next process removes those that a killed process left behind."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pruning_study.tracking import locks

PREFIX = "pruning-study-scratch-"


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a new folder, which exists while the block runs."""
    path = Path(tempfile.gettempdir()) / f"{PREFIX}{uuid.uuid4().hex}"
    # The lock is held before the folder exists, so that the folder never seems to belong to a dead process.
    with locks.held(path.with_suffix(".lock"), waiting=f"{path}: another process checks whether it is in use"):
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def remove_dead() -> None:
    """Remove the folders of this user whose process died."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.lock"):
        with suppress(FileNotFoundError):  # the process has ended meanwhile
            if lock.lstat().st_uid == os.getuid():
                with locks.held_if_free(lock) as free:
                    if free:
                        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
