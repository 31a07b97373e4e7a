"""Keep in each folder a list of the files that commands wrote there, so that no command replaces any other file."""

import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from analysis.common.errors import StudyError
from analysis.common.input_files import opened

# The name of the list, which has the format of `sha256sum`.
LIST = ".pruning-study"
_MARK = "# pruning-study "
_NOTE = (
    f"{_MARK}wrote these files. It replaces only files that are listed here and unchanged; without this list it "
    "replaces no file. To see which files are unchanged, run: sha256sum -c {}\n"
)
_LINE = re.compile(r"(\\?)([0-9a-f]{64})  (.+)")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNESCAPED = {escaped: character for character, escaped in _ESCAPES.items()}
_MOST_BYTES = 2**24
# Seconds to wait for another command that changes the list.
LONGEST_WAIT = 30.0
# The digests of each file, by its path relative to the folder. There are two while a file is being replaced.
_Digests = dict[str, set[str]]


@contextmanager
def replacing(folder: Path, new_folder: Path, paths: Sequence[Path], obsolete: Sequence[str] = ()) -> Iterator[None]:
    """Check that files may be moved to a folder, and list them there; the block moves them.

    Parameters
    ----------
    folder, new_folder : Path
        Folders of the older files and of the new ones. The list is written to `new_folder` and then moved to `folder`.
    paths : sequence of Path
        Paths of the new files, relative to both folders.
    obsolete : sequence of str
        Names of files to delete after the block if they are listed and unchanged, and are not among the new files.
        Their folders below `folder` are deleted too if they become empty.

    Raises
    ------
    StudyError
        If an older file that would get other content is not listed, or was changed since it was listed. The block is
        then not run.
    OSError
        If reading a file or writing the list fails.
    """
    list_path = _list_path(folder)
    with _alone(folder):
        listed = _read(list_path)
        new = {path.as_posix(): _digest(new_folder / path) for path in paths}
        old = {name: _digest(folder / name) for name in new if os.path.lexists(folder / name)}
        for name, digest in old.items():
            if digest != new[name] and digest not in listed.get(name, ()):
                raise StudyError(
                    f"{folder / name} was not written by this command, or was changed since: name another --output, or "
                    "move the file away"
                )
        # If the block is interrupted, any of the files may be the older one or the new one.
        either = {name: {digest, old.get(name, digest)} for name, digest in new.items()}
        _write(list_path, new_folder, listed | either)
        yield
        for name in set(obsolete).difference(new):
            if _digest(folder / name) in listed.get(name, ()):
                (folder / name).unlink()
                with suppress(OSError):  # a folder has other files
                    for parent in Path(name).parents[:-1]:
                        (folder / parent).rmdir()
        listed |= {name: {digest} for name, digest in new.items()}
        _write(list_path, new_folder, {name: listed[name] for name in listed if os.path.lexists(folder / name)})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the list of a folder during the block; if others hold the lock for `LONGEST_WAIT`, go on without it."""
    if sys.platform == "win32":  # Windows has no such locks
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + LONGEST_WAIT
    try:
        with suppress(OSError):  # some network file systems have no locks
            while not _lock(descriptor) and time.monotonic() < deadline:
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, or an empty string if it is no regular file that can be read."""
    try:
        with opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except StudyError:
        return ""


def _list_path(folder: Path) -> Path:
    """Return the path of the list; in a sticky folder (such as /tmp), each user has one that no other can replace."""
    return folder / (f"{LIST}-{os.geteuid()}" if folder.stat().st_mode & stat.S_ISVTX else LIST)


def _read(path: Path) -> _Digests:
    if not os.path.lexists(path):
        return {}
    try:
        with opened(path) as file:
            if path.name != LIST and os.fstat(file.fileno()).st_uid != os.geteuid():
                raise ValueError("planted by another user")
            return _parsed(file.read(_MOST_BYTES).decode("utf-8", "surrogateescape"))
    except (StudyError, ValueError) as error:
        raise StudyError(
            f"{path} cannot be read as a list of written files: name another --output, or move it away"
        ) from error


def _parsed(content: str) -> _Digests:
    """Parse a list, or raise a ValueError if it was not written by `_write`."""
    if not content.startswith(_MARK):
        raise ValueError("no mark")
    digests: _Digests = {}
    for line in content.removesuffix("\n").split("\n")[1:]:
        if not (match := _LINE.fullmatch(line)):
            raise ValueError(line)
        escape, digest, name = match.groups()
        name = re.sub(r"\\[\\nr]", lambda escaped: _UNESCAPED[escaped[0]], name) if escape else name
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError(line)
        digests.setdefault(name, set()).add(digest)
    return digests


def _write(list_path: Path, new_folder: Path, digests: Mapping[str, set[str]]) -> None:
    lines = (_line(digest, name) for name in sorted(digests) for digest in sorted(digests[name]))
    with (new_folder / LIST).open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write(_NOTE.format(list_path.name) + "".join(lines))
        file.flush()
        os.fsync(file.fileno())
    (new_folder / LIST).replace(list_path)


def _line(digest: str, name: str) -> str:
    escaped = re.sub(r"[\\\n\r]", lambda character: _ESCAPES[character[0]], name)
    mark = "" if escaped == name else "\\"
    return f"{mark}{digest}  {escaped}\n"
