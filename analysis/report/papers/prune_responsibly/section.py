"""The report's sections on iteratively pruned networks, each a function of a study."""

from collections.abc import Callable

from analysis.rendering.page import Section
from analysis.report.papers.prune_responsibly import choice, class_section
from analysis.report.papers.prune_responsibly import regression_section as regression
from analysis.report.papers.prune_responsibly import writers_section as writers
from analysis.report.papers.prune_responsibly.coefficients import Regression, fitted
from analysis.study.study import StudyData

# In the order in which the report shows them.
SECTIONS: tuple[Callable[[StudyData], Section | None], ...] = (
    regression.section,
    choice.section,
    writers.section,
)
# Only in reports with --paper true.
PAPER_SECTIONS: tuple[Callable[[StudyData], Section | None], ...] = (
    class_section.class_curves,
    class_section.training_images,
    writers.figures_in_print,
)


def fitted_regression(study: StudyData) -> Regression:
    """Return the regression on a study's levels of iterative pruning."""
    return fitted(study)
