"""Former module of `StudyError`, kept because users' programs may still import it from here."""

from analysis.common.errors import StudyError

__all__ = ["StudyError"]
