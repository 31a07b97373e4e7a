"""Import the user's own models and pruners by their import paths."""

import functools
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from analysis.common import own_modules
from analysis.common.errors import StudyError


def import_callable(import_path: str, *, option: str) -> Callable[..., Any]:
    """Import a callable from the current folder, PYTHONPATH or an installed package.

    Importing runs the module, so pass only paths that the user typed, never one read from a file or a run.

    Parameters
    ----------
    import_path : str
        `package.module:name`, as the user typed it.
    option : str
        Command-line option that takes the path, such as `--model`, for the error.

    Returns
    -------
    callable

    Raises
    ------
    StudyError
        If the module cannot be imported, or has no callable of that name.
    """
    module_name, _, name = import_path.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        imported = getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StudyError(
            f"{import_path!r} cannot be imported ({reason}): write package.module:name, importable from the current "
            "folder or PYTHONPATH",
            option=option,
        ) from error
    if not callable(imported):
        raise StudyError(f"{import_path!r} is not callable", option=option)
    return cast(Callable[..., Any], imported)


def source_digest(imported: Callable[..., Any], import_path: str = "") -> str:
    """Digest the source of a callable and of its imports; return `unknown` if it has no source.

    Parameters
    ----------
    imported : callable
        If it is decorated or a `functools.partial`, the source is that of the wrapped function or class.
    import_path : str
        Import path of the callable. If the path's module is not the file that defines the wrapped function, both files
        are digested. So are the user's own modules that a digested file imports (`own_modules.imported_by`).
    """
    module_name = import_path.partition(":")[0]
    module = sys.modules.get(module_name)
    named = dict.fromkeys([_source_file(imported), getattr(module, "__file__", None)])
    files = [Path(file) for file in named if file]
    content = b"".join(file.read_bytes() for file in files)
    imported_files = own_modules.imported_by(files, module_name.partition(".")[0])
    content += b"".join(sorted(map(_file_digest, imported_files)))
    return hashlib.sha256(content).hexdigest()[:32] if content else "unknown"


def _file_digest(file: Path) -> bytes:
    """Digest a file and its path from its outermost package on, because this path is the same on every machine."""
    depth = len(own_modules.packages_of(file)) + 1
    name = "/".join(file.parts[-depth:])
    return hashlib.sha256(f"{name}\n".encode(errors="surrogateescape") + file.read_bytes()).digest()


def _source_file(imported: Callable[..., Any]) -> str | None:
    while isinstance(imported, functools.partial):
        imported = imported.func
    imported = inspect.unwrap(imported)
    is_source = inspect.isroutine(imported) or inspect.isclass(imported)
    try:
        return inspect.getsourcefile(imported if is_source else type(imported))
    except TypeError:  # a compiled callable has no source file
        return None
