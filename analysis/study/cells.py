"""Tabulate the slopes of a whole study, one row per run or one row per cell.

The runs of a cell agree in every setting: data set, model, pruner, ratio, and all other params that are settings.
`alphas` and `cells` describe in `attrs["notes"]` of their frames what is missing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import frames, schema
from analysis.runs.checks import some
from analysis.runs.frames import ReadPredictions
from analysis.statistics import hypothesis_tests
from analysis.statistics.arithmetic import mean, quotient
from analysis.statistics.intensification import (
    alpha,
    alpha_shared,
    correlation,
    excess_loss,
    intensification_ratios,
    largest_excess_floor,
    other_seed,
    raw_slope,
    raw_spread_ratio,
    spread_ratio,
    weighted_alpha,
    worst_class_change,
)
from analysis.statistics.new_images import alpha_new
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import UNDEFINED, mark, mean_interval, with_ends
from analysis.study import proportions
from analysis.study.arrays import RunArrays, common_support
from analysis.study.costs import WorstCost, cell_costs
from analysis.study.predictions import OTHER_METRICS, Pairs, StudyPredictions
from analysis.study.settings import (
    ALPHA_COLUMNS,
    CELL_COLUMNS,
    cell_columns,
    network_columns,
    pruner_settings,
)


def alphas(study: RunArrays) -> pd.DataFrame:
    """Compute the slopes of every run from its recalls (`alpha.csv`).

    Parameters
    ----------
    study : RunArrays

    Returns
    -------
    DataFrame, one row per run in the order of the arrays
        `ALPHA_COLUMNS`, then `study.shown`, then the digest of the weights if the user gave weights. alpha, correlation
        and spread_ratio are NaN if every class's recall before pruning equals the accuracy, or if an accuracy is 0.
        correlation is also NaN if every class's recall after pruning equals the accuracy. A run of the pruner `none`
        has ratio 1 and is the control for every ratio.
    """
    measured = {
        name: np.full(len(study.runs), np.nan) for name in ("alpha", "correlation", "spread_ratio", "raw_slope")
    }
    for rows, classes in study.class_sets():
        before, after = study.measured(rows, classes)
        measured["raw_slope"][rows] = raw_slope(before, after)
        for name, slope in (("alpha", alpha), ("correlation", correlation), ("spread_ratio", spread_ratio)):
            measured[name][rows] = slope(before.balance, after.balance)
    digests = [column for column in network_columns(study.runs) if column != schema.SEED]
    frame = study.runs.assign(**measured, at_chance=study.at_chance)
    frame = frame[[*ALPHA_COLUMNS, *study.shown, *digests]]
    frame.attrs = {"notes": [*study.notes, *_notes_on_undefined(frame)]}
    return frame


def _notes_on_undefined(frame: pd.DataFrame) -> Iterator[str]:
    """Yield a note for each cause of an undefined alpha."""
    has_no_accuracy = frame[["accuracy_before", "accuracy_after"]].eq(0).any(axis=1)
    for cause, is_cause in (
        ("the accuracy before or after pruning is 0", has_no_accuracy),
        ("every class's recall before pruning equals the accuracy", ~has_no_accuracy),
    ):
        undefined = frame.loc[frame["alpha"].isna() & is_cause, "run_id"]
        if len(undefined):
            yield f"alpha is undefined in {len(undefined):,} runs, because {cause}: {', '.join(undefined[:3])}"


def cells(
    study: RunArrays, predictions: ReadPredictions | StudyPredictions | None = None, *, confidence: float = 0.95
) -> pd.DataFrame:
    """Compute all slopes of every cell, and the numbers needed to interpret them (`cells.csv`).

    Parameters
    ----------
    study : RunArrays
    predictions : callable or StudyPredictions, optional
        Takes run ids and returns their predictions, as `analysis.runs.pull.predictions` does. If given, the interval of
        alpha_new is for new seeds and new images, and slopes of precision and F1 are computed.
    confidence : float
        Joint confidence of the intervals at all ratios of one data set, model, pruner and other settings.

    Returns
    -------
    DataFrame, one row per cell, sorted
        `CELL_COLUMNS`, then `study.shown`, then the rest of `cell_summary`, and the columns below. Those
        marked * have an interval (`_low`, `_high`).

        - n_at_chance: number of runs with a network at chance. Slopes, spreads, correlation, odds_ratio, and
          error_growth to alpha_beyond leave these runs out; all other numbers of the row include them. n_alpha is the
          number of runs with slopes.
        - alpha_new_resampled: units over which the interval of alpha_new is computed (`seeds`, or `seeds and images`).
        - confidence: 1 - (1 - confidence) / K, which is the confidence of each interval in the row but that of
          worst_class_cost. K is the number of ratios with the same data set, model, pruner and settings. Settings that
          depend on the pruner, such as an epsilon tuned at each ratio, may differ.

        Comparisons with the control `none`, as means over the networks that have one:

        - n_none: number of these networks.
        - accuracy_minus_none*, largest_excess_minus_none*: difference from `none` in the accuracy and in the largest
          excess loss.
        - alpha_minus_none*, raw_slope_minus_none*, raw_spread_ratio_minus_none*: the same for slopes and spread, over
          the networks that have slopes and whose control has slopes too.
        - raw_slope_equivalence_p: p of a test that the raw slope differs from that of `none` by less than .05.
        - alpha_on_none*: slope of the balance after pruning on the balance of `none`.
        - largest_excess_none: largest excess loss of `none`.
        - largest_excess_floor_none: the floor of largest_excess_none.
        - odds_ratio: odds of an error after pruning divided by the odds in `none`, from mean accuracies of the networks
          that have slopes. Alpha would equal the odds ratio if errors were proportional.
        - equal_factors_p: p of the test that the errors of all classes grew by equal factors, for these images
          (`proportion.equal_factors_p`).

        Comparisons with `none` that need predictions (`statistics.proportion`):

        - error_growth*: the error of the pruned networks divided by that of `none`.
        - raw_slope_on_none*: slope of the gaps after pruning on the gaps of `none`, for new images.
        - proportionality*: 1 if errors are proportional, 0 if losses are equal.
        - alpha_beyond*: alpha divided by the odds ratio.

        Further columns:

        - alpha_other_seed: mean alpha between dense networks of different seeds (`intensification.other_seed`).
        - worst_class: class with the largest cost (loss of recall minus loss of accuracy). In this and the next four
          items, losses are measured from the reference in `classes.csv`, and networks at chance count.
        - worst_class_cost*: cost of this class, with a 95 % interval (`losses.worst_class`).
        - worst_class_shown: whether this cost is shown to be above 0.
        - worst_class_loss_upper: largest upper bound of the loss of a class.
        - accuracy_loss_low, accuracy_loss_upper: lower end of the 95 % interval of the loss of accuracy, and its
          one-sided upper bound.
        - alpha_precision*, alpha_f1*: slopes of precision and of F1.
        - realized_ratio, and each metric with `mean_in_cells` in its record in the schema: its mean over the runs.

        alpha_shared and alpha_other_seed are NaN if several runs of the cell have the same dense network.
    """
    of_study = StudyPredictions.shared(predictions)
    ratios = study.runs.groupby(_family_columns(study), dropna=False)[schema.RATIO].transform("nunique").to_numpy()
    rows_of_cells, notes = study.cells, [*study.notes]
    summarized = [_summary(study, rows, 1 - (1 - confidence) / ratios[rows[0]], of_study) for rows in rows_of_cells]
    frame = _named(study, rows_of_cells, summarized)
    leading = [*CELL_COLUMNS, *study.shown]
    frame = frame[[*leading, *(name for name in frame.columns if name not in leading)]]
    for metric in schema.METRICS:
        if metric.mean_in_cells and metric.name in study.runs:
            values = study.runs[metric.name]
            frame = frame.assign(**{metric.name: [values.iloc[rows].mean() for rows in rows_of_cells]})
    if study.shown:
        notes.append(f"cells are also distinguished by {', '.join(map(frames.param, study.shown))}")
    if repeated := sum(_has_dense_twice(study, rows) for rows in rows_of_cells):
        notes.append(
            f"alpha_shared and alpha_other_seed are n/a in {repeated:,} of {len(frame):,} cells: they need a different "
            "dense network for each run, but several runs share one"
        )
    if without := int(frame["alpha_new"].isna().sum()):
        notes.append(
            f"alpha_new is n/a in {without:,} of {len(frame):,} cells, whose runs have no slopes, have a class "
            "with a single test image, differ in test images, or lack their numbers or the share right both before and "
            "after"
        )
    if of_study and of_study.missing:
        notes.append(_note_on_predictions(study, rows_of_cells, of_study))
    frame.attrs = {"notes": notes}
    return frame


def _family_columns(study: RunArrays) -> list[str]:
    """Return the columns whose values cells share if their intervals hold jointly."""
    left_out = {schema.RATIO, frames.column(schema.ITERATION), *pruner_settings(study.runs)}
    return [column for column in cell_columns(study.runs, study.shown) if column not in left_out]


def _note_on_predictions(study: RunArrays, rows_of_cells: Sequence[np.ndarray], predictions: StudyPredictions) -> str:
    """Write a note on the cells that lack predictions."""
    ids = study.runs[[schema.DENSE_RUN_ID, frames.RUN_ID]]
    without = sum(bool(ids.iloc[rows].isin(predictions.missing).to_numpy().any()) for rows in rows_of_cells)
    return (
        f"{without:,} of {len(rows_of_cells):,} cells have no PIEs, and no intervals over images, because "
        f"{schema.PREDICTIONS} is missing or not used for: {some(sorted(predictions.missing))}"
    )


def ratio_summaries(study: RunArrays) -> pd.DataFrame:
    """Compare alpha with the mean of the intensification ratios in every cell (Good et al. 2022, supplement G).

    Returns
    -------
    DataFrame, one row per cell with a defined alpha, sorted
        dataset, model, pruner, ratio, `study.shown`, n, and the columns of `ratio_summary`.
    """
    defined = [rows for rows in map(study.sloped, study.cells) if len(rows)]
    summarized = [{"n": len(rows)} | ratio_summary(*study.balances(rows, study.classes_of(rows))) for rows in defined]
    return _named(study, defined, summarized)


def _named(study: RunArrays, rows_of_cells: Sequence[np.ndarray], summarized: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Make a table of summaries, with the columns that identify each cell first."""
    which = study.runs.iloc[[rows[0] for rows in rows_of_cells]][study.cell_key]
    return pd.concat([which.reset_index(drop=True), pd.DataFrame(summarized)], axis=1)


def _has_dense_twice(study: RunArrays, rows: np.ndarray) -> bool:
    return bool(study.runs[schema.DENSE_RUN_ID].iloc[rows].duplicated().any())


def _summary(
    study: RunArrays, rows: np.ndarray, confidence: float, predictions: StudyPredictions | None
) -> dict[str, Any]:
    classes, sloped_rows = study.classes_of(rows), study.sloped(rows)
    part = np.ix_(rows, classes)
    both_right = study.both_right[part]
    summary = cell_summary(
        *study.measured(rows, classes),
        support=common_support(study.support[part]),
        both_right=None if np.isnan(both_right).any() else both_right,
        sloped=np.isin(rows, sloped_rows),
        confidence=confidence,
    )
    pairs = predictions.of_runs(study.runs.iloc[sloped_rows]) if predictions and len(sloped_rows) else None
    return (
        summary
        | {"n_at_chance": int(study.at_chance[rows].sum())}
        | {"alpha_new_resampled": "seeds", "confidence": confidence}
        | (_new_image_slopes(pairs, confidence) if pairs else {})
        | _against_none(study, rows, confidence)
        | _in_proportion(study, rows, predictions, confidence)
        | _between_seeds(study, rows, sloped_rows)
        | _losses(study, rows, predictions, confidence)
        | _other_metrics(pairs, confidence)
    )


def _losses(
    study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None, confidence: float
) -> dict[str, Any]:
    """Return the class with the largest cost, bounds for the losses of all classes, and intervals of accuracy."""
    costs, _ = cell_costs(study, rows, predictions)
    worst = costs.worst if costs else WorstCost()
    row = {"worst_class": worst.name, **with_ends("worst_class_cost", worst[1:4]), "worst_class_shown": worst.is_shown}
    upper = low = accuracy_upper = np.nan
    changes = np.full((2, 2), np.nan)
    if costs:
        accuracy, since_dense = costs.own.accuracy(), costs.dense.accuracy()
        upper = np.max(costs.losses(costs.own).mean.upper(), initial=-1.0)
        low, accuracy_upper = accuracy.interval()[0, 0], accuracy.upper()[0]
        changes[0] = -since_dense.interval(1 - confidence)[::-1, 0]
        if costs.own is not costs.dense:
            changes[1] = -accuracy.interval(1 - confidence)[::-1, 0]
    names = [f"accuracy_{since}_{end}" for since in ("change", "minus_none") for end in ("low", "high")]
    return {
        **row,
        "worst_class_loss_upper": upper,
        "accuracy_loss_low": low,
        "accuracy_loss_upper": accuracy_upper,
        **dict(zip(names, changes.ravel(), strict=True)),
    }


def _between_seeds(study: RunArrays, rows: np.ndarray, sloped_rows: np.ndarray) -> dict[str, Any]:
    """Return `alpha_other_seed`, or NaN for it and for `alpha_shared` if a dense network occurs twice."""
    if _has_dense_twice(study, rows):
        missing = with_ends("alpha_shared", [np.nan] * 3)
        return missing | {"alpha_other_seed": np.nan, "alpha_shared_identified": False}
    dense, _ = study.balances(sloped_rows, study.classes_of(rows))
    return {"alpha_other_seed": float(other_seed(dense).mean()) if len(sloped_rows) > 1 else np.nan}


def _against_none(study: RunArrays, rows: np.ndarray, confidence: float) -> dict[str, Any]:
    """Compare networks with their controls, to separate the effect of pruning from that of fine-tuning."""
    classes, with_control = study.classes_of(rows), study.with_control(rows)
    none = study.controls[with_control]
    own, of_none = study.measured(with_control, classes), study.measured(none, classes)
    largest, largest_of_none = (excess_loss(*measured).max(-1) for measured in (own, of_none))
    return {
        "n_none": len(with_control),
        "accuracy_minus_none": mean(own[1].accuracy - of_none[1].accuracy),
        **_slopes_against_none(study, rows, confidence),
        **_mean("largest_excess_minus_none", largest - largest_of_none, confidence),
        "largest_excess_none": mean(largest_of_none),
        "largest_excess_floor_none": mean(study.floors(none, classes)),
    }


def _slopes_against_none(study: RunArrays, rows: np.ndarray, confidence: float) -> dict[str, Any]:
    """Compare the slopes of networks with those of their controls, if both have slopes."""
    classes, rows = study.classes_of(rows), study.with_sloped_control(study.sloped(rows))
    none = study.controls[rows]
    own, of_none = study.measured(rows, classes), study.measured(none, classes)
    raw_slopes = [raw_slope(*each) for each in (own, of_none)]
    differences = {
        "alpha": np.subtract(*(alpha(*(side.balance for side in each)) for each in (own, of_none))),
        "raw_slope": np.subtract(*raw_slopes),
        "raw_spread_ratio": np.subtract(*(raw_spread_ratio(*each) for each in (own, of_none))),
    }
    minus_none = [_mean(f"{name}_minus_none", values, confidence) for name, values in differences.items()]
    return {
        **{name: value for columns in minus_none for name, value in columns.items()},
        "raw_slope_equivalence_p": hypothesis_tests.paired(*raw_slopes)["p_equivalence"],
        **_mean("alpha_on_none", alpha(of_none[1].balance, own[1].balance), confidence),
    }


def _in_proportion(
    study: RunArrays, rows: np.ndarray, predictions: StudyPredictions | None, confidence: float
) -> dict[str, Any]:
    """Estimate how much errors grew from the controls to the networks, and how proportionally."""
    found = proportions.cell_proportion(study, rows, predictions)
    return {
        "odds_ratio": found.odds_ratio if found else np.nan,
        "equal_factors_p": proportions.equal_factors_p(study, rows),
        **proportions.columns(found.for_new_images if found else None, confidence),
    }


def _mean(name: str, values: np.ndarray, confidence: float) -> dict[str, float]:
    values = values[np.isfinite(values)]
    return with_ends(name, (mean(values), *mean_interval(values, confidence)))


def _new_image_slopes(pairs: Pairs, confidence: float) -> dict[str, Any]:
    new = pairs.pooled.interval(confidence)
    return {
        **with_ends("alpha_new", new[:3]),
        "alpha_new_identified": new.identified,
        "reliability": new.reliability,
        "alpha_new_resampled": new.resampled,
    }


def _other_metrics(pairs: Pairs | None, confidence: float) -> dict[str, float]:
    slopes = pairs.other_slopes if pairs else dict.fromkeys(OTHER_METRICS, np.empty(0))
    return {key: value for name in slopes for key, value in _mean(f"alpha_{name}", slopes[name], confidence).items()}


def cell_summary(
    before: Recalls,
    after: Recalls,
    *,
    support: np.ndarray | None = None,
    both_right: np.ndarray | None = None,
    sloped: np.ndarray | None = None,
    confidence: float = 0.95,
) -> dict[str, float | int | str | bool]:
    """Compute all slopes of one cell (data set, model, pruner and ratio), and the numbers needed to interpret them.

    Parameters
    ----------
    before, after : Recalls, (seeds, classes)
        Before and after pruning; row i of both is of the same seed.
    support : (classes,), optional
        Number of test images of each class. If None, alpha_weighted, alpha_new and largest_excess_floor are NaN.
    both_right : (seeds, classes), optional
        Share of each class's test images that are classified correctly both before and after pruning. If None,
        alpha_new and largest_excess_floor are NaN.
    sloped : (seeds,), bool, optional
        Whether each network has slopes, because its alpha is defined and it is not at chance. By default all have.
    confidence : float
        Confidence of each interval.

    Returns
    -------
    dict
        - n: number of seeds. The accuracies, worst_class_change, largest_excess and largest_excess_floor are means over
          all seeds.
        - n_alpha: number of seeds with slopes. All slopes and spreads are for these seeds.
        - alpha_weighted, correlation, spread_ratio, raw_spread_ratio: means over the seeds with slopes.
        - ci_low, ci_high, and mark: interval of alpha_mean, and its mark (`resampling.mark`).
        - all other pairs of columns with `_low` and `_high`: the ends of the interval of the value in the column before
          the pair.

    Examples
    --------
    Two networks with alpha 4/3 and 2:

    >>> before = Recalls([[0.9, 0.7], [0.9, 0.7]], accuracy=[0.8, 0.8])
    >>> row = cell_summary(before, Recalls([[0.7, 0.5], [1.0, 0.6]], accuracy=[0.6, 0.8]))
    >>> row["n"], round(row["alpha_mean"], 3), round(row["raw_slope_mean"], 3), row["mark"]
    (2, 1.667, 1.5, '?')
    """
    has_slopes = np.ones(len(before), dtype=bool) if sloped is None else sloped
    sloped_sides = before[has_slopes], after[has_slopes]
    balances = sloped_sides[0].balance, sloped_sides[1].balance
    slopes, raw_slopes, largest = alpha(*balances), raw_slope(*sloped_sides), excess_loss(before, after).max(-1)
    new, floor = UNDEFINED, np.full(1, np.nan)
    if support is not None and both_right is not None:
        shares = sloped_sides[0].recall, sloped_sides[1].recall, both_right[has_slopes]
        new = alpha_new(*shares, support, confidence=confidence)
        floor = largest_excess_floor(before.recall, after.recall, both_right, support)
    shared = alpha_shared(*balances, confidence=confidence)
    low, high = mean_interval(slopes, confidence)
    return {
        "n": len(after),
        "n_alpha": len(slopes),
        "alpha_mean": mean(slopes),
        "alpha_median": float(np.median(slopes)) if len(slopes) else np.nan,
        "alpha_sd": float(slopes.std(ddof=1)) if len(slopes) > 1 else np.nan,
        "ci_low": low,
        "ci_high": high,
        "mark": mark(low, high),
        "raw_slope_mean": mean(raw_slopes),
        **dict(zip(("raw_slope_low", "raw_slope_high"), mean_interval(raw_slopes, confidence), strict=True)),
        **with_ends("largest_excess", (mean(largest), *mean_interval(largest, confidence))),
        "largest_excess_floor": mean(floor),
        "alpha_weighted": np.nan if support is None else mean(weighted_alpha(*balances, support)),
        **with_ends("alpha_new", new[:3]),
        "alpha_new_identified": new.identified,
        "reliability": new.reliability,
        **with_ends("alpha_shared", shared[:3]),
        "alpha_shared_identified": shared.identified,
        "correlation": mean(correlation(*balances)),
        "spread_ratio": mean(spread_ratio(*balances)),
        "raw_spread_ratio": mean(raw_spread_ratio(*sloped_sides)),
        "worst_class_change": mean(worst_class_change(before.recall, after.recall)),
        "accuracy_before": mean(before.accuracy),
        "accuracy_after": mean(after.accuracy),
        "accuracy_change": mean(after.accuracy - before.accuracy),
    }


def ratio_summary(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Compare alpha with the mean over classes of the intensification ratio I (Good et al. 2022, supplement G).

    I is the balance of a class after pruning, divided by its balance before pruning.

    Parameters
    ----------
    before, after : (seeds, classes)
        Normalised recall balance.

    Returns
    -------
    dict
        - pooled_alpha: alpha over all seeds and classes.
        - alpha_mean, alpha_sd, alpha_min, alpha_max: of alpha, over seeds.
        - ratio_mean, ratio_sd, ratio_min, ratio_max: of the mean of I over classes, over seeds.
        - worst_ratio: the value of I furthest from 0.

        A class is left out if its balance before pruning is 0, because I is then undefined; without other classes,
        values are NaN.

    Examples
    --------
    A class whose balance before pruning is almost 0 has a large I, but hardly affects alpha:

    >>> summary = ratio_summary(np.array([[0.1, -0.101, 0.001]]), np.array([[0.1, -0.091, -0.009]]))
    >>> round(summary["alpha_mean"], 2), round(summary["ratio_mean"], 2), round(summary["worst_ratio"], 2)
    (0.95, -2.37, -9.0)
    """
    ratios = intensification_ratios(before, after)
    summary = {"pooled_alpha": float(alpha(before.ravel(), after.ravel()))}
    mean_ratios = quotient(np.nansum(ratios, axis=-1), (~np.isnan(ratios)).sum(axis=-1))
    for name, values in (("alpha", alpha(before, after)), ("ratio", mean_ratios)):
        summary |= {
            f"{name}_mean": float(values.mean()),
            f"{name}_sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
            f"{name}_min": float(values.min()),
            f"{name}_max": float(values.max()),
        }
    return summary | {"worst_ratio": float(max(ratios[~np.isnan(ratios)], key=abs, default=np.nan))}
