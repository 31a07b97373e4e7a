"""Columns of the frames of runs that `pull` and `exports` return."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import schema

# Params whose column has the param's name. Any other param `x` has the column `params.x`, as in MLflow's own
# `search_runs`, so that it cannot clash with a column that the analysis adds.
BARE = (schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO, schema.SEED)
# Prefixes of the columns of runs, as in MLflow's own `search_runs`
TAG, PARAM, METRIC = "tags.", "params.", "metrics."
ACCURACY_BEFORE, ACCURACY_AFTER = "accuracy_before", "accuracy_after"
RECALL_BEFORE, RECALL_AFTER = "recall_before/", "recall_after/"
BY_CLASS = (RECALL_BEFORE, RECALL_AFTER, schema.SUPPORT, schema.BOTH_RIGHT)
RUN_ID = "run_id"
# Metrics that have one value for a whole network and that a run may lack; each is a column of a frame.
_OPTIONAL = [metric for metric in schema.METRICS if not (metric.needed or metric.by_class)]
OPTIONAL_OF_PRUNED = tuple(each.name for each in _OPTIONAL if {schema.PRUNED, schema.QUANTIZED} & {*each.kinds})
OPTIONAL_OF_DENSE = tuple(each.name for each in _OPTIONAL if schema.DENSE in each.kinds)
# Largest accepted number of classes, because statistics need memory for each class index up to the largest.
MOST_CLASSES = 1_000_000

# Whether each image's label is among the network's five most probable classes, (images,), bool.
IN_TOP5 = "in_top5"
# The arrays of predictions that an analysis needs.
PREDICTED_ARRAYS = (schema.LABEL, schema.PREDICTED, IN_TOP5)
# Bits per weight of quantized networks that were not pruned. The keys are the values that such networks have in the
# column `pruner`: the number format, preceded by `none` for a control.
NUMBER_FORMATS = schema.BITS | {f"{schema.CONTROL} {name}": bits for name, bits in schema.BITS.items()}
# Function from run ids to the arrays of each run: `label`, `predicted` and, if known, `in_top5`. The mapping lacks runs
# without predictions.
ReadPredictions = Callable[[Sequence[str]], Mapping[str, Mapping[str, np.ndarray]]]
# Artifacts of a study beside its runs: name -> run id -> content, the oldest run first.
Artifacts = Mapping[str, Mapping[str, bytes]]


def class_names(columns: Iterable[str], start: str = RECALL_BEFORE) -> list[str]:
    """Return the class names in columns such as `recall_before/<class>`, in the columns' order."""
    return [name.removeprefix(start) for name in columns if name.startswith(start)]


@cache
def order_of_labels(logged: str | None, names: tuple[str, ...]) -> np.ndarray:
    """Return the place of each label's class among the classes of a run, (labels that have images,).

    Parameters
    ----------
    logged : str, optional
        The run's tag `class_names`; without it, the classes have the order of their labels.
    names : tuple of str
        The classes, as in the columns of recalls.

    Examples
    --------
    >>> order_of_labels('["T-shirt", "bag", "cap"]', ("bag", "T-shirt"))
    array([1, 0])
    """
    by_label = schema.metric_names(json.loads(logged)) if logged else names
    return np.array([names.index(name) for name in by_label if name in names], dtype=int)


class Study(NamedTuple):
    """The runs of one experiment; `attrs["left_out"]` of each frame has sentences on runs that were left out.

    Attributes
    ----------
    runs : DataFrame
        One row per pair of a dense and a pruned or quantized run, as `pull.pull_runs` returns it.
    dense_runs : DataFrame
        One row per dense run of the experiment, and per dense run elsewhere to which its pruned runs refer: dataset,
        model, seed, every other param as `params.<name>`, accuracy_before, the metrics in `OPTIONAL_OF_DENSE`,
        recall_before/<class>, support/<class>, arithmetic, dense_run_id. If runs agree in every setting and seed, only
        the newest is included.
    rows : DataFrame
        The runs from which `pairs.paired` made both, one row per run.
    """

    runs: pd.DataFrame
    dense_runs: pd.DataFrame
    rows: pd.DataFrame


def column(param: str) -> str:
    """Return the name of a param's column."""
    return param if param in BARE else PARAM + param


def param(column: str) -> str:
    """Return the name of a column's param, without the prefix, as tables, labels and notes show it."""
    return column.removeprefix(PARAM)


def without_prefixes(table: pd.DataFrame) -> pd.DataFrame:
    """Rename a table's params as `param` does, except those that would then have the name of another column.

    Examples
    --------
    A mixup's parameter is called alpha, as the slope is:

    >>> list(without_prefixes(pd.DataFrame(columns=["params.alpha", "params.epochs", "alpha"])))
    ['params.alpha', 'epochs', 'alpha']
    """
    return table.rename(columns={name: param(name) for name in table.columns if param(name) not in table.columns})


def params(columns: Iterable[str]) -> list[str]:
    """Select the columns that are params, in order."""
    return [name for name in columns if name in BARE or name.startswith(PARAM)]


def identity(columns: Iterable[str]) -> list[str]:
    """Select the columns that identify a run: settings and seeds, but not their consequences."""
    return [name for name in params(columns) if schema.role(param(name)).role != "consequence"]


def kinds(runs: pd.DataFrame) -> pd.Series:
    """Return the kind of each run of a frame: dense, pruned or quantized."""
    kind = schema.PRUNED if schema.PRUNER in runs else schema.DENSE
    formats = runs.reindex(columns=[column(schema.NUMBER_FORMAT)]).iloc[:, 0]
    is_quantized = formats.isin(schema.BITS.keys() - {schema.ABSENT[schema.NUMBER_FORMAT]})
    return is_quantized.map({True: schema.QUANTIZED, False: kind})


def with_absent_values(runs: pd.DataFrame) -> pd.DataFrame:
    """Fill missing params with `schema.ABSENT`, the values that runs without them have."""
    return runs.fillna({column(name): value for name, value in schema.ABSENT.items() if column(name) in runs})


def with_canonical_values(runs: pd.DataFrame) -> pd.DataFrame:
    """Normalise the spelling of params that the schema declares numbers or Booleans: `.1` becomes `0.1`."""
    columns = {}
    for name in params(runs):
        if schema.role(param(name)).value != "text" and not pd.api.types.is_numeric_dtype(runs[name]):
            values = runs[name].dropna().unique()
            replacements = {value: text for value in values if (text := schema.canonical(param(name), value)) != value}
            if replacements:
                columns[name] = runs[name].replace(replacements)
    return runs.assign(**columns)


def rows(frame: pd.DataFrame, selection: np.ndarray | pd.Series) -> pd.DataFrame:
    """Select rows of a frame, keep its attributes, and drop columns that are empty in these rows."""
    if np.all(selection):
        return frame
    part = frame[np.asarray(selection)].reset_index(drop=True)
    part = part.dropna(axis=1, how="all") if len(part) else part
    part.attrs = frame.attrs
    return part
