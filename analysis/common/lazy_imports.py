"""Import an object of this project by its path, when it is first needed."""

from importlib import import_module
from typing import Any


def imported(path: str) -> Any:
    """Import an object of this project by a path such as `analysis.runs.pull:pull_runs`; never pass a user's path."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
