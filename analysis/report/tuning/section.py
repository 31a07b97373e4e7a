"""The report's section on a search of epsilon."""

from analysis.rendering import tuning_figures, tuning_text
from analysis.rendering.page import Items, Picture, Section
from analysis.study.study import StudyData

_TUNING = (
    "Each trial of epsilon, the weight of the penalty in undecayed pruning, is measured on validation images only. The "
    "winner is then measured on test images, beside three reference values: lambda, the weight decay, as in the paper; "
    "MP, so large that weights are ranked as by magnitude pruning; and GP, 0, which is gradient pruning. Distortion is "
    "how far alpha on new images exceeds 1, plus 1 minus the correlation of the classes' recall balances before and "
    "after pruning."
)


def section(study: StudyData, number: int) -> Section:
    """Return the section on one of the study's searches; the first is number 1."""
    tuning = study.tunings[number - 1]
    winner, images, *compared = tuning_text.sentences(tuning)
    drawn = [Picture(f"tuning_{number}_{name}", figure) for name, figure in tuning_figures.figures(tuning).items()]
    blocks = [_TUNING, winner, images, Items(compared), tuning_text.table(tuning), *drawn]
    return Section(f"Tuning: epsilon of undecayed pruning, {tuning.name}", blocks)
