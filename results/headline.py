"""The numbers behind the first sentences of README.md: gradual pruning and mitigations beside their own controls."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folders
import numpy as np
import pandas as pd

from analysis.rendering import formats
from analysis.report.mitigation.outcomes import BEYOND, CONTROL_GAIN, EXCESS, FLOOR, GAIN, GAIN_BEYOND, MITIGATION
from analysis.runs import schema

# The data sets and the mitigations, by their names in mitigation.csv.
_DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10-jpeg": "CIFAR-10"}
_MITIGATIONS = {"class offsets": "class offsets", "distill 0.5": "teacher"}


def gradual(results: Path) -> pd.DataFrame:
    """Return the largest excess loss under gradual MP at ratio 20, beside its control and its floor, in points."""
    rows = []
    for row in _gradual(results).query(f"{schema.RATIO} == 20 and {MITIGATION} == ''").to_dict("records"):
        rows.append(
            {
                "": _DATASETS[row[schema.DATASET]],
                "pruned": _points(row[EXCESS]),
                "trained further, not pruned": _points(row[f"{EXCESS}_of_control"]),
                "difference": _with_interval(row, BEYOND),
                "chance alone": _points(row[FLOOR]),
            }
        )
    return pd.DataFrame(rows)


def mitigations(results: Path) -> pd.DataFrame:
    """Return what each mitigation does to the largest excess loss of pruned networks and of controls, in points."""
    rows = _gradual(results)
    table_rows = []
    for name, words in _MITIGATIONS.items():
        for row in rows[rows[MITIGATION].eq(name)].sort_values(schema.RATIO, kind="stable").to_dict("records"):
            table_rows.append(
                {
                    "": f"{words}, {_DATASETS[row[schema.DATASET]]}, ratio {row[schema.RATIO]:g}",
                    "pruned networks": _with_interval(row, GAIN, sign=-1),
                    "controls": _with_interval(row, CONTROL_GAIN, sign=-1),
                    "pruned minus controls": _with_interval(row, GAIN_BEYOND, sign=-1),
                    "accuracy of pruned networks": _with_interval(row, "accuracy_difference"),
                }
            )
    return pd.DataFrame(table_rows)


def explained(results: Path, study: str) -> pd.DataFrame:
    """Return how much of alpha's variance over the cells of a study follows from the accuracy that they lost.

    It is the squared correlation of the logarithm of a cell's mean alpha with that of accuracy before / after, over
    the cells of which at most half of the networks guess.
    """
    cells = folders.table(results, study, "cells.csv")
    sound = cells[cells["n_at_chance"].le(cells["n"]) & cells["alpha_mean"].gt(0) & cells[schema.PRUNER].ne("none")]
    table_rows = []
    for dataset, rows in sound.groupby(schema.DATASET):
        log_losses = np.log(rows["accuracy_before"] / rows["accuracy_after"])
        share = log_losses.corr(np.log(rows["alpha_mean"])) ** 2
        table_rows.append(
            {"data set": dataset, "pruners and ratios": str(len(rows)), "explained, %": f"{100 * share:.0f}"}
        )
    return pd.DataFrame(table_rows)


def _gradual(results: Path) -> pd.DataFrame:
    """Return the rows of gradual MP on networks that nothing was chosen by, in the order of the data sets in print."""
    rows = folders.table(results, "mitigation-confirmation", "mitigation.csv")
    rows = rows[rows[schema.PRUNER].eq("mp") & rows[schema.SCHEDULE].eq("cubic")]
    order = list(_DATASETS)
    return rows.sort_values(schema.DATASET, key=lambda names: names.map(order.index), kind="stable")


def _points(share: float) -> str:
    return formats.decimals(1)(100 * share)


def _with_interval(row: Mapping[Any, Any], name: str, *, sign: int = 1) -> str:
    value, low, high = (100 * sign * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return formats.with_interval(value, min(low, high), max(low, high), formats.decimals(2, sign=True))
