"""Operating points: compute sparsity, accuracy and unfairness at each level of pruning, and choose a level.

Unfairness is the highest recall of a class minus the lowest, or the mean recall minus the lowest (Paganini 2020,
Section 4.2). Accuracy and unfairness of a level are means over its networks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.rendering.formats import decimals, short_ratio, with_interval
from analysis.runs import frames, schema
from analysis.runs.frames import ReadPredictions
from analysis.statistics import pareto
from analysis.statistics.arithmetic import quotient
from analysis.statistics.resampling import mean_interval
from analysis.study import arrays
from analysis.study.joins import with_params
from analysis.study.settings import (
    CELL,
    CONTROL,
    ITERATION,
    in_number_format,
    is_iterated,
    is_of_dense,
    is_pruned,
)

PAPERS_ACCURACY, PAPERS_FAIRNESS_VALUE = 0.98, 100.0
DENSE = schema.DENSE  # value of dense networks in the column of pruners
ACCURACY, SPARSITY = "accuracy", schema.SPARSITY
UNFAIRNESS, BELOW_MEAN = "unfairness", "unfairness_mean_min"
MEASURED = (ACCURACY, UNFAIRNESS, BELOW_MEAN)
_MOST_LOSS = 0.01  # allowed loss of accuracy if the dense networks do not reach the paper's accuracy
_ROUNDED = 0.01  # smaller relative differences of ratios come from whole numbers of weights
_POINT = decimals(1)


class Preference(NamedTuple):
    """Criteria for choosing among networks.

    Attributes
    ----------
    min_accuracy : float, optional
        Levels with a lower accuracy are not chosen. By default it is the paper's 0.98 or, if the dense networks do not
        reach 0.98, one point below their accuracy.
    fairness_value : float
        How many units of sparsity one unit less of unfairness is worth.
    """

    min_accuracy: float | None = None
    fairness_value: float = PAPERS_FAIRNESS_VALUE


def preference(min_accuracy: float | None, fairness_value: float | None) -> Preference | None:
    """Return the preference given by two options, or None if neither is given.

    Raises
    ------
    StudyError
        If an option is out of range.
    """
    if min_accuracy is not None and not 0 <= min_accuracy <= 1:
        raise StudyError(f"{min_accuracy} must be between 0 and 1", option="min_accuracy")
    if fairness_value is not None and not 0 <= fairness_value < np.inf:
        raise StudyError(f"{fairness_value} must be a number of at least 0", option="fairness_value")
    if min_accuracy is None and fairness_value is None:
        return None
    return Preference(min_accuracy, PAPERS_FAIRNESS_VALUE if fairness_value is None else fairness_value)


def on_test(runs: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    """Tabulate the accuracy and unfairness of each pruned network, control and dense network on test images.

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it. Networks in another number format are left out.
    shown : sequence of str
        Columns of the shown settings, as `settings.shown_settings` returns them.

    Returns
    -------
    DataFrame, one row per network
        dataset, model, pruner (`dense` for a dense network), ratio, the shown settings, dense_run_id, run_id, sparsity,
        accuracy, unfairness, unfairness_mean_min.
    """
    runs = frames.rows(runs, ~in_number_format(runs))
    _, before, after = arrays.recalls(runs)
    return pd.concat(
        [
            _with_measures(_dense_networks(runs, shown), before[_first_of_dense(runs)], frames.ACCURACY_BEFORE),
            _with_measures(_pruned_networks(runs, shown), after, frames.ACCURACY_AFTER),
        ],
        ignore_index=True,
    )


def on_validation(runs: pd.DataFrame, predictions: ReadPredictions, shown: Sequence[str]) -> pd.DataFrame:
    """Tabulate the columns of `on_test` for validation images, for the networks that have predictions.

    Parameters
    ----------
    runs : DataFrame
        Runs of one data set and model, as `pull.pull_runs` returns them.
    predictions : callable
        Takes run ids and returns the runs' predictions for validation images.
    shown : sequence of str
        As in `on_test`.
    """
    runs = frames.rows(runs, ~in_number_format(runs))
    predictions_of_run = predictions(list(dict.fromkeys([*runs[schema.DENSE_RUN_ID], *runs[frames.RUN_ID]])))
    right = {
        run_id: (run[schema.LABEL], run[schema.PREDICTED] == run[schema.LABEL])
        for run_id, run in predictions_of_run.items()
    }
    classes = 1 + max((int(label.max()) for label, _ in right.values()), default=0)
    rows = pd.concat([_dense_networks(runs, shown), _pruned_networks(runs, shown)], ignore_index=True)
    rows = rows[rows[frames.RUN_ID].isin(right.keys())].reset_index(drop=True)
    recalls = np.full((len(rows), classes), np.nan)
    for index, run_id in enumerate(rows[frames.RUN_ID]):
        label, is_right = right[run_id]
        recalls[index] = quotient(
            np.bincount(label, is_right, minlength=classes), np.bincount(label, minlength=classes)
        )
    accuracy = [right[run_id][1].mean() for run_id in rows[frames.RUN_ID]]
    return _with_measures(rows.assign(**{ACCURACY: accuracy}), recalls, ACCURACY)


def _with_measures(rows: pd.DataFrame, recalls: np.ndarray, accuracy: str) -> pd.DataFrame:
    measures = {ACCURACY: rows[accuracy], UNFAIRNESS: pareto.spread(recalls), BELOW_MEAN: pareto.below_mean(recalls)}
    rows = rows.drop(columns=[frames.ACCURACY_BEFORE, frames.ACCURACY_AFTER, ACCURACY], errors="ignore")
    return rows.assign(**measures)


def _first_of_dense(runs: pd.DataFrame) -> np.ndarray:
    return np.flatnonzero(~runs.duplicated([*CELL[:2], schema.DENSE_RUN_ID]))


def _pruned_networks(runs: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    columns = [*CELL, *shown, schema.DENSE_RUN_ID, frames.RUN_ID]
    accuracies = [frames.ACCURACY_BEFORE, frames.ACCURACY_AFTER]
    return with_params(runs, [*columns, *accuracies]).assign(**{SPARSITY: sparsity(runs)})


def _dense_networks(runs: pd.DataFrame, shown: Sequence[str]) -> pd.DataFrame:
    """Make a row for each dense network, with empty pruning settings and iteration 0."""
    own = [name for name in shown if name in runs and is_of_dense(runs, name)]
    columns = [*CELL[:2], *own, schema.DENSE_RUN_ID, frames.ACCURACY_BEFORE]
    rows = runs.iloc[_first_of_dense(runs)][columns].reset_index(drop=True)
    rows[frames.RUN_ID] = rows[schema.DENSE_RUN_ID]
    rows = rows.assign(**{schema.PRUNER: DENSE, schema.RATIO: 1.0, SPARSITY: 0.0})
    return rows.assign(**{ITERATION: "0"}) if ITERATION in shown else rows


def sparsity(runs: pd.DataFrame) -> pd.Series:
    """Return the pruned share of the prunable weights or, if any pruned run has not logged it, of all parameters.

    Runs log the requested share. If the realized ratio is not the requested one, as with `up-signed`, the share is
    scaled by the number of pruned parameters.
    """
    requested = pd.to_numeric(runs.get(frames.column(schema.SPARSITY), pd.Series(np.nan, runs.index)))
    is_control = runs[schema.PRUNER] == CONTROL
    ratio = runs.get(schema.REALIZED_RATIO, runs[schema.RATIO]).fillna(runs[schema.RATIO])
    of_all, requested_of_all = 1 - 1 / ratio, 1 - 1 / runs[schema.RATIO]
    if requested[~is_control].isna().any():
        return of_all.mask(is_control, 0.0)
    is_realized = (ratio / runs[schema.RATIO] - 1).abs() < _ROUNDED
    return requested.where(is_realized, requested * of_all / requested_of_all).mask(is_control, 0.0)


def points(networks: pd.DataFrame, wanted: Preference) -> pd.DataFrame:
    """Average over the networks of each level, find the Pareto fronts, and recommend a level.

    Parameters
    ----------
    networks : DataFrame
        As `on_test` returns it.
    wanted : Preference

    Returns
    -------
    DataFrame, one row per level of a method
        dataset, model, pruner, ratio, the shown settings, sparsity, and:

        - networks: number of networks.
        - accuracy, unfairness, unfairness_mean_min: means over the networks, with 95 % intervals (`_low`, `_high`; NaN
          for one network).
        - min_accuracy: the required accuracy.
        - meets_floor: whether the mean accuracy is at least min_accuracy.
        - on_front_2d: whether the level is pruned, reaches min_accuracy and is on the Pareto front of high sparsity and
          low unfairness.
        - on_front_3d: the same for the Pareto front of high sparsity, high accuracy and low unfairness_mean_min.
          min_accuracy serves to exclude networks at chance, which would be the fairest.
        - value: sparsity minus `fairness_value` times unfairness.
        - recommended: whether the value is the largest on the 2-D front. Several levels may tie.

        Dense networks and the control are included for comparison, but are on no front.
    """
    lacking = {SPARSITY, schema.DENSE_RUN_ID, frames.RUN_ID, *MEASURED}
    key = [name for name in networks.columns if name not in lacking]
    levels = networks.groupby(key, dropna=False, sort=False)
    rows = []
    for _, own in levels:
        row = own.iloc[0][key].to_dict() | {SPARSITY: own[SPARSITY].mean(), "networks": len(own)}
        for name in MEASURED:
            low, high = mean_interval(own[name])
            row |= {name: own[name].mean(), f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    all_points = pd.DataFrame(rows)
    return pd.concat([_chosen(own, wanted) for _, own in all_points.groupby(CELL[:2], sort=False)], ignore_index=True)


def _chosen(rows: pd.DataFrame, wanted: Preference) -> pd.DataFrame:
    """Mark the fronts and the recommendation among the levels of one data set and model."""
    floor = least_accuracy(rows, wanted)
    is_pruned = ~rows[schema.PRUNER].isin([DENSE, CONTROL]).to_numpy()
    meets_floor = (rows[ACCURACY] >= floor).to_numpy()
    sparsity, accuracy, unfairness, below_mean = (
        rows[name].to_numpy(float) for name in (SPARSITY, ACCURACY, UNFAIRNESS, BELOW_MEAN)
    )
    counts = is_pruned & meets_floor
    front_2d = _front(counts, sparsity, -unfairness)
    worth = pareto.value(sparsity, unfairness, wanted.fairness_value)
    return rows.assign(
        min_accuracy=floor,
        meets_floor=meets_floor,
        on_front_2d=front_2d,
        on_front_3d=_front(counts, sparsity, accuracy, -below_mean),
        value=worth,
        recommended=pareto.best(worth, front_2d),
    )


def _front(candidates: np.ndarray, *goods: np.ndarray) -> np.ndarray:
    on_front = np.zeros(len(candidates), dtype=bool)
    on_front[candidates] = pareto.front(np.column_stack(goods)[candidates])
    return on_front


def least_accuracy(rows: pd.DataFrame, wanted: Preference) -> float:
    """Return the accuracy required of the networks of one data set and model."""
    if wanted.min_accuracy is not None:
        return wanted.min_accuracy
    dense = float(rows.loc[rows[schema.PRUNER] == DENSE, ACCURACY].max())
    return PAPERS_ACCURACY if not dense < PAPERS_ACCURACY else dense - _MOST_LOSS


def table(points: pd.DataFrame) -> pd.DataFrame:
    """Arrange points as in `pareto.csv`: settings named by their params, iterations as numbers, and sorted rows."""
    points = points.rename(columns=frames.param)
    leading = [*CELL[:3], schema.WEIGHT_TREATMENT, schema.KEEP, schema.ITERATION]
    settings = [name for name in points.columns[: list(points.columns).index(SPARSITY)] if name not in CELL]
    order = [name for name in [*leading, *settings, schema.RATIO] if name in points]
    columns = list(dict.fromkeys([*order, *points.columns]))
    columns = [name for name in columns if name != "networks"]
    columns.insert(columns.index("min_accuracy"), "networks")
    if schema.ITERATION in points:
        iteration = pd.to_numeric(points[schema.ITERATION], errors="coerce").astype("Int64")
        points = points.assign(**{schema.ITERATION: iteration})
    return points[columns].sort_values(
        [name for name in order if name != schema.KEEP], kind="stable", ignore_index=True
    )


def sentences(rows: pd.DataFrame, wanted: Preference, named: Callable[[Mapping[str, Any]], str]) -> Iterator[str]:
    """Yield sentences on the recommended points of one data set and model, and on the dense networks.

    Parameters
    ----------
    rows : DataFrame
        As `points` returns them.
    wanted : Preference
    named : callable
        Accepts a point and returns the name of its method.
    """
    floor, dense = rows["min_accuracy"].iloc[0], rows[rows[schema.PRUNER] == DENSE]
    chosen = rows[rows["recommended"]]
    if chosen.empty:
        best = rows.loc[~rows[schema.PRUNER].isin([DENSE, CONTROL]), ACCURACY].max()
        yield (
            f"No pruned level reaches an accuracy of {_percent(floor)}: the most accurate level has {_percent(best)}, "
            f"and the dense networks have {_percent(dense[ACCURACY].max())}. Choose a lower --min-accuracy."
        )
        return
    names = [f"{named(row)} at ratio {short_ratio(row[schema.RATIO])}" for row in chosen.to_dict("records")]
    worth = f"fairness is worth {wanted.fairness_value:g} times as much as sparsity"
    yield f"With an accuracy of at least {_percent(floor)}, and if {worth}, choose {' or '.join(names)}."
    for name, row in zip(names, chosen.to_dict("records"), strict=True):
        yield f"With {name if len(names) > 1 else 'it'}, {cost(row)}."
    for row in dense.to_dict("records"):
        which = f" ({named(row)})" if len(dense) > 1 else ""
        apart = in_points(row, UNFAIRNESS)
        yield f"In the dense networks{which}, the highest recall of a class is {apart} points above the lowest."


def cost(row: Mapping[str, Any]) -> str:
    """Describe a point's sparsity, accuracy and unfairness, with 95 % intervals over networks."""
    return (
        f"{_percent(row[SPARSITY])} of the weights are pruned, the accuracy is {in_points(row, ACCURACY)} %, and the "
        f"highest recall of a class is {in_points(row, UNFAIRNESS)} points above the lowest"
    )


def _percent(share: float) -> str:
    return f"{_POINT(100 * share)} %"


def in_points(row: pd.Series | Mapping[str, Any], name: str) -> str:
    """Write a share and its interval in points. The interval is clipped to 0 to 100."""
    value, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    low, high = np.clip([low, high], 0, 100)
    return with_interval(value, low, high, _POINT)


def wanted_of(runs: pd.DataFrame, preference: Preference | None) -> Preference | None:
    """Return the preference by which a level is recommended, or None if no level is to be recommended.

    Without the user's `preference`, a level is recommended only for iterative pruning, by the default preference.
    """
    pruned = runs[is_pruned(runs)]
    if pruned.empty or not (preference or is_iterated(pruned).any()):
        return None
    return preference or Preference()
