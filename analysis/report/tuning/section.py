"""The report's section on a search of epsilon."""

from analysis.rendering.page import Items, Picture, Section, at_both_widths
from analysis.report.tuning import figures
from analysis.study.study import StudyData
from analysis.study.tuning.results import Tuning

_TUNING = (
    "Trials of epsilon, the weight of undecayed pruning, each measured on validation images only; then the winner "
    "and three reference values on test images: lambda, the paper's; MP, so large that weights are ranked as by "
    "magnitude pruning; and GP, 0, which is gradient pruning. Distortion is the excess of alpha on new images over "
    "1, plus 1 minus the correlation of the classes' balances."
)


def section(study: StudyData, number: int) -> Section:
    """Return the section on one of the study's searches; the first is number 1."""
    tuning: Tuning = study.tunings[number - 1]
    winner, images, *compared = tuning.sentences
    wide, narrow = at_both_widths(figures.figures, tuning)
    drawn = [Picture(f"tuning_{number}_{name}", figure, narrow[name]) for name, figure in wide.items()]
    blocks = [_TUNING, winner, images, Items(compared), tuning.table(), *drawn]
    return Section(f"Tuning: epsilon of undecayed pruning, {tuning.name}", blocks)
