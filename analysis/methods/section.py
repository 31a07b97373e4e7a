"""The report's section on methods compared."""

from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.figure import Figure

from analysis.methods import compare as methods
from analysis.page import figures_with_prefix

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


def _compared(against: pd.DataFrame, drawn: Mapping[str, Figure]) -> Iterator[str | pd.DataFrame | Figure]:
    yield _METHODS
    controls = against["comparison"] == methods.CONTROL
    if not controls.all():
        yield methods.shown(against[~controls])
    if controls.any():
        yield _CONTROL
        yield methods.shown(against[controls])
    yield from figures_with_prefix(drawn, "methods_")
