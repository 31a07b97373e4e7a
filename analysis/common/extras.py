"""Check for the packages of the project's extras, which a plain installation lacks."""

import importlib.util
from collections.abc import Mapping

from analysis.common.errors import StudyError


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
    if missing := [package for module, package in packages.items() if importlib.util.find_spec(module) is None]:
        what = "it" if option else "this command"
        raise StudyError(f"{what} needs {', '.join(missing)}: {pip_line(extra)}", option=option)


def pip_line(extra: str) -> str:
    """Return two alternative commands that install an extra."""
    return f"pip install 'pruning-study[{extra}]', or pip install -e '.[{extra}]' in a copy of the project"
