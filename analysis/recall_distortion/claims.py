"""The claims of the recall distortion paper held against a study: which hold, which do not, which cannot be told."""

from collections.abc import Collection, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from analysis import cells
from analysis.arrays import run_arrays
from analysis.formats import decimals, with_interval
from analysis.predictions import OTHER_METRICS, Predictions
from analysis.published import rank
from analysis.recall_distortion.sentences import (
    ABOVE,
    ALIKE,
    BELOW,
    CLAIMS,
    DIFFERS,
    MP,
    NOT_ABOVE,
    NOT_BELOW,
    SUBSTANTIAL,
    Check,
    Claim,
    Place,
)
from analysis.runs import schema
from analysis.runs.frames import ReadPredictions
from analysis.settings import CELL, main_setting, shown_settings
from analysis.statistics import intensification, resampling
from analysis.statistics.hypothesis_tests import LEVEL, MARGIN, corrected

CLAIM_COLUMNS = [
    "claim",
    "slug",
    "sentence",
    "source",
    "looked_at",
    "place",
    "where",
    "quantity",
    "claimed",
    "estimate",
    "low",
    "high",
    "p_for",
    "p_against",
    "n",
    "n_at_chance",
    "holds",
    "verdict",
]
HOLDS, FAILS, UNCLEAR, UNTRIED = "holds", "does not hold", "cannot be told", "not tried"
YES, NO, UNKNOWN, AT_CHANCE = "yes", "no", "?", "at chance"

# Pooled slopes: each is a sum over all classes and networks of a cell, divided by another such sum.
_POOLED = ("pooled", "near", "far")
_SLOPES = ("mean_ratio", "alpha_weak", "alpha_strong", *_POOLED, *(f"alpha_{name}" for name in OTHER_METRICS))


def claims(runs: pd.DataFrame, predictions: ReadPredictions | Predictions | None = None) -> pd.DataFrame:
    """Hold every claim against a study (`claims.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.runs.pull.runs` returns it. Of several settings of a cell the papers' counts (`main_setting`).
    predictions : callable or Predictions, optional
        As `cells.cells` takes it. It is asked for the predictions under magnitude pruning, since one claim is about
        their precision and F1.

    Returns
    -------
    DataFrame, one row per comparison, by claim and place
        `CLAIM_COLUMNS`, among them:

        - estimate, low, high: the estimate over n networks, or over n pairs of them, with its two-sided interval. An
          alpha has the interval of `cells.cells`, a difference has its 95 % interval. Networks that guess are left out.
        - claimed: where the estimate should lie.
        - p_for, p_against: p that the true value lies there, and p that it does not. They are one-sided where the claim
          has a direction. That something differs has a two-sided p for it, and that of an equivalence test against it.
          If every comparison must hold, each of the two is corrected over the comparisons at the place by Holm.
        - holds: `yes` if p_for is at most .05, `no` if p_against is, `at chance` if most networks guess, `?` otherwise.
        - verdict: of all comparisons of the claim at the place, except those at chance. `holds` if every comparison
          holds, `does not hold` if one does not, `cannot be told` otherwise. A claim about most cases, or about a
          tendency, needs more than half of them instead. `not tried` if there is no comparison; place is then empty.
    """
    places = _places(runs, predictions)
    rows = [row for number, claim in enumerate(CLAIMS, start=1) for row in _rows(number, claim, places)]
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def checked(runs: pd.DataFrame, slugs: Collection[str]) -> Iterator[tuple[Place, Check, str]]:
    """Yield the checks of claims about one place each: the place, the check, and whether it holds, as in `claims`.

    Parameters
    ----------
    runs : DataFrame
        As for `claims`.
    slugs : collection of str
        Slugs of the claims.
    """
    for place in _places(runs, None):
        for claim in CLAIMS:
            if claim.slug in slugs:
                yield from ((place, each.check, each.holds) for each in _judged(claim, (place,)))


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each claim with a column for each place, as text: the verdict, and what it rests on.

    Parameters
    ----------
    frame : DataFrame
        As `claims` returns it.
    """
    rows = []
    for _, results in frame.groupby("claim", sort=False):
        claim = results.iloc[0]
        row = {"": str(claim["claim"]), "the paper": f"{claim['sentence']} ({claim['source']})"}
        row["looked at"] = claim["looked_at"]
        tried = results[results["place"] != ""]
        rows.append(row | {place: _told(checks) for place, checks in tried.groupby("place", sort=False)})
    names = [place for place in dict.fromkeys(frame["place"]) if place]
    return pd.DataFrame(rows, columns=["", "the paper", "looked at", *names]).fillna(UNTRIED)


def _told(checks: pd.DataFrame) -> str:
    verdict, first = checks["verdict"].iloc[0], checks.iloc[0]
    counts = checks["holds"].value_counts()
    read = checks[checks["holds"] != AT_CHANCE]
    if len(checks) == 1 and len(read):
        estimate = with_interval(first["estimate"], first["low"], first["high"], _number)
        return f"{verdict}: {first['where']}: {estimate}"
    others = [
        f"{counts[answer]} {word}" for answer, word in ((NO, "against"), (AT_CHANCE, AT_CHANCE)) if answer in counts
    ]
    ranges = [
        f"{quantity} {_reach(rows['estimate'], rows['estimate'])} ({_reach(rows['low'], rows['high'])})"
        for quantity, rows in read.groupby("quantity", sort=False)
    ]
    return "; ".join([f"{verdict}: {', '.join([f'{counts.get(YES, 0)} of {len(read)}', *others])}", *ranges])


def _reach(low: pd.Series, high: pd.Series) -> str:
    return " to ".join(dict.fromkeys((_number(low.min()), _number(high.max()))))


def _number(value: float) -> str:
    return decimals(4 if abs(value) < 0.01 else 2, sign=True)(value)


def _rows(number: int, claim: Claim, places: list[Place]) -> list[dict[str, Any]]:
    named = dict(zip(CLAIM_COLUMNS, (number, *claim[:4]), strict=False))
    tried = [named | row for chosen in combinations(places, claim.places) for row in _checked(claim, chosen)]
    return tried or [named | _NOTHING]


_NOTHING = {
    **dict.fromkeys(("place", "where", "quantity", "claimed", "holds"), ""),
    **dict.fromkeys(("estimate", "low", "high", "p_for", "p_against"), np.nan),
    **dict.fromkeys(("n", "n_at_chance"), 0),
    "verdict": UNTRIED,
}


def _checked(claim: Claim, places: tuple[Place, ...]) -> Iterator[dict[str, Any]]:
    judged = _judged(claim, places)
    verdict = _verdict([each.holds for each in judged], every=claim.every)
    for check, p_for, p_against, holds in judged:
        yield {
            "place": " and ".join(place.name for place in places),
            "where": check.where,
            "quantity": check.quantity,
            "claimed": check.claimed,
            "estimate": check.row["difference"],
            "low": check.row["difference_low"],
            "high": check.row["difference_high"],
            "p_for": p_for,
            "p_against": p_against,
            "n": check.row["n"],
            "n_at_chance": check.n_at_chance,
            "holds": holds,
            "verdict": verdict,
        }


class _Judged(NamedTuple):
    """A check, p that it holds and p that it does not, and which of both is shown."""

    check: Check
    p_for: float
    p_against: float
    holds: str


def _judged(claim: Claim, places: tuple[Place, ...]) -> list[_Judged]:
    """Judge the checks of a claim; if all of them must hold, their p are corrected together."""
    checks = list(claim.checks(*places)) if claim.checks else []
    p = np.array([_p_values(check) for check in checks]).reshape(-1, 2)
    if claim.every:
        read = np.array([not check.at_chance for check in checks], dtype=bool)
        p[read] = np.column_stack([corrected(side, int(read.sum()))[1] for side in p[read].T])
    return [
        _Judged(check, p_for, p_against, AT_CHANCE if check.at_chance else _answer(p_for, p_against))
        for check, (p_for, p_against) in zip(checks, p.tolist(), strict=True)
    ]


def _answer(p_for: float, p_against: float) -> str:
    return YES if p_for <= LEVEL else NO if p_against <= LEVEL else UNKNOWN


def _p_values(check: Check) -> tuple[float, float]:
    """Return p that the true value lies where the claim has it, and p that it does not."""
    value, error, dof = (float(check.row[name]) for name in ("difference", "error", "dof"))

    def below(bound: float) -> float:
        return float(stats.t.cdf((value - bound) / error, dof))

    def above(bound: float) -> float:
        return float(stats.t.sf((value - bound) / error, dof))

    def within(margin: float) -> float:
        return max(above(-margin), below(margin))

    def beyond(margin: float) -> float:
        return min(2 * min(below(-margin), above(margin)), 1.0)

    return {
        BELOW: (below(0), above(0)),
        ABOVE: (above(0), below(0)),
        NOT_BELOW: (above(-MARGIN), below(-MARGIN)),
        NOT_ABOVE: (below(MARGIN), above(MARGIN)),
        DIFFERS: (beyond(0), within(MARGIN)),
        ALIKE: (within(SUBSTANTIAL), beyond(SUBSTANTIAL)),
    }[check.claimed]


def _verdict(holds: list[str], *, every: bool) -> str:
    yes, no, read = holds.count(YES), holds.count(NO), len(holds) - holds.count(AT_CHANCE)
    if every:
        return FAILS if no else HOLDS if yes == read > 0 else UNCLEAR
    return HOLDS if 2 * yes > read else FAILS if 2 * no > read else UNCLEAR


# Measurements of each network.


def _places(runs: pd.DataFrame, predictions: ReadPredictions | Predictions | None) -> list[Place]:
    by_place = measured(main_setting(runs, shown_settings(runs)), predictions).groupby(CELL[:2])
    places = [Place(dataset, model, rows) for (dataset, model), rows in by_place]
    return sorted(places, key=lambda place: (rank(place.model), rank(place.dataset)))


def measured(runs: pd.DataFrame, predictions: ReadPredictions | Predictions | None = None) -> pd.DataFrame:
    """Return what the claims are about, one row per network.

    Parameters
    ----------
    runs, predictions
        As for `claims`, with one setting of each cell.

    Returns
    -------
    DataFrame
        As `cells.alphas` returns it, with variances of recall, and further slopes: mean ratio, of weak and of strong
        classes, of precision and F1 under magnitude pruning, and pseudo-values, whose mean is the slope of all networks
        of a cell together: `pooled`, of the half of all points nearest to the origin (`near`), and of the others
        (`far`). Alpha, spread ratio and further slopes are missing for a network at chance.
    """
    study, shared = run_arrays(runs), Predictions.shared(predictions)
    frame = cells.alphas(runs)
    at_chance = frame["at_chance"].to_numpy(bool)
    by_cell = []
    for rows in study.cells():
        sound = rows[~at_chance[rows]]
        if len(sound):
            slopes = _slopes(*study.balances(sound, ~np.isnan(study.before[rows[0]])))
            if shared and study.runs[schema.PRUNER].iloc[sound[0]] == MP:
                found = shared.of_runs(study.runs.iloc[sound])
                slopes |= {f"alpha_{name}": slope for name, slope in found.other_slopes.items()} if found else {}
            by_cell.append(pd.DataFrame(slopes, index=sound))
    every_slope = pd.concat([pd.DataFrame(columns=[*_SLOPES], dtype=float), *by_cell]).reindex(frame.index)
    return frame.assign(
        variance_before=np.nanvar(study.before, axis=1),
        variance_after=np.nanvar(study.after, axis=1),
        **{name: frame[name].mask(at_chance) for name in ("alpha", "spread_ratio")},
        **every_slope,
    )


def _slopes(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Return variants of alpha, each (networks,): of some classes, as a mean of ratios, and pooled.

    The pooled slopes are pseudo-values, whose mean is the slope of all networks together: of all points, of the half
    of them nearest to the origin, and of the others.
    """
    ratios = intensification.intensification_ratios(before, after)
    products, squares = before * after, before**2
    near = np.abs(before) <= np.median(np.abs(before))
    return {
        "mean_ratio": np.ma.masked_invalid(ratios).mean(1).filled(np.nan),
        "alpha_weak": intensification.alpha(np.minimum(before, 0), after),
        "alpha_strong": intensification.alpha(np.maximum(before, 0), after),
        **{
            name: resampling.pseudo_values(np.where(kept, products, 0).sum(1), np.where(kept, squares, 0).sum(1))
            for name, kept in zip(_POOLED, (np.ones_like(near), near, ~near), strict=True)
        },
    }
