"""Measure what pruning did to each class, from runs in a tracking store or from predictions alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.audit.audit import audit_predictions as audit_predictions
    from analysis.audit.class_offsets import fit_class_offsets as fit_class_offsets
    from analysis.recommend.recommend import recommend_ratio as recommend_ratio
    from analysis.report.written_report import write_report as write_report
    from analysis.runs.pull import pull_runs as pull_runs

# The module of each public function, which is imported when the function is first accessed.
_MODULES = {
    "audit_predictions": "analysis.audit.audit",
    "fit_class_offsets": "analysis.audit.class_offsets",
    "pull_runs": "analysis.runs.pull",
    "write_report": "analysis.report.written_report",
    "recommend_ratio": "analysis.recommend.recommend",
}
__all__ = list(_MODULES)

if not TYPE_CHECKING:  # so that a type checker reports unknown names

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)

    def __dir__() -> list[str]:
        return [*globals(), *_MODULES]
