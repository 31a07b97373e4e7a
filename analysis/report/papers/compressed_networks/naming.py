"""Names of cells in the tables that follow Hooker et al.: data set, model, method and level."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.runs import schema
from analysis.study.arrays import RunArrays
from analysis.study.labels import method_label
from analysis.study.settings import level

METHOD, LEVEL = "method", "level"


def cell_names(study: RunArrays, row: int) -> dict[str, Any]:
    """Return the naming columns of a run's cell: its settings, as in `cells.cells`, its method and its level."""
    run = study.runs.iloc[row]
    return {
        **{column: run[column] for column in study.cell_key},
        METHOD: method_label(run, study.shown, exact=study.exact),
        LEVEL: level(run),
    }


def file_table(table: pd.DataFrame, leading: Sequence[str], shown: Sequence[str]) -> pd.DataFrame:
    """Return a table in the layout of its file: method and level replace pruner and ratio, other settings come last."""
    if table.empty:
        return table
    first = [schema.DATASET, schema.MODEL, METHOD, LEVEL, *leading]
    left_out = {*first, *shown, schema.PRUNER, schema.RATIO}
    return table[[*first, *(name for name in table if name not in left_out), *shown]]
