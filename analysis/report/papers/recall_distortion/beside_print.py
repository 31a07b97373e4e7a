"""Compare a study with Tables 12 and 13, which have accuracy and alpha of ResNet-56 on CIFAR-10, by level or ratio.

Good et al. 2022, Supplement H.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis.rendering.formats import NOT_AVAILABLE, decimals, three_decimals, with_interval
from analysis.report.published import label, original, table
from analysis.runs import frames, schema
from analysis.study.joins import join
from analysis.study.settings import ITERATION
from analysis.study.study import StudyData

LEVEL = "level"
_DATASET, _MODEL = "CIFAR-10", "ResNet-56"


class Printed(NamedTuple):
    """Table 12 or 13, and the settings of its networks.

    Attributes
    ----------
    number : int, 12 or 13
    networks : int
    pruners : tuple of str
        Names of the table's pruner in this project.
    params : mapping of str to str
        Params with which this project would log the table's networks.
    left_open : tuple of str
        Params that the paper does not state.
    """

    number: int
    networks: int
    pruners: tuple[str, ...]
    params: Mapping[str, str]
    left_open: tuple[str, ...] = ()

    @property
    def values(self) -> pd.DataFrame:
        """The table as numbers: level (Table 12 only), printed_ratio, printed_accuracy and printed_alpha."""
        names = {"Level": LEVEL, "Pruning ratio": "ratio", "Accuracy": "accuracy", "Intensification": "alpha"}
        values = table(self.number).rename(columns=names).apply(pd.to_numeric)
        return values.rename(columns={name: f"printed_{name}" for name in ("ratio", "accuracy", "alpha")})


def method_columns(rows: pd.DataFrame) -> list[str]:
    """Return the columns that distinguish methods: all settings but the ratio and the iteration."""
    return [name for name in frames.identity(rows) if name not in (schema.RATIO, ITERATION)]


def by_method(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each method."""
    return [own for _, own in rows.groupby(method_columns(rows), sort=False, dropna=False)]


def with_differences(rows: pd.DataFrame, of_print: Printed) -> pd.DataFrame:
    """Add accuracy_difference and alpha_difference, ours minus the paper's; NaN for networks not in the paper."""
    as_printed = rows[schema.PRUNER].isin(of_print.pruners)
    as_printed &= (rows[schema.DATASET].map(original) == _DATASET) & (rows[schema.MODEL].map(label) == _MODEL)
    accuracy = rows["accuracy_after"] - rows["printed_accuracy"]
    alpha = rows["alpha_mean"] - rows["printed_alpha"]
    return rows.assign(accuracy_difference=accuracy.where(as_printed), alpha_difference=alpha.where(as_printed))


def as_text(
    rows: pd.DataFrame,
    of_print: Printed,
    columns: Sequence[str],
    dense: Sequence[str],
    line: Callable[[Mapping[Any, Any]], tuple[str, ...]],
) -> pd.DataFrame:
    """Format the cells of one method as text, below a row for the dense networks from which they were pruned.

    Parameters
    ----------
    rows : DataFrame
    of_print : Printed
    columns : sequence of str
    dense : sequence of str
        First entries of the row of the dense networks; their accuracy, here and in print, follows.
    line : callable
        Function that formats a cell as a row.
    """
    before = three_decimals(rows["accuracy_before"].mean())
    accuracies = [*dense, before, table(of_print.number)["Accuracy"][0]]
    first = [*accuracies, *[NOT_AVAILABLE] * (len(columns) - len(accuracies))]
    return pd.DataFrame([first, *map(line, rows.to_dict("records"))], columns=list(columns))


def minus_control(row: Mapping[Any, Any], outcome: str) -> str:
    """Format the difference of an outcome between a cell and its control, with its interval."""
    value, low, high = (row[f"{outcome}_minus_none{end}"] for end in ("", "_low", "_high"))
    return with_interval(value, low, high, decimals(3, sign=True))


def name(rows: pd.DataFrame, study: StudyData) -> str:
    """Name the method, data set and model of a method's cells."""
    first = rows.iloc[0]
    return f"{study.method(first)}, {first[schema.DATASET]}, {first[schema.MODEL]}"


def title(rows: pd.DataFrame, study: StudyData, of_print: Printed) -> str:
    """Describe a table: its content, the settings that the paper omits, and those that differ from the paper.

    Parameters
    ----------
    rows : DataFrame
        Cells of one method.
    study : StudyData
    of_print : Printed
    """
    key = study.cell_key
    runs = join(study.runs, rows[key].drop_duplicates(), key)
    here = [f"{param} {value}" for param in of_print.left_open if (value := _value(runs, param))]
    values = {param: _value(runs, param) for param in of_print.params}
    unknown = [param for param, value in values.items() if not value]
    parts = {"Here": here, "Not as in print": _differing(rows, values, of_print), "Not known": unknown}
    sentences = [f"{start}: {', '.join(words)}." for start, words in parts.items() if words]
    return " ".join([f"{name(rows, study)}.", *sentences])


def _differing(rows: pd.DataFrame, values: Mapping[str, str], of_print: Printed) -> list[str]:
    first, networks = rows.iloc[0], f"{rows['n'].max():.0f}"
    places = (original(first[schema.DATASET]), _DATASET), (label(first[schema.MODEL]), _MODEL)
    differing = [f"{ours} instead of {theirs}" for ours, theirs in places if ours != theirs]
    if networks != str(of_print.networks):
        differing.append(f"{networks} network{'' if networks == '1' else 's'} instead of {of_print.networks}")
    both = ((param, values[param], theirs) for param, theirs in of_print.params.items())
    return [
        *differing,
        *(f"{param} {ours} instead of {theirs}" for param, ours, theirs in both if ours not in ("", theirs)),
    ]


def _value(runs: pd.DataFrame, param: str) -> str:
    """Return the value of a param, or its values joined by `or`; empty if unknown."""
    column = frames.column(param)
    if column not in runs:
        return schema.ABSENT.get(param, "")
    return " or ".join(runs[column].dropna().astype(str).unique())
