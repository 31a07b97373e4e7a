"""The numbers behind the first sentences of README.md: costs of pruning for a class, and effects of mitigations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import class_costs
import decay
import folders
import numpy as np
import pandas as pd

from analysis.rendering import formats
from analysis.report.mitigation.outcomes import CONTROL_GAIN, GAIN, GAIN_BEYOND, MITIGATION
from analysis.runs import frames, schema

# Data sets, by their names in mitigation.csv.
_DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10-jpeg": "CIFAR-10"}
# The studies of gradual MP with a decaying learning rate, and descriptions of their networks.
FALLING = {
    "decay": "twenty networks",
    "decay-confirmation": "twenty more",
    "decay-pruners": "twenty more again",
    "mitigation-resnet20": "ten ResNet-20s",
}
# The study whose networks chose the classes, for which plain intervals would be too narrow.
_CHOOSES = "decay"
_MITIGATIONS = {"class offsets": "class offsets", "distill 0.5": "teacher"}


def gradual(results: Path) -> pd.DataFrame:
    """Return the cost of gradual MP at ratio 20 for the class that pays most, with decaying learning rates, in points.

    The interval is the plain one over networks if an earlier study named the class, or else the interval over networks
    and images.
    """
    rows = []
    for study, networks in FALLING.items():
        costs = decay.primary_runs(folders.table(results, study, f"{class_costs.NAME}.csv"))
        if frames.column(schema.DECAY) in costs:
            costs = costs[decay.trainings(costs) == decay.COSINE]
        for row in costs.sort_values(schema.DATASET, key=_place, kind="stable").to_dict("records"):
            interval = "cost" if study == _CHOOSES else "named"
            low, high = (100 * row[f"{interval}_{end}"] for end in ("low", "high"))
            rows.append(
                {
                    "": f"{_DATASETS[row[schema.DATASET]]}, {networks}",
                    "class": str(row["class"]),
                    "cost": formats.with_interval(100 * row["cost"], low, high, formats.decimals(2)),
                    "p": formats.p_value(row["cost_p"]),
                    "loss": _points(row["loss"]),
                    "no class loses more than": _points(row["loss_upper_all"]),
                    "accuracy loss": _points(row["accuracy_loss"]),
                }
            )
    return pd.DataFrame(rows)


def mitigations(results: Path) -> pd.DataFrame:
    """Return the effect of each mitigation on the largest excess loss of pruned networks and of controls, in points."""
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
    """Return the share of alpha's variance over the cells of a study that the lost accuracy explains.

    This is the squared correlation of the logarithms of a cell's mean alpha and of accuracy before / after, over the
    cells with at most half of their networks at chance. Networks at chance have no alpha, and are left out.
    """
    networks = folders.table(results, study, "alpha.csv")
    by_cell = networks[networks[schema.PRUNER].ne("none")].groupby([schema.DATASET, schema.PRUNER, schema.RATIO])
    with_alpha = networks.loc[~networks["at_chance"].astype(bool)].groupby(by_cell.keys)
    sound = with_alpha[["accuracy_before", "accuracy_after", "alpha"]].mean()
    sound = sound[by_cell["at_chance"].mean().le(0.5).reindex(sound.index, fill_value=False) & sound["alpha"].gt(0)]
    table_rows = []
    for dataset, rows in sound.groupby(schema.DATASET):
        log_losses = np.log(rows["accuracy_before"] / rows["accuracy_after"])
        share = log_losses.corr(np.log(rows["alpha"])) ** 2
        table_rows.append(
            {"data set": dataset, "pruners and ratios": str(len(rows)), "explained, %": f"{100 * share:.0f}"}
        )
    return pd.DataFrame(table_rows)


def _gradual(results: Path) -> pd.DataFrame:
    """Return the rows of gradual MP on networks that had no part in any choice, in the papers' order of data sets."""
    rows = folders.table(results, "mitigation-confirmation", "mitigation.csv")
    rows = rows[rows[schema.PRUNER].eq("mp") & rows[schema.SCHEDULE].eq("cubic")]
    return rows.sort_values(schema.DATASET, key=_place, kind="stable")


def _place(datasets: pd.Series) -> pd.Series:
    """Return the ranks of data sets in the papers' order."""
    return datasets.map(list(_DATASETS).index)


def _points(share: float) -> str:
    return formats.decimals(1)(100 * share)


def _with_interval(row: Mapping[Any, Any], name: str, *, sign: int = 1) -> str:
    value, low, high = (100 * sign * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return formats.with_interval(value, min(low, high), max(low, high), formats.decimals(2, sign=True))
