"""Test the claims of a paper by comparisons in a study, and decide which hold and which do not."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from analysis.rendering.formats import decimals, short_ratio, with_interval
from analysis.report.published import standing_for_up
from analysis.runs import schema
from analysis.statistics.hypothesis_tests import LEVEL, MARGIN, Row, corrected
from analysis.study.settings import CONTROL, networks

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

BELOW, ABOVE, DIFFERS = "below 0", "above 0", "not 0"
NOT_BELOW, NOT_ABOVE = f"above -{MARGIN:g}", f"below {MARGIN:g}"
SUBSTANTIAL = 0.25
ALIKE = f"within {SUBSTANTIAL:g} of 0"

# Pruning at this ratio or a larger one is strong pruning.
HIGH = 10.0
# Values that differ by no more than rounding have a standard error below this.
_ROUNDING = 1e-10


class Arm(NamedTuple):
    """A pruner at a ratio, on the data set and model of a `Workload`."""

    pruner: str
    ratio: float


class Check(NamedTuple):
    """One comparison that tests a claim.

    Attributes
    ----------
    arms : tuple of Arm
        One arm, or two arms of which the second is subtracted from the first.
    quantity : str
    row : dict
        As `estimate` returns it, from an empty sample if `at_chance`.
    claimed : str
        Range that the claim predicts for the estimate.
    n_at_chance : int
        Number of networks that are left out because they are at chance, so that they have no slopes.
    at_chance : bool
        Whether most networks are left out, so that an estimate would be meaningless.
    part : str
        Label of what is compared, such as `weak classes` or `level 8`; empty if `quantity` suffices.
    """

    arms: tuple[Arm, ...]
    quantity: str
    row: Row
    claimed: str
    n_at_chance: int = 0
    at_chance: bool = False
    part: str = ""

    @property
    def where(self) -> str:
        """Label of the comparison in tables."""
        return ", ".join(filter(None, [self.part, _minus(*self.arms)]))


def _minus(first: Arm, second: Arm | None = None) -> str:
    if second and second.pruner == first.pruner:
        return f"{first.pruner}, t={short_ratio(first.ratio)} minus t={short_ratio(second.ratio)}"
    if second and second.pruner != CONTROL and second.ratio != first.ratio:
        return f"{first.pruner}, t={short_ratio(first.ratio)} minus {second.pruner}, t={short_ratio(second.ratio)}"
    pruners = f"{first.pruner} minus {second.pruner}" if second else first.pruner
    return f"{pruners}, t={short_ratio(first.ratio)}"


class Claim(NamedTuple):
    """A claim of a paper.

    Attributes
    ----------
    slug : str
        Name of the claim in code and files, which stays the same if the wording changes.
    sentence, source : str
    looked_at : str
        Description of the quantity that tests the claim.
    checks : callable
        Function of one or two workloads that yields those checks of the claim for which the study has the cells.
    places : int
        Number of workloads that each check compares, 1 or 2.
    every : bool
        Whether all checks must hold. A claim about most cases, or about a tendency, needs only more than half of them.
    """

    slug: str
    sentence: str
    source: str
    looked_at: str
    checks: Callable[..., Iterable[Check]]
    places: int = 1
    every: bool = True


class Workload:
    """A data set and a model in a study, with one combination of settings for each pruner.

    Parameters
    ----------
    dataset, model : str
    measures : DataFrame, a row per network; or None
        Its columns are pruner, ratio, seed, at_chance, and the measures. None if all networks are lottery tickets.
    tickets : Workload, optional
        The same data set and model, with the levels of lottery tickets.
    """

    def __init__(self, dataset: str, model: str, measures: pd.DataFrame | None, tickets: "Workload | None" = None):
        self.dataset, self.model, self.tickets = dataset, model, tickets
        by_arm = [] if measures is None else measures.groupby([schema.PRUNER, schema.RATIO])
        self._arms = {
            Arm(*arm): rows.set_axis(index)[~index.duplicated()] for arm, rows in by_arm for index in [networks(rows)]
        }
        self._at_chance = {arm: rows["at_chance"].astype(bool) for arm, rows in self._arms.items()}

    @property
    def name(self) -> str:
        return f"{self.dataset}, {self.model}"

    @property
    def pruners(self) -> list[str]:
        """The pruners, sorted by name."""
        return sorted({arm.pruner for arm in self._arms})

    def ratios(self, pruner: str, *, at_least: float = 0.0, at_most: float = np.inf) -> list[float]:
        """Return the pruner's ratios, ascending."""
        return sorted(arm.ratio for arm in self._arms if arm.pruner == pruner and at_least <= arm.ratio <= at_most)

    def arms(self, pruner: str, *, at_most: float = np.inf) -> list[Arm]:
        """Return the pruner at each of its ratios, ascending."""
        return [Arm(pruner, ratio) for ratio in self.ratios(pruner, at_most=at_most)]

    def shared(self, first: str, second: str, *, at_least: float = 0.0) -> list[tuple[Arm, Arm]]:
        """Return the arms of two pruners at each ratio that both have, ascending."""
        ratios = self.ratios(second)
        return [
            (Arm(first, ratio), Arm(second, ratio))
            for ratio in self.ratios(first, at_least=at_least)
            if ratio in ratios
        ]

    def highest(self, pruner: str) -> list[Arm]:
        """Return, in a list, the arm not at chance with the largest ratio from `HIGH` on; empty if there is none."""
        arms = [Arm(pruner, ratio) for ratio in self.ratios(pruner, at_least=HIGH)]
        return [arm for arm in arms if not self.is_at_chance(arm)][-1:]

    def values(self, arm: Arm, column: str) -> pd.Series:
        """Return a column of an arm by network."""
        return self._arms[arm][column]

    def setting(self, arm: Arm, column: str) -> str:
        """Return the value of a setting that all networks of an arm share."""
        return str(self._arms[arm][column].iloc[0])

    def n_at_chance(self, *arms: Arm) -> int:
        """Return the number of networks that all arms have, and that are at chance in any of them."""
        flags = pd.concat([self._at_chance[arm] for arm in arms], axis=1, join="inner")
        return int(flags.any(axis=1).sum())

    def is_at_chance(self, arm: Arm) -> bool:
        """Return whether most networks are at chance."""
        return bool(self._at_chance[arm].mean() > 0.5)

    def up(self) -> str:
        """Return the pruner that is compared as UP: `up-signed` if the study has it and no `up`, else `up`."""
        return standing_for_up({arm.pruner for arm in self._arms})


def estimate(first: pd.Series, second: pd.Series | None = None, *, level: float = LEVEL) -> Row:
    """Return the mean of a sample, or the difference of the means of two independent samples, with its interval.

    Parameters
    ----------
    first, second : Series
        Values of the samples; NaNs are ignored.
    level : float
        1 minus the confidence of the interval.

    Returns
    -------
    dict
        `difference` with its interval `difference_low`, `difference_high`; its standard `error` and the degrees of
        freedom `dof` (Welch's for two samples); `n`, the number of values. All but the difference and `n` are NaN if a
        sample has fewer than two values, or if every sample has only equal values.

    Examples
    --------
    The mean is 2, its standard error 1, and t for one degree of freedom at 5 % is 12.706:

    >>> row = estimate(pd.Series([1.0, 3.0]))
    >>> row["difference"], row["error"], row["dof"], round(row["difference_high"], 3)
    (2.0, 1.0, 1.0, 14.706)
    """
    samples = [sample.dropna().to_numpy(float) for sample in (first, second) if sample is not None]
    means = [sample.mean() if len(sample) else np.nan for sample in samples]
    difference = float(means[0] - sum(means[1:]))
    error, dof = _standard_error(samples)
    half = -float(special.stdtrit(dof, level / 2)) * error
    return {
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
        "error": error,
        "dof": dof,
        "n": sum(map(len, samples)),
    }


def _standard_error(samples: list[np.ndarray]) -> tuple[float, float]:
    """Return the standard error of a mean or of a difference of means, and its degrees of freedom (Welch)."""
    if min(map(len, samples)) < 2:
        return np.nan, np.nan
    variances = np.array([sample.var(ddof=1) / len(sample) for sample in samples])
    error = float(np.sqrt(variances.sum()))
    if error < _ROUNDING:
        return np.nan, np.nan
    return error, float(variances.sum() ** 2 / (variances**2 / [len(sample) - 1 for sample in samples]).sum())


def held(claims: Sequence[Claim], workloads: Sequence[Workload]) -> pd.DataFrame:
    """Test claims on the data sets and models of a study.

    Parameters
    ----------
    claims : sequence of Claim
    workloads : sequence of Workload

    Returns
    -------
    DataFrame, one row per comparison, by claim and place (data set and model)
        `CLAIM_COLUMNS`, among them:

        - estimate, low, high: the estimate over n networks, or over n pairs of networks, with its two-sided interval.
        - claimed: the range in which the estimate should lie.
        - p_for, p_against: p-values of two tests. A small p_for shows that the true value is in the claimed range, a
          small p_against that it is not. They are one-sided if the claim has a direction. If the claim is that
          something differs, p_for is two-sided and p_against is that of an equivalence test. If every comparison must
          hold, both are corrected by Holm's method over the comparisons at the place.
        - holds: `at chance` if most networks are at chance, `yes` if p_for is at most .05, `no` if p_against is at most
          .05, otherwise `?`.
        - verdict: from all comparisons of the claim at the place, except those at chance. `holds` if every comparison
          has `yes`, `does not hold` if one has `no`, `cannot be told` otherwise. A claim about most cases, or about a
          tendency, holds if more than half of the comparisons have `yes`, and does not hold if more than half have
          `no`. `not tried` if there is no comparison; place is then empty.
    """
    rows = [row for number, claim in enumerate(claims, start=1) for row in _rows(number, claim, workloads)]
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Format a row for each claim, with its verdict and estimates in a column for each data set and model.

    Parameters
    ----------
    frame : DataFrame
        As `held` returns it.
    """
    rows = []
    for _, results in frame.groupby("claim", sort=False):
        claim = results.iloc[0]
        row = {"": str(claim["claim"]), "the paper": f"{claim['sentence']} ({claim['source']})"}
        row["looked at"] = claim["looked_at"]
        checked_rows = results[results["place"] != ""]
        rows.append(
            row | {workload: _summary(checks) for workload, checks in checked_rows.groupby("place", sort=False)}
        )
    names = [workload for workload in dict.fromkeys(frame["place"]) if workload]
    return pd.DataFrame(rows, columns=["", "the paper", "looked at", *names]).fillna(UNTRIED)


def _summary(checks: pd.DataFrame) -> str:
    verdict, first = checks["verdict"].iloc[0], checks.iloc[0]
    counts = checks["holds"].value_counts()
    sound_checks = checks[checks["holds"] != AT_CHANCE]
    if len(checks) == 1 and len(sound_checks):
        estimate = with_interval(first["estimate"], first["low"], first["high"], _number)
        return f"{verdict}: {first['where']}: {estimate}"
    other_counts = [
        f"{counts[answer]} {word}" for answer, word in ((NO, "against"), (AT_CHANCE, AT_CHANCE)) if answer in counts
    ]
    ranges = [
        f"{quantity} {_reach(rows['estimate'], rows['estimate'])} ({_reach(rows['low'], rows['high'])})"
        for quantity, rows in sound_checks.groupby("quantity", sort=False)
    ]
    return "; ".join(
        [f"{verdict}: {', '.join([f'{counts.get(YES, 0)} of {len(sound_checks)}', *other_counts])}", *ranges]
    )


def _reach(low: pd.Series, high: pd.Series) -> str:
    return " to ".join(dict.fromkeys((_number(low.min()), _number(high.max()))))


def _number(value: float) -> str:
    digits = 4 if abs(value) < 0.01 else 2
    is_zero = round(value, digits) == 0
    return decimals(digits, sign=not is_zero)(0.0 if is_zero else value)


def _rows(number: int, claim: Claim, workloads: Sequence[Workload]) -> list[dict[str, Any]]:
    claim_columns = dict(zip(CLAIM_COLUMNS, (number, *claim[:4]), strict=False))
    checked_rows = [
        claim_columns | row
        for own_workloads in combinations(workloads, claim.places)
        for row in _check_rows(claim, own_workloads)
    ]
    return checked_rows or [claim_columns | _NOTHING]


_NOTHING = {
    **dict.fromkeys(("place", "where", "quantity", "claimed", "holds"), ""),
    **dict.fromkeys(("estimate", "low", "high", "p_for", "p_against"), np.nan),
    **dict.fromkeys(("n", "n_at_chance"), 0),
    "verdict": UNTRIED,
}


def _check_rows(claim: Claim, workloads: tuple[Workload, ...]) -> Iterator[dict[str, Any]]:
    results = judge(claim, workloads)
    verdict = _verdict([each.holds for each in results], every=claim.every)
    for check, p_for, p_against, holds in results:
        yield {
            "place": " and ".join(workload.name for workload in workloads),
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


class CheckResult(NamedTuple):
    """A check with its p-values for and against the claim, and whether it holds, as in `held`."""

    check: Check
    p_for: float
    p_against: float
    holds: str


def judge(claim: Claim, workloads: tuple[Workload, ...]) -> list[CheckResult]:
    """Evaluate the checks of a claim; if all must hold, their p-values are corrected together."""
    checks = list(claim.checks(*workloads))
    p = np.array([p_values(check) for check in checks]).reshape(-1, 2)
    if claim.every:
        is_sound = np.array([not check.at_chance for check in checks], dtype=bool)
        p[is_sound] = np.column_stack([corrected(side, int(is_sound.sum()))[1] for side in p[is_sound].T])
    return [
        CheckResult(check, p_for, p_against, AT_CHANCE if check.at_chance else _answer(p_for, p_against))
        for check, (p_for, p_against) in zip(checks, p.tolist(), strict=True)
    ]


def _answer(p_for: float, p_against: float) -> str:
    return YES if p_for <= LEVEL else NO if p_against <= LEVEL else UNKNOWN


def p_values(check: Check) -> tuple[float, float]:
    """Return p_for and p_against: small values show that the true value is, or is not, in the claimed range."""
    value, error, dof = (float(check.row[name]) for name in ("difference", "error", "dof"))

    def below(bound: float) -> float:
        return float(special.stdtr(dof, (value - bound) / error))

    def above(bound: float) -> float:
        return float(special.stdtr(dof, (bound - value) / error))

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
    yes, no, n_sound = holds.count(YES), holds.count(NO), len(holds) - holds.count(AT_CHANCE)
    if every:
        return FAILS if no else HOLDS if yes == n_sound > 0 else UNCLEAR
    return HOLDS if 2 * yes > n_sound else FAILS if 2 * no > n_sound else UNCLEAR
