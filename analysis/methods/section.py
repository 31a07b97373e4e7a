"""The report's section on methods compared."""

from collections.abc import Iterator

import pandas as pd

from analysis.methods import compare as methods
from analysis.methods import figures
from analysis.page import Block, Section, pictures
from analysis.study import AnalyzedStudy

_METHODS = (
    "Each method against its baseline on the same dense networks, the difference of the first minus the second with "
    "its 95 % interval: a schedule against one shot, fine-tuning by the dense network's soft predictions against the "
    "labels alone, a pruner against magnitude pruning, an epsilon against the paper's, 5e-4, all against none; all "
    "else is the same. * says that p is below .05 by Holm's correction: a primary comparison, which the study was "
    "made for, has a level of its own, the others against none share one, and all the rest do. The weakest recall is "
    "the lowest of a network's classes, the largest loss the most that a class's recall fell. Pairs with a network at "
    "chance have no alpha; n is then less. methods.csv has p, effect sizes and the smallest difference that would "
    "have been detected."
)
_CONTROL = "Against none, the control: what pruning did beyond the fine-tuning that comes with it."


def section(study: AnalyzedStudy) -> Section | None:
    """Return the section that compares methods with their baselines, if the study has any to compare."""
    compared = methods.compare(study.runs, study.predictions, primaries=study.primaries)
    if compared.empty:
        return None
    blocks = [*_blocks(compared), *pictures(figures.figures(compared))]
    return Section("Methods compared", blocks, tables={"methods.csv": compared})


def _blocks(compared: pd.DataFrame) -> Iterator[Block]:
    yield _METHODS
    controls = compared["comparison"] == methods.AGAINST_CONTROL
    if not controls.all():
        yield methods.shown(compared[~controls])
    if controls.any():
        yield _CONTROL
        yield methods.shown(compared[controls])
