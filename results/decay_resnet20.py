"""Tables of decay-resnet20/: how far classes of ResNet-20 move at a constant learning rate and at its recipe's rate."""

from collections.abc import Iterator
from pathlib import Path

import folders
import network_measures
import numpy as np
import pandas as pd

from analysis.runs import schema
from analysis.statistics.hypothesis_tests import paired
from analysis.study.settings import CONTROL

STUDY = "decay-resnet20"
PRINTED, CONSTANT = "as printed", "constant"
_RECIPE_OF_CONSTANT = "prune-responsibly"
CONTROLS, PRUNED = "control", "pruned"
OUTCOMES = ("beyond_floor", "largest_excess", "floor", "accuracy_before", "accuracy", "alpha")
_PRIMARY = "beyond_floor"
_KEY = ["training", "method"]


def write(results: Path) -> None:
    """Write the tables of the study, if its frames are there."""
    if not folders.has_frames(results, STUDY):
        return
    runs = folders.runs(results, STUDY)[0]
    is_constant = network_measures.param(runs, schema.RECIPE, "").eq(_RECIPE_OF_CONSTANT)
    networks = named(network_measures.measure(runs), set(runs.loc[is_constant, "run_id"]))
    folders.write(results / STUDY, {"means": means(networks), "comparisons": comparisons(networks)})


def named(networks: pd.DataFrame, constant: set[str]) -> pd.DataFrame:
    """Return networks with their training and method; `constant` has the ids of those at the constant rate."""
    return networks.assign(
        training=np.where(networks["run_id"].isin(constant), CONSTANT, PRINTED),
        method=np.where(networks[schema.PRUNER].eq(CONTROL), CONTROLS, PRUNED),
    )


def means(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the mean outcomes of each training's controls and pruned networks, with 95 % intervals over networks.

    `spread` says how much the gaps (recall minus accuracy) before pruning vary between seeds, in points: the square
    root of the mean over classes of the variance over seeds.
    """
    spread = {key: np.stack(list(gaps)).var(0, ddof=1).mean() ** 0.5 for key, gaps in networks.groupby(_KEY)["gaps"]}
    return network_measures.means(networks, _KEY, OUTCOMES).join(pd.Series(spread, name="spread"), on=_KEY)


def comparisons(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare the constant rate with the recipe as printed, and pruned networks with controls, paired by seed.

    Only the primary comparison, constant minus as printed, has `p_holm`, corrected over controls and pruned networks.
    """
    table = pd.DataFrame(_pairs(networks)).drop(columns="p_equivalence")  # its margin of .05 is too small for points
    is_primary = table["compared"].eq(CONSTANT) & table["outcome"].eq(_PRIMARY)
    return table.assign(p_holm=network_measures.holm(table["p"], is_primary))


def _pairs(networks: pd.DataFrame) -> Iterator[dict[str, object]]:
    for outcome in OUTCOMES:
        values = networks.pivot_table(outcome, schema.SEED, _KEY)
        for method in (CONTROLS, PRUNED):
            key = {"outcome": outcome, "compared": CONSTANT, "minus": PRINTED, "of": method}
            yield {**key, **paired(values[CONSTANT, method], values[PRINTED, method], family=2)}
        for training in (PRINTED, CONSTANT):
            key = {"outcome": outcome, "compared": PRUNED, "minus": CONTROLS, "of": training}
            yield {**key, **paired(values[training, PRUNED], values[training, CONTROLS])}
