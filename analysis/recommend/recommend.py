"""Decide how far a model can be pruned within the user's limits, and give the command for that choice."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.common import arguments
from analysis.common.errors import StudyError
from analysis.compare import group_text, likely_losses
from analysis.recommend.result import PLACE, Recommendation, Recommendations
from analysis.rendering.formats import short_ratio
from analysis.report.verdict import on_workload, to_know, why_not
from analysis.runs import characteristics, checks, frames, pull, schema
from analysis.runs.frames import ReadPredictions
from analysis.statistics import limits as given_limits
from analysis.statistics.limits import Limits
from analysis.statistics.weak_networks import sentence
from analysis.study import operating_points
from analysis.study.arrays import common_support, dense_weakness
from analysis.study.decay_advice import decay_advice
from analysis.study.decision import Decision, Judged, class_rows, decision, rows_of, run_rows
from analysis.study.groups import GivenGroups
from analysis.study.joins import join
from analysis.study.labels import method_label
from analysis.study.operating_points import Preference
from analysis.study.settings import CONTROL, ITERATION, is_iterated
from analysis.study.study import ReportOptions, StudyData

Workload = tuple[str, str]


def recommend_ratio(
    experiment: str | None = None,
    *,
    max_accuracy_loss: float | None = 1.0,
    max_class_loss: float | None = 5.0,
    max_alpha: float | None = None,
    tracking_uri: str | None = None,
    ignore_params: Sequence[str] = (),
    groups: GivenGroups | None = None,
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
) -> Recommendations:
    """Recommend the largest pruning ratio within limits, for each model on each data set of an experiment.

    A report uses the same rule with the default limits of this function.

    Parameters
    ----------
    experiment, tracking_uri, ignore_params
        As for `pull_runs`.
    max_accuracy_loss, max_class_loss : float, in [0, 100], optional
        Largest acceptable loss of the accuracy, and of the recall of any class, in percentage points: .5 is half a
        point. A limit above 0 and below .05 is refused, because it may be meant as a share. None means no limit.
    max_alpha : float, > 0, optional
        Largest acceptable alpha on new images. (On few test images, the usual alpha is mostly too low.)
    groups : str, Path, or mapping of str to path, optional
        File of groups of test images, for which the effects of the choice are reported too; a mapping gives a file
        for each data set. Groups do not influence the choice.
    min_accuracy : float, in [0, 1], optional
        A trade-off between sparsity and fairness is chosen among the levels with at least this mean accuracy; by
        default 0.98 or, if the dense networks do not reach 0.98, one point below their accuracy.
    fairness_value : float, >= 0, optional
        How many units of sparsity one unit less of unfairness is worth. Unfairness is the highest recall of
        any class minus the lowest. By default 100 for iterative pruning or if `min_accuracy` is given; otherwise no
        trade-off is chosen.

    Returns
    -------
    Recommendations
        A list with a recommendation for each data set and model. Each has `.verdict`, `.command` (which makes the
        recommended networks), `.tried` (a row for each method and ratio) and `.notes`. A notebook shows verdicts and
        tables; `.write(folder)` writes the tables.

    Raises
    ------
    StudyError
        If a limit is out of range, or if the experiment cannot be read or has no pruned networks.

    Examples
    --------
    >>> from analysis import recommend_ratio
    >>> (recommendation,) = recommend_ratio("small", max_accuracy_loss=2)
    >>> recommendation.tried[["pruner", "ratio"]].to_numpy().tolist()
    [['mp', 10.0]]
    """
    arguments.check(experiment=experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    arguments.check(max_accuracy_loss=max_accuracy_loss, max_class_loss=max_class_loss, max_alpha=max_alpha)
    arguments.check(groups=groups, min_accuracy=min_accuracy, fairness_value=fairness_value)
    limits = given_limits.in_points(max_class_loss, max_accuracy_loss, max_alpha)
    options = ReportOptions(groups=groups or (), min_accuracy=min_accuracy, fairness_value=fairness_value)
    runs = pull.pull_runs(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    quantized = frames.kinds(runs) == schema.QUANTIZED
    if quantized.all():
        raise StudyError("the networks of this experiment are quantized and not pruned: prune at some ratios first")
    runs = frames.rows(runs, ~quantized)
    if (runs[schema.PRUNER] == CONTROL).all():
        raise StudyError(f"the only pruner in this experiment is {CONTROL}: prune at some ratios first")
    notes = [*runs.attrs["left_out"], *_on_quantized(int(quantized.sum()))]
    on_test = partial(pull.predictions, tracking_uri=tracking_uri)
    dense = list(dict.fromkeys(runs[schema.DENSE_RUN_ID])) if is_iterated(runs).any() else []
    of_classes = pull.artifacts_of(dense, schema.CLASS_CHARACTERISTICS, tracking_uri=tracking_uri)
    study = StudyData(runs, on_test, characteristics=characteristics.TABLE.join(of_classes), options=options)
    notes += study.groups.notes
    # `mlflow run` names the experiment only in the environment of its own process, so the command has to name it.
    named = experiment or pull.experiment_name(tracking_uri=tracking_uri)
    asked = _Asked(partial(_command, experiment=named), partial(on_test, artifact=schema.VAL_PREDICTIONS))
    recommendations = {
        workload: _recommendation(rows, decision(study, workload, limits), study, asked, notes)
        for workload, rows in runs.groupby(PLACE)
        if (rows[schema.PRUNER] != CONTROL).any()
    }
    return Recommendations(recommendations, replace(study, predictions=None))


class _Asked(NamedTuple):
    """Functions for the results besides the decision: command and trade-off."""

    command_of: Callable[[pd.DataFrame], str]
    on_validation: ReadPredictions


def _command(cell: pd.DataFrame, experiment: str | None) -> str:
    """Return the call that makes the networks of a cell, as one of them has logged it, with the seeds of all."""
    logged = cell.reindex(columns=[schema.COMMAND])[schema.COMMAND].dropna()
    if logged.empty or not _is_call(str(logged.iloc[0])):
        return ""
    command = str(logged.iloc[0])
    if " --dense-run-id " not in command:  # such a run has one seed
        command = re.sub(r"(?<= --seed )\S+", _seeds(sorted({*cell[schema.SEED]})), command)
    return command + (f" --experiment {shlex.quote(experiment)}" if experiment else "")


def _is_call(command: str) -> bool:
    """Return whether a logged command is a call of `pruning-study` in which a shell finds nothing but words."""
    try:
        return command.startswith("pruning-study ") and shlex.join(shlex.split(command)) == command
    except ValueError:
        return False


def _seeds(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


def _on_quantized(number: int) -> Iterator[str]:
    if number:
        runs = checks.counted(pd.Series([schema.QUANTIZED]).repeat(number))
        yield f"{runs} left out, because the recommendation is on pruning; the report has the costs of number formats"


def _recommendation(
    runs: pd.DataFrame, decided: Decision, study: StudyData, asked: _Asked, left_out: Sequence[str]
) -> Recommendation:
    """Make the recommendation for one data set and model."""
    workload = runs[schema.DATASET].iloc[0], runs[schema.MODEL].iloc[0]
    sentences, notes = list(on_workload(workload, decided, study)), list(left_out)
    command, of_groups = "", pd.DataFrame()
    if decided.is_safe:
        command = asked.command_of(rows_of(decided.cell, runs, study))
        if not command:
            notes.append("The recommended networks do not say which command makes them.")
        if len(study.groups.groups):
            of_groups = rows_of(decided.cell, study.groups.groups, study).reset_index(drop=True)
            groupings = rows_of(decided.cell, study.groups.groupings, study)
            sentences += map(group_text.grouping, groupings.to_dict("records"))
    preference = operating_points.wanted_of(runs, study.options.preference)
    choice, pareto = _choice(runs, study.shown, preference, asked.on_validation) if preference else ("", pd.DataFrame())
    rows = run_rows(decided.cell, study)
    tried = pd.DataFrame([_row(judged, study) for judged in decided.tried])
    if (weak := dense_weakness(runs)).is_hopeless:
        tried["fails"] = sentence(weak)
    return Recommendation(
        " ".join([str(decided.limits), *sentences]),
        tried,
        [
            *notes,
            *_on_choice(decided, study),
            *([] if weak.is_hopeless else _likely(decided.limits, study, rows)),
            *decay_advice(runs),
            *to_know(runs),
        ],
        command,
        choice,
        pareto,
        of_groups,
    )


def _on_choice(decided: Decision, study: StudyData) -> Iterator[str]:
    """Warn that one of several methods was chosen on the same test images on which all of them were tested."""
    settings = [name for name in study.cell_key if name not in (schema.RATIO, ITERATION)]
    methods = len(pd.DataFrame([judged.cell[settings] for judged in decided.tried]).drop_duplicates())
    if decided.is_safe and methods > 1:
        yield (
            f"{methods} methods were tested on the same test images, each with a chance of at most 5 % to pass "
            "falsely, and one was chosen: before an important decision, confirm it on new networks."
        )


def _likely(limits: Limits, study: StudyData, rows: np.ndarray) -> Iterator[str]:
    """Return a sentence on what the limit of accuracy is likely to cost the weakest class."""
    arrays = study.arrays
    has = ~np.isnan(arrays.before[rows[0]])
    images = common_support(arrays.support[np.ix_(rows, has)])
    if images is None:
        return iter(())
    recall = arrays.before[np.ix_(rows, has)].mean(0)
    return likely_losses.sentence(list(arrays.names[has]), recall, images, limits.accuracy_loss)


def _row(judged: Judged, study: StudyData) -> dict[str, Any]:
    """Make a row of `Recommendation.tried`."""
    cell, rows = judged.cell, class_rows(study, judged.cell)
    axis = [ITERATION] if is_iterated(cell.to_frame().T).any() else []
    settings = [*(name for name in study.shown if name not in axis), schema.RATIO, *axis]
    costliest = rows.loc[rows["cost"].fillna(-np.inf).idxmax()]
    return {
        **cell[[schema.PRUNER, *settings]],
        "n": rows["n_reference"].iloc[0],
        "loss": judged.costs.own.accuracy().value[0] if judged.costs else np.nan,
        "loss_high": cell["accuracy_loss_upper"],
        "alpha": cell["alpha_mean"],
        "raw_slope": cell["raw_slope_mean"],
        "alpha_new": cell["alpha_new"],
        "alpha_new_high": cell["alpha_new_high"],
        "largest_excess": costliest["cost"],
        "largest_excess_high": rows["cost_upper_all"].max(),
        "largest_excess_class": costliest["class"],
        **_may_lose_most(judged),
        "fails": "" if judged.is_safe else why_not(judged),
    }


def _may_lose_most(judged: Judged) -> dict[str, Any]:
    """Return the class whose loss has the largest upper bound, with loss and bound."""
    losses = judged.costs.losses(judged.costs.own) if judged.costs else None
    if losses is None or not losses.names:
        return {"worst_class_loss": np.nan, "worst_class_loss_high": np.nan, "worst_class": ""}
    most = losses.mean.may_lose_most()
    return {
        "worst_class_loss": losses.mean.value[most],
        "worst_class_loss_high": losses.mean.upper()[most],
        "worst_class": losses.names[most],
    }


def _choice(
    runs: pd.DataFrame, shown_settings: Sequence[str], preference: Preference, predictions: ReadPredictions
) -> tuple[str, pd.DataFrame]:
    """Describe the best trade-off of sparsity and fairness, also on test images, and tabulate all choices."""
    trade_off = _trade_off(runs, shown_settings, preference, predictions)
    sentences = _describe(trade_off, preference, partial(method_label, shown=shown_settings))
    return " ".join(sentences), operating_points.table(trade_off.points)


class _TradeOff(NamedTuple):
    """The operating points, and the chosen ones on test images (None if test images were used to choose)."""

    points: pd.DataFrame
    best_on_test: pd.DataFrame | None


def _trade_off(
    runs: pd.DataFrame, shown_settings: Sequence[str], preference: Preference, predictions: ReadPredictions
) -> _TradeOff:
    """Choose on validation images, or on test images if a run lacks validation predictions."""
    test = operating_points.points(operating_points.on_test(runs, shown_settings), preference)
    networks = operating_points.on_validation(runs, predictions, shown_settings)
    if len(networks) < len(runs) + runs[schema.DENSE_RUN_ID].nunique():
        return _TradeOff(test, None)
    points = operating_points.points(networks, preference)
    key = [schema.PRUNER, schema.RATIO, *shown_settings]
    return _TradeOff(points, join(points.loc[points["recommended"], key], test, key))


def _describe(trade_off: _TradeOff, preference: Preference, label: Callable[[Mapping[str, Any]], str]) -> Iterator[str]:
    """Yield sentences on the images used to choose, the choice, and its values on test images."""
    points, best = trade_off
    flattering = f"test images, because not every run has {schema.VAL_PREDICTIONS}, so it looks better than it is"
    yield f"The trade-off was chosen on {flattering if best is None else 'validation images'}."
    yield from operating_points.sentences(points, preference, label)
    if best is None:
        return
    for row in best.to_dict("records"):
        which = f" with {label(row)} at ratio {short_ratio(row[schema.RATIO])}" if len(best) > 1 else ""
        yield f"On test images{which}, {operating_points.cost(row)}."
