"""How far a model can be pruned: the largest ratio that surely stays within limits of what pruning may cost."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from analysis.common.errors import StudyError
from analysis.recommend import agreement
from analysis.recommend import bounds as validation
from analysis.recommend.bounds import CellLosses
from analysis.recommend.prune_command import prune_command
from analysis.recommend.result import PLACE, Recommendation, Recommendations
from analysis.rendering.formats import decimals, short_ratio, with_interval
from analysis.report.verdict import costs, to_know
from analysis.runs import characteristics, checks, frames, pull, schema
from analysis.runs.frames import ReadPredictions
from analysis.statistics.groups import ImageGroups
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.promises import promises
from analysis.statistics.resampling import mean_interval
from analysis.study import operating_points
from analysis.study.arrays import control_rows, run_arrays
from analysis.study.decay_advice import decay_advice
from analysis.study.groups import GivenGroups, Grouped, files_of_datasets, read_groups, sentence
from analysis.study.groups import groups as by_group
from analysis.study.joins import is_alike, join
from analysis.study.labels import method_label
from analysis.study.operating_points import Preference
from analysis.study.settings import CONTROL, ITERATION, is_iterated
from analysis.study.study import StudyData

# Recalls that were rounded to three digits differ by less.
_SAME_RECALL = 0.001
_CHANCE, _PROMISES = "all_at_chance", "promises"


class Tolerances(NamedTuple):
    """The most that accuracy may fall, alpha on new images may be, and a class may lose."""

    accuracy_loss: float
    alpha: float
    class_loss: float | None = None

    def __str__(self) -> str:
        limits = f"accuracy loss {self.accuracy_loss:g}, alpha {self.alpha:g}"
        return limits if self.class_loss is None else f"{limits}, class loss {self.class_loss:g}"


def recommend(
    experiment: str | None = None,
    *,
    max_accuracy_loss: float = 0.01,
    max_alpha: float = 1.0,
    max_class_loss: float | None = None,
    min_accuracy: float | None = None,
    fairness_value: float | None = None,
    tracking_uri: str | None = None,
    ignore_params: Sequence[str] = (),
    groups: GivenGroups = (),
) -> Recommendations:
    """Choose a pruner, its settings and a ratio on validation images, and report the choice on test images.

    Parameters, result and errors are those of `analysis.recommend_ratio`.
    """
    if not 0 <= max_accuracy_loss < 1:
        raise StudyError(f"{max_accuracy_loss} should be at least 0 and below 1", option="max_accuracy_loss")
    if not 0 < max_alpha < math.inf:
        raise StudyError(f"{max_alpha} should be a number above 0", option="max_alpha")
    if max_class_loss is not None and not 0 <= max_class_loss <= 1:
        raise StudyError(f"{max_class_loss} should be between 0 and 1", option="max_class_loss")
    preference = operating_points.preference(min_accuracy, fairness_value)
    runs = pull.runs(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    quantized = frames.kinds(runs) == schema.QUANTIZED
    if quantized.all():
        raise StudyError("the networks of this experiment are quantised and not pruned: prune at some ratios first")
    runs = frames.rows(runs, ~quantized)
    if (runs[schema.PRUNER] == CONTROL).all():
        raise StudyError(f"the only pruner in this experiment is {CONTROL}: prune at some ratios first")
    notes = [*runs.attrs["left_out"], *_on_quantized(int(quantized.sum()))]
    on_test = partial(pull.predictions, tracking_uri=tracking_uri)
    on_validation = partial(on_test, artifact=schema.VAL_PREDICTIONS)
    files = files_of_datasets(groups, list(dict.fromkeys(runs[schema.DATASET])))
    image_groups = read_groups(files, runs, on_test)
    tolerances = Tolerances(max_accuracy_loss, max_alpha, max_class_loss)
    is_regressed = is_iterated(runs).any()
    study = StudyData(
        runs,
        on_test,
        characteristics=characteristics.pulled(runs, tracking_uri=tracking_uri) if is_regressed else None,
    )
    recommendations = {
        workload: _recommendation(
            rows,
            study.shown,
            tolerances,
            on_validation,
            class_names(rows, on_test),
            notes.copy(),
            partial(prune_command, experiment=experiment, tracking_uri=tracking_uri),
            partial(_on_groups, predictions=on_test, image_groups=image_groups),
            operating_points.wanted_of(rows, preference),
            partial(_use, workload, study=study),
            partial(_beside_the_verdict, workload, tolerances=tolerances, study=study),
        )
        for workload, rows in runs.groupby(PLACE)
        if (rows[schema.PRUNER] != CONTROL).any()
    }
    return Recommendations(recommendations, replace(study, predictions=None))


def _on_quantized(number: int) -> Iterator[str]:
    if number:
        runs = checks.counted(pd.Series([schema.QUANTIZED]).repeat(number))
        yield f"{runs} left out: this chooses how far to prune; the report has what a number format costs"


def _recommendation(
    runs: pd.DataFrame,
    shown_settings: Sequence[str],
    tolerances: Tolerances,
    predictions: ReadPredictions,
    names: Mapping[int, str],
    notes: list[str],
    command_of: Callable[[pd.DataFrame], str],
    on_groups: Callable[[pd.DataFrame, pd.DataFrame], Grouped],
    preference: Preference | None,
    use_of: Callable[[pd.Series], str],
    beside_verdict: Callable[[pd.DataFrame, pd.Series | None], Iterator[str]],
) -> Recommendation:
    """Return the recommendation for the runs of one data set and model; `notes` gets further sentences."""
    command, of_groups = "", pd.DataFrame()
    judgements = _judge_cells(runs, shown_settings, tolerances, predictions, names, notes)
    passing = judgements[judgements["fails"] == ""].sort_values([schema.RATIO, "loss"], ascending=[False, True])
    if passing.empty:
        sentences = _nothing_passes(judgements, shown_settings, tolerances)
    else:
        best_runs = runs[runs[frames.RUN_ID].isin(passing.iloc[0]["run_ids"])]
        command = command_of(best_runs)
        if not command:
            notes.append("No single command makes the recommended networks: they were pruned several times.")
        group_results = on_groups(best_runs, runs)
        of_groups = group_results.groups
        best = passing.iloc[0]
        parts = [use_of(best), _on_validation_images(best), _on_test_images(best_runs, runs)]
        sentences = " ".join([*parts, *map(sentence, group_results.groupings.to_dict("records"))])
    name = f"{runs[schema.MODEL].iloc[0]} on {runs[schema.DATASET].iloc[0]}"
    choice, pareto = _choice(runs, shown_settings, preference, predictions) if preference else ("", pd.DataFrame())
    notes[:0] = beside_verdict(judgements, None if passing.empty else passing.iloc[0])
    of_promises = judgements[_PROMISES].loc[judgements.index[-1] if passing.empty else passing.index[0]]
    judgements = judgements.drop(columns=["run_ids", _CHANCE, _PROMISES])
    notes += [*decay_advice(runs), *to_know(runs), *_on_offsets(runs)]
    return Recommendation(f"{name}: {sentences}", judgements, notes, command, choice, pareto, of_groups, of_promises)


def _use(workload: tuple[str, str], row: pd.Series, *, study: StudyData) -> str:
    """Say what to use, what it costs on test images, and which classes pay, as a report's verdict does."""
    workload_cells = study.cells[(study.cells[PLACE] == list(workload)).all(axis=1)]
    cell = workload_cells[is_alike(workload_cells, row, [schema.PRUNER, schema.RATIO, *study.shown])].iloc[0]
    cost_sentences = costs(cell, study) if cell["n"] else ()
    return " ".join(
        [f"use {method_label(row, study.shown)} at ratio {short_ratio(row[schema.RATIO])}.", *cost_sentences]
    )


def _beside_the_verdict(
    workload: tuple[str, str],
    judgements: pd.DataFrame,
    best: pd.Series | None,
    *,
    tolerances: Tolerances,
    study: StudyData,
) -> Iterator[str]:
    """Say where a report's verdict differs; of networks at chance nothing."""
    if not judgements[_CHANCE].all():
        yield from agreement.sentences(agreement.agreement(workload, judgements, best, study), str(tolerances), study)


def _on_offsets(runs: pd.DataFrame) -> Iterator[str]:
    offsets = frames.column(schema.CLASS_OFFSETS)
    if offsets in runs and (runs[offsets].fillna("none") != "none").any():
        yield (
            "Class offsets were fitted to the validation images that choose here: there these networks look better "
            "than they are, and their bounds are too low. Judge them by the test images."
        )


def _choice(
    runs: pd.DataFrame, shown_settings: Sequence[str], preference: Preference, predictions: ReadPredictions
) -> tuple[str, pd.DataFrame]:
    """Return the best trade-off of sparsity and fairness in words, and all points; test images report on it."""
    trade_off = _trade_off(runs, shown_settings, preference, predictions)
    sentences = _describe(trade_off, preference, partial(method_label, shown=shown_settings))
    return " ".join(sentences), operating_points.table(trade_off.points)


class _TradeOff(NamedTuple):
    """The points that a choice is made from, and what the chosen ones are on test images; None if it is made there."""

    points: pd.DataFrame
    best_on_test: pd.DataFrame | None


def _trade_off(
    runs: pd.DataFrame, shown_settings: Sequence[str], preference: Preference, predictions: ReadPredictions
) -> _TradeOff:
    """Choose on validation images, or on test images where a run lacks the others."""
    test = operating_points.points(operating_points.on_test(runs, shown_settings), preference)
    networks = operating_points.on_validation(runs, predictions, shown_settings)
    if len(networks) < len(runs) + runs[schema.DENSE_RUN_ID].nunique():
        return _TradeOff(test, None)
    points = operating_points.points(networks, preference)
    key = [schema.PRUNER, schema.RATIO, *shown_settings]
    return _TradeOff(points, join(points.loc[points["recommended"], key], test, key))


def _describe(trade_off: _TradeOff, preference: Preference, label: Callable[[Mapping[str, Any]], str]) -> Iterator[str]:
    """Say on which images the choice was made, what it is, and what it is on test images."""
    points, best = trade_off
    flattering = f"test images, which flatters it, since {schema.VAL_PREDICTIONS} is not in every run"
    yield f"Trade-off, chosen on {flattering if best is None else 'validation images'}."
    yield from operating_points.sentences(points, preference, label)
    if best is None:
        return
    for row in best.to_dict("records"):
        which = f" with {label(row)} at ratio {short_ratio(row[schema.RATIO])}" if len(best) > 1 else ""
        yield f"On test images{which}, {operating_points.cost(row)}."


def _judge_cells(
    runs: pd.DataFrame,
    shown_settings: Sequence[str],
    tolerances: Tolerances,
    predictions: ReadPredictions,
    names: Mapping[int, str],
    notes: list[str],
) -> pd.DataFrame:
    """Return `Recommendation.tried`, the ids of the runs, and whether all networks of a row are at chance.

    The rows are every method, ratio by ratio up to its first failure.
    """
    columns = [schema.PRUNER, *shown_settings]
    axis = [ITERATION] if is_iterated(runs).any() else []
    of_method = [name for name in columns if name not in axis]
    methods = runs[runs[schema.PRUNER] != CONTROL].groupby(of_method, dropna=False)
    level = LEVEL / methods.ngroups
    rows: list[dict[str, Any]] = []
    for _, method in tqdm(methods, desc="recommend", unit=" methods", leave=False, disable=None):
        for _, cell in method.groupby([schema.RATIO, *axis]):
            losses = validation.measure(validation.answers(cell, predictions, notes), level)
            judgement = judge(losses, tolerances, names)
            settings = cell.iloc[0][[*columns, schema.RATIO]].to_dict()
            all_at_chance = losses.n_at_chance > 0 and not losses.n
            further = {"run_ids": list(cell[frames.RUN_ID]), _CHANCE: all_at_chance, _PROMISES: _promises(losses)}
            rows.append({**settings, **judgement, **further})
            if judgement["fails"]:
                break
    return pd.DataFrame(rows)


def _promises(losses: CellLosses) -> pd.DataFrame:
    """Return what promises on all classes take, by the networks of a cell; empty if they are fewer than two."""
    if losses.changes is None or losses.n < 2:
        return pd.DataFrame()
    return promises(losses.changes, float(losses.images))


def judge(losses: CellLosses, tolerances: Tolerances, names: Mapping[int, str]) -> dict[str, Any]:
    """Hold a cell against the limits.

    Each bound has the whole level: a cell that is beyond one limit at least passes only if that one bound is too low
    (intersection-union test).

    Parameters
    ----------
    losses : Measured
    tolerances : Limits
    names : mapping of int to str
        Names of classes, by label.

    Returns
    -------
    dict
        n, loss, loss_high, alpha, raw_slope, alpha_new, alpha_new_high, largest_excess, largest_excess_high,
        largest_excess_class; worst_class, the class that may lose most, its loss worst_class_loss and its bound
        worst_class_loss_high; and fails, empty if all bounds are within the limits.
    """
    largest = losses.largest_excess
    return {
        "n": losses.n,
        "loss": losses.loss.value,
        "loss_high": losses.loss.high,
        "alpha": losses.alpha,
        "raw_slope": losses.raw_slope,
        "alpha_new": losses.alpha_new.value,
        "alpha_new_high": losses.alpha_new.high,
        "largest_excess": largest.value,
        "largest_excess_high": largest.high,
        "largest_excess_class": next(
            (_class_name(label, names) for label, excess in losses.excess.items() if excess.value == largest.value), ""
        ),
        **_worst_class(losses, names),
        "fails": " and ".join(_failures(losses, tolerances, names)),
    }


def _worst_class(losses: CellLosses, names: Mapping[int, str]) -> dict[str, Any]:
    """Return the loss of the class that may lose most, its bound and its name."""
    if not losses.class_loss:
        return {"worst_class_loss": np.nan, "worst_class_loss_high": np.nan, "worst_class": ""}
    label, loss = losses.worst_class
    return {
        "worst_class_loss": loss.value,
        "worst_class_loss_high": loss.high,
        "worst_class": _class_name(label, names),
    }


def _failures(losses: CellLosses, tolerances: Tolerances, names: Mapping[int, str]) -> Iterator[str]:
    """Yield why a cell cannot be recommended."""
    if losses.n_at_chance:
        yield f"{losses.n_at_chance} of {losses.n + losses.n_at_chance} pruned networks are at chance"
    elif losses.n < 2:
        yield "one seed says nothing for sure, make more" if losses.n else "all dense networks are at chance"
    else:
        yield from _exceeds("the accuracy loss", losses.loss.high, tolerances.accuracy_loss)
        yield from _exceeds("alpha", losses.alpha_new.high, tolerances.alpha)
        if tolerances.class_loss is not None:
            label, worst = losses.worst_class
            yield from _exceeds(f"the loss of class {_class_name(label, names)}", worst.high, tolerances.class_loss)


def _exceeds(name: str, high: float, limit: float) -> Iterator[str]:
    if np.isnan(high):
        yield f"{name} is not known from so few images or seeds"
    elif high > limit:
        yield f"{name} may be {high:.3f}, which is {high - limit:.3f} above the limit {limit:g}"


def _class_name(label: int, names: Mapping[int, str]) -> str:
    return names.get(label, str(label))


def class_names(runs: pd.DataFrame, predictions: ReadPredictions) -> dict[int, str]:
    """Return the names of classes by label.

    Parameters
    ----------
    runs : DataFrame
        Runs of one data set and model, as `pull.runs` returns them.
    predictions : callable
        Takes run ids and returns what the runs predicted for test images.

    Returns
    -------
    dict
        A label is missing if the share of its test images that are right is not the logged recall of one class, and of
        no other, in all dense runs.
    """
    dense = runs.drop_duplicates(schema.DENSE_RUN_ID).set_index(schema.DENSE_RUN_ID)
    logged_recalls = dense.filter(regex=f"^{frames.RECALL_BEFORE}").dropna(axis=1, how="all")
    predictions_by_run = predictions(list(dense.index))
    alike: dict[int, np.ndarray] = {}
    for run_id, run in predictions_by_run.items():
        right = run[schema.PREDICTED] == run[schema.LABEL]
        for label in np.unique(run[schema.LABEL]).tolist():
            share = right[run[schema.LABEL] == label].mean()
            near = np.abs(logged_recalls.loc[run_id].to_numpy(float) - share) < _SAME_RECALL
            alike[label] = alike.get(label, np.ones_like(near)) & near
    names = logged_recalls.columns.str.removeprefix(frames.RECALL_BEFORE)
    return {label: str(names[near][0]) for label, near in alike.items() if near.sum() == 1}


def _nothing_passes(judgements: pd.DataFrame, shown_settings: Sequence[str], tolerances: Tolerances) -> str:
    if judgements[_CHANCE].all():
        return "all pruned networks are at chance at the smallest ratio of every method."
    reasons = (
        f"With {method_label(row, shown_settings)} at ratio {short_ratio(row[schema.RATIO])}, {row['fails']}."
        for row in judgements.to_dict("records")
    )
    confidence = f"{100 * (1 - LEVEL):g} % confidence"
    return f"no ratio meets the limits ({tolerances}) with {confidence}. {' '.join(reasons)}"


def _on_validation_images(row: pd.Series) -> str:
    high = row["worst_class_loss_high"]
    bound = f"no class more than {100 * high:.1f}" if np.isfinite(high) else "there are too few images for a bound"
    worst = "falls by at most" if row["loss_high"] >= 0 else "rises by at least"
    falls = "falls" if row["loss"] > 0 else "rises"
    order = " The order of the classes reversed: the strong ones became weak." if row["alpha_new_high"] < 0 else ""
    return (
        f"Validation images of {row['n']} seeds chose it. On them accuracy {falls} by {100 * abs(row['loss']):.1f} "
        f"points (it {worst} {100 * abs(row['loss_high']):.1f}). Alpha on new images is {row['alpha_new']:.2f} (at "
        f"most {row['alpha_new_high']:.2f}).{order} Class {row['worst_class']} may lose most: it lost "
        f"{100 * row['worst_class_loss']:.1f} points there ({bound})."
    )


def _on_test_images(best_runs: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return the results of the chosen runs on test images. Test images had no part in the choice."""
    study = StudyData(best_runs)
    slopes = study.alphas
    sound = best_runs[best_runs[frames.RUN_ID].isin(slopes.loc[~slopes["at_chance"], frames.RUN_ID])]
    if sound.empty:
        return "On test images all these networks are at chance."
    cell = study.cells.iloc[0]
    alpha = f"Alpha is {with_interval(cell['alpha_mean'], cell['ci_low'], cell['ci_high'], decimals(2))}"
    if np.isfinite(cell["alpha_new"]):
        new = with_interval(cell["alpha_new"], cell["alpha_new_low"], cell["alpha_new_high"], decimals(2))
        alpha += f", on new images {new}"
    raw = with_interval(cell["raw_slope_mean"], cell["raw_slope_low"], cell["raw_slope_high"], decimals(2))
    change = _mean_in_points(sound[frames.ACCURACY_AFTER] - sound[frames.ACCURACY_BEFORE])
    pairs = sound.merge(_controls(sound, runs), on=schema.DENSE_RUN_ID, suffixes=("", "_none"))
    if pairs.empty:
        control = f"There is no control {CONTROL} to compare with."
    else:
        beyond = _mean_in_points(pairs[frames.ACCURACY_AFTER] - pairs[f"{frames.ACCURACY_AFTER}_none"])
        control = f"Compared with the control {CONTROL}, which is not pruned, it changes by {beyond} points."
    return f"On test images accuracy changes by {change} points. {control} {alpha}. The raw slope is {raw}."


def _on_groups(
    best_runs: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    predictions: ReadPredictions,
    image_groups: Mapping[str, ImageGroups],
) -> Grouped:
    """Return what the chosen runs do to groups of test images; groups had no part in the choice."""
    return by_group(run_arrays(pd.concat([best_runs, _controls(best_runs, runs)])), predictions, image_groups)


def _controls(best_runs: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the controls of the chosen runs."""
    runs = runs.reset_index(drop=True)
    rows = control_rows(runs)[runs[frames.RUN_ID].isin(best_runs[frames.RUN_ID])]
    return runs.iloc[np.unique(rows[rows >= 0])]


def _mean_in_points(values: pd.Series) -> str:
    low, high = mean_interval(values)
    return with_interval(100 * values.mean(), 100 * low, 100 * high, decimals(1, sign=True))
