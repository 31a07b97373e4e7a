"""The claims of the recall distortion paper held against a study: which hold, which do not, which cannot be told."""

from collections.abc import Collection, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis import cells
from analysis.arrays import predicted, run_arrays
from analysis.formats import decimals, with_interval
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
from analysis.statistics.hypothesis_tests import MARGIN

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
    "n",
    "n_at_chance",
    "holds",
    "verdict",
]
HOLDS, FAILS, UNCLEAR, UNTRIED = "holds", "does not hold", "cannot be told", "not tried"
YES, NO, UNKNOWN, AT_CHANCE = "yes", "no", "?", "at chance"

# Pooled slopes: each is a sum over all classes and networks of a cell, divided by another such sum.
_POOLED = ("pooled", "near", "far")
_SLOPES = ("mean_ratio", "alpha_weak", "alpha_strong", *_POOLED, *(f"alpha_{name}" for name in cells.OTHER_METRICS))


def claims(runs: pd.DataFrame, predictions: ReadPredictions | None = None) -> pd.DataFrame:
    """Hold every claim against a study (`claims.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.runs.pull.runs` returns it. Of several settings of a cell the papers' counts (`main_setting`).
    predictions : callable, optional
        As `cells.cells` takes it. It is asked for the predictions under magnitude pruning, since one claim is about
        their precision and F1.

    Returns
    -------
    DataFrame, one row per comparison, by claim and place
        `CLAIM_COLUMNS`, among them:

        - estimate, low, high: the estimate over n networks, or over n pairs of them, with its interval. An alpha has
          the interval of `cells.cells`, a difference has its 95 % interval.
        - claimed: where the estimate should lie.
        - holds: `yes` if the whole interval lies there. `no` if it lies on the other side; or, for a claim that
          something differs, if it lies within the margin. `at chance` if most networks guess, since alpha then means
          nothing. `?` otherwise.
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
                for check in claim.checks(place) if claim.checks else ():
                    yield place, check, _holds(check)


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
    **dict.fromkeys(("estimate", "low", "high"), np.nan),
    **dict.fromkeys(("n", "n_at_chance"), 0),
    "verdict": UNTRIED,
}


def _checked(claim: Claim, places: tuple[Place, ...]) -> Iterator[dict[str, Any]]:
    checks = list(claim.checks(*places)) if claim.checks else []
    holds = [_holds(check) for check in checks]
    for check, answer in zip(checks, holds, strict=True):
        yield {
            "place": " and ".join(place.name for place in places),
            "where": check.where,
            "quantity": check.quantity,
            "claimed": check.claimed,
            "estimate": check.row["difference"],
            "low": check.row["difference_low"],
            "high": check.row["difference_high"],
            "n": check.row["n"],
            "n_at_chance": check.n_at_chance,
            "holds": answer,
            "verdict": _verdict(holds, every=claim.every),
        }


def _holds(check: Check) -> str:
    if check.at_chance:
        return AT_CHANCE
    low, high = float(check.row["difference_low"]), float(check.row["difference_high"])
    yes, no = {
        BELOW: (high < 0, low > 0),
        ABOVE: (low > 0, high < 0),
        NOT_BELOW: (low > -MARGIN, high < -MARGIN),
        NOT_ABOVE: (high < MARGIN, low > MARGIN),
        DIFFERS: (high < 0 or low > 0, low > -MARGIN and high < MARGIN),
        ALIKE: (low > -SUBSTANTIAL and high < SUBSTANTIAL, low > SUBSTANTIAL or high < -SUBSTANTIAL),
    }[check.claimed]
    return YES if yes else NO if no else UNKNOWN


def _verdict(holds: list[str], *, every: bool) -> str:
    yes, no, read = holds.count(YES), holds.count(NO), len(holds) - holds.count(AT_CHANCE)
    if every:
        return FAILS if no else HOLDS if yes == read > 0 else UNCLEAR
    return HOLDS if 2 * yes > read else FAILS if 2 * no > read else UNCLEAR


# Measurements of each network.


def _places(runs: pd.DataFrame, predictions: ReadPredictions | None) -> list[Place]:
    by_place = measured(main_setting(runs, shown_settings(runs)), predictions).groupby(CELL[:2])
    places = [Place(dataset, model, rows) for (dataset, model), rows in by_place]
    return sorted(places, key=lambda place: (rank(place.model), rank(place.dataset)))


def measured(runs: pd.DataFrame, predictions: ReadPredictions | None = None) -> pd.DataFrame:
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
        (`far`). Slopes and spread ratio are missing for a network at chance.
    """
    study = run_arrays(runs)
    frame = cells.alphas(runs)
    at_chance = frame["at_chance"].to_numpy(bool)
    by_cell = []
    for rows in study.cells():
        sound = rows[~at_chance[rows]]
        if len(sound):
            slopes = _slopes(*study.balances(sound, ~np.isnan(study.before[rows[0]])))
            if predictions and study.runs[schema.PRUNER].iloc[sound[0]] == MP:
                found = predicted(study.runs.iloc[sound], predictions)
                slopes |= {f"alpha_{name}": slope for name, slope in cells.other_slopes(found).items()} if found else {}
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
