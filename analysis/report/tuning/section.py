"""The report's section on a search of epsilon."""

from analysis.rendering import tuning_figures, tuning_text
from analysis.rendering.page import Items, Picture, Section, at_both_widths
from analysis.study.study import StudyData

_TUNING = (
    "Trials of epsilon, the weight of undecayed pruning, each measured on validation images alone; then the winner and "
    "the anchors on test images: lambda, the paper's; MP, so large that it ranks as magnitude pruning; GP, 0, which is "
    "gradient pruning. Distortion is what alpha on new images has above 1, plus what the correlation of the classes' "
    "balances lacks of 1."
)


def section(study: StudyData, number: int) -> Section:
    """Return the section on one of the study's searches; the first is number 1."""
    tuning = study.tunings[number - 1]
    winner, images, *compared = tuning_text.sentences(tuning)
    wide, narrow = at_both_widths(tuning_figures.figures, tuning)
    drawn = [Picture(f"tuning_{number}_{name}", figure, narrow[name]) for name, figure in wide.items()]
    blocks = [_TUNING, winner, images, Items(compared), tuning_text.table(tuning), *drawn]
    return Section(f"Tuning: epsilon of undecayed pruning, {tuning.name}", blocks)
