"""Costs and gains of each mitigation, one row per cell (`mitigation.csv`)."""

from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from analysis.report.mitigation.networks import NOTHING, Cells, MitigationCell
from analysis.report.published import rank
from analysis.runs import frames, schema
from analysis.statistics.arithmetic import quotient
from analysis.statistics.hypothesis_tests import LEVEL, corrected, paired
from analysis.statistics.resampling import mean_interval, pseudo_values
from analysis.study.settings import CONTROL

MARGIN = 0.003  # largest acceptable loss of accuracy by a mitigation
MITIGATION = "mitigation"
EXCESS, VAL_EXCESS, WEAKEST = "largest_excess", "val_largest_excess", "weakest_recall"
FLOOR, BEYOND = "largest_excess_floor", "largest_excess_minus_control"
WORST_CLASS, WORST_COST, WORST_SHOWN = "worst_class", "worst_class_cost", "worst_class_shown"
GAIN, VAL_GAIN, SURVIVES = "gain_on_test", "gain_on_validation", "survives"
CONTROL_GAIN, GAIN_BEYOND = "gain_of_control", "gain_beyond_control"
ACCURACY_DIFFERENCE = "accuracy_difference"
NOT_INFERIOR, HALVED = "not_inferior", "halved"
_OF_WORST = (WORST_CLASS, WORST_COST, f"{WORST_COST}_low", f"{WORST_COST}_high", WORST_SHOWN)


def outcomes(cells: Cells) -> pd.DataFrame:
    """Compare each mitigation with the same pruning without it, on the same dense networks.

    Parameters
    ----------
    cells : Cells

    Returns
    -------
    DataFrame, one row per cell; empty if no cell has a mitigation
        dataset, model, pruner, ratio, the settings that tables show, mitigation (in words, empty for none), n
        (networks), n_at_chance (networks at chance), classes (number of classes), and:

        - accuracy.
        - accuracy_difference: accuracy minus that of the cell without the mitigation.
        - p_not_inferior: one-sided p of the null hypothesis that the mitigation lowers the accuracy by at least
          `MARGIN`.
        - largest_excess, val_largest_excess: the largest excess loss of a class, on test and on validation images; mean
          over networks.
        - largest_excess_floor: the largest excess loss that noise of the test images alone would give.
        - largest_excess_of_control, val_largest_excess_of_control, largest_excess_floor_of_control: the same for the
          control with the same mitigation.
        - largest_excess_minus_control: largest_excess minus that of the control with the same mitigation, on the same
          networks.
        - p_halved: one-sided p of the null hypothesis that at least half of the largest excess loss remains.
        - worst_class, worst_class_cost: the class that loses most beyond the accuracy on average, and its systematic
          cost, as in `cells.csv`. The cost is relative to the control with the same mitigation or, if there is none, to
          the control without a mitigation. A teacher counts as a mitigation, unlike in `cells.csv`.
        - worst_class_shown: whether the cost of this class is itself shown to be above 0.
        - largest_mean_excess: the excess loss of each class is averaged over networks, and this is the largest mean.
        - weakest_recall: mean over networks of the lowest recall of a class.
        - weakest_recall_difference: weakest_recall minus that of the cell without the mitigation.
        - classes_worse: number of classes whose recall is shown to be lower than in the control without a mitigation,
          by intervals with confidence 1 - .05 / number of classes.
        - gain_on_validation, gain_on_test: the largest excess loss without the mitigation minus the largest excess loss
          with it.
        - gain_of_control: the gain in the controls, on test images.
        - gain_beyond_control: gain_on_test minus gain_of_control.
        - survives: gain_on_test / gain_on_validation, from sums over networks, with a jackknife interval. The interval
          is NaN if that of gain_on_validation includes 0, or if the jackknife interval does not include the estimate.

        Most estimates have 95 % intervals over networks, `_low` and `_high`. A p with `_holm` is corrected over the
        data sets of a method. A value that cannot be computed is NaN.
    """
    if not any(cell.mitigation for cell in cells.all):
        return pd.DataFrame()
    rows = [_key(cell, cells) | _row(cell, cells) for cell in cells.all if len(cell.networks)]
    columns = [frames.param(column) for column in cells.columns]
    table = pd.DataFrame(rows).sort_values([schema.DATASET, schema.MODEL], key=_ranks, kind="stable", ignore_index=True)
    return _with_holm(table, columns)


def _ranks(names: pd.Series) -> pd.Series:
    """Return the rank of data sets or models: those of the papers in their order, then others by name."""
    order = sorted(names.unique(), key=lambda name: (rank(name), name))
    return names.map(order.index)


def _key(cell: MitigationCell, cells: Cells) -> dict[str, Any]:
    values = dict(zip(map(frames.param, cells.columns), cell.place, strict=True))
    return {**values, schema.PRUNER: cell.run[schema.PRUNER], MITIGATION: cell.mitigation}


def _row(cell: MitigationCell, cells: Cells) -> dict[str, Any]:
    plain = cells.plain(cell) if cell.mitigation != NOTHING else None
    control = cells.control(cell) if cell.run[schema.PRUNER] != CONTROL else None
    return {
        "n": len(cell.networks),
        "n_at_chance": cell.n_at_chance,
        "classes": cell.recall.shape[1],
        **_mean("accuracy", cell.accuracy),
        **_mean(EXCESS, cell.largest_excess),
        f"{EXCESS}_of_control": _finite_mean(control.largest_excess) if control else np.nan,
        FLOOR: _finite_mean(cell.floor),
        f"{FLOOR}_of_control": _finite_mean(control.floor) if control else np.nan,
        **_beyond(cell, control),
        **_mean(VAL_EXCESS, cell.val_excess),
        f"{VAL_EXCESS}_of_control": _finite_mean(control.val_excess) if control else np.nan,
        **_mean(WEAKEST, cell.weakest),
        **dict(zip(_OF_WORST, cell.worst, strict=True)),
        "largest_mean_excess": cell.excess.mean(0).max(),
        "classes_worse": _classes_worse(cell, cells.plain_control(cell)),
        **_against(cell, plain),
        **(_against_controls(cell, plain, cells) if plain and control else {}),
    }


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = mean_interval(values[np.isfinite(values)])
    return {name: _finite_mean(values), f"{name}_low": low, f"{name}_high": high}


def _beyond(cell: MitigationCell, control: MitigationCell | None) -> dict[str, float]:
    """Return the largest excess loss minus the control's, on the same networks."""
    if control is None:
        return _mean(BEYOND, np.array([]))
    with_pruning, without_pruning = _of_the_same_networks(cell, control)
    return _mean(BEYOND, with_pruning.largest_excess - without_pruning.largest_excess)


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan


def _classes_worse(cell: MitigationCell, control: MitigationCell | None) -> float:
    if control is None or control.run is cell.run:
        return np.nan
    method, baseline = _of_the_same_networks(cell, control)
    if len(method.networks) < 2:
        return np.nan
    changes = (method.recall - baseline.recall).T
    return sum(mean_interval(change, 1 - LEVEL / len(changes))[1] < 0 for change in changes)


def _against(cell: MitigationCell, plain: MitigationCell | None) -> dict[str, Any]:
    """Return the differences from the cell without the mitigation."""
    if plain is None:
        return {}
    method, baseline = _of_the_same_networks(cell, plain)
    gains = baseline.largest_excess - method.largest_excess
    val_gains = baseline.val_excess - method.val_excess
    has_both = np.isfinite(val_gains)
    return {
        **_mean(ACCURACY_DIFFERENCE, method.accuracy - baseline.accuracy),
        f"p_{NOT_INFERIOR}": paired(method.accuracy + MARGIN, baseline.accuracy, alternative="greater")["p"],
        **_mean(f"{WEAKEST}_difference", method.weakest - baseline.weakest),
        **_mean(VAL_GAIN, val_gains),
        **_mean(GAIN, gains),
        f"p_{HALVED}": paired(method.largest_excess, baseline.largest_excess / 2, alternative="less")["p"],
        **_surviving(gains[has_both], val_gains[has_both]),
    }


def _surviving(gains: np.ndarray, val_gains: np.ndarray) -> dict[str, float]:
    """Return the share of the gain on validation images that is left on test images, with its interval, or NaN."""
    if not len(gains):
        return dict.fromkeys((SURVIVES, f"{SURVIVES}_low", f"{SURVIVES}_high"), np.nan)
    share = float(quotient(gains.sum(), val_gains.sum()))
    low, high = mean_interval(pseudo_values(gains, val_gains))
    fewest, most = mean_interval(val_gains)
    if fewest <= 0 <= most or not low <= share <= high:
        low = high = np.nan
    return {SURVIVES: share, f"{SURVIVES}_low": low, f"{SURVIVES}_high": high}


def _against_controls(cell: MitigationCell, plain: MitigationCell, cells: Cells) -> dict[str, float]:
    """Return the mitigation's gain without pruning, and its additional gain with pruning."""
    controls = cells.control(cell), cells.control(plain)
    if None in controls or controls[0] is controls[1]:
        return {}
    method, baseline, own_control, plain_control = _of_the_same_networks(cell, plain, *filter(None, controls))
    gains = baseline.largest_excess - method.largest_excess
    control_gains = plain_control.largest_excess - own_control.largest_excess
    return {**_mean(CONTROL_GAIN, control_gains), **_mean(GAIN_BEYOND, gains - control_gains)}


def _of_the_same_networks(*cells: MitigationCell) -> list[MitigationCell]:
    common_networks = reduce(pd.Index.intersection, (cell.networks for cell in cells))
    return [cell.at(common_networks) for cell in cells]


def _with_holm(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Add p-values by Holm's correction over the data sets of a method."""
    by_method = rows.groupby([name for name in [*columns, MITIGATION] if name != schema.DATASET], dropna=False)
    for name in (f"p_{NOT_INFERIOR}", f"p_{HALVED}"):
        if name in rows:
            holm = by_method[name].transform(lambda p: corrected(p, len(p))[1])
            rows.insert(list(rows).index(name) + 1, f"{name}_holm", holm)
    return rows
