"""Make folders that no other user of the machine can write or replace, and check such folders and files."""

import grp
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from analysis.common.errors import StudyError

INSTEAD_OF_CACHE = "set XDG_CACHE_HOME to a folder that only you can write"
MOST_LINKS = 40  # as many as Linux follows in one path
# Users who can replace any folder. The owner of / is root, whose user id is not 0 in some user namespaces.
ROOTS = {0, Path("/").lstat().st_uid}


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


def private(path: Path, instead: str, trusted: Path | None = None) -> Path:
    """Return a folder that only this user can write, and create it if it is missing.

    Parameters
    ----------
    path : Path
    instead : str
        Advice for the error if the folder cannot be used.
    trusted : Path, optional
        A parent folder below which the checks start; it and its own parents are not checked. By default every parent is
        checked: root or this user must own it, and other users must not be able to rename its contents.

    Returns
    -------
    Path
        The folder, with symbolic links resolved.

    Raises
    ------
    StudyError
        If the folder belongs to another user, if it cannot be created, or if another user (except root) can write to it
        or can replace it or a symbolic link on the way to it.
    """
    try:
        folder = _walked(path, instead, trusted)
        info = folder.lstat()
    except OSError as error:
        raise StudyError(f"{path} cannot be used ({error.strerror}): {instead}") from error
    _check_owner(folder, info, {os.geteuid()}, instead)
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
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
    _check_owner(path, info, {os.geteuid()}, "delete it")
    if content and info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StudyError(f"{path} can be written by other users: delete it")


def _walked(path: Path, instead: str, trusted: Path | None) -> Path:
    """Follow a path from the trusted folder or else from /, check each folder on the way, and create missing ones."""
    here = unchecked = trusted.resolve() if trusted else Path("/")
    names = list(reversed(path.relative_to(trusted or "/").parts))
    links = 0
    while names:
        if not trusted or here != unchecked:
            _check_above(here, instead)
        name = names.pop()
        entry = here.parent if name == ".." else here / name
        info = _make(entry)
        if stat.S_ISLNK(info.st_mode):
            _check_owner(entry, info, {os.geteuid(), *ROOTS}, instead)
            links += 1
            if links > MOST_LINKS:
                raise StudyError(f"{path} cannot be used (too many symbolic links): {instead}")
            target = entry.readlink()
            here = Path("/") if target.is_absolute() else here
            names += [part for part in reversed(target.parts) if part != "/"]
        elif stat.S_ISDIR(info.st_mode):
            here = entry
        else:
            raise StudyError(f"{entry} is not a folder: {instead}")
    return here


def _make(entry: Path) -> os.stat_result:
    try:
        return entry.lstat()
    except FileNotFoundError:
        with suppress(FileExistsError):  # another process has created it
            entry.mkdir(mode=0o700)
        return entry.lstat()


def _check_above(folder: Path, instead: str) -> None:
    """Check that no other user can rename or replace a folder's files that belong to root or this user."""
    info = folder.lstat()
    _check_owner(folder, info, {os.geteuid(), *ROOTS}, instead)
    others = info.st_mode & stat.S_IWOTH or (info.st_mode & stat.S_IWGRP and not _is_own_group(info.st_gid))
    if others and not info.st_mode & stat.S_ISVTX:
        raise StudyError(
            f"other users can replace the contents of {folder}: run `chmod +t {shlex.quote(str(folder))}`, or {instead}"
        )


def _check_owner(path: Path, info: os.stat_result, allowed: set[int], instead: str) -> None:
    if info.st_uid not in allowed:
        what = "the symbolic link " if stat.S_ISLNK(info.st_mode) else ""
        raise StudyError(
            f"{what}{path} belongs to {_user(info.st_uid)}, and this process runs as {_user(os.geteuid())}: {instead}"
        )


def _is_own_group(gid: int) -> bool:
    """Return whether a group is the user's private group, whose only member is the user.

    Many systems create one for each user, along with a umask that lets the group write.
    """
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return (user.pw_gid, user.pw_name) == (gid, group.gr_name) and set(group.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
