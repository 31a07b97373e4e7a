"""The report's section on the paper's exemplars and class tests, in a function that takes a study."""

from analysis.compressed_networks import populations
from analysis.page import Section
from analysis.study import AnalyzedStudy


def section(study: AnalyzedStudy) -> Section | None:
    """Return the section on what compressed networks forget; None for a study of single networks."""
    significance = populations.class_significance(study.runs)
    summary, images = populations.exemplars(study.runs, study.predicted)
    made = {"class_significance.csv": significance, "pie_summary.csv": summary, "pie.csv": images}
    tables = {name: table for name, table in made.items() if len(table)}
    return Section("What compressed networks forget", [], tables=tables) if tables else None
