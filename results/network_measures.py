"""Compute measures of each network of a study, their means over networks, and corrected p-values."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.statistics.hypothesis_tests import corrected
from analysis.statistics.intensification import alpha, alpha_shared, excess_loss, raw_slope
from analysis.statistics.proportion import on_these_images
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval
from analysis.study import proportions
from analysis.study.arrays import RunArrays, run_arrays
from analysis.study.settings import CONTROL

# Alpha, the raw slope s, and s / k, in which k is the error of pruned networks divided by that of their controls.
SLOPES = ALPHA, SLOPE, BEYOND = ("alpha", "raw_slope", "alpha_beyond")


def measure(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run whose network is not at chance.

    Parameters
    ----------
    runs : DataFrame
        The result of `pull.pull_runs`.

    Returns
    -------
    DataFrame
        - dataset, pruner, ratio, seed, run_id;
        - accuracy_before, accuracy: of the dense network, and of the network of the run, in points;
        - largest_excess: in points;
        - floor: the largest excess that noise of the test images alone would give, in points;
        - beyond_floor: largest_excess minus floor;
        - alpha, raw_slope;
        - gaps: the dense network's recall of each class minus its accuracy, in points;
        - classes: the names of the classes that `gaps` lists.
    """
    study = run_arrays(runs)
    rows = []
    columns = [schema.DATASET, schema.PRUNER, schema.RATIO, schema.SEED, frames.RUN_ID]
    for with_guesses, classes in study.class_sets():
        places = with_guesses[~study.at_chance[with_guesses]]
        before, after = study.measured(places, classes)
        excess = 100 * excess_loss(before, after).max(-1)
        floor = 100 * study.floors(places, classes)
        rows.append(
            study.runs.iloc[places][columns].assign(
                accuracy_before=100 * before.accuracy,
                accuracy=100 * after.accuracy,
                largest_excess=excess,
                floor=floor,
                beyond_floor=excess - floor,
                alpha=alpha(before.balance, after.balance),
                raw_slope=raw_slope(before, after),
                gaps=list(100 * before.raw_balance),
                classes=[study.names[classes]] * len(places),
            )
        )
    return pd.concat(rows, ignore_index=True)


def slopes_from_control(study: RunArrays) -> pd.DataFrame:
    """Return the slopes from the controls to the pruned networks, on the test images used, a row for each network.

    The values of a cell's networks are jackknife pseudo-values: their mean estimates the value of the cell, and they
    can be treated as values of independent networks. Cells of fewer than three networks are left out.

    Returns
    -------
    DataFrame
        run_id; alpha, raw_slope (s), alpha_beyond (s / k).
    """
    tables = []
    for cell in study.cells():
        if study.runs[schema.PRUNER].iloc[cell[0]] == CONTROL:
            continue
        rows = study.with_sloped_control(study.sloped(cell))
        if recalls := proportions.paired_recalls(study, rows):
            values = pd.DataFrame(pseudo_values(*recalls), columns=SLOPES)
            values.insert(0, frames.RUN_ID, study.runs[frames.RUN_ID].to_numpy()[rows])
            tables.append(values)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[frames.RUN_ID, *SLOPES])


def pseudo_values(before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Compute the pseudo-values of `slopes`, leaving out one network at a time; (networks, 3).

    Parameters
    ----------
    before, after : (networks, classes)
        Recalls of the controls and of the pruned networks.
    share : (classes,)
        Each class's share of the test images.
    """
    n = len(before)
    without_one = [slopes(np.delete(before, each, 0), np.delete(after, each, 0), share) for each in range(n)]
    return n * slopes(before, after, share) - (n - 1) * np.array(without_one)


def slopes(before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Compute alpha, s and s / k from the controls to the pruned networks; parameters as for `pseudo_values`."""
    found = on_these_images(before, after, share)
    balances = (Recalls(recall, recall @ share).balance for recall in (before, after))
    return np.array([alpha_shared(*balances).estimate, found.slope, found.slope / found.growth])


def class_cost(study: RunArrays, name: str) -> np.ndarray:
    """Compute the recall that a class loses beyond the accuracy, compared with the control, in points; (runs,).

    It is NaN for runs without a control, and for runs of data sets that lack the class.
    """
    gap = 100 * (study.after[:, list(study.names).index(name)] - study.accuracy_after)
    return np.where(study.controls >= 0, gap[study.controls] - gap, np.nan)


def param(runs: pd.DataFrame, name: str, default: object) -> pd.Series:
    """Return the values of a param, with the default for runs without this param."""
    column = frames.column(name)
    return runs[column].fillna(default) if column in runs else pd.Series(default, runs.index)


def means(networks: pd.DataFrame, keys: Sequence[str], outcomes: Sequence[str]) -> pd.DataFrame:
    """Return a row for each group of networks: its keys, the number `n` of networks, and the mean of each outcome.

    The 95 % interval of a mean over networks is in two columns that end in `_low` and `_high`.
    """
    rows = []
    for key, group in networks.groupby(list(keys), observed=True):
        row = dict(zip(keys, key, strict=True)) | {"n": len(group)}
        for outcome in outcomes:
            low, high = mean_interval(group[outcome])
            row |= {outcome: group[outcome].mean(), f"{outcome}_low": low, f"{outcome}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def holm(p: pd.Series, is_primary: pd.Series, planned: int = 0) -> pd.Series:
    """Return Holm's p of the primary tests, corrected over these tests, and NaN for all other tests.

    If a study cannot run one of its primary tests, `planned` is the number of all of them.
    """
    primary = p[is_primary]
    return pd.Series(corrected(primary, max(planned, len(primary)))[1], primary.index).reindex(p.index)
