"""Accuracies and recalls of the dense and the compressed networks of every cell, and the paper's test of each class.

The control `none` is a cell too, which shows the effect of fine-tuning alone. Networks at chance are included.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.report.papers.compressed_networks.naming import cell_names
from analysis.runs import schema
from analysis.statistics import populations
from analysis.statistics.arithmetic import quotient
from analysis.statistics.hypothesis_tests import LEVEL as SIGNIFICANT
from analysis.statistics.populations import FEWEST_TESTED
from analysis.statistics.proportion import expected_losses
from analysis.statistics.recalls import Recalls
from analysis.statistics.votes import most_of
from analysis.study.arrays import RunArrays
from analysis.study.settings import CELL

_QUARTILES = {"min": 0.0, "q1": 0.25, "median": 0.5, "q3": 0.75, "max": 1.0}


class ComparedNetworks(NamedTuple):
    """The networks of a cell, each with its own dense network.

    Attributes
    ----------
    rows : (networks,)
        Rows of the networks among the runs.
    has : (classes of all data sets,), bool
        True for the classes of the cell.
    dense, compressed : Recalls, (networks, classes)
    dense_run_ids : tuple of str
        Run ids of the dense networks, which many cells share.
    """

    rows: np.ndarray
    has: np.ndarray
    dense: Recalls
    compressed: Recalls
    dense_run_ids: tuple[str, ...]


def recalls(study: RunArrays) -> Iterator[ComparedNetworks]:
    """Yield every cell of at least two networks, unless two of them are from the same dense network."""
    for rows in study.cells:
        has, dense = study.classes_of(rows), tuple(study.runs[schema.DENSE_RUN_ID].iloc[rows])
        if len(set(dense)) == len(rows) >= FEWEST_TESTED:
            yield ComparedNetworks(rows, has, *study.measured(rows, has), dense)


def accuracies(study: RunArrays) -> pd.DataFrame:
    """Return the distribution of accuracies in every cell of at least two networks (`populations.csv`; Table 1).

    Parameters
    ----------
    study : RunArrays

    Returns
    -------
    DataFrame, one row per cell
        The columns of `naming.cell_names`, n, and mean, standard deviation, minimum, quartiles and maximum of the
        accuracies of the compressed networks (`accuracy_mean`, ...) and of their dense networks (`dense_mean`, ...).
    """
    rows_found = [
        cell_names(study, cell.rows[0])
        | {"n": len(cell.rows)}
        | _distribution("accuracy", cell.compressed.accuracy)
        | _distribution("dense", cell.dense.accuracy)
        for cell in recalls(study)
    ]
    return pd.DataFrame(rows_found)


def _distribution(name: str, accuracy: np.ndarray) -> dict[str, float]:
    ends = np.quantile(accuracy, list(_QUARTILES.values()))
    moments = {f"{name}_mean": accuracy.mean(), f"{name}_sd": accuracy.std(ddof=1)}
    return moments | dict(zip((f"{name}_{end}" for end in _QUARTILES), ends, strict=True))


def class_significance(study: RunArrays) -> pd.DataFrame:
    """Return the paper's test of every class in every cell of at least two networks (`class_significance.csv`).

    Parameters
    ----------
    study : RunArrays

    Returns
    -------
    DataFrame, one row per cell and class
        The columns of `naming.cell_names`, and:

        - class, recall_dense, recall_compressed.
        - from `populations.class_significance`: difference, normalised_difference, statistic, dof, p, p_holm, p_bh,
          significant, p_paired, p_paired_holm, significant_paired, shift.
        - n_dense, n_compressed: numbers of networks.
        - placebo: share of splits in which the class is significant between two halves of the dense networks.
        - placebo_low, placebo_high: bounds of the number of significant classes in 90 % of these splits.
        - p_ratio, significant_ratio: from the same test of recall / accuracy (equations 1, 2).
        - relative_recall: mean over networks of the recall divided by that of the dense network (equation 3).
        - relative_recall_expected: relative_recall if classes lose in proportion to their errors, but no class loses
          more recall than it has.
    """
    placebos: dict[tuple[str, ...], np.ndarray] = {}
    tables = []
    for cell in recalls(study):
        dense, compressed = cell.dense, cell.compressed
        if cell.dense_run_ids not in placebos:
            placebos[cell.dense_run_ids] = populations.placebo_tests(dense)
        placebo = placebos[cell.dense_run_ids]
        test = populations.class_significance(dense, compressed, paired=True)
        by_ratio = populations.class_significance(dense, compressed, measure="ratio")
        losses = expected_losses(dense.recall, dense.accuracy, dense.accuracy - compressed.accuracy)
        recalls_after = compressed.recall, np.maximum(dense.recall - losses, 0)
        relative, expected = (quotient(each, dense.recall).mean(0) for each in recalls_after)
        columns = {
            **cell_names(study, cell.rows[0]),
            "class": study.names[cell.has],
            "recall_dense": dense.recall.mean(0),
            "recall_compressed": compressed.recall.mean(0),
            **{name: getattr(test, name) for name in TESTED},
            "n_dense": len(cell.rows),
            "n_compressed": len(cell.rows),
            "p_paired": test.p_paired,
            "p_paired_holm": test.p_paired_holm,
            "significant_paired": test.significant_paired,
            "placebo": placebo.mean(0),
            **dict(zip(("placebo_low", "placebo_high"), most_of(placebo.sum(1)), strict=True)),
            "shift": test.shift,
            "p_ratio": by_ratio.p,
            "significant_ratio": by_ratio.significant,
            "relative_recall": relative,
            "relative_recall_expected": expected,
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


TESTED = ("difference", "normalised_difference", "statistic", "dof", "p", "p_holm", "p_bh", "significant")


def significant_classes(significance: pd.DataFrame) -> pd.DataFrame:
    """Return how many classes of every cell are significant, and how much these change (`significant_classes.csv`).

    Parameters
    ----------
    significance : DataFrame
        As `class_significance` returns it.

    Returns
    -------
    DataFrame, one row per cell
        The columns of `naming.cell_names`, and:

        - n_dense, n_compressed, classes: numbers of networks and of classes.
        - significant: number of significant classes.
        - significant_bh, significant_holm: number of significant classes after each correction.
        - significant_ratio: number of significant classes by the test of ratios.
        - placebo: number of significant classes that the placebo gives.
        - placebo_low, placebo_high: bounds that include 90 % of the placebo's splits.
        - significant_paired, significant_paired_holm: number of significant classes by the paired test, without and
          with correction; NaN if no class has a p.
        - largest_shift_paired: largest absolute shift of a class that is significant by the paired test, uncorrected.
        - decreased, increased: numbers of significant classes whose recall fell, and whose recall rose.
        - mean_decrease, mean_increase: mean changes of the recalls of these classes, both as positive numbers.
    """
    if significance.empty:
        return pd.DataFrame()
    shown_settings = [
        name for name in significance.columns[: list(significance.columns).index("class")] if name not in CELL
    ]
    key = [*CELL, *shown_settings]
    cells = significance.groupby(key, dropna=False, sort=False)
    return pd.DataFrame([dict(zip(key, names, strict=True)) | _counts(rows) for names, rows in cells])


def _counts(rows: pd.DataFrame) -> dict[str, float]:
    change, has_p = rows.loc[rows["significant"], "difference"], rows["p_paired"].notna().any()
    return {
        "n_dense": int(rows["n_dense"].iloc[0]),
        "n_compressed": int(rows["n_compressed"].iloc[0]),
        "classes": len(rows),
        "significant": int(rows["significant"].sum()),
        "placebo": rows["placebo"].sum(min_count=len(rows)),
        "placebo_low": rows["placebo_low"].iloc[0],
        "placebo_high": rows["placebo_high"].iloc[0],
        "significant_paired": rows["significant_paired"].sum() if has_p else np.nan,
        "significant_paired_holm": (rows["p_paired_holm"] <= SIGNIFICANT).sum() if has_p else np.nan,
        "largest_shift_paired": rows.loc[rows["significant_paired"], "shift"].abs().max(),
        "significant_ratio": int(rows["significant_ratio"].sum()),
        "significant_bh": int((rows["p_bh"] <= SIGNIFICANT).sum()),
        "significant_holm": int((rows["p_holm"] <= SIGNIFICANT).sum()),
        "decreased": int((change < 0).sum()),
        "increased": int((change > 0).sum()),
        "mean_decrease": -change[change < 0].mean(),
        "mean_increase": change[change > 0].mean(),
    }
