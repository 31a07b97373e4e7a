"""Train and prune image classifiers, and log to MLflow what pruning did to each class."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pruning_study import analysis_package

if TYPE_CHECKING:
    from pruning_study.commands.load_model import load_model as load_model
    from pruning_study.commands.notebook_results import compress as compress
    from pruning_study.commands.notebook_results import iterate as iterate
    from pruning_study.commands.notebook_results import prune as prune
    from pruning_study.commands.notebook_results import run_study as run_study
    from pruning_study.commands.notebook_results import train as train

__version__ = "0.3.0.dev0"

# The module of each public function, imported when the function is first used.
_MODULES = {
    **dict.fromkeys(("train", "prune", "iterate", "compress", "run_study"), "pruning_study.commands.notebook_results"),
    "load_model": "pruning_study.commands.load_model",
}
__all__ = list(_MODULES)

analysis_package.check()

if not TYPE_CHECKING:  # so that a type checker reports unknown names

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)

    def __dir__() -> list[str]:
        return [*globals(), *_MODULES]
