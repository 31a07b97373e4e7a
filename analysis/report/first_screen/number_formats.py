"""Costs and savings of number formats: accuracy, size and latency of every quantized cell."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.compare.cost_text import classes_shown
from analysis.rendering.formats import NOT_AVAILABLE, decimals, short_ratio, with_interval
from analysis.runs import schema
from analysis.runs.frames import NUMBER_FORMATS
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.study.joins import join
from analysis.study.labels import method_label
from analysis.study.settings import bits, level
from analysis.study.study import StudyData

_OF_CELLS = [
    *("n", "n_at_chance", "accuracy_before", "accuracy_after"),
    *("accuracy_change", "accuracy_change_low", "accuracy_change_high", "largest_excess", "largest_excess_floor"),
    *("worst_class", "worst_class_cost", "worst_class_cost_low", "worst_class_cost_high", "worst_class_shown"),
]
_UNITS = ("B", "kB", "MB", "GB")


def number_formats(study: StudyData) -> pd.DataFrame:
    """Return the costs, size and latency of each cell of quantized networks (`number_formats.csv`).

    Returns
    -------
    DataFrame, one row per cell whose number format has fewer than 32 bits
        dataset, model, method, level, pruner, ratio, `study.shown`, n, and:

        - as in `cells.csv`: n_at_chance, accuracy_before (of the dense networks), accuracy_after, accuracy_change with
          its interval over networks, largest_excess with its floor, and worst_class with its cost;
        - costly_classes: number of classes whose cost in `classes.csv` is shown to be above 0; NaN if none is tested;
        - if the runs have them: model_bytes, and latency_ms/one and latency_ms/batch with the ends of their intervals;
          each is a mean over networks.
    """
    key = study.cell_key
    measures = [name for name in (schema.MODEL_BYTES, *schema.LATENCIES) if name in study.runs]
    means = study.runs.groupby(key, dropna=False)[measures].mean().reset_index()
    cells = study.cells[_is_quantized(study.cells)][[*key, *_OF_CELLS]]
    frame = join(join(cells, _costly_classes(study, key), key, how="left"), means, key, how="left")
    runs = join(frame[key], study.runs.drop_duplicates(key), key, how="left").to_dict("records")
    frame.insert(2, "method", [method_label(run, study.shown, exact=study.arrays.exact) for run in runs])
    frame.insert(3, "level", [level(run) for run in runs])
    return frame


def _is_quantized(frame: pd.DataFrame) -> np.ndarray:
    return np.asarray(bits(frame) < max(schema.BITS.values()))


def _costly_classes(study: StudyData, key: list[str]) -> pd.DataFrame:
    """Count the classes of each cell whose cost is shown to be above 0."""
    classes = study.classes.reindex(columns=[*key, "cost", "cost_p"])  # none of controls alone
    is_costly = (classes["cost"] > 0) & (classes["cost_p"] <= LEVEL)
    counted = classes[key].assign(costly_classes=is_costly.where(classes["cost_p"].notna()).astype(float))
    return counted.groupby(key, dropna=False)["costly_classes"].sum(min_count=1).reset_index()


def shown(frame: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    """Format some rows of `number_formats` as text."""
    columns = {
        "method": [_method_and_ratio(row, study) for row in frame.to_dict("records")],
        "networks": frame["n"].map(str),
        "accuracy": (100 * frame["accuracy_after"]).map(decimals(2)),
        "change": _with_intervals(frame, "accuracy_change", decimals(2, sign=True), scale=100),
        "costs most": classes_shown(frame),
        "largest cost": _with_intervals(frame, "worst_class_cost", decimals(1), scale=100),
        "chance movement": (100 * frame["largest_excess"]).map(decimals(1)),
        "by noise alone": (100 * frame["largest_excess_floor"]).map(decimals(1)),
        "costly classes": frame["costly_classes"].map(decimals(0)),
    }
    if schema.MODEL_BYTES in frame:
        columns["size"] = frame[schema.MODEL_BYTES].map(format_bytes, na_action="ignore").fillna(NOT_AVAILABLE)
    for images, title in (("one", "one image, ms"), ("batch", "batch, ms")):
        if f"{schema.LATENCY}{images}" in frame:
            columns[title] = _with_intervals(frame, f"{schema.LATENCY}{images}", _three_digits)
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _method_and_ratio(row: dict[Any, Any], study: StudyData) -> str:
    method = study.method(row)
    return method if row[schema.PRUNER] in NUMBER_FORMATS else f"{method}, ratio {short_ratio(row[schema.RATIO])}"


def _with_intervals(frame: pd.DataFrame, name: str, write: Callable[[float], str], *, scale: float = 1) -> list[str]:
    values = scale * frame.reindex(columns=[name, f"{name}_low", f"{name}_high"]).to_numpy(float)
    return [with_interval(value, low, high, write) for value, low, high in values]


def format_bytes(number: float) -> str:
    """Format a number of bytes with three digits, such as `61.2 kB`."""
    power = min(int(np.log10(max(number, 1)) // 3), len(_UNITS) - 1) if number > 0 else 0
    return f"{_three_digits(number / 1000**power)} {_UNITS[power]}"


def _three_digits(value: float) -> str:
    """Format a number with three significant digits, as a whole number from 100 on."""
    digits = 2 - int(np.floor(np.log10(value))) if value > 0 else 0
    return decimals(min(max(digits, 0), 6))(value)
