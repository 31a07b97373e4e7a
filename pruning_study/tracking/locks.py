"""File locks that show what each process of this machine works on; the kernel frees the locks of a dead process."""

import hashlib
import logging
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy
from filelock import FileLock, Timeout

from analysis.common import private_folders
from analysis.common.errors import StudyError
from analysis.runs.address import without_password

INSTEAD_OF_STORE = (
    "run the command as the owner, or use a store of your own (MLFLOW_TRACKING_URI); users who share runs need an "
    "MLflow server"
)

log = logging.getLogger(__name__)


def folder(tracking_uri: str) -> Path:
    """Return the folder of a tracking store's locks, which is created if missing.

    It is next to the store's sqlite file or, for any other store, in this user's cache. Machines may share the cache,
    so the path of the folder depends on the name of the machine. The path does not depend on the password in the URI,
    because otherwise the password could be guessed from the path.

    Parameters
    ----------
    tracking_uri : str

    Raises
    ------
    StudyError
        If another user owns the folder or can write it, or if it cannot be made.
    """
    database = sqlalchemy.make_url(tracking_uri).database if tracking_uri.startswith("sqlite") else None
    if database:
        # Anyone who can write to the store's folder can replace the store, so checking that folder gains nothing.
        path = Path(f"{Path(database).resolve()}.locks")
        return private_folders.private(path, INSTEAD_OF_STORE)
    digest = hashlib.sha256(f"{socket.gethostname()} {without_password(tracking_uri)}".encode()).hexdigest()[:16]
    return private_folders.cache(f"locks/{digest}")


def owner(tracking_uri: str) -> str:
    """Return the machine's name and the mark of the store's lock folder: the same for processes that share locks.

    Parameters
    ----------
    tracking_uri : str

    Raises
    ------
    StudyError
        If `folder` raises a StudyError, or if another user made the mark.
    """
    mark = folder(tracking_uri) / "mark"
    if not os.path.lexists(mark):
        new_mark = mark.with_suffix(f".{uuid.uuid4().hex}")
        new_mark.write_text(new_mark.suffix[1:9], encoding="utf-8")
        with suppress(FileExistsError):  # another process was quicker
            os.link(new_mark, mark)
        new_mark.unlink()
    private_folders.check_file(mark, content=False)
    return f"{socket.gethostname()} {mark.read_text(encoding='utf-8')}"


@contextmanager
def held(path: Path, *, waiting: str) -> Iterator[None]:
    """Hold a lock while the block runs.

    Parameters
    ----------
    path : Path
        The file of the lock. It exists while a process holds the lock, and after a process died holding it.
    waiting : str
        The warning to log if another process holds the lock.

    Raises
    ------
    StudyError
        If another user made the file, or if it cannot be locked.
    """
    lock = _lock(path)
    if not _acquired(lock, timeout=0):
        log.warning(waiting)
        _acquired(lock, timeout=-1)
    with _releasing(lock, path):
        yield


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock while the block runs, unless another process holds it; yield whether this process holds it.

    Parameters
    ----------
    path : Path
        The file of the lock.

    Raises
    ------
    StudyError
        If another user made the file, or if it cannot be locked.
    """
    lock = _lock(path)
    if not _acquired(lock, timeout=0):
        yield False
        return
    with _releasing(lock, path):
        yield True


def _lock(path: Path) -> FileLock:
    private_folders.check_file(path, content=False)
    # Anyone who can open the file can hold its lock.
    return FileLock(path, mode=0o600)


def _acquired(lock: FileLock, timeout: float) -> bool:
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        return False
    except OSError as error:
        raise StudyError(
            f"{lock.lock_file} cannot be locked ({error.strerror or error}): use a store on another disk or, if the "
            "store is a server, set XDG_CACHE_HOME to a folder on another disk"
        ) from error
    return True


@contextmanager
def _releasing(lock: FileLock, path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        # A process that waits for this lock notices that the file was unlinked, and makes a new one.
        path.unlink(missing_ok=True)
        lock.release()
