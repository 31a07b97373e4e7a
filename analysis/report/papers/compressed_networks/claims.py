"""Test the claims of Hooker et al. on a study.

PIEs and significant classes are counted over several networks, not for single ones. Standard errors therefore come from
the jackknife, which leaves out one group of networks at a time (`halves.jackknife_values`).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.papers.claims import ABOVE, Arm, Check, Claim, Workload, estimate, held
from analysis.report.papers.compressed_networks.exemplars import CellExemplars
from analysis.report.papers.compressed_networks.naming import LEVEL, METHOD, cell_names
from analysis.report.papers.compressed_networks.populations import ComparedNetworks, recalls
from analysis.report.published import rank
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL as SIGNIFICANT
from analysis.statistics.populations import placebo_significance, welch
from analysis.statistics.votes import group_of, groups, jackknife_values
from analysis.study.arrays import RunArrays
from analysis.study.settings import CONTROL

_PIES, _CLASSES, _GAP, _RECALL = "PIEs of halves", "significant classes", "accuracy", "recall"


def claims(study: RunArrays, cell_exemplars: CellExemplars) -> pd.DataFrame:
    """Test every claim on a study (`forgotten_claims.csv`).

    Parameters
    ----------
    study : RunArrays
    cell_exemplars : CellExemplars
        As `exemplars.exemplars` returns it.

    Returns
    -------
    DataFrame, one row per comparison, by claim and place
        As `papers.claims.held` returns it, but n counts groups of networks, and `where` gives the level as `t=`.
    """
    frame = measured(study, cell_exemplars)
    by_place = frame.groupby([schema.DATASET, schema.MODEL]) if len(frame) else []
    workloads = [Workload(dataset, model, rows) for (dataset, model), rows in by_place]
    return held(CLAIMS, sorted(workloads, key=lambda workload: (rank(workload.model), rank(workload.dataset))))


def measured(study: RunArrays, cell_exemplars: CellExemplars) -> pd.DataFrame:
    """Collect the data for the claims: a row for each group of networks of each cell of at least five networks.

    Returns
    -------
    DataFrame
        - dataset, model, pruner (the method), ratio (the level);
        - seed: a number for the group of dense networks, the same in all cells that share them;
        - at_chance: always False;
        - pies_beyond_placebo, gap, gap_beyond_placebo, significant, significant_beyond_placebo,
          decrease_minus_increase: jackknife pseudo-values, whose mean estimates the cell's value. `gap` is the accuracy
          of dense networks on other images minus that on PIEs. pies_beyond_placebo, gap and gap_beyond_placebo are NaN
          if a cell has no predictions, or too few networks for PIEs of halves. gap and all that are beyond the placebo
          are NaN if the dense networks are copies of one network.
    """
    populations: dict[tuple[str, ...], int] = {}
    placebos: dict[tuple[str, ...], np.ndarray] = {}
    pies = {
        (*_key(cell), dense): (halves_split, placebo) for cell, dense, halves_split, placebo in cell_exemplars.halves
    }
    rows = []
    for cell in recalls(study):
        dense = cell.dense_run_ids
        if groups(len(dense)):
            number = populations.setdefault(dense, len(populations))
            if dense not in placebos:
                placebos[dense] = _without_groups(len(dense), partial(_placebo, cell))
            name = cell_names(study, cell.rows[0])
            values = _on_classes(cell, placebos[dense])
            if (*_key(name), dense) in pies:
                halves_split, placebo = pies[(*_key(name), dense)]
                values |= {"pies_beyond_placebo": halves_split.n_pie - placebo.n_pie}
                values |= {"gap": halves_split.gap, "gap_beyond_placebo": halves_split.gap - placebo.gap}
            rows.append(_rows(name, number, {quantity: jackknife_values(each) for quantity, each in values.items()}))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _key(cell: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(cell[name]) for name in (schema.DATASET, schema.MODEL, METHOD, LEVEL))


def _rows(cell: dict[str, Any], population: int, values: dict[str, np.ndarray]) -> pd.DataFrame:
    count = len(values["significant"])
    return pd.DataFrame(
        {
            schema.DATASET: cell[schema.DATASET],
            schema.MODEL: cell[schema.MODEL],
            schema.PRUNER: cell[METHOD],
            schema.RATIO: cell[LEVEL],
            schema.SEED: population * 1000 + np.arange(count),
            "at_chance": False,
            **{name: values.get(name, np.full(count, np.nan)) for name in _MEASURED},
        }
    )


_MEASURED = (
    *("pies_beyond_placebo", "gap", "gap_beyond_placebo"),
    *("significant", "significant_beyond_placebo", "decrease_minus_increase"),
)


def _without_groups(networks: int, count: Callable[[np.ndarray], float]) -> np.ndarray:
    """Evaluate `count`, a function of a mask of networks, for all networks, then without each group, (1 + groups,)."""
    group = group_of(networks)
    return np.array([count(group != left_out) for left_out in range(-1, groups(networks))])


def _placebo(cell: ComparedNetworks, networks: np.ndarray) -> float:
    return float(placebo_significance(cell.dense[networks]).sum())


def _on_classes(cell: ComparedNetworks, placebo: np.ndarray) -> dict[str, np.ndarray]:
    count = _without_groups(len(cell.rows), partial(_count, cell))
    more = _without_groups(len(cell.rows), partial(_decrease_minus_increase, cell))
    return {
        "significant": count,
        "significant_beyond_placebo": count - placebo,
        "decrease_minus_increase": more if np.isfinite(more).all() else np.full(len(more), np.nan),
    }


def _count(cell: ComparedNetworks, networks: np.ndarray) -> float:
    return float(_significant(cell, networks).sum())


def _significant(cell: ComparedNetworks, networks: np.ndarray) -> np.ndarray:
    """Test whether each class changed significantly over the networks that a mask selects, (classes,), bool."""
    before, after = cell.dense[networks], cell.compressed[networks]
    return np.asarray(welch(before.raw_balance, after.raw_balance)[2] <= SIGNIFICANT)


def _decrease_minus_increase(cell: ComparedNetworks, networks: np.ndarray) -> float:
    """Return the mean fall of recall of significant classes minus the mean rise; NaN unless there are both."""
    change = (cell.compressed.recall - cell.dense.recall)[networks].mean(0)[_significant(cell, networks)]
    falls, rises = change[change < 0], change[change > 0]
    return float(-falls.mean() - rises.mean()) if len(falls) and len(rises) else np.nan


# Comparisons.


def _pruned_methods(workload: Workload) -> list[str]:
    return [method for method in workload.pruners if method.split()[0] not in (CONTROL, *schema.BITS)]


def _formats(workload: Workload) -> list[str]:
    return [method for method in workload.pruners if method.split()[0] in schema.BITS]


def _above(workload: Workload, arm: Arm, column: str, quantity: str) -> Iterator[Check]:
    """Yield a check that a value is above 0, if the cell has the value."""
    values = workload.values(arm, column)
    if values.notna().any():
        yield Check((arm,), quantity, estimate(values), ABOVE)


def _larger(workload: Workload, first: Arm, second: Arm, column: str, quantity: str) -> Iterator[Check]:
    """Yield a check that a value is larger in one cell than in another, paired if they share dense networks."""
    larger, smaller = workload.values(first, column), workload.values(second, column)
    if larger.notna().any() and smaller.notna().any():
        row = estimate(larger - smaller) if larger.index.equals(smaller.index) else estimate(larger, smaller)
        yield Check((first, second), quantity, row, ABOVE)


def _grows(column: str, quantity: str) -> Callable[[Workload], Iterable[Check]]:
    def checks(workload: Workload) -> Iterator[Check]:
        for method in _pruned_methods(workload):
            for less, more in pairwise(workload.arms(method)):
                yield from _larger(workload, more, less, column, quantity)

    return checks


def _everywhere(column: str, quantity: str) -> Callable[[Workload], Iterable[Check]]:
    def checks(workload: Workload) -> Iterator[Check]:
        for method in [*_pruned_methods(workload), *_formats(workload)]:
            for arm in workload.arms(method):
                yield from _above(workload, arm, column, quantity)

    return checks


def _more_than_formats(workload: Workload) -> Iterator[Check]:
    for method in _pruned_methods(workload):
        for number_format in _formats(workload):
            for arm in workload.arms(number_format):
                yield from _larger(workload, workload.arms(method)[-1], arm, "significant", _CLASSES)


CLAIMS = (
    Claim(
        "pies-grow",
        '"The number of images classified as PIE increases with the level of pruning"',
        "3.2",
        "PIEs of halves, beyond the placebo, at each level minus those at the level before",
        _grows("pies_beyond_placebo", _PIES),
    ),
    Claim(
        "pies-beyond-chance",
        'PIEs are images "disproportionately sensitive to the removal of weights"',
        "3.2",
        "PIEs of halves minus those between two halves of the dense networks",
        _everywhere("pies_beyond_placebo", _PIES),
        every=False,
    ),
    Claim(
        "pies-harder",
        '"PIE images are far more challenging for a non-compressed model to classify"',
        "3.2",
        "accuracy of dense networks on other images minus that on PIEs",
        _everywhere("gap", _GAP),
    ),
    Claim(
        "pies-harder-than-chance",
        '"PIE images are far more challenging for a non-compressed model to classify", more than by chance',
        "3.2",
        "accuracy of dense networks on other images minus that on PIEs, minus the same for the placebo's PIEs",
        _everywhere("gap_beyond_placebo", _GAP),
    ),
    Claim(
        "significant-classes-grow",
        '"This sensitivity is amplified at higher levels of sparsity with more classes evidencing a statistically '
        'significant relative change in recall"',
        "3.1",
        "significant classes at each level minus those at the level before",
        _grows("significant", _CLASSES),
        every=False,
    ),
    Claim(
        "significant-classes-beyond-chance",
        '"This disparate impact is far from random"',
        "3.1",
        "significant classes minus those between two halves of the dense networks",
        _everywhere("significant_beyond_placebo", _CLASSES),
        every=False,
    ),
    Claim(
        "decrease-above-increase",
        '"the average absolute class decrease in recall is far larger than the average increase"',
        "3.1",
        "mean decrease of the recall of significant classes minus the mean increase",
        _everywhere("decrease_minus_increase", _RECALL),
        every=False,
    ),
    Claim(
        "pruning-above-quantization",
        '"High levels of pruning incur a far higher disparate impact than is observed for the quantization techniques"',
        "1",
        "significant classes at the highest level of pruning minus those of a number format",
        _more_than_formats,
    ),
)
