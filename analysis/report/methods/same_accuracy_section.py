"""The report's section on methods compared at the same accuracy."""

from collections.abc import Iterator

import pandas as pd

from analysis.rendering.formats import short_ratio
from analysis.rendering.page import Block, Caption, Picture, Section, picture_name
from analysis.report.methods import tables
from analysis.report.methods.figures import forest_at_same_accuracy
from analysis.report.methods.same_accuracy import BELOW, EQUAL, TOLERANCE, same_accuracy
from analysis.report.methods.section import baseline
from analysis.runs import schema
from analysis.study.study import StudyData

_READING = (
    "More pruning costs accuracy, and all other outcomes change with the accuracy. Here, each network therefore has "
    "the ratio that gives the target accuracy: a number of points below the accuracy of its control. The control is "
    "fine-tuned in the same way, but without pruning and on the labels alone. The ratio is chosen on validation "
    f"images, on which the accuracy must be within {100 * TOLERANCE:g} points of the target. Each row has differences "
    "on test images with 95 % intervals; a * means that p is below .05 by Holm's correction over methods and data "
    "sets. Ratios are medians. Accuracies count as the same if the interval of their difference is within "
    f"{100 * EQUAL:g} points of 0. equal_accuracy.csv has the numbers."
)


def section(study: StudyData) -> Section | None:
    """Return the section; None without validation images or enough ratios to choose from."""
    if study.validation is None or study.validation.empty:
        return None
    comparisons = same_accuracy(study.runs, study.on_validation, study.predicted, baseline=baseline(study.runs))
    if comparisons.empty:
        return None
    named_comparisons = comparisons.replace({"method": study.names, "baseline": study.names})
    return Section(
        "Methods at the same accuracy", [_READING, *_blocks(named_comparisons)], {"equal_accuracy.csv": comparisons}
    )


def _blocks(comparisons: pd.DataFrame) -> Iterator[Block]:
    for index, (points, rows) in enumerate(comparisons.groupby(BELOW)):
        accuracy = f"{points:g} {'point' if points == 1 else 'points'} below the control"
        yield Caption(f"{accuracy}.", "")
        yield _table(rows)
        yield Picture(picture_name("same_accuracy", index), forest_at_same_accuracy(rows, accuracy))


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    first = rows[rows["outcome"] == rows["outcome"].iloc[0]]
    table = tables.shown(rows.assign(primary=False)).drop(columns=["primary", schema.RATIO])
    ratios = zip(first[schema.RATIO], first[f"{schema.RATIO}_of_baseline"], strict=True)
    table.insert(
        4, "ratios", [f"{short_ratio(of_method)} and {short_ratio(of_baseline)}" for of_method, of_baseline in ratios]
    )
    is_equal = first["is_equal"].map({True: "yes", False: "not shown"})
    table.insert(5, "same accuracy", is_equal.to_numpy())
    pairs = [f"{n} of {n_asked}" for n, n_asked in zip(first["n"], first["asked"], strict=True)]
    return table.assign(n=pairs).rename(columns={"n": "networks"})
