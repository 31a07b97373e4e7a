"""How far a model can be pruned: the largest ratio that surely stays within limits of accuracy loss and alpha."""

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.cells import Predictions, cells
from analysis.runs import pull, schema
from analysis.runs.errors import StudyError
from analysis.settings import CONTROL, DETAILS, method, pruners_own, settings
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.intensification import alpha, alpha_new, recall_balance
from analysis.statistics.resampling import mean_interval
from analysis.verdict import to_know

_CRITERIA = 2


class Limits(NamedTuple):
    """Most that accuracy may fall, and most that alpha on new images may be."""

    accuracy_loss: float
    alpha: float


class Recommendation(NamedTuple):
    """What to prune one model on one data set with.

    Attributes
    ----------
    verdict : str
        One sentence or two.
    tried : DataFrame
        A row for each method, a pruner with its schedule, distillation and other settings, and ratio, up to its first
        failure: pruner, settings, ratio, n (seeds), loss, loss_high, alpha, alpha_new, alpha_new_high, all on
        validation images; `_high` are the corrected one-sided bounds; fails, by how much, empty where both are met.
    notes : list of str
        Sentences on what was left out.
    """

    verdict: str
    tried: pd.DataFrame
    notes: list[str]


class Measured(NamedTuple):
    """Networks of a cell on validation images, which may be other images for each seed.

    Attributes
    ----------
    before, after, both_right : (seeds, classes)
        Recall; share of the images right before and after.
    support : (classes,)
        Images of each class, the mean over seeds.
    accuracy_before, accuracy_after : (seeds,)
    """

    before: np.ndarray
    after: np.ndarray
    both_right: np.ndarray
    support: np.ndarray
    accuracy_before: np.ndarray
    accuracy_after: np.ndarray


def recommend(
    experiment: str | None = None,
    *,
    max_accuracy_loss: float = 0.01,
    max_alpha: float = 1.0,
    tracking_uri: str | None = None,
) -> list[Recommendation]:
    """Choose pruner, schedule, distillation and ratio on validation images, and report the choice on test images.

    Parameters
    ----------
    experiment, tracking_uri : str, optional
        As for `analysis.pull.runs`.
    max_accuracy_loss : float, in [0, 1)
        Accuracy before minus accuracy after.
    max_alpha : float, > 0
        Of alpha_new: alpha itself, on few images, falls with every prediction that changes.

    Returns
    -------
    list of Recommendation, one for each data set and model

    Raises
    ------
    StudyError
        A limit is out of range; the experiment cannot be read, holds nothing but `none`, or has no validation
        predictions.
    """
    if not 0 <= max_accuracy_loss < 1:
        raise StudyError(f"{max_accuracy_loss} should be at least 0 and below 1", option="--max-accuracy-loss")
    if not 0 < max_alpha < math.inf:
        raise StudyError(f"{max_alpha} should be a number above 0", option="--max-alpha")
    runs = pull.runs(experiment, tracking_uri=tracking_uri)
    if (runs[schema.PRUNER] == CONTROL).all():
        raise StudyError(f"the only pruner in this experiment is {CONTROL}: prune at some ratios first")
    predictions = partial(pull.predictions, artifact=schema.VAL_PREDICTIONS, tracking_uri=tracking_uri)
    limits, apart = Limits(max_accuracy_loss, max_alpha), settings(runs)
    return [
        _of_model(of_model, [schema.PRUNER, *apart], limits, predictions, notes=[*runs.attrs["left_out"]])
        for _, of_model in runs.groupby([schema.DATASET, schema.MODEL])
        if (of_model[schema.PRUNER] != CONTROL).any()
    ]


def _of_model(
    runs: pd.DataFrame, way: list[str], limits: Limits, predictions: Predictions, notes: list[str]
) -> Recommendation:
    candidates = runs[runs[schema.PRUNER] != CONTROL].groupby(way, dropna=False)
    level = LEVEL / (candidates.ngroups * _CRITERIA)
    tried = []
    for _, of_way in candidates:
        for _, of_cell in of_way.groupby(schema.RATIO):
            measured = validation(of_cell, predictions, notes)
            which = of_cell.iloc[0][[*way, schema.RATIO]].to_dict()
            tried.append(which | judged(measured, limits, level) | {"run_ids": list(of_cell["run_id"])})
            if tried[-1]["fails"]:
                break
    notes += to_know(runs)
    frame = pd.DataFrame(tried)
    name = f"{runs[schema.MODEL].iloc[0]} on {runs[schema.DATASET].iloc[0]}"
    passed = frame[frame["fails"] == ""].sort_values([schema.RATIO, "loss"], ascending=[False, True])
    if passed.empty:
        reasons = "; ".join(f"{method(row, way[1:])} at ratio {row[schema.RATIO]:g}: {row['fails']}" for row in tried)
        verdict = f"{name}: no ratio surely keeps within both limits. {reasons}."
    else:
        chosen = runs[runs["run_id"].isin(passed.iloc[0]["run_ids"])]
        verdict = f"{name}: {_chosen(passed.iloc[0], way, command(chosen.iloc[0]))} {_on_test(chosen, runs, way)}"
    return Recommendation(verdict, frame.drop(columns="run_ids"), notes)


def validation(runs: pd.DataFrame, predictions: Predictions, notes: list[str]) -> Measured:
    """Recalls of a cell's networks on their validation images.

    Parameters
    ----------
    runs : DataFrame
        Of one cell, as `analysis.pull.runs` returns it.
    predictions : callable
        Takes run ids and gives what they predicted for validation images.
    notes : list of str
        Gets a sentence on runs that are left out.

    Raises
    ------
    StudyError
        Where no run has validation predictions of the images of its dense run's.
    """
    pairs = list(zip(runs["dense_run_id"], runs["run_id"], strict=True))
    found = predictions(list(dict.fromkeys(run_id for pair in pairs for run_id in pair)))
    kept = [
        (found[dense], found[pruned])
        for dense, pruned in pairs
        if dense in found
        and pruned in found
        and np.array_equal(found[dense][schema.LABEL], found[pruned][schema.LABEL])
    ]
    if not kept:
        raise StudyError(
            f"{schema.VAL_PREDICTIONS} of the same images is in none of the runs {', '.join(runs['run_id'][:3])} and "
            "their dense runs: log it with each, since test images must not choose"
        )
    if left := len(pairs) - len(kept):
        pruner, ratio = runs[[schema.PRUNER, schema.RATIO]].iloc[0]
        notes.append(
            f"{left} of {len(pairs)} runs of {pruner} at ratio {ratio:g} left out, without {schema.VAL_PREDICTIONS} of "
            "the images of their dense run."
        )
    classes = 1 + max(int(dense[schema.LABEL].max()) for dense, _ in kept)
    counts = np.array([_counts(*pair, classes) for pair in kept])
    counts = counts[:, :, (counts[:, -1] > 0).all(0)]
    (before, after, both_right), support = np.swapaxes(counts[:, :3], 0, 1), counts[:, 3]
    images = support.sum(1)
    return Measured(
        before / support,
        after / support,
        both_right / support,
        support.mean(0),
        before.sum(1) / images,
        after.sum(1) / images,
    )


def _counts(dense: Mapping[str, np.ndarray], pruned: Mapping[str, np.ndarray], classes: int) -> list[np.ndarray]:
    """Images of each class right before, right after, right both times, and all of them: (4, classes)."""
    label = dense[schema.LABEL]
    before, after = (run[schema.PREDICTED] == label for run in (dense, pruned))
    return [np.bincount(label[of], minlength=classes) for of in (before, after, before & after, slice(None))]


def judged(measured: Measured, limits: Limits, level: float) -> dict[str, float | int | str]:
    """A cell against the limits, each bound one-sided at `level`, over seeds.

    Images differ between seeds, so that the interval over seeds is for new images too.

    Parameters
    ----------
    measured : Measured
    limits : Limits
    level : float
        Chance that a bound is too low.

    Returns
    -------
    dict
        n, loss, loss_high, alpha, alpha_new, alpha_new_high, fails (empty where both bounds are within limits).
    """
    loss = measured.accuracy_before - measured.accuracy_after
    loss_high = mean_interval(loss, 1 - 2 * level)[1]
    new = alpha_new(measured.before, measured.after, measured.both_right, measured.support, confidence=1 - 2 * level)
    slopes = alpha(
        recall_balance(measured.before, measured.accuracy_before),
        recall_balance(measured.after, measured.accuracy_after),
    )
    fails = [
        _exceeds("accuracy loss", loss_high, limits.accuracy_loss),
        _exceeds("alpha", new.high if new.identified else np.nan, limits.alpha),
    ]
    if len(loss) < 2:
        fails = ["one seed says nothing for sure, make more"]
    return {
        "n": len(loss),
        "loss": float(loss.mean()),
        "loss_high": loss_high,
        "alpha": float(slopes.mean()),
        "alpha_new": new.estimate,
        "alpha_new_high": new.high,
        "fails": " and ".join(filter(None, fails)),
    }


def _exceeds(name: str, high: float, limit: float) -> str:
    if np.isnan(high):
        return f"{name} is not known from so few images or seeds"
    return f"{name} may be {high:.3f}, {high - limit:.3f} above {limit:g}" if high > limit else ""


def command(run: Mapping[str, object]) -> str:
    """The options of `prune` that say how a run was pruned and fine-tuned; all else is as in its dense run."""
    options = [schema.PRUNER, schema.RATIO, schema.EPSILON, schema.GRADIENT_OBJECTIVE]
    for name, details in DETAILS.items():
        if run.get(name, schema.PAPERS[name]) != schema.PAPERS[name]:
            options += [name, *details]
    options += [schema.FINE_TUNE_EPOCHS, schema.FINE_TUNE_LEARNING_RATE]
    # A pruner without a gradient has the objective `none`.
    given = {name: run[name] for name in options if name in run and pd.notna(run[name]) and run[name] != "none"}
    given[schema.RATIO] = f"{run[schema.RATIO]:g}"
    return " ".join(["prune", *(f"--{name.replace('_', '-')} {value}" for name, value in given.items())])


def _chosen(row: pd.Series, way: list[str], how: str) -> str:
    return (
        f"prune with {method(row, way[1:])} at ratio {row[schema.RATIO]:g} ({how}). On validation images of "
        f"{row['n']} seeds, which chose it, accuracy falls by {row['loss']:.3f} (at most {row['loss_high']:.3f}) and "
        f"alpha on new images is {row['alpha_new']:.2f} (at most {row['alpha_new_high']:.2f})."
    )


def _on_test(chosen: pd.DataFrame, runs: pd.DataFrame, way: list[str]) -> str:
    """What test images say of the chosen runs; they chose nothing."""
    cell = cells(chosen).iloc[0]
    slopes = f"alpha is {cell['alpha_mean']:.2f} ({cell['ci_low']:.2f} to {cell['ci_high']:.2f})"
    if np.isfinite(cell["alpha_new"]):
        slopes += (
            f", on new images {cell['alpha_new']:.2f} ({cell['alpha_new_low']:.2f} to {cell['alpha_new_high']:.2f})"
        )
    loss = _mean_and_interval(chosen["accuracy_before"] - chosen["accuracy_after"])
    none = runs[runs[schema.PRUNER] == CONTROL]
    for name in way[1:]:
        if name not in pruners_own(runs, way[1:]):
            value = chosen[name].iloc[0]
            none = none[none[name].isna() if pd.isna(value) else none[name] == value]
    beside = chosen.merge(none.drop_duplicates("dense_run_id"), on="dense_run_id", suffixes=("", "_none"))
    if beside.empty:
        against = f"there is no control {CONTROL} to compare with"
    else:
        against = f"{_mean_and_interval(beside['accuracy_after_none'] - beside['accuracy_after'])} below {CONTROL}'s"
    return f"On test images accuracy falls by {loss}, {against}; {slopes}."


def _mean_and_interval(values: pd.Series) -> str:
    low, high = mean_interval(values)
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def summary(recommendation: Recommendation) -> str:
    """Verdict, what was tried on validation images, and the notes, for a terminal."""
    tried = recommendation.tried.to_string(index=False, float_format="{:.4g}".format)
    return "\n".join([recommendation.verdict, "", "On validation images, which choose:", tried, *recommendation.notes])
