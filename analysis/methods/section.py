"""The report's section on methods compared."""

from collections.abc import Iterator

import pandas as pd

from analysis.methods import compare as methods
from analysis.methods import figures, tables
from analysis.page import Block, Section, pictures
from analysis.study import AnalyzedStudy

_PRIMARY = (
    "The study's file names these primary comparisons of a method with a baseline on the same dense networks. Each row "
    "has the difference with its 95 % interval; p is corrected by Holm over the data sets of a comparison."
)
_BY_RATIO = (
    "All else but the named method is the same. Higher and lower name the pruning ratios at which the method differs "
    "from its baseline, with p below .05 by Holm's correction; a dash says that no difference is shown. The excess "
    "loss is that of the class that lost most. At equal accuracy, alpha is compared with the baseline's at the ratio "
    "at which both are as accurate; without such a ratio they are not comparable. Alpha (new) is alpha as new images "
    "of the same kind would show it."
)
_AT_CHANCE = " At chance names the ratios at which most networks guess."


def section(study: AnalyzedStudy) -> Section | None:
    """Return the section that compares methods with their baselines, if the study has any to compare."""
    compared = methods.compare(study.runs, study.predicted, primaries=study.primaries)
    if compared.empty:
        return None
    blocks = [*_blocks(compared), *pictures(figures.figures(compared))]
    return Section("Methods compared", blocks, tables={"methods.csv": compared})


def _blocks(compared: pd.DataFrame) -> Iterator[Block]:
    if compared["primary"].any():
        yield _PRIMARY
        yield tables.primary(compared)
    table, left_out = tables.by_ratio(compared)
    yield _BY_RATIO + (_AT_CHANCE if "at chance" in table else "")
    yield table
    more = f"{left_out:,} more comparisons, and " if left_out else ""
    yield f"methods.csv has {more}the numbers of all."
