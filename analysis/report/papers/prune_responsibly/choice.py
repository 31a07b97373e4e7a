"""The report's section on fairness between classes, and on the choice among pruned networks (Paganini 2020)."""

from collections.abc import Iterator
from functools import lru_cache

import pandas as pd

from analysis.rendering.formats import decimals, short_ratio
from analysis.rendering.page import Block, Caption, Section, numbered
from analysis.report.papers.prune_responsibly import choice_figures as figures
from analysis.report.verdict import places
from analysis.runs import frames, schema
from analysis.study import operating_points
from analysis.study.operating_points import ACCURACY, SPARSITY, UNFAIRNESS
from analysis.study.study import StudyData

_READING = (
    "Unfairness is the highest minus the lowest recall of a class. A level is on the Pareto front if no other level is "
    "at least as sparse and at least as fair, and sparser or fairer. The value of a level is its sparsity minus a "
    "weight times its unfairness. Only levels that are accurate enough are considered. The choice is made and measured "
    "on the same test images, so the value of the choice is biased upward, and noise biases every unfairness upward. "
    "The command pruning-analysis recommend chooses on validation images. pareto.csv has every level."
)
_MOST_ROWS = 8


@lru_cache(2)
def found_points(study: StudyData) -> pd.DataFrame:
    """Return the points of a study (`operating_points.points`), computed once.

    The frame is empty if the study has no iterative pruning and the user gave no preference.
    """
    wanted = operating_points.wanted_of(study.runs, study.options.preference)
    return (
        operating_points.points(operating_points.on_test(study.runs, study.shown), wanted) if wanted else pd.DataFrame()
    )


def section(study: StudyData) -> Section | None:
    """Return the section on the trade-off of sparsity, accuracy and fairness; None if there are no points."""
    points = found_points(study)
    if points.empty:
        return None
    tables = {"pareto.csv": operating_points.table(points)}
    fronts = [figures.fronts(rows, study) for _, rows in places(points)]
    curves = figures.curves(points, study)
    blocks = [_READING, *_blocks(points, study), *numbered("pareto", fronts), *numbered("unfairness", curves)]
    return Section("Fairness against sparsity", blocks, tables)


def _blocks(points: pd.DataFrame, study: StudyData) -> Iterator[Block]:
    wanted = operating_points.wanted_of(study.runs, study.options.preference)
    assert wanted
    for workload, rows in places(points):
        yield Caption(", ".join(workload) + ".", " ".join(operating_points.sentences(rows, wanted, study.method)))
        front = rows[rows["on_front_2d"]].sort_values("value", ascending=False, kind="stable")
        if len(front):
            yield _table(front.head(_MOST_ROWS), study)


def _table(front: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    """Format rows of the front as text, with shares in points."""
    columns = {
        "method": [study.method(row) for row in front.to_dict("records")],
        "ratio": front[schema.RATIO].map(short_ratio),
        "sparsity": (100 * front[SPARSITY]).map(decimals(1)),
        "accuracy": [operating_points.in_points(row, ACCURACY) for row in front.to_dict("records")],
        "unfairness": [operating_points.in_points(row, UNFAIRNESS) for row in front.to_dict("records")],
        "value": front["value"].map(decimals(3)),
        "recommended": front["recommended"].map({True: "yes", False: ""}),
    }
    iteration = frames.column(schema.ITERATION)
    if iteration in front:
        columns = {"method": columns.pop("method"), "iteration": front[iteration], **columns}
    return pd.DataFrame({name: list(values) for name, values in columns.items()})
