"""The place of `StudyError` before it moved to `analysis.common.errors`; users' programs may import it from here."""

from analysis.common.errors import StudyError

__all__ = ["StudyError"]
