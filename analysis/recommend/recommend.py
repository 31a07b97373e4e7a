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
from analysis.statistics.resampling import mean_interval
from analysis.study import operating_points
from analysis.study.arrays import control_rows, run_arrays
from analysis.study.decay_advice import decay_advice
from analysis.study.groups import GivenGroups, Grouped, files_of_datasets, read_groups, sentence
from analysis.study.groups import groups as by_group
from analysis.study.labels import method_label
from analysis.study.operating_points import Preference
from analysis.study.settings import CONTROL, ITERATION, is_iterated
from analysis.study.study import StudyData

# Recalls that were rounded to three digits differ by less.
_SAME_RECALL = 0.001
_CHANCE = "all_at_chance"


class Tolerances(NamedTuple):
    """The most that accuracy may fall, alpha on new images may be, and a class may lose beyond the accuracy."""

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
    given = operating_points.preference(min_accuracy, fairness_value)
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
    limits = Tolerances(max_accuracy_loss, max_alpha, max_class_loss)
    is_regressed = is_iterated(runs).any()
    study = StudyData(
        runs,
        on_test,
        characteristics=characteristics.pulled(runs, tracking_uri=tracking_uri) if is_regressed else None,
    )
    found = {
        place: _recommendation(
            rows,
            study.shown,
            limits,
            on_validation,
            class_names(rows, on_test),
            notes.copy(),
            partial(prune_command, experiment=experiment, tracking_uri=tracking_uri),
            partial(_on_groups, predictions=on_test, image_groups=image_groups),
            operating_points.wanted_of(rows, given),
            partial(_use, place, study=study),
            partial(_beside_the_verdict, place, limits=limits, study=study),
        )
        for place, rows in runs.groupby(PLACE)
        if (rows[schema.PRUNER] != CONTROL).any()
    }
    return Recommendations(found, replace(study, predictions=None))


def _on_quantized(number: int) -> Iterator[str]:
    if number:
        runs = checks.counted(pd.Series([schema.QUANTIZED]).repeat(number))
        yield f"{runs} left out: this chooses how far to prune; the report has what a number format costs"


def _recommendation(
    runs: pd.DataFrame,
    shown: Sequence[str],
    limits: Tolerances,
    predictions: ReadPredictions,
    names: Mapping[int, str],
    notes: list[str],
    command_of: Callable[[pd.DataFrame], str],
    on_groups: Callable[[pd.DataFrame, pd.DataFrame], Grouped],
    wanted: Preference | None,
    use_of: Callable[[pd.Series], str],
    beside_verdict: Callable[[pd.DataFrame, pd.Series | None], Iterator[str]],
) -> Recommendation:
    """Return the recommendation for the runs of one data set and model; `notes` gets further sentences."""
    command, of_groups = "", pd.DataFrame()
    tried = _tried(runs, shown, limits, predictions, names, notes)
    passed = tried[tried["fails"] == ""].sort_values([schema.RATIO, "loss"], ascending=[False, True])
    if passed.empty:
        sentences = _nothing_passes(tried, shown, limits)
    else:
        chosen = runs[runs[frames.RUN_ID].isin(passed.iloc[0]["run_ids"])]
        command = command_of(chosen)
        if not command:
            notes.append("No single command makes the recommended networks: they were pruned several times.")
        grouped = on_groups(chosen, runs)
        of_groups = grouped.groups
        best = passed.iloc[0]
        said = [use_of(best), _on_validation_images(best), _on_test_images(chosen, runs)]
        sentences = " ".join([*said, *map(sentence, grouped.groupings.to_dict("records"))])
    name = f"{runs[schema.MODEL].iloc[0]} on {runs[schema.DATASET].iloc[0]}"
    choice, pareto = _choice(runs, shown, wanted, predictions) if wanted else ("", pd.DataFrame())
    notes[:0] = beside_verdict(tried, None if passed.empty else passed.iloc[0])
    tried = tried.drop(columns=["run_ids", _CHANCE])
    notes += [*decay_advice(runs), *to_know(runs), *_on_offsets(runs)]
    return Recommendation(f"{name}: {sentences}", tried, notes, command, choice, pareto, of_groups)


def _use(place: tuple[str, str], row: pd.Series, *, study: StudyData) -> str:
    """Say what to use, what it costs on test images, and which classes pay, as a report's verdict does."""
    found = study.cells[(study.cells[PLACE] == list(place)).all(axis=1)]
    cell = agreement.matching(row, found, [schema.PRUNER, schema.RATIO, *study.shown])
    said = costs(cell, study) if cell["n"] else ()
    return " ".join([f"use {method_label(row, study.shown)} at ratio {short_ratio(row[schema.RATIO])}.", *said])


def _beside_the_verdict(
    place: tuple[str, str], tried: pd.DataFrame, best: pd.Series | None, *, limits: Tolerances, study: StudyData
) -> Iterator[str]:
    """Say where a report's verdict differs; of networks at chance nothing."""
    if not tried[_CHANCE].all():
        yield from agreement.sentences(agreement.agreement(place, tried, best, study), str(limits), study)


def _on_offsets(runs: pd.DataFrame) -> Iterator[str]:
    offsets = frames.column(schema.CLASS_OFFSETS)
    if offsets in runs and (runs[offsets].fillna("none") != "none").any():
        yield (
            "Class offsets were fitted to the validation images that choose here: there these networks look better "
            "than they are, and their bounds are too low. Judge them by the test images."
        )


def _choice(
    runs: pd.DataFrame, shown: Sequence[str], wanted: Preference, predictions: ReadPredictions
) -> tuple[str, pd.DataFrame]:
    """Return the best trade-off of sparsity and fairness in words, and all points; test images report on it."""
    named = partial(method_label, shown=shown)
    test = operating_points.points(operating_points.on_test(runs), wanted)
    networks = operating_points.on_validation(runs, predictions)
    if len(networks) < len(runs) + runs[schema.DENSE_RUN_ID].nunique():
        images = f"test images, which flatters it, since {schema.VAL_PREDICTIONS} is not in every run"
        return f"Trade-off, chosen on {images}. {' '.join(operating_points.sentences(test, wanted, named))}", (
            operating_points.table(test)
        )
    found = operating_points.points(networks, wanted)
    said = ["Trade-off, chosen on validation images.", *operating_points.sentences(found, wanted, named)]
    key = [schema.PRUNER, schema.RATIO, *shown]
    chosen = found.loc[found["recommended"], key].merge(test, on=key)
    for row in chosen.to_dict("records"):
        which = f" with {named(row)} at ratio {short_ratio(row[schema.RATIO])}" if len(chosen) > 1 else ""
        said.append(f"On test images{which}, {operating_points.cost(row)}.")
    return " ".join(said), operating_points.table(found)


def _tried(
    runs: pd.DataFrame,
    shown: Sequence[str],
    limits: Tolerances,
    predictions: ReadPredictions,
    names: Mapping[int, str],
    notes: list[str],
) -> pd.DataFrame:
    """Return `Recommendation.tried`, the ids of the runs, and whether all networks of a row are at chance.

    The rows are every method, ratio by ratio up to its first failure.
    """
    columns = [schema.PRUNER, *shown]
    axis = [ITERATION] if is_iterated(runs).any() else []
    of_method = [name for name in columns if name not in axis]
    methods = runs[runs[schema.PRUNER] != CONTROL].groupby(of_method, dropna=False)
    level = LEVEL / methods.ngroups
    rows: list[dict[str, Any]] = []
    for _, method in tqdm(methods, desc="recommend", unit=" methods", leave=False, disable=None):
        for _, cell in method.groupby([schema.RATIO, *axis]):
            measured = validation.measure(validation.answers(cell, predictions, notes), level)
            judgement = judged(measured, limits, names)
            settings = cell.iloc[0][[*columns, schema.RATIO]].to_dict()
            all_at_chance = measured.n_at_chance > 0 and not measured.n
            rows.append({**settings, **judgement, "run_ids": list(cell[frames.RUN_ID]), _CHANCE: all_at_chance})
            if judgement["fails"]:
                break
    return pd.DataFrame(rows)


def judged(measured: CellLosses, limits: Tolerances, names: Mapping[int, str]) -> dict[str, Any]:
    """Hold a cell against the limits.

    Each bound has the whole level: a cell that is beyond one limit at least passes only if that one bound is too low
    (intersection-union test).

    Parameters
    ----------
    measured : Measured
    limits : Limits
    names : mapping of int to str
        Names of classes, by label.

    Returns
    -------
    dict
        n, loss, loss_high, alpha, raw_slope, alpha_new, alpha_new_high, largest_excess, largest_excess_high,
        largest_excess_class, and fails, empty if all bounds are within the limits.
    """
    largest = measured.largest_excess
    return {
        "n": measured.n,
        "loss": measured.loss.value,
        "loss_high": measured.loss.high,
        "alpha": measured.alpha,
        "raw_slope": measured.raw_slope,
        "alpha_new": measured.alpha_new.value,
        "alpha_new_high": measured.alpha_new.high,
        "largest_excess": largest.value,
        "largest_excess_high": largest.high,
        "largest_excess_class": next(
            (_named(label, names) for label, excess in measured.excess.items() if excess.value == largest.value), ""
        ),
        "fails": " and ".join(_failures(measured, limits, names)),
    }


def _failures(measured: CellLosses, limits: Tolerances, names: Mapping[int, str]) -> Iterator[str]:
    """Yield why a cell cannot be recommended."""
    if measured.n_at_chance:
        yield f"{measured.n_at_chance} of {measured.n + measured.n_at_chance} pruned networks are at chance"
    elif measured.n < 2:
        yield "one seed says nothing for sure, make more" if measured.n else "all dense networks are at chance"
    else:
        yield from _exceeds("the accuracy loss", measured.loss.high, limits.accuracy_loss)
        yield from _exceeds("alpha", measured.alpha_new.high, limits.alpha)
        if limits.class_loss is not None:
            labels, bounds = list(measured.excess), [excess.high for excess in measured.excess.values()]
            worst = int(np.argmax(bounds))
            beyond = f"the loss of class {_named(labels[worst], names)} beyond that of the accuracy"
            yield from _exceeds(beyond, bounds[worst], limits.class_loss)


def _exceeds(name: str, high: float, limit: float) -> Iterator[str]:
    if np.isnan(high):
        yield f"{name} is not known from so few images or seeds"
    elif high > limit:
        yield f"{name} may be {high:.3f}, which is {high - limit:.3f} above the limit {limit:g}"


def _named(label: int, names: Mapping[int, str]) -> str:
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
    logged = dense.filter(regex=f"^{frames.RECALL_BEFORE}").dropna(axis=1, how="all")
    found = predictions(list(dense.index))
    alike: dict[int, np.ndarray] = {}
    for run_id, run in found.items():
        right = run[schema.PREDICTED] == run[schema.LABEL]
        for label in np.unique(run[schema.LABEL]).tolist():
            share = right[run[schema.LABEL] == label].mean()
            near = np.abs(logged.loc[run_id].to_numpy(float) - share) < _SAME_RECALL
            alike[label] = alike.get(label, np.ones_like(near)) & near
    names = logged.columns.str.removeprefix(frames.RECALL_BEFORE)
    return {label: str(names[near][0]) for label, near in alike.items() if near.sum() == 1}


def _nothing_passes(tried: pd.DataFrame, shown: Sequence[str], limits: Tolerances) -> str:
    if tried[_CHANCE].all():
        return "all pruned networks are at chance at the smallest ratio of every method."
    reasons = (
        f"With {method_label(row, shown)} at ratio {short_ratio(row[schema.RATIO])}, {row['fails']}."
        for row in tried.to_dict("records")
    )
    confidence = f"{100 * (1 - LEVEL):g} % confidence"
    return f"no ratio meets the limits ({limits}) with {confidence}. {' '.join(reasons)}"


def _on_validation_images(row: pd.Series) -> str:
    high = row["largest_excess_high"]
    bound = f"no class more than {100 * high:.1f}" if np.isfinite(high) else "there are too few images for a bound"
    worst = "falls by at most" if row["loss_high"] >= 0 else "rises by at least"
    falls = "falls" if row["loss"] > 0 else "rises"
    order = " The order of the classes reversed: the strong ones became weak." if row["alpha_new_high"] < 0 else ""
    return (
        f"Validation images of {row['n']} seeds chose it. On them accuracy {falls} by {100 * abs(row['loss']):.1f} "
        f"points (it {worst} {100 * abs(row['loss_high']):.1f}). Alpha on new images is {row['alpha_new']:.2f} (at "
        f"most {row['alpha_new_high']:.2f}).{order} Class {row['largest_excess_class']} loses most beyond the "
        f"accuracy, {100 * row['largest_excess']:.1f} points ({bound})."
    )


def _on_test_images(chosen: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return the results of the chosen runs on test images. Test images had no part in the choice."""
    study = StudyData(chosen)
    slopes = study.alphas
    sound = chosen[chosen[frames.RUN_ID].isin(slopes.loc[~slopes["at_chance"], frames.RUN_ID])]
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
    chosen: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    predictions: ReadPredictions,
    image_groups: Mapping[str, ImageGroups],
) -> Grouped:
    """Return what the chosen runs do to groups of test images; groups had no part in the choice."""
    return by_group(run_arrays(pd.concat([chosen, _controls(chosen, runs)])), predictions, image_groups)


def _controls(chosen: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the controls of the chosen runs."""
    runs = runs.reset_index(drop=True)
    rows = control_rows(runs)[runs[frames.RUN_ID].isin(chosen[frames.RUN_ID])]
    return runs.iloc[np.unique(rows[rows >= 0])]


def _mean_in_points(values: pd.Series) -> str:
    low, high = mean_interval(values)
    return with_interval(100 * values.mean(), 100 * low, 100 * high, decimals(1, sign=True))
