"""How far a model can be pruned: the largest ratio that surely stays within limits of accuracy loss and alpha."""

import math
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.cells import cells
from analysis.formats import decimals, with_interval
from analysis.runs import frames, pull, schema
from analysis.runs.errors import StudyError
from analysis.runs.frames import ReadPredictions
from analysis.runs.printable import printable
from analysis.settings import CONTROL, control_columns, method_label, shown_settings
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.intensification import alpha, alpha_new, recall_balance
from analysis.statistics.resampling import mean_interval
from analysis.verdict import to_know

_CRITERIA = 2


class Limits(NamedTuple):
    """The most that accuracy may fall, and the most that alpha on new images may be."""

    accuracy_loss: float
    alpha: float


class Recommendation(NamedTuple):
    """How to prune one model on one data set.

    Attributes
    ----------
    verdict : str
        One sentence or two.
    tried : DataFrame
        A row for each method and ratio, up to the method's first failure. A method is a pruner with its schedule, its
        distillation and its other settings. Columns: pruner, settings, ratio; n (seeds), loss, loss_high, alpha,
        alpha_new, alpha_new_high, all on validation images, `_high` for the corrected one-sided bounds; fails, which
        limit is exceeded and by how much, empty if none is.
    notes : list of str
        Sentences on what was left out.
    """

    verdict: str
    tried: pd.DataFrame
    notes: list[str]


class ValidationRecalls(NamedTuple):
    """Recalls of a cell's networks on validation images, which may be other images for each seed.

    Attributes
    ----------
    before, after : (seeds, classes)
        Recall before and after pruning.
    both_right : (seeds, classes)
        Share of the images that are right before and after.
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
    ignore_params: Sequence[str] = (),
) -> list[Recommendation]:
    """Choose a pruner, its settings and a ratio on validation images, and report the choice on test images.

    Parameters
    ----------
    experiment, tracking_uri, ignore_params
        As `pull.runs` takes them.
    max_accuracy_loss : float, in [0, 1)
        Limit of accuracy before minus accuracy after.
    max_alpha : float, > 0
        Limit of alpha_new. (On few images alpha itself falls with every prediction that changes.)

    Returns
    -------
    list of Recommendation, one for each data set and model

    Raises
    ------
    StudyError
        If a limit is out of range, or the experiment cannot be read, has no pruner but `none`, or has no validation
        predictions.
    """
    if not 0 <= max_accuracy_loss < 1:
        raise StudyError(f"{max_accuracy_loss} should be at least 0 and below 1", option="--max-accuracy-loss")
    if not 0 < max_alpha < math.inf:
        raise StudyError(f"{max_alpha} should be a number above 0", option="--max-alpha")
    runs = pull.runs(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    if (runs[schema.PRUNER] == CONTROL).all():
        raise StudyError(f"the only pruner in this experiment is {CONTROL}: prune at some ratios first")
    predictions = partial(pull.predictions, artifact=schema.VAL_PREDICTIONS, tracking_uri=tracking_uri)
    limits, shown = Limits(max_accuracy_loss, max_alpha), shown_settings(runs)
    return [
        _recommendation(rows, shown, limits, predictions, notes=[*runs.attrs["left_out"]])
        for _, rows in runs.groupby([schema.DATASET, schema.MODEL])
        if (rows[schema.PRUNER] != CONTROL).any()
    ]


def _recommendation(
    runs: pd.DataFrame, shown: Sequence[str], limits: Limits, predictions: ReadPredictions, notes: list[str]
) -> Recommendation:
    """Return the recommendation for the runs of one data set and model; `notes` gets further sentences."""
    tried = _tried(runs, shown, limits, predictions, notes)
    passed = tried[tried["fails"] == ""].sort_values([schema.RATIO, "loss"], ascending=[False, True])
    if passed.empty:
        sentences = _failures(tried, shown)
    else:
        chosen = runs[runs[frames.RUN_ID].isin(passed.iloc[0]["run_ids"])]
        how = command(chosen.iloc[0])
        sentences = f"{_on_validation_images(passed.iloc[0], shown, how)} {_on_test_images(chosen, runs)}"
    name = f"{runs[schema.MODEL].iloc[0]} on {runs[schema.DATASET].iloc[0]}"
    return Recommendation(f"{name}: {sentences}", tried.drop(columns="run_ids"), [*notes, *to_know(runs)])


def _tried(
    runs: pd.DataFrame, shown: Sequence[str], limits: Limits, predictions: ReadPredictions, notes: list[str]
) -> pd.DataFrame:
    """Return `Recommendation.tried` and the ids of the runs: every method, ratio by ratio up to its first failure."""
    columns = [schema.PRUNER, *shown]
    methods = runs[runs[schema.PRUNER] != CONTROL].groupby(columns, dropna=False)
    level = LEVEL / (methods.ngroups * _CRITERIA)
    rows: list[dict[str, Any]] = []
    for _, method in methods:
        for _, cell in method.groupby(schema.RATIO):
            judgement = judged(validation(cell, predictions, notes), limits, level)
            settings = cell.iloc[0][[*columns, schema.RATIO]].to_dict()
            rows.append({**settings, **judgement, "run_ids": list(cell[frames.RUN_ID])})
            if judgement["fails"]:
                break
    return pd.DataFrame(rows)


def validation(runs: pd.DataFrame, predictions: ReadPredictions, notes: list[str]) -> ValidationRecalls:
    """Return the recalls of a cell's networks on their validation images.

    Parameters
    ----------
    runs : DataFrame
        Runs of one cell, as `pull.runs` returns them.
    predictions : callable
        Takes run ids and returns what the runs predicted for validation images.
    notes : list of str
        Gets a sentence on runs that are left out.

    Raises
    ------
    StudyError
        If no run has validation predictions of the same images as its dense run.
    """
    pairs = _prediction_pairs(runs, predictions)
    if not pairs:
        raise StudyError(
            f"{schema.VAL_PREDICTIONS} of the same images is in none of the runs "
            f"{', '.join(runs[frames.RUN_ID][:3])} and their dense runs: log it with each, since test images must not "
            "choose"
        )
    if left := len(runs) - len(pairs):
        pruner, ratio = runs[[schema.PRUNER, schema.RATIO]].iloc[0]
        notes.append(
            f"{left} of {len(runs)} runs of {pruner} at ratio {ratio:g} left out, without {schema.VAL_PREDICTIONS} of "
            "the images of their dense run."
        )
    classes = 1 + max(int(dense[schema.LABEL].max()) for dense, _ in pairs)
    counts = np.array([_counts(*pair, classes) for pair in pairs])
    counts = counts[:, :, (counts[:, -1] > 0).all(0)]
    (before, after, both_right), support = np.swapaxes(counts[:, :3], 0, 1), counts[:, 3]
    images = support.sum(1)
    return ValidationRecalls(
        before / support,
        after / support,
        both_right / support,
        support.mean(0),
        before.sum(1) / images,
        after.sum(1) / images,
    )


def _prediction_pairs(
    runs: pd.DataFrame, predictions: ReadPredictions
) -> list[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]:
    """Return the predictions of each dense run and its pruned run, if both predicted the same images."""
    ids = list(zip(runs[schema.DENSE_RUN_ID], runs[frames.RUN_ID], strict=True))
    found = predictions(list(dict.fromkeys(run_id for pair in ids for run_id in pair)))
    pairs = [(found[dense], found[pruned]) for dense, pruned in ids if dense in found and pruned in found]
    return [(dense, pruned) for dense, pruned in pairs if np.array_equal(dense[schema.LABEL], pruned[schema.LABEL])]


def _counts(dense: Mapping[str, np.ndarray], pruned: Mapping[str, np.ndarray], classes: int) -> list[np.ndarray]:
    """Count the images of each class, (4, classes): right before, right after, right both times, and all."""
    label = dense[schema.LABEL]
    before, after = (run[schema.PREDICTED] == label for run in (dense, pruned))
    return [np.bincount(label[which], minlength=classes) for which in (before, after, before & after, slice(None))]


def judged(measured: ValidationRecalls, limits: Limits, level: float) -> dict[str, Any]:
    """Hold a cell against the limits, with one-sided bounds over seeds.

    The images differ between seeds, so that an interval over seeds is for new images too.

    Parameters
    ----------
    measured : ValidationRecalls
    limits : Limits
    level : float
        Chance that a bound is too low.

    Returns
    -------
    dict
        n, loss, loss_high, alpha, alpha_new, alpha_new_high, and fails, empty if both bounds are within the limits.
    """
    loss = measured.accuracy_before - measured.accuracy_after
    loss_high = mean_interval(loss, 1 - 2 * level)[1]
    new = alpha_new(measured.before, measured.after, measured.both_right, measured.support, confidence=1 - 2 * level)
    alphas = alpha(
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
        "alpha": float(alphas.mean()),
        "alpha_new": new.estimate,
        "alpha_new_high": new.high,
        "fails": " and ".join(filter(None, fails)),
    }


def _exceeds(name: str, high: float, limit: float) -> str:
    if np.isnan(high):
        return f"{name} is not known from so few images or seeds"
    return f"{name} may be {high:.3f}, {high - limit:.3f} above {limit:g}" if high > limit else ""


def command(run: Mapping[str, Any]) -> str:
    """Return the options of `prune` that say how a run was pruned and fine-tuned.

    Other options are those of its dense run.

    Parameters
    ----------
    run : mapping
        A row of a frame of runs.
    """
    names = [schema.PRUNER, schema.RATIO, schema.EPSILON, schema.GRADIENT_OBJECTIVE]
    for name, former in schema.FORMERLY.items():
        # No option asks for an iteration: it follows from the run that is pruned.
        if name != schema.ITERATION and run.get(frames.column(name), former) != former:
            names += [name, *schema.details(name)]
    names += [schema.FINE_TUNE_EPOCHS, schema.FINE_TUNE_LEARNING_RATE]
    values = {name: run.get(frames.column(name)) for name in names}
    # A pruner without a gradient has the objective `none`.
    given = {name: value for name, value in values.items() if pd.notna(value) and value != "none"}
    given[schema.RATIO] = f"{run[schema.RATIO]:g}"
    options = " ".join(
        ["prune", *(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in given.items())]
    )
    before = int(run.get(frames.column(schema.ITERATION), schema.FORMERLY[schema.ITERATION])) - 1
    return f"{options} (of a network that was pruned {before} times before)" if before else options


def _failures(tried: pd.DataFrame, shown: Sequence[str]) -> str:
    reasons = (
        f"{method_label(row, shown)} at ratio {row[schema.RATIO]:g}: {row['fails']}" for row in tried.to_dict("records")
    )
    return f"no ratio surely keeps within both limits. {'; '.join(reasons)}."


def _on_validation_images(row: pd.Series, shown: Sequence[str], how: str) -> str:
    return (
        f"prune with {method_label(row, shown)} at ratio {row[schema.RATIO]:g} ({how}). On validation images of "
        f"{row['n']} seeds, which chose it, accuracy falls by {row['loss']:.3f} (at most {row['loss_high']:.3f}) and "
        f"alpha on new images is {row['alpha_new']:.2f} (at most {row['alpha_new_high']:.2f})."
    )


def _on_test_images(chosen: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return the results of the chosen runs on test images. Test images had no part in the choice."""
    cell = cells(chosen).iloc[0]
    slopes = f"alpha is {with_interval(cell['alpha_mean'], cell['ci_low'], cell['ci_high'], decimals(2))}"
    if np.isfinite(cell["alpha_new"]):
        new = with_interval(cell["alpha_new"], cell["alpha_new_low"], cell["alpha_new_high"], decimals(2))
        slopes += f", on new images {new}"
    loss = _mean_with_interval(chosen[frames.ACCURACY_BEFORE] - chosen[frames.ACCURACY_AFTER])
    pairs = chosen.merge(_controls(chosen, runs), on=schema.DENSE_RUN_ID, suffixes=("", "_none"))
    if pairs.empty:
        control = f"there is no control {CONTROL} to compare with"
    else:
        below = _mean_with_interval(pairs[f"{frames.ACCURACY_AFTER}_none"] - pairs[frames.ACCURACY_AFTER])
        control = f"{below} below {CONTROL}'s"
    return f"On test images accuracy falls by {loss}, {control}; {slopes}."


def _controls(chosen: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the control with the settings of the chosen runs, one of each dense network."""
    controls = runs[runs[schema.PRUNER] == CONTROL]
    for column in control_columns(runs):
        value = chosen[column].iloc[0]
        controls = controls[controls[column].isna() if pd.isna(value) else controls[column] == value]
    return controls.drop_duplicates(schema.DENSE_RUN_ID)


def _mean_with_interval(values: pd.Series) -> str:
    return with_interval(values.mean(), *mean_interval(values), decimals(3))


def summary(recommendation: Recommendation) -> str:
    """Return the verdict, what was tried on validation images, and the notes, for a terminal."""
    tried = recommendation.tried.rename(columns=lambda column: printable(frames.param(column)))
    tried = tried.map(lambda value: printable(value) if isinstance(value, str) else value)
    with pd.option_context("display.unicode.east_asian_width", True):
        table = tried.to_string(index=False, float_format="{:.4g}".format)
    verdict, *notes = map(printable, (recommendation.verdict, *recommendation.notes))
    return "\n".join([verdict, "", "On validation images, which choose:", table, *notes])
