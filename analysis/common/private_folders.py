"""Make folders that no other user of the machine can write, and check such folders and files."""

import os
import pwd
import shlex
import stat
from pathlib import Path

from analysis.common.errors import StudyError

INSTEAD_OF_CACHE = "set XDG_CACHE_HOME to a folder that only you can write"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def cache(name: str = "") -> Path:
    """Return a folder in this user's cache, and create it if it is missing.

    Parameters
    ----------
    name : str
        Path below `$XDG_CACHE_HOME/pruning-study`, or below `~/.cache/pruning-study` if the variable is not set.

    Returns
    -------
    Path

    Raises
    ------
    StudyError
        If the user has no home folder, if `$XDG_CACHE_HOME` is not absolute, or if `private` refuses the folder.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise StudyError(f"this user has no home folder for a cache: {INSTEAD_OF_CACHE}") from error
    if not home.is_absolute():
        raise StudyError(f"{home}: the path of the cache is not absolute; {INSTEAD_OF_CACHE}")
    folder = home
    for part in ("pruning-study", *Path(name).parts):
        folder = private(folder / part, INSTEAD_OF_CACHE)
    return folder


def private(path: Path, instead: str) -> Path:
    """Return a folder that only this user can write, and create it if it is missing.

    Parameters
    ----------
    path : Path
    instead : str
        Advice for the error if the folder cannot be used.

    Returns
    -------
    Path
        The folder, with symbolic links resolved.

    Raises
    ------
    StudyError
        If the folder belongs to another user, if it cannot be created, or if another user (except root) can write to
        it.
    """
    try:
        folder = Path(os.path.realpath(path))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError as error:
        raise StudyError(f"{path} cannot be used ({error.strerror}): {instead}") from error
    _check_owner(folder, info, instead)
    if info.st_mode & _WRITABLE_BY_OTHERS:
        raise StudyError(f"{folder} can be written by other users: run `chmod go-w {shlex.quote(str(folder))}`")
    return folder


def check_file(path: Path, *, content: bool = True) -> None:
    """Check that a file, if it exists, is a regular file of this user.

    Parameters
    ----------
    path : Path
        A file in a private folder. Another user may have made it before the folder was private.
    content : bool
        Whether to check, too, that nobody else can write the file.

    Raises
    ------
    StudyError
        If the file fails a check.
    """
    try:
        info = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(info.st_mode):
        raise StudyError(f"{path} is not a regular file: delete it")
    _check_owner(path, info, "delete it")
    if content and info.st_mode & _WRITABLE_BY_OTHERS:
        raise StudyError(f"{path} can be written by other users: delete it")


def _check_owner(path: Path, info: os.stat_result, instead: str) -> None:
    if info.st_uid != os.geteuid():
        raise StudyError(
            f"{path} belongs to {_user(info.st_uid)}, and this process runs as {_user(os.geteuid())}: {instead}"
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
