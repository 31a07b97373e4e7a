"""The columns of the frames of runs that `pull` and `exports` return."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import schema

# Params that have a column of their own name. Any other param `x` has the column `params.x`, as in MLflow's own
# `search_runs`, so that no param is taken for a column that the analysis makes.
BARE = (schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO, schema.SEED)
PARAM = "params."
ACCURACY_BEFORE, ACCURACY_AFTER = "accuracy_before", "accuracy_after"
RECALL_BEFORE, RECALL_AFTER = "recall_before/", "recall_after/"
BY_CLASS = (RECALL_BEFORE, RECALL_AFTER, schema.SUPPORT, schema.BOTH_RIGHT)
RUN_ID = "run_id"
# Metrics of whole networks that a run may lack, each a column of the frame.
_OPTIONAL = [metric for metric in schema.METRICS if not (metric.needed or metric.by_class)]
OPTIONAL_OF_PRUNED = tuple(each.name for each in _OPTIONAL if {schema.PRUNED, schema.QUANTIZED} & {*each.kinds})
OPTIONAL_OF_DENSE = tuple(each.name for each in _OPTIONAL if schema.DENSE in each.kinds)
# Statistics take memory for every class up to the greatest.
MOST_CLASSES = 1_000_000

# Whether each image's label is among the five classes that a network finds most probable, (images,), bool.
IN_TOP5 = "in_top5"
# What an analysis of runs needs of their predictions.
PREDICTED_ARRAYS = (schema.LABEL, schema.PREDICTED, IN_TOP5)
# The pruner of quantised networks that keep all their weights, dense ones and those of the control, and the bits of a
# weight.
NUMBER_FORMATS = schema.BITS | {f"{schema.CONTROL} {name}": bits for name, bits in schema.BITS.items()}
# Run ids -> run id -> arrays `label` and `predicted`, and `in_top5` if it is known, without the runs that have none.
ReadPredictions = Callable[[Sequence[str]], Mapping[str, Mapping[str, np.ndarray]]]


def class_names(columns: Iterable[str], start: str = RECALL_BEFORE) -> list[str]:
    """Return the names of the classes that have a column, such as `recall_before/<class>`, in the columns' order."""
    return [name.removeprefix(start) for name in columns if name.startswith(start)]


class Study(NamedTuple):
    """The runs of one experiment; `attrs["left_out"]` of either frame says in sentences what it lacks and why.

    Attributes
    ----------
    runs : DataFrame
        One row per pair of a dense and a pruned or quantised run, as `pull.runs` returns it.
    dense_runs : DataFrame
        One row per dense run of the experiment, and per dense run elsewhere that its pruned runs name:
        dataset, model, seed, every other param as `params.<name>`, accuracy_before, recall_before/<class>,
        support/<class>, arithmetic, dense_run_id. If runs agree in every setting and seed, only the newest is there.
    """

    runs: pd.DataFrame
    dense_runs: pd.DataFrame


def column(param: str) -> str:
    """Return the column of a param."""
    return param if param in BARE else PARAM + param


def param(column: str) -> str:
    """Return the param of a column, without the prefix: what tables, labels and notes show."""
    return column.removeprefix(PARAM)


def params(columns: Iterable[str]) -> list[str]:
    """Return the columns that are params, in their order."""
    return [name for name in columns if name in BARE or name.startswith(PARAM)]


def identity(columns: Iterable[str]) -> list[str]:
    """Return the columns that tell runs apart: settings and seeds, and no consequence of theirs."""
    return [name for name in params(columns) if schema.role(param(name)).role != "consequence"]


def kinds(runs: pd.DataFrame) -> pd.Series:
    """Return the kind of each run of a frame: dense, pruned or quantised."""
    kind = schema.PRUNED if schema.PRUNER in runs else schema.DENSE
    formats = runs.reindex(columns=[column(schema.NUMBER_FORMAT)]).iloc[:, 0]
    is_quantized = formats.isin(schema.BITS.keys() - {schema.FORMERLY[schema.NUMBER_FORMAT]})
    return is_quantized.map({True: schema.QUANTIZED, False: kind})


def with_former_values(runs: pd.DataFrame) -> pd.DataFrame:
    """Fill a param that only some pruned runs have with what the others, made before it existed, did."""
    return runs.fillna({column(name): value for name, value in schema.FORMERLY.items() if column(name) in runs})


def with_canonical_values(runs: pd.DataFrame) -> pd.DataFrame:
    """Write the values of each param in one way: `.1` and `1e-1` become `0.1` where the schema knows of a number."""
    columns = {}
    for name in params(runs):
        if schema.role(param(name)).value != "text" and not pd.api.types.is_numeric_dtype(runs[name]):
            values = runs[name].dropna().unique()
            replacements = {value: text for value in values if (text := schema.canonical(param(name), value)) != value}
            if replacements:
                columns[name] = runs[name].replace(replacements)
    return runs.assign(**columns)


def rows(frame: pd.DataFrame, selection: np.ndarray | pd.Series) -> pd.DataFrame:
    """Return some rows of a frame with its attributes, without the columns that none of them has a value in."""
    if np.all(selection):
        return frame
    part = frame[np.asarray(selection)].reset_index(drop=True)
    part = part.dropna(axis=1, how="all") if len(part) else part
    part.attrs = frame.attrs
    return part
