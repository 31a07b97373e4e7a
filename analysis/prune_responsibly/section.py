"""The report's sections on networks that were pruned iteratively, in functions that take a study."""

from collections.abc import Callable

from analysis.page import Section
from analysis.study import AnalyzedStudy

# In the order of the page.
SECTIONS: tuple[Callable[[AnalyzedStudy], Section | None], ...] = ()
