"""Tables of README.md and good-et-al/details.md: costs of classes, effects of mitigations, and what explains alpha."""

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

# Printed names of data sets, by their names in CSV files.
_DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10-jpeg": "CIFAR-10"}
# The studies of gradual MP with a decaying learning rate, and descriptions of their networks.
FALLING = {
    "decay": "twenty networks",
    "decay-confirmation": "twenty more",
    "decay-pruners": "twenty more again",
    "mitigation-resnet20": "ten ResNet-20s",
}
# The study on whose networks the classes were chosen, so that its intervals over networks alone would be too narrow.
_CHOOSES = "decay"
_MITIGATIONS = {"class offsets": "class offsets", "distill 0.5": "teacher"}


def gradual(results: Path) -> pd.DataFrame:
    """Return the cost of the class that pays most for gradual MP at ratio 20, in points, with a decaying learning rate.

    If an earlier study named the class, the interval covers networks only; otherwise it covers networks and test
    images.
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
    """Return by how much mitigations change largest excess (pruned networks, controls) and accuracy, in points."""
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
    """Return the share of the variance of log alpha that the lost accuracy explains, for each data set of a study.

    The share is the squared correlation over cells between the logarithm of the mean alpha and the logarithm of the
    accuracy before pruning divided by the accuracy after. Networks at chance are left out because they have no alpha.
    Cells in which most networks are at chance, or whose mean alpha is not above 0, are left out too.
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
    """Return the rows of gradual MP in mitigation-confirmation, with the data sets in the order of `_DATASETS`."""
    rows = folders.table(results, "mitigation-confirmation", "mitigation.csv")
    rows = rows[rows[schema.PRUNER].eq("mp") & rows[schema.SCHEDULE].eq("cubic")]
    return rows.sort_values(schema.DATASET, key=_place, kind="stable")


def _place(datasets: pd.Series) -> pd.Series:
    """Return each data set's position in `_DATASETS`."""
    return datasets.map(list(_DATASETS).index)


def _points(share: float) -> str:
    return formats.decimals(1)(100 * share)


def _with_interval(row: Mapping[Any, Any], name: str, *, sign: int = 1) -> str:
    value, low, high = (100 * sign * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return formats.with_interval(value, min(low, high), max(low, high), formats.decimals(2, sign=True))
