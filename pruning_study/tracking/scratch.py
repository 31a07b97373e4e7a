"""Folders for files on their way; those of a process that was killed are removed by the next one."""

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
    """A folder of one's own, there while the block runs."""
    path = Path(tempfile.gettempdir()) / f"{PREFIX}{uuid.uuid4().hex}"
    # The lock is there before the folder, so that at no moment the folder seems to be a dead process's.
    with locks.held(path.with_suffix(".lock"), waiting=f"{path}: another process looks whether it is in use"):
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def remove_dead() -> None:
    """Remove this user's folders whose process died."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.lock"):
        with suppress(FileNotFoundError):  # its process has ended meanwhile
            if lock.lstat().st_uid == os.getuid():
                with locks.held_if_free(lock) as free:
                    if free:
                        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
