"""File locks that say which process of this machine works on what; the kernel frees the locks of a dead process."""

import hashlib
import logging
import os
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy
from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


def folder(tracking_uri: str) -> Path:
    """Return the folder of a tracking store's locks: beside a sqlite file, else a temporary folder of this user.

    Parameters
    ----------
    tracking_uri : str
    """
    database = sqlalchemy.make_url(tracking_uri).database if tracking_uri.startswith("sqlite") else None
    if database:
        return Path(f"{database}.locks")
    digest = hashlib.sha256(tracking_uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"pruning-study-locks-{os.getuid()}" / digest


def owner(tracking_uri: str) -> str:
    """Return this machine's name and the mark of its lock folder; processes that share both see the same locks.

    Parameters
    ----------
    tracking_uri : str
    """
    mark = folder(tracking_uri) / "mark"
    if not mark.is_file():
        mark.parent.mkdir(parents=True, exist_ok=True)
        made = mark.with_suffix(f".{uuid.uuid4().hex}")
        made.write_text(made.suffix[1:9])
        with suppress(FileExistsError):  # another process was quicker
            os.link(made, mark)
        made.unlink()
    return f"{socket.gethostname()} {mark.read_text()}"


@contextmanager
def held(path: Path, *, waiting: str) -> Iterator[None]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    path : Path
        The file of the lock. It exists while a process holds the lock, and after a process died holding it.
    waiting : str
        The warning to log if another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning(waiting)
        lock.acquire()
    with _releasing(lock, path):
        yield


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock while the block runs, unless another process holds it; yield whether it is held.

    Parameters
    ----------
    path : Path
        The file of the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    with _releasing(lock, path):
        yield True


@contextmanager
def _releasing(lock: FileLock, path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        # A process that waits for this lock notices that the file has lost its name, and makes a new file.
        path.unlink(missing_ok=True)
        lock.release()
