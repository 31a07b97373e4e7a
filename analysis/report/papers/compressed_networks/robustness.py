"""What compression costs on corrupted images and on natural adversarial ones, for every cell (`corruptions.csv`).

Each compressed network is compared with its dense network on the same images.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.report.papers.compressed_networks.naming import named
from analysis.runs import schema
from analysis.runs.frames import RUN_ID
from analysis.runs.robustness import ALL
from analysis.statistics.arithmetic import mean
from analysis.statistics.intensification import alpha, at_chance, excess_loss, recall_balance
from analysis.statistics.relative_change import relative_change
from analysis.statistics.resampling import mean_interval
from analysis.study.arrays import RunArrays

MEAN = "mean"  # over severities
_CONDITION = ["corruption", "severity"]


class ConditionRecalls(NamedTuple):
    """What the networks of a data set have right under each condition: a corruption and a severity.

    Attributes
    ----------
    rows : dict of str
        Run id -> the row of its network.
    conditions : list of (str, str)
        Severity `mean` is the mean over the severities of a corruption, and corruption `all` the mean of these means.
    classes : (classes,)
    recall : (networks, conditions, classes)
        NaN for a class without images, and where a network was not measured.
    top1, top5 : (networks, conditions)
    support : (conditions, classes)
        Images of each class; of a mean, those of one of its conditions.
    guesses : (networks, conditions), bool
        Whether a network's accuracy may be that of guesses.
    """

    rows: dict[str, int]
    conditions: list[tuple[str, str]]
    classes: np.ndarray
    recall: np.ndarray
    top1: np.ndarray
    top5: np.ndarray
    support: np.ndarray
    guesses: np.ndarray


def corruptions(study: RunArrays, counts: pd.DataFrame | None) -> pd.DataFrame:
    """Return a row for each cell and condition under which its networks and their dense networks were measured.

    Parameters
    ----------
    study : RunArrays
    counts : DataFrame, optional
        As `analysis.runs.robustness.pulled` returns it; without it there is no row.

    Returns
    -------
    DataFrame
        What `naming.named` returns; corruption: `none` for the images as they are, the name
        of a folder, or `all` for the mean over corruptions; severity: 0 for `none` and folders, 1 to 5, or `mean`;
        n (networks); top1_dense, top1, top5_dense, top5: mean accuracies; top1_norm, top5_norm: their change in % of
        that of the dense networks, with intervals over networks (`_low`, `_high`); n_at_chance: networks that guess
        under this condition, or whose dense network does, which are left out of what follows; alpha with its interval;
        largest_excess: mean over networks of the largest excess loss of a class; alpha_none, largest_excess_none: the
        same of the control; worst_class: the class with the largest mean excess loss.
    """
    if counts is None or counts.empty:
        return pd.DataFrame()
    of_data_sets = {name: _measured(counts, part) for name, part in study.runs.groupby(schema.DATASET)}
    found = []
    for rows in study.cells():
        measured = of_data_sets[study.runs[schema.DATASET].iloc[rows[0]]]
        kept, _ = study.counted(rows)
        if measured and len(kept):
            found += _rows(study, kept, measured)
    return pd.DataFrame(found)


def _measured(counts: pd.DataFrame, runs: pd.DataFrame) -> ConditionRecalls | None:
    """Return what the networks of some runs and of their dense runs have right; None if nothing was measured."""
    counts = counts[counts[RUN_ID].isin({*runs[RUN_ID], *runs[schema.DENSE_RUN_ID]})]
    if counts.empty:
        return None
    # Of several samples of images, the one that most networks were measured on counts.
    sizes = counts.groupby([*_CONDITION, "measured"])[RUN_ID].nunique().reset_index()
    kept = sizes.sort_values(RUN_ID, ascending=False, kind="stable").drop_duplicates(_CONDITION)
    counts = counts.merge(kept[[*_CONDITION, "measured"]], on=[*_CONDITION, "measured"])
    conditions = counts[_CONDITION].drop_duplicates().sort_values(_CONDITION)
    index = pd.MultiIndex.from_frame(conditions)
    classes = np.array(list(dict.fromkeys(counts["class"])), dtype=object)
    run_ids = list(dict.fromkeys(counts[RUN_ID]))
    place = (
        pd.Index(run_ids).get_indexer(counts[RUN_ID]),
        index.get_indexer(pd.MultiIndex.from_frame(counts[_CONDITION])),
        pd.Index(classes).get_indexer(counts["class"]),
    )
    support, right, right_top5 = np.full((3, len(run_ids), len(index), len(classes)), np.nan)
    for array, name in ((support, "support"), (right, "right"), (right_top5, "right_top5")):
        array[place] = counts[name]
    images = np.nansum(support, -1)
    with np.errstate(invalid="ignore"):
        top1, top5 = (np.nansum(array, -1) / images for array in (right, right_top5))
        recall = right / support
    names = [(corruption, str(severity)) for corruption, severity in index]
    rows = {run_id: row for row, run_id in enumerate(run_ids)}
    found = ConditionRecalls(
        rows, names, classes, recall, top1, top5, np.nan_to_num(support).max(0), np.zeros(top1.shape, bool)
    )
    found = _with_means(found)
    return found._replace(guesses=_guesses(found))


def _guesses(measured: ConditionRecalls) -> np.ndarray:
    """Return whether each network guesses under each condition, (networks, conditions)."""
    columns = []
    for accuracy, support in zip(measured.top1.T, measured.support, strict=True):
        columns.append(at_chance(np.nan_to_num(accuracy), int((support > 0).sum()), support[support > 0]))
    return np.stack(columns, axis=1)


def _with_means(single: ConditionRecalls) -> ConditionRecalls:
    """Add the mean over the severities of each corruption, and the mean of these means."""
    means = []
    for name in dict.fromkeys(corruption for corruption, severity in single.conditions if severity != "0"):
        places = [place for place, condition in enumerate(single.conditions) if condition[0] == name]
        means.append(len(single.conditions))
        single = _with_mean(single, (name, MEAN), places)
    return _with_mean(single, (ALL, MEAN), means) if len(means) > 1 else single


def _with_mean(single: ConditionRecalls, condition: tuple[str, str], places: list[int]) -> ConditionRecalls:
    """Add the mean over the conditions at some places as a further condition."""

    def added(shares: np.ndarray) -> np.ndarray:
        return np.concatenate([shares, shares[:, places].mean(1, keepdims=True)], axis=1)

    return single._replace(
        conditions=[*single.conditions, condition],
        recall=added(single.recall),
        top1=added(single.top1),
        top5=added(single.top5),
        support=np.concatenate([single.support, single.support[places[:1]]]),
    )


def _rows(study: RunArrays, kept: np.ndarray, measured: ConditionRecalls) -> list[dict[str, Any]]:
    """Return the rows of a cell, of which the runs at `kept` count."""
    dense_ids, run_ids = (study.runs[name].to_numpy(object) for name in (schema.DENSE_RUN_ID, RUN_ID))
    known = measured.rows
    kept = np.array([row for row in kept if dense_ids[row] in known and run_ids[row] in known], dtype=int)
    if not len(kept):
        return []
    none, controlled = study.controls, study.with_control(kept)
    controlled = np.array([row for row in controlled if run_ids[none[row]] in known], dtype=int)
    pairs = _pair(measured, dense_ids[kept], run_ids[kept])
    of_control = _pair(measured, dense_ids[controlled], run_ids[none[controlled]])
    cell = named(study, kept[0])
    rows = []
    for place, (corruption, severity) in enumerate(measured.conditions):
        row = _compared(measured, place, *pairs)
        if row["n"]:
            control = _classes(measured, place, *of_control)
            rows.append(
                {
                    **cell,
                    "corruption": corruption,
                    "severity": severity,
                    **row,
                    **_classes(measured, place, *pairs),
                    "alpha_none": control["alpha"],
                    "largest_excess_none": control["largest_excess"],
                }
            )
    return rows


def _pair(measured: ConditionRecalls, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of pairs of networks, by run id."""
    first, second = (np.array([measured.rows[run_id] for run_id in side], dtype=int) for side in (before, after))
    return first, second


def _compared(measured: ConditionRecalls, place: int, before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Compare the accuracies of pairs of networks under a condition."""
    found: dict[str, float] = {}
    for name, accuracies in (("top1", measured.top1), ("top5", measured.top5)):
        sides = accuracies[before, place], accuracies[after, place]
        there = np.isfinite(sides).all(0)
        change = relative_change(*sides)
        found |= {
            "n": int(there.sum()),
            f"{name}_dense": mean(sides[0][there]),
            name: mean(sides[1][there]),
            f"{name}_norm": change.change,
            f"{name}_norm_low": change.low,
            f"{name}_norm_high": change.high,
        }
    return found


def _classes(measured: ConditionRecalls, place: int, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Return what a condition does to the differences between classes: alpha and the largest excess loss."""
    support = measured.support[place]
    has = support > 0
    accuracies = measured.top1[before, place], measured.top1[after, place]
    recalls = measured.recall[before, place][:, has], measured.recall[after, place][:, has]
    there = np.isfinite(accuracies).all(0)
    guesses = there & (measured.guesses[before, place] | measured.guesses[after, place])
    sound = np.flatnonzero(there & ~guesses)
    recalls = recalls[0][sound], recalls[1][sound]
    accuracies = accuracies[0][sound], accuracies[1][sound]
    slopes = alpha(*map(recall_balance, recalls, accuracies)) if len(sound) else np.array([])
    slopes = slopes[np.isfinite(slopes)]
    low, high = mean_interval(slopes)
    excess = excess_loss(*recalls, *accuracies)
    return {
        "n_at_chance": int(guesses.sum()),
        "alpha": mean(slopes),
        "alpha_low": low,
        "alpha_high": high,
        "largest_excess": mean(excess.max(-1)) if len(sound) else np.nan,
        "worst_class": measured.classes[has][excess.mean(0).argmax()] if len(sound) else "",
    }
