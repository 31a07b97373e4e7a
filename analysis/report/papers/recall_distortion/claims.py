"""Test the claims of the recall distortion paper on a study."""

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from analysis.report.papers.claims import Check, Workload, held, judge
from analysis.report.papers.recall_distortion import lottery
from analysis.report.papers.recall_distortion.sentences import CLAIMS, MP
from analysis.report.published import rank
from analysis.runs import frames, schema
from analysis.runs.frames import ReadPredictions
from analysis.statistics import intensification, resampling
from analysis.study import cells
from analysis.study.arrays import run_arrays
from analysis.study.predictions import OTHER_METRICS, StudyPredictions
from analysis.study.settings import CELL, ITERATION, in_number_format, is_iterated, main_setting, shown_settings

# Pooled slopes, each the ratio of two sums over classes and networks of a cell.
_POOLED = ("pooled", "near", "far")
_SLOPES = ("mean_ratio", "alpha_weak", "alpha_strong", *_POOLED, *(f"alpha_{name}" for name in OTHER_METRICS))


def claims(runs: pd.DataFrame, predictions: ReadPredictions | StudyPredictions | None = None) -> pd.DataFrame:
    """Test every claim on a study (`claims.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `pull.pull_runs` returns it. If runs differ in further settings, only those of `main_setting` are used.
        Networks that are only quantized are left out, and so are iteratively pruned networks, except lottery tickets,
        which one claim concerns.
    predictions : callable or StudyPredictions, optional
        As for `cells.cells`. Predictions are read only for networks pruned by magnitude, because one claim concerns
        their precision and F1.

    Returns
    -------
    DataFrame, one row per comparison, by claim and place
        As `papers.claims.held` returns it. The interval of an alpha is that of `cells.cells`; differences have 95 %
        intervals. Networks at chance are left out of slopes, but count in accuracies and in variances of recall.
    """
    return held(CLAIMS, _places(runs, predictions))


def checked(runs: pd.DataFrame, slugs: Collection[str]) -> Iterator[tuple[Workload, Check, str]]:
    """Yield the checks of claims about single workloads: the workload, the check, and `holds`, as in `claims`.

    Parameters
    ----------
    runs : DataFrame
        As for `claims`.
    slugs : collection of str
        Slugs of the claims.
    """
    for workload in _places(runs, None):
        for claim in CLAIMS:
            if claim.slug in slugs:
                yield from ((workload, each.check, each.holds) for each in judge(claim, (workload,)))


# Measurements of each network.


def _places(runs: pd.DataFrame, predictions: ReadPredictions | StudyPredictions | None) -> list[Workload]:
    with_ratios = _by_place(frames.rows(runs, ~(in_number_format(runs) | is_iterated(runs))), predictions)
    tickets = _by_place(frames.rows(runs, lottery.are_tickets(runs)))
    places = [
        Workload(*place, with_ratios.get(place), Workload(*place, tickets[place]) if place in tickets else None)
        for place in {**with_ratios, **tickets}
    ]
    return sorted(places, key=lambda place: (rank(place.model), rank(place.dataset)))


def _by_place(
    runs: pd.DataFrame, predictions: ReadPredictions | StudyPredictions | None = None
) -> dict[tuple[str, str], pd.DataFrame]:
    if runs.empty:
        return {}
    shown = [name for name in shown_settings(runs) if name != ITERATION]
    return dict(list(measured(main_setting(runs, shown), predictions).groupby(CELL[:2])))


def measured(runs: pd.DataFrame, predictions: ReadPredictions | StudyPredictions | None = None) -> pd.DataFrame:
    """Collect the data for the claims, one row per network.

    Parameters
    ----------
    runs, predictions
        As for `claims`, but only the runs of the main setting (see `main_setting`).

    Returns
    -------
    DataFrame
        As `cells.alphas` returns it, with variances of recall, and further slopes: the mean intensification ratio,
        slopes of weak and of strong classes, slopes of precision and F1 under magnitude pruning, and pseudo-values
        whose mean over the networks estimates one slope for the whole cell: from all points (`pooled`), from the half
        of the points nearest to the origin (`near`), and from the others (`far`). Alpha, spread ratio and further
        slopes are NaN for a network at chance.
    """
    study, shared = run_arrays(runs), StudyPredictions.shared(predictions)
    frame = cells.alphas(study)
    at_chance = frame["at_chance"].to_numpy(bool)
    by_cell = []
    for rows in study.cells:
        sound = rows[~at_chance[rows]]
        if len(sound):
            slopes = _slopes(*study.balances(sound, ~np.isnan(study.before[rows[0]])))
            if shared and study.runs[schema.PRUNER].iloc[sound[0]] == MP:
                pairs = shared.of_runs(study.runs.iloc[sound])
                slopes |= {f"alpha_{name}": slope for name, slope in pairs.other_slopes.items()} if pairs else {}
            by_cell.append(pd.DataFrame(slopes, index=sound))
    every_slope = pd.concat([pd.DataFrame(columns=[*_SLOPES], dtype=float), *by_cell]).reindex(frame.index)
    return frame.assign(
        variance_before=np.nanvar(study.before, axis=1),
        variance_after=np.nanvar(study.after, axis=1),
        **{name: frame[name].mask(at_chance) for name in ("alpha", "spread_ratio")},
        **every_slope,
    )


def _slopes(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Return variants of alpha, (networks,): mean intensification ratio, slopes of some classes, pooled slopes.

    The pooled slopes are pseudo-values whose mean over the networks estimates one slope for all of them: from all
    points, from the half of the points nearest to the origin, and from the others.
    """
    ratios = intensification.intensification_ratios(before, after)
    products, squares = before * after, before**2
    near = np.abs(before) <= np.median(np.abs(before))
    return {
        "mean_ratio": np.ma.masked_invalid(ratios).mean(1).filled(np.nan),
        "alpha_weak": intensification.alpha(np.minimum(before, 0), after),
        "alpha_strong": intensification.alpha(np.maximum(before, 0), after),
        **{
            name: resampling.pseudo_values(np.where(part, products, 0).sum(1), np.where(part, squares, 0).sum(1))
            for name, part in zip(_POOLED, (np.ones_like(near), near, ~near), strict=True)
        },
    }
