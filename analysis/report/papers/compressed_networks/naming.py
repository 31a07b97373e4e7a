"""What the tables of this paper call a cell: data set, model, method and level."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.runs import schema
from analysis.study.arrays import RunArrays
from analysis.study.labels import method_label
from analysis.study.settings import level

METHOD, LEVEL = "method", "level"


def cell_names(study: RunArrays, row: int) -> dict[str, Any]:
    """Return the key of the cell of a run: its settings, as in `cells.cells`, and method and level."""
    run = study.runs.iloc[row]
    return {
        **{column: run[column] for column in study.cell_key},
        METHOD: method_label(run, study.shown, exact=study.exact),
        LEVEL: level(run),
    }


def file_table(table: pd.DataFrame, leading: Sequence[str], shown: Sequence[str]) -> pd.DataFrame:
    """Return a table as its file has it: method and level in place of pruner and ratio, other settings last."""
    if table.empty:
        return table
    first = [schema.DATASET, schema.MODEL, METHOD, LEVEL, *leading]
    left_out = {*first, *shown, schema.PRUNER, schema.RATIO}
    return table[[*first, *(name for name in table if name not in left_out), *shown]]
