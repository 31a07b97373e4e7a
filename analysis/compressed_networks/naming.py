"""What the tables of this paper call a cell: data set, model, method and level."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.arrays import RunArrays
from analysis.formats import short_ratio
from analysis.runs import frames, schema
from analysis.settings import CELL, CONTROL, ITERATION, is_iterated, level, method_label

METHOD, LEVEL = "method", "level"


def named(study: RunArrays, row: int) -> dict[str, Any]:
    """Return what names the cell of a run: its settings, as in `cells.cells`, and method and level."""
    run = study.runs.iloc[row]
    return {
        **{column: run[column] for column in [*CELL, *study.shown]},
        METHOD: method_label(run, study.shown, exact=study.exact),
        LEVEL: level(run),
    }


def level_label(cell: Mapping[str, Any]) -> str:
    """Return a cell's level in words, where `cell` has its settings and level: `ratio 10`, `sparsity 0.9`, `8 bits`.

    Levels of the control of iterative pruning have no ratio but 1, and are told by the iteration.
    """
    if cell[schema.PRUNER] in frames.NUMBER_FORMATS:
        return f"{cell[LEVEL]:g} bits"
    if cell[schema.PRUNER] == CONTROL and is_iterated(pd.DataFrame([cell])).all():
        return f"iteration {cell[ITERATION]}"
    # No ratio is below 1, and every sparsity is.
    return f"sparsity {cell[LEVEL]:g}" if cell[LEVEL] < 1 else f"ratio {short_ratio(cell[LEVEL])}"


def written(table: pd.DataFrame, leading: Sequence[str], shown: Sequence[str]) -> pd.DataFrame:
    """Return a table as its file has it: method and level in place of pruner and ratio, other settings last."""
    if table.empty:
        return table
    first = [schema.DATASET, schema.MODEL, METHOD, LEVEL, *leading]
    left_out = {*first, *shown, schema.PRUNER, schema.RATIO}
    return table[[*first, *(name for name in table if name not in left_out), *shown]]
