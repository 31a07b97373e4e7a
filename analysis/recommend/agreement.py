"""What a report's verdict calls safe, beside what `recommend` chooses by its own limits."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from analysis.report.verdict import PLACE, SAFE_LOSS, SMALL_LOSS, calls_safe, choice, safe_choices
from analysis.runs import schema
from analysis.study.settings import CONTROL, ITERATION, is_pruned
from analysis.study.study import StudyData


class Agreement(NamedTuple):
    """How a recommendation agrees with the verdict.

    Attributes
    ----------
    safest : Series, optional
        The cell that the verdict calls the largest safe choice, if any is.
    stopped : Series, optional
        The row of what was tried at which its method failed, if the recommended ratio is smaller or there is none.
    unsafe : bool
        Whether the verdict does not call the recommended networks safe.
    """

    safest: pd.Series | None
    stopped: pd.Series | None
    unsafe: bool


def agreement(
    workload: tuple[str, str], judgements: pd.DataFrame, best: pd.Series | None, study: StudyData
) -> Agreement:
    """Hold a recommendation against the verdict of the same runs.

    Parameters
    ----------
    workload : (data set, model)
    judgements : DataFrame
        As `Recommendation.tried`.
    best : Series, optional
        The row of it that is recommended.
    study : StudyData

    Returns
    -------
    Agreement
        Nothing in it differs where the verdict calls nothing safe for want of a control.
    """
    cells = study.cells[(study.cells[PLACE] == list(workload)).all(axis=1) & is_pruned(study.cells)]
    if not calls_safe(cells, study):
        return Agreement(None, None, unsafe=False)
    safe = safe_choices(cells, study)
    safest = safe.iloc[0] if len(safe) else None
    key = [schema.PRUNER, schema.RATIO, *study.shown]
    unsafe = best is not None and not any(_alike(best, cell, key) for _, cell in safe.iterrows())
    if safest is None or (best is not None and best[schema.RATIO] >= safest[schema.RATIO]):
        return Agreement(safest, None, unsafe)
    method = [name for name in key if name not in (schema.RATIO, ITERATION)]
    stopped = [row for _, row in judgements.iterrows() if row["fails"] and _alike(row, safest, method)]
    return Agreement(safest, stopped[0], unsafe)


def sentences(disagreement: Agreement, limits: str, study: StudyData) -> Iterator[str]:
    """Say in a line each where the two differ, and why; nothing where they agree."""
    safest = "no choice" if disagreement.safest is None else choice(disagreement.safest, study)
    if disagreement.stopped is not None:
        yield (
            f"The report's verdict calls {safest} safe, by test images and against {CONTROL}. recommend is stricter: "
            f"it also asks that bounds, against the dense networks on validation images, stay within the limits "
            f"({limits}). With {choice(disagreement.stopped, study)}, {disagreement.stopped['fails']}."
        )
    if disagreement.unsafe:
        yield (
            f"The report's verdict does not call the recommended networks safe, but {safest}. It asks, on test images "
            f"and against {CONTROL}, that bounds rule out that a class loses more than {100 * SAFE_LOSS:g} points (see "
            f"--max-class-loss) and the accuracy more than {100 * SMALL_LOSS:g}."
        )


def _alike(first: pd.Series, second: pd.Series, columns: list[str]) -> bool:
    return all(first[name] == second[name] or (pd.isna(first[name]) and pd.isna(second[name])) for name in columns)
