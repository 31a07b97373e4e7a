"""The order of a data set's classes, which is the same in every picture of a report."""

import pandas as pd

from analysis.report.verdict import places
from analysis.runs import schema
from analysis.study.decision import at_the_ratio, by_accuracy, reference_rows
from analysis.study.settings import is_pruned, is_random
from analysis.study.study import StudyData


def class_orders(study: StudyData) -> dict[str, list[str]]:
    """Return the classes of each data set, sorted by their mean loss over methods and models, largest first.

    The mean is over cells at the verdict's ratio, or over number formats if no network is pruned. If the classes were
    sorted by the losses of one method, chance alone would make the other methods look better. Random pruning is
    included only if there is no other method.

    Parameters
    ----------
    study : StudyData
    """
    leading = []
    for _, rows in places(study.cells):
        pruned = rows[is_pruned(rows)]
        leading.append(at_the_ratio(study, pruned) if len(pruned) else by_accuracy(study, rows, 1.0))
    losses: dict[str, list[pd.Series]] = {}
    for at_ratio in leading:
        random = is_random(at_ratio)
        for _, cell in (at_ratio if random.all() else at_ratio[~random]).iterrows():
            rows = reference_rows(study, cell)
            losses.setdefault(cell[schema.DATASET], []).append(rows.set_index("class")["loss"])
    return {
        dataset: list(pd.concat(parts, axis=1).mean(axis=1).sort_values(ascending=False, kind="stable").index)
        for dataset, parts in losses.items()
    }
