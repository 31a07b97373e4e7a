"""The report's section on comparisons of methods, and the key of the letters that abbreviate settings."""

from collections.abc import Iterable, Iterator

import pandas as pd

from analysis.rendering.formats import short_ratio
from analysis.rendering.page import Block, Section, pictures
from analysis.report.methods import compare as methods
from analysis.report.methods import figures, tables
from analysis.runs import schema
from analysis.runs.primaries import Primary
from analysis.study.labels import letter_key
from analysis.study.study import StudyData

_TITLE = "Methods compared"
_PRIMARY = (
    "The study's file lists these primary comparisons of a method with a baseline on the same dense networks. Each row "
    "has the difference with its 95 % interval; p is corrected by Holm's method over all tests that were planned for a "
    "comparison: each outcome on each of its data sets and models and, if the method's name fits several methods of "
    "the study, such as `up` with several epsilons, for each of these; further slopes are corrected separately."
)
_UNPAIRED = "These primary comparisons of the study's file have no pair of networks, so they are not tested: "
_CHANGED = (
    "These primary comparisons were not fixed in advance, because they were added to the study's file, or changed "
    "there, after some of its runs had finished: "
)
_BY_RATIO = (
    'Method and baseline differ only in the settings that are named. "Higher" and "lower" give the ratios at '
    "which the method differs from its baseline, with p below .05 by Holm's correction; a dash means that no "
    "difference is shown. A class's excess loss is its loss minus that of accuracy; chance movement is the largest in "
    "one network. Systematic cost names a class whose mean excess loss is shown to be higher, or lower, than with the "
    "baseline, with p corrected for all classes. Alpha (new) is alpha estimated for new images of the same kind. "
    "Alpha beyond proportion is alpha (new) divided by its value if all classes lost in proportion to their errors. "
    "It can compare methods of different accuracy: if it is higher, the method drives classes further apart than the "
    "lost accuracy explains."
)
_LETTERS = "In tables and pictures, letters abbreviate these settings."
_AT_CHANCE = ' "At chance" gives the ratios at which most pairs have a network at chance.'


def settings(study: StudyData) -> Section | None:
    """Return the section that explains the letters, if any setting has one."""
    if not study.letters:
        return None
    return Section("Settings", [_LETTERS, letter_key(study.runs, study.shown, study.letters)])


def section(study: StudyData) -> Section | None:
    """Return the section that compares methods with their baselines, if the study has any to compare."""
    comparisons = methods.compare(
        study.arrays, study.predicted, baseline=baseline(study.runs), primaries=study.primaries
    )
    on_primaries = list(_sentences(comparisons.attrs["unpaired"], study.primaries))
    if comparisons.empty:
        return Section(_TITLE, on_primaries) if on_primaries else None
    named_comparisons = comparisons.replace({"method": study.names, "baseline": study.names})
    blocks = [*on_primaries, *_blocks(named_comparisons), *pictures(figures.figures(named_comparisons))]
    return Section(_TITLE, blocks, tables={"methods.csv": comparisons})


def baseline(runs: pd.DataFrame) -> str:
    """Return the pruner with which others are compared: `mp`, or `global-unstructured` if only the latter has runs."""
    magnitude = ("mp", "global-unstructured")
    return next((name for name in magnitude if runs[schema.PRUNER].eq(name).any()), magnitude[0])


def _sentences(unpaired: Iterable[Primary], primaries: Iterable[Primary]) -> Iterator[str]:
    """Yield a sentence on the primary comparisons without networks, and one on those that were not fixed in advance."""
    changed = [f"{_name(each)} (after {each.runs_before:,} runs)" for each in primaries if each.runs_before]
    for start, names in ((_UNPAIRED, map(_name, unpaired)), (_CHANGED, changed)):
        if different := dict.fromkeys(names):
            yield f"{start}{'; '.join(different)}."


def _name(primary: Primary) -> str:
    where = f" on {', '.join(primary.datasets)}" if primary.datasets else ""
    return f"{primary.method} against {primary.baseline} at ratio {short_ratio(primary.ratio)}{where}"


def _blocks(comparisons: pd.DataFrame) -> Iterator[Block]:
    if comparisons["primary"].any():
        yield _PRIMARY
        yield tables.primary(comparisons)
    table, left_out = tables.by_ratio(comparisons)
    yield _BY_RATIO + (_AT_CHANCE if "at chance" in table else "")
    yield table
    more = f"{left_out:,} more comparisons, and " if left_out else ""
    yield f"methods.csv has {more}all numbers."
