"""Pack an exported study, a folder written by `exports.write`, into one archive, and unpack it."""

import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from analysis.common import files
from analysis.common.errors import StudyError, first_line
from analysis.common.input_files import SizeLimit, opened

SUFFIX = ".zip"
LARGEST = SizeLimit(4)
MOST_FILES = 100_000
# At most three folders and a file name, without `..`, leading slashes, backslashes or overlong parts.
_NAME = re.compile(r"(\w[\w.-]{0,99}/){0,3}\w[\w.-]{0,99}", re.ASCII)
# With other compression methods, zipfile unpacks each chunk in full, so a small part of a file could fill the memory.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MODE = stat.S_IFREG | 0o644
_UNIX = 3


@contextmanager
def packed(output: Path) -> Iterator[Path]:
    """Provide a scratch folder, and pack its files into one archive when the block ends.

    The same files give the same bytes, because they are sorted by name and all get the same date. It is moved to
    `output` when it is complete.

    Parameters
    ----------
    output : Path
        The archive.

    Raises
    ------
    StudyError
        If `output` is a folder or cannot be written to.
    """
    files.check_file(output, (), "runs")
    with files.one_aside(output) as archive, tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        yield Path(folder)
        _pack(Path(folder), archive)


def _pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in files.written(folder):
            entry = zipfile.ZipInfo(name.as_posix())  # dated 1 January 1980
            if name.suffix != ".npz":
                entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = _UNIX, _MODE << 16
            archive.writestr(entry, (folder / name).read_bytes())


@contextmanager
def unpacked(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Provide exported studies as folders, and unpack archives to temporary folders.

    The temporary folders are deleted when the block ends. A StudyError in the block names the archive instead of its
    temporary folder.

    Parameters
    ----------
    paths : iterable of Path
        A path that does not exist counts as a folder.

    Raises
    ------
    StudyError
        If a file is not an archive of an exported study, is damaged, or would unpack to more than `LARGEST`. Nothing is
        written outside the temporary folders, even if names in an archive are malicious.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_unpacked(path)) if is_file(path) else path for path in paths]


def is_file(path: Path) -> bool:
    """Return whether a path exists and is not a folder, so it must be an archive."""
    return path.exists() and not path.is_dir()


def may_have(path: Path, name: str) -> bool:
    """Return whether an archive has a file of this name, or may have had it before being damaged."""
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            return name in archive.namelist() or _is_cut(archive)
    except Exception:  # as in `_unpack`
        return True


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    try:
        scratch = tempfile.TemporaryDirectory()
    except OSError as error:
        raise StudyError(f"{path}: no place to unpack it: {files.fault(error, path)}; set TMPDIR") from error
    with scratch as folder:
        try:
            _unpack(path, Path(folder))
            yield Path(folder)
        except StudyError as error:
            raise StudyError(*(line.replace(folder, str(path)) for line in error.args), option=error.option) from error


def _unpack(path: Path, folder: Path) -> None:
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                entries = _files(archive)
                LARGEST.check(path, sum(entry.file_size for entry in entries))
                for entry in entries:
                    target = folder / entry.filename
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # Reading ends after the size that the archive declares, so a member cannot unpack to more.
                    with archive.open(entry) as member, target.open("xb") as output:
                        shutil.copyfileobj(member, output)
        except StudyError:
            raise
        except OSError as error:
            raise StudyError(files.fault(error, path)) from error
        # Given arbitrary bytes, zipfile and the decompressor raise errors of more than a dozen types.
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)[:200]}"
            raise StudyError(f"{path}: not what pruning-analysis export writes ({reason}); export again") from error


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files in an archive, or raise a ValueError if it is not an exported study."""
    entries = archive.infolist()
    if _is_cut(archive):
        raise ValueError("its beginning or its end is missing")
    if len(entries) > MOST_FILES:
        raise ValueError(f"it has {len(entries):,} files, but at most {MOST_FILES:,} are read")
    by_name: dict[str, zipfile.ZipInfo] = {}
    for entry in (entry for entry in entries if not entry.is_dir()):
        if not _NAME.fullmatch(entry.filename):
            raise ValueError(f"{entry.filename[:100]!r} is not the name of an exported file")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{entry.filename} is not an ordinary file")
        if entry.compress_type not in _METHODS:
            raise ValueError(f"{entry.filename} is compressed by a method that is not read")
        if by_name.setdefault(entry.filename, entry) is not entry:
            raise ValueError(f"it has two files named {entry.filename}")
    return list(by_name.values())


def _is_cut(archive: zipfile.ZipFile) -> bool:
    # If the end is missing, zipfile may mistake a member that is itself an archive for the whole archive.
    return min((entry.header_offset for entry in archive.infolist()), default=0) != 0
