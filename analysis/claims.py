"""What the recall distortion paper says, sentence by sentence, held against a study.

Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning Algorithm"; sections and
appendices are its own.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import cells, intensification, schema
from analysis.comparisons import HARDER
from analysis.hypothesis_tests import MARGIN, Row, independent, paired
from analysis.published import original, rank
from analysis.tables import NOT_AVAILABLE

CLAIM_COLUMNS = [
    "claim",
    "sentence",
    "source",
    "looked_at",
    "place",
    "where",
    "claimed",
    "estimate",
    "low",
    "high",
    "n",
    "holds",
    "verdict",
]
HOLDS, FAILS, UNCLEAR, UNTRIED = "holds", "does not hold", "cannot be told", "not tried"
BELOW, ABOVE, DIFFERS, SAME = "below 0", "above 0", "not 0", f"within {MARGIN:g} of 0"

MP, GP, UP, RP = "mp", "gp", "up", "rp"
_LOW_RATIO, _MODERATE, _HIGH = 2.0, 4.0, 10.0


class Check(NamedTuple):
    """One comparison that a sentence speaks of: an estimate, and where the sentence says that it lies."""

    where: str
    row: Row
    claimed: str


class Claim(NamedTuple):
    """A sentence of the paper.

    Attributes
    ----------
    sentence, source : str
    looked_at : str
        Which number is held against it.
    checks : callable, optional
        Takes what it speaks of, one place or two, and gives the checks that the study allows. Without it the
        sentence is about something that no study here has.
    places : int
        1; or 2, of which the paper calls the first the easier data set or the smaller model.
    every : bool
        Whether all checks must hold, or more than half of them.
    """

    sentence: str
    source: str
    looked_at: str
    checks: Callable[..., Iterable[Check]] | None = None
    places: int = 1
    every: bool = True


class Place:
    """A data set and a model in the study, one setting of each pruner.

    Parameters
    ----------
    dataset, model : str
    measured : DataFrame
        Its rows of `_measured`.
    """

    def __init__(self, dataset: str, model: str, measured: pd.DataFrame):
        self.dataset, self.model = dataset, model
        self._cells = {key: of_cell.set_index(schema.SEED) for key, of_cell in measured.groupby(cells.CELL[2:])}

    @property
    def name(self) -> str:
        return f"{self.dataset}, {self.model}"

    def ratios(self, pruner: str, at_least: float = 0.0) -> list[float]:
        """The pruner's ratios, ascending, at which most networks are not at chance."""
        return [
            ratio
            for (of, ratio), of_cell in sorted(self._cells.items())
            if of == pruner and ratio >= at_least and of_cell["at_chance"].mean() <= 0.5
        ]

    def of(self, pruner: str, ratio: float, column: str) -> pd.Series:
        """A column of a cell by seed; networks at chance are NaN."""
        of_cell = self._cells[pruner, ratio]
        return of_cell[column].mask(of_cell["at_chance"])

    def up(self) -> str:
        """What stands for UP: the released code's formula where the study has no other."""
        return UP if any(of == UP for of, _ in self._cells) else "up-signed"

    def both(self, first: str, second: str, at_least: float = 0.0) -> list[float]:
        """Ratios that two pruners have."""
        return [ratio for ratio in self.ratios(first, at_least) if ratio in self.ratios(second)]


def claims(runs: pd.DataFrame, predictions: cells.Predictions | None = None) -> pd.DataFrame:
    """Hold every sentence against a study (`claims.csv`).

    Parameters
    ----------
    runs : DataFrame
        As `analysis.pull.runs` returns it. Of several settings of a cell the papers' counts (`cells.main_setting`).
    predictions : callable, optional
        As `cells.cells` takes it: asked for those of magnitude pruning, whose precision and F1 one sentence is about.

    Returns
    -------
    DataFrame, one row per check, by claim and place
        `CLAIM_COLUMNS`. estimate with its 95 % interval, over n networks or pairs of them; claimed says where the
        sentence has it, holds `yes` where the whole interval lies there, `no` where it lies on the other side (of
        `not 0`: within the margin; of `within`: outside), else `?`. The verdict is of all checks of the claim at
        the place: `holds` where all do, or more than half where the sentence speaks of most; `does not hold` where
        one does not, or more than half; else `cannot be told`. A claim without any check is `not tried`, with an
        empty place. Networks at chance have no alpha; where most are, the ratio is left out.
    """
    places = _places(runs, predictions)
    rows = [row for number, claim in enumerate(CLAIMS, start=1) for row in _rows(number, claim, places)]
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim with a column for each place, as text: verdict, and what it rests on.

    Parameters
    ----------
    frame : DataFrame
        As `claims` returns it.
    """
    rows = {}
    for (number, sentence, source, looked_at), of_claim in frame.groupby(CLAIM_COLUMNS[:4], sort=False):
        row = {"": str(number), "the paper": f"{sentence} ({source})", "looked at": looked_at}
        tried = of_claim[of_claim["place"] != ""]
        rows[number] = row | {place: _told(checks) for place, checks in tried.groupby("place", sort=False)}
    names = [place for place in dict.fromkeys(frame["place"]) if place]
    columns = ["", "the paper", "looked at", *names]
    return pd.DataFrame(rows.values(), columns=columns).fillna(UNTRIED)


def _told(checks: pd.DataFrame) -> str:
    verdict = checks["verdict"].iloc[0]
    if len(checks) == 1:
        (one,) = checks.to_dict("records")
        estimate, low, high = (_number(one[name]) for name in ("estimate", "low", "high"))
        return f"{verdict}: {one['where']}: {estimate} ({low} to {high})"
    counts = checks["holds"].value_counts()
    of_all = f"{counts.get('yes', 0)} of {len(checks)}"
    against = f", {counts['no']} against" if "no" in counts else ""
    return f"{verdict}: {of_all}{against}; {_number(checks['estimate'].min())} to {_number(checks['estimate'].max())}"


def _number(value: float) -> str:
    if np.isnan(value):
        return NOT_AVAILABLE
    return f"{value:+.4f}" if abs(value) < 0.01 else f"{value:+.2f}"


def _places(runs: pd.DataFrame, predictions: cells.Predictions | None) -> list[Place]:
    measured = _measured(cells.main_setting(runs, cells.settings(runs)), predictions)
    of_places = [Place(dataset, model, rows) for (dataset, model), rows in measured.groupby(cells.CELL[:2])]
    return sorted(of_places, key=lambda place: (rank(place.model), rank(place.dataset)))


def _measured(runs: pd.DataFrame, predictions: cells.Predictions | None) -> pd.DataFrame:
    """One row per run: its slope, accuracies, and what the sentences speak of beside them."""
    study = cells.read(runs)
    frame = cells.alphas(runs)
    names = ("variance_before", "variance_after", "mean_ratio", *(f"alpha_{name}" for name in cells.OTHER_METRICS))
    values = {name: np.full(len(frame), np.nan) for name in names}
    sums = np.full((4, len(frame)), np.nan)
    for rows in cells.cell_rows(study):
        classes = ~np.isnan(study.before[rows[0]])
        balances = study.balances(rows, classes)
        for name, recall in (("variance_before", study.before), ("variance_after", study.after)):
            values[name][rows] = recall[np.ix_(rows, classes)].var(1)
        ratios = intensification.intensification_ratios(*balances)
        values["mean_ratio"][rows] = np.where(np.isfinite(ratios), ratios, np.nan).mean(1)
        sums[:, rows] = _near_and_far(*balances)
        of_cell = study.runs.iloc[rows]
        if predictions and of_cell[schema.PRUNER].iloc[0] == MP and (found := cells.predicted(of_cell, predictions)):
            for name, slopes in cells.other_slopes(found).items():
                values[f"alpha_{name}"][rows] = slopes
    near = dict(zip(("near_by", "near_squared", "far_by", "far_squared"), sums, strict=True))
    return frame.assign(**values, **near)


def _near_and_far(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Sums of b b_t and b^2 of the half of a cell's points nearest to the origin, and of the others: (4, networks)."""
    near = np.abs(before) <= np.median(np.abs(before))
    return np.array(
        [np.where(kept, product_, 0).sum(1) for kept in (near, ~near) for product_ in (before * after, before**2)]
    )


def _rows(number: int, claim: Claim, places: list[Place]) -> Iterator[dict[str, Any]]:
    named = dict(zip(CLAIM_COLUMNS, (number, claim.sentence, claim.source, claim.looked_at), strict=False))
    tried = False
    for of in _spoken_of(claim, places):
        checks = list(claim.checks(*of)) if claim.checks else []
        holds = [_holds(check) for check in checks]
        for check, answer in zip(checks, holds, strict=True):
            tried = True
            yield named | {
                "place": " against ".join(place.name for place in of),
                "where": check.where,
                "claimed": check.claimed,
                **{name: check.row[of_row] for name, of_row in _OF_ROW.items()},
                "holds": answer,
                "verdict": _verdict(holds, every=claim.every),
            }
    if not tried:
        missing = dict.fromkeys(("estimate", "low", "high"), np.nan)
        yield named | dict.fromkeys(("place", "where", "claimed", "holds"), "") | missing | {"n": 0, "verdict": UNTRIED}


_OF_ROW = {"estimate": "difference", "low": "difference_low", "high": "difference_high", "n": "n"}


def _spoken_of(claim: Claim, places: list[Place]) -> Iterator[tuple[Place, ...]]:
    if claim.places == 1:
        yield from ((place,) for place in places)
    else:
        yield from combinations(places, 2)


def _holds(check: Check) -> str:
    low, high = float(check.row["difference_low"]), float(check.row["difference_high"])
    below, above = high < 0, low > 0
    inside, outside = low > -MARGIN and high < MARGIN, low > MARGIN or high < -MARGIN
    yes, no = {
        BELOW: (below, above),
        ABOVE: (above, below),
        DIFFERS: (below or above, inside),
        SAME: (inside, outside),
    }[check.claimed]
    return "yes" if yes else "no" if no else "?"


def _verdict(holds: list[str], *, every: bool) -> str:
    yes, no = holds.count("yes"), holds.count("no")
    if every:
        return FAILS if no else HOLDS if yes == len(holds) else UNCLEAR
    return HOLDS if 2 * yes > len(holds) else FAILS if 2 * no > len(holds) else UNCLEAR


# What is compared.


def _between(first: pd.Series, second: pd.Series) -> Row:
    """Difference of two columns over the seeds that both have."""
    first, second = first.align(second, join="inner")
    return paired(first, second)


def _against(values: pd.Series, value: float) -> Row:
    return paired(values, np.full(len(values), value))


def _pruned_more(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        if len(ratios := place.ratios(pruner)) > 1:
            least, most = ratios[0], ratios[-1]
            row = _between(place.of(pruner, most, "alpha"), place.of(pruner, least, "alpha"))
            yield Check(f"{pruner}, t={most:g} minus t={least:g}", row, ABOVE)


def _low_ratios(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        for ratio in place.ratios(pruner):
            if ratio == _LOW_RATIO:
                yield Check(f"{pruner}, t={ratio:g}", _against(place.of(pruner, ratio, "alpha"), 1), BELOW)


def _highest_ratio(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        for ratio in place.ratios(pruner, _HIGH)[-1:]:
            yield Check(f"{pruner}, t={ratio:g}", _against(place.of(pruner, ratio, "alpha"), 1), ABOVE)


def _corrective(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        if ratio <= _MODERATE and place.ratios(cells.CONTROL):
            row = _between(place.of(MP, ratio, "alpha"), place.of(cells.CONTROL, 1.0, "alpha"))
            yield Check(f"mp, t={ratio:g} minus none", row, BELOW)


def _random_against(value: float) -> Callable[[Place], Iterator[Check]]:
    def checks(place: Place) -> Iterator[Check]:
        for ratio in place.ratios(RP):
            yield Check(f"rp, t={ratio:g}", _against(place.of(RP, ratio, "alpha"), value), BELOW)

    return checks


def _random_differs(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        for ratio in place.both(pruner, RP):
            row = _between(place.of(pruner, ratio, "alpha"), place.of(RP, ratio, "alpha"))
            yield Check(f"{pruner} minus rp, t={ratio:g}", row, DIFFERS)


def _up_minus(other: str, column: str, claimed: str) -> Callable[[Place], Iterator[Check]]:
    def checks(place: Place) -> Iterator[Check]:
        up = place.up()
        for ratio in place.both(up, other):
            row = _between(place.of(up, ratio, column), place.of(other, ratio, column))
            yield Check(f"{up} minus {other}, t={ratio:g}", row, claimed)

    return checks


def _pruners_differ(place: Place) -> Iterator[Check]:
    for first, second in combinations((MP, GP, place.up()), 2):
        for ratio in place.both(first, second, _HIGH):
            row = _between(place.of(first, ratio, "alpha"), place.of(second, ratio, "alpha"))
            yield Check(f"{first} minus {second}, t={ratio:g}", row, DIFFERS)


def _magnitude_keeps_more(place: Place) -> Iterator[Check]:
    for ratio in place.both(MP, GP):
        row = _between(place.of(MP, ratio, "accuracy_after"), place.of(GP, ratio, "accuracy_after"))
        yield Check(f"mp minus gp, t={ratio:g}", row, ABOVE)


def _light_pruning(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        if ratio <= _MODERATE:
            yield Check(f"accuracy, mp, t={ratio:g}", _gained(place, ratio), ABOVE)
            yield Check(f"alpha - 1, mp, t={ratio:g}", _against(place.of(MP, ratio, "alpha"), 1), BELOW)


def _heavy_pruning(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP, _HIGH)[-1:]:
        yield Check(f"accuracy, mp, t={ratio:g}", _gained(place, ratio), BELOW)
        yield Check(f"alpha - 1, mp, t={ratio:g}", _against(place.of(MP, ratio, "alpha"), 1), ABOVE)


def _gained(place: Place, ratio: float) -> Row:
    return _between(place.of(MP, ratio, "accuracy_after"), place.of(MP, ratio, "accuracy_before"))


def _variance_grows(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        row = _between(place.of(MP, ratio, "variance_after"), place.of(MP, ratio, "variance_before"))
        yield Check(f"mp, t={ratio:g}", row, ABOVE)


def _linear(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        sums = [place.of(MP, ratio, name).to_numpy() for name in ("near_by", "near_squared", "far_by", "far_squared")]
        kept = np.isfinite(sums).all(0)
        near, far = (intensification.pseudo_values(*(of[kept] for of in part)) for part in (sums[:2], sums[2:]))
        yield Check(f"mp, t={ratio:g}", paired(near, far), SAME)


def _mean_ratio_is_volatile(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        of_ratio, of_alpha = (_deviations(place.of(MP, ratio, name)) for name in ("mean_ratio", "alpha"))
        yield Check(f"mp, t={ratio:g}", _between(of_ratio, of_alpha), ABOVE)


def _deviations(values: pd.Series) -> pd.Series:
    return (values - values.median()).abs()


def _recall_is_most_expressive(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        for metric in cells.OTHER_METRICS:
            of_other = place.of(MP, ratio, f"alpha_{metric}")
            if of_other.notna().any():
                row = _between((place.of(MP, ratio, "alpha") - 1).abs(), (of_other - 1).abs())
                yield Check(f"recall minus {metric}, mp, t={ratio:g}", row, ABOVE)


def _harder_data(easier: Place, harder: Place) -> Iterator[Check]:
    if easier.model == harder.model and (original(easier.dataset), original(harder.dataset)) in HARDER:
        yield from _less(harder, easier)


def _smaller_model(pruner: str | None) -> Callable[[Place, Place], Iterator[Check]]:
    def checks(smaller: Place, larger: Place) -> Iterator[Check]:
        if smaller.dataset == larger.dataset:
            yield from _less(smaller, larger, pruner or smaller.up())

    return checks


def _less(more: Place, less: Place, pruner: str = MP) -> Iterator[Check]:
    for ratio in more.ratios(pruner):
        if ratio in less.ratios(pruner):
            row = independent(more.of(pruner, ratio, "alpha"), less.of(pruner, ratio, "alpha"))
            yield Check(f"{pruner}, t={ratio:g}", row, ABOVE)


CLAIMS = (
    Claim(
        '"at each P except RP, intensification tends to remain similar or become stronger at higher pruning ratios"',
        "7.1",
        "alpha at the highest ratio minus alpha at the lowest",
        _pruned_more,
    ),
    Claim('"low ratios tend to have CIs entirely below 1"', "6.2", "alpha - 1 at ratio 2", _low_ratios, every=False),
    Claim('"high ratios tend to have CIs entirely above 1"', "6.2", "alpha - 1 at the highest ratio", _highest_ratio),
    Claim(
        '"network pruning has a corrective effect on recall differences" under moderate pruning',
        "1 (iii)",
        "alpha minus that of the same fine-tuning without pruning, ratios up to 4",
        _corrective,
    ),
    Claim('"The exception is P=RP, where the CIs are below 1 at all ratios"', "6.2", "alpha - 1", _random_against(1)),
    Claim('"RP always has negative slopes"', "7.4", "alpha", _random_against(0)),
    Claim('"all three methods differ from RP, at each ratio"', "7.4", "difference of alpha", _random_differs),
    Claim(
        '"UP tends to have less intensification than MP"',
        "7.4",
        "alpha of UP minus that of MP",
        _up_minus(MP, "alpha", BELOW),
        every=False,
    ),
    Claim(
        '"at most ratios, UP tends to have shallower but still positive slopes (less intensification) than MP or GP"',
        "7.4",
        "alpha of UP minus that of GP",
        _up_minus(GP, "alpha", BELOW),
        every=False,
    ),
    Claim('"[alpha] is always smaller for UP"', "7.4", "alpha of UP minus that of MP", _up_minus(MP, "alpha", BELOW)),
    Claim(
        '"the average slopes for MP, GP, and UP differ from each other at higher pruning ratios"',
        "7.4",
        "difference of alpha, ratios from 10",
        _pruners_differ,
    ),
    Claim(
        'UP has a smaller mean slope than MP, "while having better accuracy [...] at the same pruning rate"',
        "poster, 4",
        "accuracy of UP minus that of MP",
        _up_minus(MP, "accuracy_after", ABOVE),
        every=False,
    ),
    Claim(
        'MP has "seemingly better performance than GP"',
        "6.1",
        "accuracy of MP minus that of GP",
        _magnitude_keeps_more,
        every=False,
    ),
    Claim(
        '"lighter pruning makes the accuracy better while not pushing intensification above 1"',
        "E",
        "change of accuracy, and alpha - 1, ratios up to 4",
        _light_pruning,
    ),
    Claim(
        '"heavy pruning makes the accuracy worse and intensification stronger"',
        "E",
        "change of accuracy, and alpha - 1, at the highest ratio",
        _heavy_pruning,
    ),
    Claim(
        '"recall variance increases with pruning"',
        "F",
        "variance of recall after minus before",
        _variance_grows,
        every=False,
    ),
    Claim(
        '"we did not observe any behavior around the origin that would differ substantially from the linear trend"',
        "G",
        "slope of the half of the classes nearest to the origin minus that of the others",
        _linear,
        every=False,
    ),
    Claim(
        '"the equally-weighted mean of intensification ratios is not robust to outliers"',
        "G",
        "distance of the mean ratio from its median over networks minus that of alpha",
        _mean_ratio_is_volatile,
    ),
    Claim(
        '"at most ratios, MNIST and Fashion tend to have shallower slopes (less intensification) than CIFAR-10, which '
        'has shallower slopes than CIFAR-100"',
        "7.3",
        "alpha on the harder data set minus that on the easier, the same model",
        _harder_data,
        places=2,
        every=False,
    ),
    Claim(
        '"at most ratios, smaller model sizes tend to have more intensification than larger model sizes" (MP)',
        "7.2",
        "alpha of the smaller model minus that of the larger",
        _smaller_model(MP),
        places=2,
        every=False,
    ),
    Claim(
        "the same, of UP",
        "7.2",
        "alpha of the smaller model minus that of the larger",
        _smaller_model(None),
        places=2,
        every=False,
    ),
    Claim(
        '"the effect of pruning more expressive on recall than on precision or F-score"',
        "4",
        "distance of the slope of recall from 1 minus that of the slope of precision, and of F1, for MP",
        _recall_is_most_expressive,
        every=False,
    ),
    Claim(
        'LTH: "intensification above 1 consistently occurs if the pruning ratio exceeds a certain threshold"',
        "H",
        "no study here prunes so",
    ),
    Claim(
        'CHIP: "intensification starts to increase from one pruning ratio to another"', "H", "no study here prunes so"
    ),
)
