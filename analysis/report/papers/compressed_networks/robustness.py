"""The costs of compression on corrupted images and on natural adversarial images, for every cell (`corruptions.csv`).

Each compressed network is compared with its dense network, and for systematic costs with its control if there is one,
on the same images.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.report.papers.compressed_networks.naming import cell_names
from analysis.runs import schema
from analysis.runs.checks import some
from analysis.runs.frames import RUN_ID
from analysis.runs.robustness import ALL
from analysis.statistics.arithmetic import mean, quotient
from analysis.statistics.intensification import alpha, at_chance, excess_loss
from analysis.statistics.losses import worst_of_recalls
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval
from analysis.study.arrays import RunArrays

MEAN = "mean"  # over severities
_CONDITION = ["corruption", "severity"]
_PLACE = [schema.DATASET, schema.MODEL]


class ConditionRecalls(NamedTuple):
    """Recalls and accuracies of networks of one data set and model under each condition, a corruption at a severity.

    Attributes
    ----------
    rows : dict of str -> int
        Row of each network, by run id.
    conditions : list of (str, str)
        Corruption and severity. Severity `mean` is the mean over the severities of a corruption, and corruption `all`
        the mean of these means. Both are over the conditions under which every cell was measured.
    classes : (classes,)
    recall : (networks, conditions, classes)
        NaN for a class without images, and for a network that was not measured.
    top1, top5 : (networks, conditions)
    support : (conditions, classes)
        Number of images of each class; for a mean, the number in the first of its conditions.
    at_chance : (networks, conditions), bool
        Whether a network is at chance.
    """

    rows: dict[str, int]
    conditions: list[tuple[str, str]]
    classes: np.ndarray
    recall: np.ndarray
    top1: np.ndarray
    top5: np.ndarray
    support: np.ndarray
    at_chance: np.ndarray


def corruptions(study: RunArrays, counts: pd.DataFrame | None) -> pd.DataFrame:
    """Return a row for each cell and condition under which its networks and their dense networks were measured.

    Parameters
    ----------
    study : RunArrays
    counts : DataFrame, optional
        As `analysis.runs.robustness.pulled` returns it; without counts, the result is empty.

    Returns
    -------
    DataFrame
        The columns of `naming.cell_names`, and:

        - corruption: name of the corruption, `none` for clean images, name of a folder, or `all` for the mean over
          corruptions.
        - severity: 0 for `none` and folders, otherwise 1 to 5 or `mean`.
        - n: number of networks.
        - top1_dense, top1, top5_dense, top5: mean accuracies.
        - top1_norm, top5_norm: changes of the accuracies in % of those of the dense networks, with intervals over
          networks (`_low`, `_high`).
        - n_at_chance: number of networks left out of alpha because they, or their dense networks, are at chance under
          this condition.
        - alpha: with its interval.
        - alpha_none: alpha of the control.
        - largest_excess: mean over networks of the largest excess loss of a class (chance movement); the class differs
          between networks.
        - largest_excess_none: largest_excess of the control.
        - worst_class: class with the largest mean excess loss.
        - reference: the networks with which recalls are compared for the systematic cost, `control` if there are
          controls, otherwise `dense`.
        - costliest_class: class that loses most on average, relative to the reference. Empty for a
          single network, which has no cost either.
        - cost: mean loss of this class beyond the accuracy, with an interval over networks.
        - cost_p: p of cost, corrected for all classes.

        `attrs["notes"]` says how many networks were left out, and which conditions the means leave out, and why.
    """
    if counts is None or counts.empty:
        return pd.DataFrame()
    cells = list(study.cells)
    cell_of_run = {run_id: index for index, rows in enumerate(cells) for run_id in study.runs[RUN_ID].iloc[rows]}
    of_places, measured = {}, []
    notes: list[str] = []
    for place, runs in study.runs.groupby(_PLACE):
        own_counts = counts[counts[RUN_ID].isin({*runs[RUN_ID], *runs[schema.DENSE_RUN_ID]})]
        compared_counts = _on_largest_samples(own_counts)
        measured.append(_measured(runs, own_counts, compared_counts))
        shared = _shared_by_cells(measured[-1], cell_of_run)
        notes += _notes_on_means(place, shared)
        of_places[place] = _condition_recalls(compared_counts, shared) if len(compared_counts) else None
    rows_found = []
    for rows in cells:
        condition_recalls = of_places[tuple(study.runs[_PLACE].iloc[rows[0]])]
        if condition_recalls:
            rows_found += _rows(study, rows, condition_recalls)
    frame = pd.DataFrame(rows_found)
    frame.attrs["notes"] = [*_notes(pd.concat(measured)), *notes]
    return frame


def _on_largest_samples(counts: pd.DataFrame) -> pd.DataFrame:
    """Select, under each condition, the counts on the sample of images on which most networks were measured."""
    sizes = counts.groupby([*_CONDITION, "measured"])[RUN_ID].nunique().reset_index()
    largest_samples = sizes.sort_values(RUN_ID, ascending=False, kind="stable").drop_duplicates(_CONDITION)
    return counts.merge(largest_samples[[*_CONDITION, "measured"]], on=[*_CONDITION, "measured"])


def _measured(runs: pd.DataFrame, counts: pd.DataFrame, compared_counts: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run and condition under which it was measured.

    The column `with_dense` says whether its dense network was measured too, and `compared` whether both were measured
    on the images that are compared.
    """
    keys, compared_keys = (
        pd.MultiIndex.from_frame(each[[RUN_ID, *_CONDITION]]).unique() for each in (counts, compared_counts)
    )
    rows = runs[[RUN_ID, schema.DENSE_RUN_ID]].merge(keys.to_frame(index=False), on=RUN_ID)
    own, dense = (pd.MultiIndex.from_frame(rows[[name, *_CONDITION]]) for name in (RUN_ID, schema.DENSE_RUN_ID))
    compared = own.isin(compared_keys) & dense.isin(compared_keys)
    return rows.assign(with_dense=dense.isin(keys), compared=compared)


def _notes(measured: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each reason for which networks were left out."""
    for why, is_left_out in (
        ("their dense networks were not measured", ~measured["with_dense"]),
        (
            "they or their dense networks were measured on other images than the networks that are compared",
            measured["with_dense"] & ~measured["compared"],
        ),
    ):
        if n_left_out := measured.loc[is_left_out, RUN_ID].nunique():
            yield (
                f"corrupted images: {n_left_out:,} of {measured[RUN_ID].nunique():,} measured networks left out under "
                f"one corruption or more, because {why}"
            )


class SharedConditions(NamedTuple):
    """Whether every cell was measured under a condition, by condition, and on a corruption, by corruption.

    Cells that were not measured on corrupted images do not count, nor do those without the corruption for its
    severities.
    """

    conditions: pd.Series
    corruptions: pd.Series


def _shared_by_cells(measured: pd.DataFrame, cell_of_run: Mapping[str, int]) -> SharedConditions:
    """Find what the cells have in common; `measured` is as `_measured` returns it."""
    corrupted = measured[measured["compared"] & measured["severity"].ne(0)]
    cells = corrupted.assign(cell=corrupted[RUN_ID].map(cell_of_run))
    with_condition, with_corruption = (cells.groupby(key)["cell"].nunique() for key in (_CONDITION, "corruption"))
    most = with_corruption.reindex(with_condition.index.get_level_values("corruption")).to_numpy()
    return SharedConditions(with_condition == most, with_corruption == cells["cell"].nunique())


def _notes_on_means(place: tuple[str, str], shared: SharedConditions) -> Iterator[str]:
    """Yield a sentence if means leave out conditions."""
    names = [
        *(
            f"{name} of severity {severity}"
            for (name, severity), everywhere in shared.conditions.items()
            if not everywhere
        ),
        *(str(name) for name, everywhere in shared.corruptions.items() if not everywhere),
    ]
    if names:
        yield (
            f"means over corrupted images of {', '.join(place)} leave out {some(names)}, because some methods or "
            "ratios were not measured on them"
        )


def _condition_recalls(counts: pd.DataFrame, shared: SharedConditions) -> ConditionRecalls:
    """Return the recalls of the networks of one data set and model, which were measured on the same images."""
    conditions = counts[_CONDITION].drop_duplicates().sort_values(_CONDITION)
    index = pd.MultiIndex.from_frame(conditions)
    classes = np.array(list(dict.fromkeys(counts["class"])), dtype=object)
    run_ids = list(dict.fromkeys(counts[RUN_ID]))
    positions = (
        pd.Index(run_ids).get_indexer(counts[RUN_ID]),
        index.get_indexer(pd.MultiIndex.from_frame(counts[_CONDITION])),
        pd.Index(classes).get_indexer(counts["class"]),
    )
    support, right, right_top5 = np.full((3, len(run_ids), len(index), len(classes)), np.nan)
    for array, name in ((support, "support"), (right, "right"), (right_top5, "right_top5")):
        array[positions] = counts[name]
    images = np.nansum(support, -1)
    with np.errstate(invalid="ignore"):
        top1, top5 = (np.nansum(array, -1) / images for array in (right, right_top5))
        recall = right / support
    names = [(corruption, str(severity)) for corruption, severity in index]
    rows = {run_id: row for row, run_id in enumerate(run_ids)}
    condition_recalls = ConditionRecalls(
        rows, names, classes, recall, top1, top5, np.nan_to_num(support).max(0), np.zeros(top1.shape, bool)
    )
    condition_recalls = _with_means(condition_recalls, shared)
    return condition_recalls._replace(at_chance=_at_chance(condition_recalls))


def _at_chance(condition_recalls: ConditionRecalls) -> np.ndarray:
    """Return whether each network is at chance under each condition, (networks, conditions)."""
    columns = []
    each_condition = zip(
        condition_recalls.recall.swapaxes(0, 1), condition_recalls.top1.T, condition_recalls.support, strict=True
    )
    for recall, accuracy, support in each_condition:
        has = support > 0
        recalls = Recalls(np.nan_to_num(recall[:, has]), np.nan_to_num(accuracy))
        columns.append(at_chance(recalls, support[has], len(support)))
    return np.stack(columns, axis=1)


def _with_means(single: ConditionRecalls, shared: SharedConditions) -> ConditionRecalls:
    """Add the mean over the severities of each corruption, and the mean of these means."""
    conditions = [(name, str(severity)) for name, severity in shared.conditions.index[shared.conditions]]
    means = []
    for name in dict.fromkeys(corruption for corruption, _ in conditions):
        if shared.corruptions[name]:
            means.append(len(single.conditions))
        single = _with_mean(
            single, (name, MEAN), [single.conditions.index(each) for each in conditions if each[0] == name]
        )
    return _with_mean(single, (ALL, MEAN), means) if len(means) > 1 else single


def _with_mean(single: ConditionRecalls, condition: tuple[str, str], indices: list[int]) -> ConditionRecalls:
    """Add the mean over some conditions, given by index, as a further condition."""

    def added(shares: np.ndarray) -> np.ndarray:
        return np.concatenate([shares, shares[:, indices].mean(1, keepdims=True)], axis=1)

    return single._replace(
        conditions=[*single.conditions, condition],
        recall=added(single.recall),
        top1=added(single.top1),
        top5=added(single.top5),
        support=np.concatenate([single.support, single.support[indices[:1]]]),
    )


def _rows(study: RunArrays, rows_of_cell: np.ndarray, condition_recalls: ConditionRecalls) -> list[dict[str, Any]]:
    """Return the rows of `corruptions` for a cell."""
    dense_ids, run_ids = (study.runs[name].to_numpy(object) for name in (schema.DENSE_RUN_ID, RUN_ID))
    row_of_run = condition_recalls.rows
    measured_rows = np.array(
        [row for row in rows_of_cell if dense_ids[row] in row_of_run and run_ids[row] in row_of_run], dtype=int
    )
    if not len(measured_rows):
        return []
    none, controlled = study.controls, study.with_control(measured_rows)
    controlled = np.array([row for row in controlled if run_ids[none[row]] in row_of_run], dtype=int)
    pairs = _pair(condition_recalls, dense_ids[measured_rows], run_ids[measured_rows])
    of_control = _pair(condition_recalls, dense_ids[controlled], run_ids[none[controlled]])
    own_controls = _pair(condition_recalls, run_ids[none[controlled]], run_ids[controlled])
    compared = ("control", *own_controls) if len(controlled) else ("dense", *pairs)
    cell = cell_names(study, measured_rows[0])
    rows = []
    for index, (corruption, severity) in enumerate(condition_recalls.conditions):
        row = _compare(condition_recalls, index, *pairs)
        if row["n"]:
            control = _classes(condition_recalls, index, *of_control)
            rows.append(
                {
                    **cell,
                    "corruption": corruption,
                    "severity": severity,
                    **row,
                    **_classes(condition_recalls, index, *pairs),
                    "alpha_none": control["alpha"],
                    "largest_excess_none": control["largest_excess"],
                    **_systematic_cost(condition_recalls, index, *compared),
                }
            )
    return rows


def _pair(condition_recalls: ConditionRecalls, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both networks of each pair, given their run ids."""
    first, second = (
        np.array([condition_recalls.rows[run_id] for run_id in side], dtype=int) for side in (before, after)
    )
    return first, second


def _compare(
    condition_recalls: ConditionRecalls, condition: int, before: np.ndarray, after: np.ndarray
) -> dict[str, float]:
    """Compare the accuracies of pairs of networks under a condition."""
    columns: dict[str, float] = {}
    for name, accuracies in (("top1", condition_recalls.top1), ("top5", condition_recalls.top5)):
        sides = accuracies[before, condition], accuracies[after, condition]
        is_measured = np.isfinite(sides).all(0)
        change = relative_change(*sides)
        columns |= {
            "n": int(is_measured.sum()),
            f"{name}_dense": mean(sides[0][is_measured]),
            name: mean(sides[1][is_measured]),
            f"{name}_norm": change.change,
            f"{name}_norm_low": change.low,
            f"{name}_norm_high": change.high,
        }
    return columns


class RelativeChange(NamedTuple):
    """A change in % of the value before, with its interval over networks (NaN for fewer than two)."""

    change: float
    low: float
    high: float


def relative_change(before: ArrayLike, after: ArrayLike, confidence: float = 0.95) -> RelativeChange:
    """Compute 100 (mean after - mean before) / mean before (Hooker et al. 2019, Section 4).

    Parameters
    ----------
    before, after : (networks,)
        Accuracy of each network before and after compression, on the same images. A pair with a NaN is left out.
    confidence : float
        Confidence of the interval, which is computed from the residuals after - ratio * before of the pairs, where
        ratio is mean after / mean before.

    Returns
    -------
    RelativeChange
        NaN without a pair, or if the mean before is 0.

    Examples
    --------
    The mean accuracy falls from .5 to .4:

    >>> found = relative_change([0.4, 0.6], [0.3, 0.5])
    >>> round(found.change, 6)
    -20.0
    >>> [round(float(end), 1) for end in (found.low, found.high)]
    [-70.8, 30.8]
    """
    pairs = np.stack([np.asarray(before, float), np.asarray(after, float)])
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    if not pairs.size:
        return RelativeChange(np.nan, np.nan, np.nan)
    first, second = pairs
    ratio = float(quotient(second.mean(), first.mean()))
    low, high = quotient(mean_interval(second - ratio * first, confidence), first.mean())
    return RelativeChange(*(float(100 * (ratio - 1 + end)) for end in (0.0, low, high)))


def _classes(
    condition_recalls: ConditionRecalls, condition: int, before: np.ndarray, after: np.ndarray
) -> dict[str, Any]:
    """Return alpha and the largest excess loss of pairs of networks under a condition."""
    support = condition_recalls.support[condition]
    has = support > 0
    recalls = [
        Recalls(condition_recalls.recall[side, condition][:, has], condition_recalls.top1[side, condition])
        for side in (before, after)
    ]
    is_measured = np.isfinite([side.accuracy for side in recalls]).all(0)
    is_at_chance = is_measured & (
        condition_recalls.at_chance[before, condition] | condition_recalls.at_chance[after, condition]
    )
    slopes = alpha(*(side.balance for side in recalls))
    slopes = slopes[is_measured & ~is_at_chance & np.isfinite(slopes)]
    low, high = mean_interval(slopes)
    excess = excess_loss(*recalls)[is_measured]
    return {
        "n_at_chance": int(is_at_chance.sum()),
        "alpha": mean(slopes),
        "alpha_low": low,
        "alpha_high": high,
        "largest_excess": mean(excess.max(-1)) if len(excess) else np.nan,
        "worst_class": condition_recalls.classes[has][excess.mean(0).argmax()] if len(excess) else "",
    }


def _systematic_cost(
    condition_recalls: ConditionRecalls, condition: int, reference: str, before: np.ndarray, after: np.ndarray
) -> dict[str, Any]:
    """Return the class that loses most on average under a condition, and its cost."""
    has = condition_recalls.support[condition] > 0
    recalls = [condition_recalls.recall[side, condition][:, has] for side in (before, after)]
    is_measured = np.isfinite(recalls).all((0, 2))
    recalls = [side[is_measured] for side in recalls]
    names = ("cost", "cost_low", "cost_high", "cost_p")
    if len(recalls[0]) < 2:
        return {"reference": reference, "costliest_class": "", **dict.fromkeys(names, np.nan)}
    accuracies = (condition_recalls.top1[side, condition][is_measured, np.newaxis] for side in (before, after))
    balances = [recall - accuracy for recall, accuracy in zip(recalls, accuracies, strict=True)]
    worst = worst_of_recalls(balances[0] - balances[1])
    name = condition_recalls.classes[has][worst.place]
    return {"reference": reference, "costliest_class": name, **dict(zip(names, worst[1:], strict=True))}
