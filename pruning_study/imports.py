"""Callables that are named by an import path: models and pruners of one's own."""

import functools
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from analysis.runs.errors import StudyError


def import_callable(import_path: str, *, option: str) -> Callable[..., Any]:
    """Import a callable that lies in the current folder, on PYTHONPATH, or in an installed package.

    Parameters
    ----------
    import_path : str
        `package.module:name`.
    option : str
        The command line's option that takes the path, such as `--model`; an error names it.

    Returns
    -------
    callable

    Raises
    ------
    StudyError
        If the module cannot be imported, or does not hold a callable of that name.
    """
    module_name, _, name = import_path.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        imported = getattr(importlib.import_module(module_name), name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StudyError(
            f"{import_path!r} cannot be imported ({reason}): write package.module:name, importable from the current "
            "folder or PYTHONPATH",
            option=option,
        ) from error
    if not callable(imported):
        raise StudyError(f"{import_path!r} is not callable", option=option)
    return cast(Callable[..., Any], imported)


def source_digest(imported: Callable[..., Any]) -> str:
    """Return a digest of the source file that defines a callable; `unknown` if it is compiled.

    Parameters
    ----------
    imported : callable
        Decorators and `functools.partial` are looked through, to the function or class inside.
    """
    while isinstance(imported, functools.partial):
        imported = imported.func
    imported = inspect.unwrap(imported)
    is_source = inspect.isroutine(imported) or inspect.isclass(imported)
    try:
        path = inspect.getsourcefile(imported if is_source else type(imported))
    except TypeError:  # a callable that is compiled has no source file
        path = None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32] if path else "unknown"
