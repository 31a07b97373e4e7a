"""File locks that show what each process of this machine works on; the kernel frees the locks of a dead process."""

import hashlib
import logging
import socket
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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
    """Return the folder of a tracking store's locks, which only this user can write and which is created if missing.

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
    """
    mark = folder(tracking_uri) / "owner"
    with suppress(FileExistsError):
        mark.symlink_to(uuid.uuid4().hex[:8])  # unlike a file, a link is never seen half written
    return f"{socket.gethostname()} {mark.readlink()}"


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
        If the file cannot be locked.
    """
    with _acquired(path, timeout=0) as free:
        if free:
            yield
            return
    log.warning(waiting)
    with _acquired(path, timeout=-1):
        yield


def held_if_free(path: Path) -> AbstractContextManager[bool]:
    """Hold a lock while the block runs, unless another process holds it; yield whether this process holds it.

    Parameters
    ----------
    path : Path
        The file of the lock.

    Raises
    ------
    StudyError
        If the file cannot be locked.
    """
    return _acquired(path, timeout=0)


@contextmanager
def _acquired(path: Path, timeout: float) -> Iterator[bool]:
    lock = FileLock(path, timeout, mode=0o600)  # anyone who can open the file can hold its lock
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise StudyError(
            f"{path} cannot be locked ({error.strerror or error}): use a store on another disk or, if the store is a "
            "server, set XDG_CACHE_HOME to a folder on another disk"
        ) from error
    try:
        yield True
    finally:
        # A process that waits for this lock notices that the file was unlinked, and makes a new one.
        path.unlink(missing_ok=True)
        lock.release()
