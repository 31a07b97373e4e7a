"""Compare methods at the same accuracy; each network's ratio is chosen on validation images."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.report.methods import compare as methods
from analysis.runs import frames, schema
from analysis.runs.frames import ReadPredictions
from analysis.runs.primaries import ACCURACY, ALPHA, LOSS
from analysis.runs.validation_counts import FEWEST_RATIOS, ValidationRecalls
from analysis.statistics.hypothesis_tests import corrected
from analysis.study import settings
from analysis.study.arrays import run_arrays
from analysis.study.joins import join
from analysis.study.labels import method_label, need_all_digits
from analysis.study.predictions import StudyPredictions

# Methods are compared at target accuracies, which are these numbers of points below the control. A network's accuracy
# on validation images must be within `TOLERANCE` of the target.
POINTS_BELOW = (1.0, 3.0)
TOLERANCE = 0.005
# Accuracies on test images count as equal if both ends of the interval of their difference are closer to 0 than this.
EQUAL = 0.003
NONE = -1  # no ratio
BELOW = "points_below_control"
_PLACE = [schema.DATASET, schema.MODEL]
_RATIOS = [schema.RATIO, f"{schema.RATIO}_of_baseline"]
# At equal accuracy, alpha is redundant given the raw slope, and the largest loss given the largest excess loss.
_LEFT_OUT = (ALPHA, LOSS)
_NO_COLUMNS = {schema.RATIO, "primary", "alternative", "detectable_difference"}
_OF_METHODS = [
    name for name in methods.METHOD_COLUMNS if name not in _NO_COLUMNS and not name.startswith("at_equal_accuracy")
]
COLUMNS = [BELOW, *_OF_METHODS, *_RATIOS, "asked", "is_equal"]


def same_accuracy(
    runs: pd.DataFrame,
    validation: ValidationRecalls,
    predictions: ReadPredictions | StudyPredictions | None = None,
    *,
    baseline: str = "mp",
) -> pd.DataFrame:
    """Compare methods network by network, each network at the ratio that gives it the target accuracy.

    The target accuracy is some points below that of the network's control, which is fine-tuned in the same way but
    without pruning, distillation or mitigation. `nearest` chooses a ratio of the method for each network,
    on validation images; test images measure the outcomes. The chosen networks are compared as `compare.compare`
    compares the networks of one ratio.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it.
    validation : ValidationRecalls
        Recalls of the networks on validation images.
    predictions : callable or StudyPredictions, optional
        As for `compare.compare`.
    baseline : str
        The pruner with which the others are compared.

    Returns
    -------
    DataFrame, one row per accuracy, comparison and outcome
        points_below_control; the columns of `compare.compare` that do not depend on one ratio; and:

        - ratio, ratio_of_baseline: medians of the ratios chosen for the paired networks;
        - asked: the number of dense networks with a control that fits both methods; n: the number of those for which
          both methods have a chosen ratio and, for slopes, neither pruned network is at chance;
        - is_equal: whether the 95 % interval of the difference in test accuracy lies within `EQUAL` of 0.

        p_holm is corrected over all methods and data sets, separately for each accuracy and outcome. The frame is empty
        without a control, or if fewer than two methods have `FEWEST_RATIOS` ratios.
    """
    controls = _controls(runs, validation)
    candidates = _candidates(runs)
    shared_predictions = StudyPredictions.shared(predictions)
    comparisons = [
        _compare(candidates._replace(runs=chosen_runs), shared_predictions, baseline).assign(**{BELOW: points})
        for points in POINTS_BELOW
        if len(chosen_runs := _choose_runs(candidates.runs, controls, points, validation))
    ]
    if not comparisons:
        return pd.DataFrame(columns=COLUMNS)
    rows = pd.concat(comparisons, ignore_index=True)
    rows = rows.assign(asked=_count_asked(rows, candidates.runs, controls))
    families = rows.groupby([BELOW, "outcome"])["p"]
    return rows.assign(p_holm=families.transform(lambda p: corrected(p, len(p))[1]))[COLUMNS]


def choose_networks(runs: pd.DataFrame, validation: ValidationRecalls, points: float) -> pd.DataFrame:
    """Return the networks that `same_accuracy` compares at a number of points below the control.

    Returns
    -------
    DataFrame
        dataset, model, dense_run_id, run_id and `method`, the label of the pruner and its settings. Networks at chance
        are included.
    """
    chosen_runs = _choose_runs(_candidates(runs).runs, _controls(runs, validation), points, validation)
    return chosen_runs[[*_PLACE, schema.DENSE_RUN_ID, frames.RUN_ID, "method"]]


class _Methods(NamedTuple):
    """Runs of methods, and what their labels show.

    Attributes
    ----------
    runs : DataFrame
        The column `method` has the label of each run's method.
    shown : list of str
        Columns of the settings in the labels.
    exact : bool
        As `need_all_digits` returns it.
    """

    runs: pd.DataFrame
    shown: list[str]
    exact: bool


def _controls(runs: pd.DataFrame, validation: ValidationRecalls) -> pd.DataFrame:
    """Return the validation accuracy (`target`) of each control that is fine-tuned on the labels alone.

    The other columns are the control's dense run, and the settings that a method shares with its control.
    """
    control_settings = [name for name in settings.control_columns(runs) if name not in settings.OF_DISTILLATION]
    is_plain = runs[schema.PRUNER] == settings.CONTROL
    for name, absent in schema.ABSENT.items():
        if (column := frames.column(name)) in runs and column not in control_settings:
            is_plain &= runs[column].fillna(absent) == absent
    keys = [*control_settings, schema.DENSE_RUN_ID]
    plain = runs[is_plain].drop_duplicates(keys)
    return plain[keys].assign(target=plain[frames.RUN_ID].map(validation.accuracy))


def _candidates(runs: pd.DataFrame) -> _Methods:
    """Return the methods with enough ratios to choose from, labelled as in the rest of a report on all runs."""
    pruned_runs = runs[settings.is_pruned(runs) & ~settings.is_iterated(runs)]
    method = [*_PLACE, schema.PRUNER, *settings.further_settings(runs)]
    n_ratios = pruned_runs.groupby(method, dropna=False)[schema.RATIO].transform("nunique")
    pruned_runs = pruned_runs[n_ratios >= FEWEST_RATIOS]
    shown = settings.shown_settings(runs)
    name = [*_PLACE, schema.PRUNER, *shown]
    if len(pruned_runs[method].drop_duplicates()) > len(pruned_runs[name].drop_duplicates()):
        # Methods without a common ratio may share a name in the rest of a report, which never compares them.
        at_one_ratio = pruned_runs.assign(**{schema.RATIO: 1.0})
        shown = settings.shown_settings(pd.concat([runs, at_one_ratio], ignore_index=True))
    exact = need_all_digits(runs, shown)
    labels = [method_label(run, shown, exact=exact) for run in pruned_runs.to_dict("records")]
    return _Methods(pruned_runs.assign(method=labels), shown, exact)


def _choose_runs(
    runs: pd.DataFrame, controls: pd.DataFrame, points: float, validation: ValidationRecalls
) -> pd.DataFrame:
    """Return, for each method and dense network, the run at the chosen ratio."""
    candidates = join(runs, controls, list(controls.columns.drop("target")))
    candidates = candidates.assign(known=candidates[frames.RUN_ID].map(validation.accuracy)).dropna(
        subset=["known", "target"]
    )
    candidates = candidates.reset_index(drop=True).reset_index()
    chosen_rows = []
    index = [*_PLACE, schema.DENSE_RUN_ID]
    for _, own in candidates.groupby([*_PLACE, "method"], sort=False):
        wide = own.pivot_table(index=index, columns=schema.RATIO, values=["known", "index"], aggfunc="first")
        target = own.groupby(index)["target"].first().reindex(wide.index).to_numpy() - points / 100
        ratio_index = nearest(wide["known"].to_numpy(float), target, TOLERANCE)
        has = ratio_index != NONE
        chosen_rows += wide["index"].to_numpy()[has, ratio_index[has]].astype(int).tolist()
    return candidates.iloc[sorted(chosen_rows)].drop(columns=["index", "target", "known"]).reset_index(drop=True)


def _compare(chosen: _Methods, predictions: StudyPredictions | None, baseline: str) -> pd.DataFrame:
    """Compare chosen runs as if all had the same ratio."""
    arrays = run_arrays(chosen.runs.assign(**{schema.RATIO: chosen.runs[schema.RATIO].max()}))
    rows = methods.compare(replace(arrays, shown=chosen.shown, exact=chosen.exact), predictions, baseline=baseline)
    rows = _with_median_ratios(rows[~rows["outcome"].isin(_LEFT_OUT)], chosen.runs)
    accuracy = rows[rows["outcome"] == ACCURACY].set_index([*_PLACE, "comparison", "method", "baseline"])
    is_equal = (accuracy["difference_low"] > -EQUAL) & (accuracy["difference_high"] < EQUAL)
    return rows.merge(is_equal.rename("is_equal").reset_index(), on=list(is_equal.index.names), how="left")


def _with_median_ratios(rows: pd.DataFrame, chosen_runs: pd.DataFrame) -> pd.DataFrame:
    """Add the median ratios of both methods to comparisons, over the dense networks for which both have a ratio."""
    by_network = chosen_runs.set_index([*_PLACE, schema.DENSE_RUN_ID, "method"])[schema.RATIO].unstack()
    pairs = rows[[*_PLACE, "method", "baseline"]].drop_duplicates()
    medians = [
        by_network.loc[(dataset, model), [method, baseline]].dropna().median().to_list()
        for dataset, model, method, baseline in pairs.itertuples(index=False)
    ]
    return rows.drop(columns=schema.RATIO).merge(pairs.join(pd.DataFrame(medians, pairs.index, _RATIOS)))


def _count_asked(rows: pd.DataFrame, candidates: pd.DataFrame, controls: pd.DataFrame) -> list[int]:
    """Count, for each comparison, the dense networks with a control that is fine-tuned like both methods."""
    control_settings = list(controls.columns.drop([schema.DENSE_RUN_ID, "target"]))
    controlled = join(candidates[[*control_settings, "method"]].drop_duplicates(), controls, control_settings)
    dense = controlled.groupby([*_PLACE, "method"])[schema.DENSE_RUN_ID].agg(set)
    return [
        len(dense[dataset, model, method] & dense[dataset, model, baseline])
        for dataset, model, method, baseline in rows[[*_PLACE, "method", "baseline"]].itertuples(index=False)
    ]


def nearest(accuracy: np.ndarray, target: np.ndarray, tolerance: float) -> np.ndarray:
    """Find, for each network, the index of the ratio at which its accuracy is nearest to a target.

    The ratio with the nearest accuracy is chosen, not the largest ratio that reaches the target. The latter would be
    chosen partly by luck on the validation images, so its accuracy would tend to be lower on new images.

    Parameters
    ----------
    accuracy : (networks, ratios)
        Accuracy on validation images, with ratios ascending; NaN if a network was not pruned at a ratio.
    target : (networks,)
        The required accuracy; NaN if unknown.
    tolerance : float
        Largest accepted distance from the target.

    Returns
    -------
    (networks,), integers
        Index of the ratio, the smallest in a tie; `NONE` if no ratio is within the tolerance.

    Examples
    --------
    The first network's accuracies are .01 and .02 from its target. The second network has no accuracy within .03 of its
    target:

    >>> nearest(np.array([[0.91, 0.88], [0.99, 0.80]]), np.array([0.90, 0.90]), tolerance=0.03).tolist()
    [0, -1]
    """
    if not accuracy.shape[1]:
        return np.full(len(accuracy), NONE)
    distance = np.abs(accuracy - target[:, np.newaxis]).round(12)  # so that rounding errors do not break ties
    distance = np.where(np.isnan(distance), np.inf, distance)
    index = distance.argmin(1)
    return np.where(distance[np.arange(len(index)), index] <= tolerance, index, NONE)
