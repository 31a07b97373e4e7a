"""Import the user's own models and pruners by their import paths, and find the modules that these import.

The modules are found by reading their source without running it. Python's `modulefinder` would also read all of
PyTorch.
"""

import ast
import functools
import hashlib
import importlib
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

from analysis.common.errors import StudyError

_OF_THE_PROJECT = [Path(__file__).parents[2] / name for name in ("pruning_study", "analysis")]
_STANDARD_LIBRARY = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
_INSTALLED = {"site-packages", "dist-packages"}


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
        are digested. So are the user's own modules that a digested file imports (`imported_by`).
    """
    module_name = import_path.partition(":")[0]
    module = sys.modules.get(module_name)
    named = dict.fromkeys([_source_file(imported), getattr(module, "__file__", None)])
    files = [Path(file) for file in named if file]
    content = b"".join(file.read_bytes() for file in files)
    imported_files = imported_by(files, module_name.partition(".")[0])
    content += b"".join(sorted(map(_file_digest, imported_files)))
    return hashlib.sha256(content).hexdigest()[:32] if content else "unknown"


def _file_digest(file: Path) -> bytes:
    """Digest a file and its path from its outermost package on, because this path is the same on every machine."""
    depth = len(packages_of(file)) + 1
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


def imported_by(files: Iterable[Path], top_level: str) -> set[Path]:
    """Return the files of the user's own modules that some files import, directly or indirectly.

    This includes imports inside functions, and the `__init__.py` of the packages that contain a module, unless empty.
    A star import includes all modules of the package. It makes no difference whether a module is already imported. A
    module is the user's own in two cases:

    - It is in the package that `top_level` names.
    - It is neither installed nor part of this project, and is in the current folder, beside the package, or in the
      folder of one of the files.

    Parameters
    ----------
    files : iterable of Path
        Source files to start from. They are not returned.
    top_level : str
        First part of a package's dotted name. The package may be installed.
    """
    start = set(files)
    packages = _folders(_spec(top_level)) if top_level else []
    folders = [Path.cwd(), *(package.parent for package in packages), *(file.parent for file in start)]
    reached, queue = set(start), list(start)
    while queue:
        file = queue.pop()
        named = {module for level, name in _imports(_source(file)) for module in _files(file, level, name.split("."))}
        named |= {package for package in packages_of(file) if package.read_bytes().strip()}
        own = {module for module in named - reached if _is_own(module, packages, folders)}
        reached |= own
        queue += own
    return reached - start


def _is_own(file: Path, packages: Sequence[Path], folders: Sequence[Path]) -> bool:
    if any(map(file.is_relative_to, _OF_THE_PROJECT)):
        return False
    is_installed = not _INSTALLED.isdisjoint(file.parts) or any(map(file.is_relative_to, _STANDARD_LIBRARY))
    return any(map(file.is_relative_to, packages if is_installed else [*packages, *folders]))


def _source(file: Path) -> bytes:
    return file.read_bytes() if file.suffix == ".py" else b""


@cache
def _imports(source: bytes) -> frozenset[tuple[int, str]]:
    """Return the module names that a source may import, each with its number of leading dots."""
    named: set[tuple[int, str]] = set()
    with suppress(SyntaxError, ValueError):  # a source that cannot be parsed imports nothing
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                named |= {(0, package) for item in node.names for package in _packages_on_the_way(item.name)}
            elif isinstance(node, ast.ImportFrom):
                name = node.module or ""
                named |= {(node.level, package) for package in _packages_on_the_way(name)}
                named |= {(node.level, f"{name}.{item.name}".strip(".")) for item in node.names}
    return frozenset(named)


def _packages_on_the_way(name: str) -> Iterator[str]:
    """Yield `a`, `a.b` and `a.b.c` for `a.b.c`: the source can use all three."""
    parts = name.split(".")
    return (".".join(parts[: count + 1]) for count in range(len(parts)))


def packages_of(file: Path) -> list[Path]:
    """Return the `__init__.py` of each package that contains a module, innermost first."""
    inits = (folder / "__init__.py" for folder in file.parents)
    return [*takewhile(Path.is_file, inits)]


def _files(importer: Path, level: int, parts: Sequence[str]) -> list[Path]:
    """Return the source files of an imported name: at most one, or all files of the package for a star."""
    if parts[-1] != "*":
        return [file] if (file := _file(importer, level, parts)) else []
    package = _file(importer, level, parts[:-1])
    return sorted(package.parent.glob("*.py")) if package and package.name == "__init__.py" else []


def _file(importer: Path, level: int, parts: Sequence[str]) -> Path | None:
    """Return the source file of an imported module, or None if it has none."""
    if level:
        return _file_in([importer.parents[level - 1]], parts)
    spec = _spec(parts[0])
    if len(parts) > 1:
        return _file_in(_folders(spec), parts[1:])
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None


def _file_in(folders: Iterable[Path], parts: Sequence[str]) -> Path | None:
    paths = [folder.joinpath(*parts) for folder in folders]
    candidates = [file for path in paths for file in (path / "__init__.py", path.parent / f"{path.name}.py")]
    return next(filter(Path.is_file, candidates), None)


def _folders(spec: ModuleSpec | None) -> list[Path]:
    """Return the folders that contain the modules of a package."""
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _spec(top_level: str) -> ModuleSpec | None:
    """Return the import spec of a top-level module or package, or None if it cannot be found."""
    with suppress(ImportError, ValueError):  # ValueError: a module without a spec, such as __main__
        return find_spec(top_level)
    return None


def imported(path: str) -> Any:
    """Import an object of this project by a path such as `analysis.runs.pull:pull_runs`; never pass a user's path."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def check_installed(extra: str, packages: Mapping[str, str], *, option: str | None = None) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Parameters
    ----------
    extra : str
        Name of an extra in `pyproject.toml`.
    packages : mapping of str to str
        Packages, by the name of the module that each provides.
    option : str, optional
        The option that needs the packages, for the error.

    Raises
    ------
    StudyError
        If a package is missing. The error says how to install it.
    """
    if missing := [package for module, package in packages.items() if find_spec(module) is None]:
        what = "it" if option else "this command"
        raise StudyError(f"{what} needs {', '.join(missing)}: {pip_line(extra)}", option=option)


def pip_line(extra: str) -> str:
    """Return two alternative commands that install an extra."""
    return f"pip install 'pruning-study[{extra}]', or pip install -e '.[{extra}]' in a copy of the project"
