"""Detect a user's own module `analysis`, which Python would import instead of this project's package of that name."""

from importlib.util import find_spec
from pathlib import Path

_OWN = Path(__file__).parents[1] / "analysis" / "__init__.py"


def check() -> None:
    """Raise an ImportError if a user's own file or package hides the package `analysis` of this project.

    A folder without `__init__.py` hides nothing, because Python prefers a package to it.
    """
    spec = find_spec("analysis")
    if spec is None or spec.origin is None:
        return
    found = Path(spec.origin)
    if found.resolve() != _OWN.resolve():
        named = found.parent if found.name == "__init__.py" else found
        raise ImportError(
            f"{named} hides the package analysis, which pruning_study needs: rename it, and start Python again"
        )
