"""What the recall distortion paper says, sentence by sentence, and what in a study is held against it.

Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning Algorithm"; sections and
appendices are its own.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis import cells, settings
from analysis.published import label, original, standing_for_up
from analysis.recall_distortion.comparisons import HARDER, usual_model
from analysis.runs import schema
from analysis.statistics import resampling
from analysis.statistics.hypothesis_tests import MARGIN, Row, independent, paired

BELOW, ABOVE, DIFFERS = "below 0", "above 0", "not 0"
NOT_BELOW, NOT_ABOVE = f"above -{MARGIN:g}", f"below {MARGIN:g}"
SUBSTANTIAL = 0.25
ALIKE = f"within {SUBSTANTIAL:g} of 0"

ALPHA, ACCURACY, SPREAD, VARIANCE, LOG_RATIO = "alpha", "accuracy", "spread ratio", "variance", "log of ratio"
MP, GP, RP = "mp", "gp", "rp"
# "Low pruning rates (t <= 4)": poster, Section 5.
_LOW, _HIGH = 4.0, 10.0

Cell = tuple[str, float]  # pruner, ratio


class Check(NamedTuple):
    """One comparison that a sentence speaks of.

    Attributes
    ----------
    where : str
    quantity : str
    row : dict
        As `hypothesis_tests.paired` returns it: difference with its interval, n. NaN where most networks guess.
    claimed : str
        Where the sentence has the difference.
    n_at_chance : int
        Networks left out as guessing.
    at_chance : bool
        Whether most guess, so that there is nothing to read.
    """

    where: str
    quantity: str
    row: Row
    claimed: str
    n_at_chance: int = 0
    at_chance: bool = False


class Claim(NamedTuple):
    """A sentence of the paper.

    Attributes
    ----------
    sentence, source : str
    looked_at : str
        Which number is held against it.
    checks : callable, optional
        Takes what it speaks of, one place or two, and gives the checks that the study allows. Without it the
        sentence is about something that no study of this project has.
    places : int
        1, or 2.
    every : bool
        Whether all checks must hold, or, where the sentence speaks of most or of a tendency, more than half.
    """

    sentence: str
    source: str
    looked_at: str
    checks: Callable[..., Iterable[Check]] | None = None
    places: int = 1
    every: bool = True


class Place:
    """A data set and a model in a study, one setting of each pruner.

    Parameters
    ----------
    dataset, model : str
    measured : DataFrame, a row per network
        pruner, ratio, seed, at_chance, and columns of which those about slopes are NaN for a network at chance.
    """

    def __init__(self, dataset: str, model: str, measured: pd.DataFrame):
        self.dataset, self.model = dataset, model
        self._cells = {
            cell: of_cell.drop_duplicates(schema.SEED).set_index(schema.SEED)
            for cell, of_cell in measured.groupby([schema.PRUNER, schema.RATIO])
        }

    @property
    def name(self) -> str:
        return f"{self.dataset}, {self.model}"

    def ratios(self, pruner: str, *, at_least: float = 0.0, at_most: float = np.inf) -> list[float]:
        """The pruner's ratios, ascending."""
        return sorted(ratio for of, ratio in self._cells if of == pruner and at_least <= ratio <= at_most)

    def shared(self, first: str, second: str, *, at_least: float = 0.0) -> list[float]:
        """Ratios that two pruners have, ascending."""
        return [ratio for ratio in self.ratios(first, at_least=at_least) if ratio in self.ratios(second)]

    def highest(self, pruner: str) -> list[float]:
        """The largest of the high ratios at which most networks do not guess, if there is one."""
        return [ratio for ratio in self.ratios(pruner, at_least=_HIGH) if not self.guesses((pruner, ratio))][-1:]

    def of(self, cell: Cell, column: str) -> pd.Series:
        """A column of a cell by seed."""
        return self._cells[cell][column]

    def n_at_chance(self, cell: Cell) -> int:
        return int(self.of(cell, "at_chance").sum())

    def guesses(self, cell: Cell) -> bool:
        """Whether most of a cell's networks are at chance."""
        return bool(self.of(cell, "at_chance").mean() > 0.5)

    def up(self) -> str:
        """What stands for UP: the released code's formula where the study has no other."""
        return standing_for_up({pruner for pruner, _ in self._cells})


# What is compared.


def _compared(place: Place, first: Cell, second: Cell, column: str) -> Row:
    """Difference of two cells over the seeds that both have."""
    return paired(*place.of(first, column).align(place.of(second, column), join="inner"))


def _slopes(place: Place, first: Cell, second: Cell, claimed: str, column: str = ALPHA, quantity: str = ALPHA) -> Check:
    guessing = place.guesses(first) or place.guesses(second)
    return Check(
        _minus(first, second),
        quantity,
        paired([], []) if guessing else _compared(place, first, second, column),
        claimed,
        max(place.n_at_chance(first), place.n_at_chance(second)),
        guessing,
    )


def _accuracies(place: Place, first: Cell, second: Cell, claimed: str) -> Check:
    row = _compared(place, first, second, "accuracy_after")
    return Check(f"accuracy, {_minus(first, second)}", ACCURACY, row, claimed)


def _minus(first: Cell, second: Cell) -> str:
    (pruner, ratio), (other, of_other) = first, second
    if other == settings.CONTROL:
        return f"{pruner} minus {other}, t={ratio:g}"
    return f"{pruner}, t={ratio:g} minus t={of_other:g}" if pruner == other else f"{pruner} minus {other}, t={ratio:g}"


def _slope(place: Place, cell: Cell, value: float, claimed: str, column: str = ALPHA) -> Check:
    """A cell's mean slope minus a value, with the interval that the cell has beside its mark."""
    pruner, ratio = cell
    known = place.of(cell, column).dropna() - value
    low, high = resampling.mean_interval(known, 1 - 0.05 / len(place.ratios(pruner)))
    row: Row = {"difference": known.mean(), "difference_low": low, "difference_high": high, "n": len(known)}
    return _of_cell(place, cell, f"{pruner}, t={ratio:g}", row, claimed)


def _of_cell(place: Place, cell: Cell, where: str, row: Row, claimed: str, quantity: str = ALPHA) -> Check:
    """A check of a cell's slopes, which are not read where most networks guess."""
    guessing = place.guesses(cell)
    return Check(where, quantity, paired([], []) if guessing else row, claimed, place.n_at_chance(cell), guessing)


def _pruned_more(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        for ratio, more in pairwise(place.ratios(pruner)):
            yield _slopes(place, (pruner, more), (pruner, ratio), NOT_BELOW)


def _low_ratios(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        for ratio in place.ratios(pruner, at_most=_LOW):
            yield _slope(place, (pruner, ratio), 1, BELOW)


def _highest_ratio(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        for ratio in place.highest(pruner):
            yield _slope(place, (pruner, ratio), 1, ABOVE)


def _weak_and_strong(place: Place) -> Iterator[Check]:
    for pruner in (MP, GP, place.up()):
        for ratio in place.highest(pruner):
            for classes in ("weak", "strong"):
                check = _slope(place, (pruner, ratio), 1, ABOVE, f"alpha_{classes}")
                yield check._replace(where=f"{classes} classes, {check.where}")


def _corrective(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP, at_most=_LOW):
        for control in place.ratios(settings.CONTROL):
            pair = (MP, ratio), (settings.CONTROL, control)
            yield _slopes(place, *pair, BELOW)
            yield _slopes(place, *pair, BELOW, "spread_ratio", SPREAD)


def _random_against(value: float) -> Callable[[Place], Iterator[Check]]:
    def checks(place: Place) -> Iterator[Check]:
        for ratio in place.ratios(RP):
            yield _slope(place, (RP, ratio), value, BELOW)

    return checks


def _random_minus(claimed: str) -> Callable[[Place], Iterator[Check]]:
    def checks(place: Place) -> Iterator[Check]:
        for pruner in (MP, GP, place.up()):
            for ratio in place.shared(RP, pruner):
                yield _slopes(place, (RP, ratio), (pruner, ratio), claimed)

    return checks


def _up_minus(other: str, column: str = ALPHA) -> Callable[[Place], Iterator[Check]]:
    def checks(place: Place) -> Iterator[Check]:
        up = place.up()
        for ratio in place.shared(up, other):
            yield _slopes(place, (up, ratio), (other, ratio), BELOW, column)

    return checks


def _up_positive(place: Place) -> Iterator[Check]:
    up = place.up()
    for ratio in place.ratios(up):
        yield _slope(place, (up, ratio), 0, ABOVE)


def _pruners_differ(place: Place) -> Iterator[Check]:
    for first, second in combinations((MP, GP, place.up()), 2):
        for ratio in place.shared(first, second, at_least=_HIGH):
            yield _slopes(place, (first, ratio), (second, ratio), DIFFERS)


def _up_more_accurate(place: Place) -> Iterator[Check]:
    up = place.up()
    for ratio in place.shared(up, MP):
        yield _accuracies(place, (up, ratio), (MP, ratio), ABOVE)


def _magnitude_more_accurate(place: Place) -> Iterator[Check]:
    for ratio in place.shared(MP, GP):
        yield _accuracies(place, (MP, ratio), (GP, ratio), ABOVE)


def _light_pruning(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP, at_most=_LOW):
        yield _gained(place, ratio, ABOVE)
        yield _slope(place, (MP, ratio), 1, NOT_ABOVE)


def _heavy_pruning(place: Place) -> Iterator[Check]:
    for ratio in place.highest(MP):
        yield _gained(place, ratio, BELOW)
        yield _slope(place, (MP, ratio), 1, ABOVE)


def _gained(place: Place, ratio: float, claimed: str) -> Check:
    after, before = (place.of((MP, ratio), f"accuracy_{when}") for when in ("after", "before"))
    return Check(f"accuracy, mp, t={ratio:g}", ACCURACY, paired(after, before), claimed)


def _variance_grows(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        after, before = (place.of((MP, ratio), f"variance_{when}") for when in ("after", "before"))
        yield Check(f"mp, t={ratio:g}", VARIANCE, paired(after, before), ABOVE)


def _linear(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        cell = MP, ratio
        row = paired(place.of(cell, "near"), place.of(cell, "far"))
        yield _of_cell(place, cell, f"mp, t={ratio:g}", row, ALIKE)


def _mean_ratio_is_volatile(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        cell = MP, ratio
        of_ratio, of_alpha = (_log_deviations(place.of(cell, name)) for name in ("mean_ratio", ALPHA))
        yield _of_cell(place, cell, f"mp, t={ratio:g}", paired(of_ratio, of_alpha), ABOVE, LOG_RATIO)


def _log_deviations(values: pd.Series) -> pd.Series:
    """Of the distance from the median; missing for the network that is it."""
    distance = (values - values.median()).abs()
    return np.log(distance.mask(distance == 0))


def _recall_is_most_expressive(place: Place) -> Iterator[Check]:
    for ratio in place.ratios(MP):
        cell = MP, ratio
        for metric in cells.OTHER_METRICS:
            if place.of(cell, f"alpha_{metric}").notna().any():
                of_recall, of_other = ((place.of(cell, name) - 1).abs() for name in (ALPHA, f"alpha_{metric}"))
                where = f"recall minus {metric}, mp, t={ratio:g}"
                yield _of_cell(place, cell, where, paired(of_recall, of_other), ABOVE)


def _harder_data(first: Place, second: Place) -> Iterator[Check]:
    for easier, harder in ((first, second), (second, first)):
        comparable = easier.model == harder.model or (_usual(easier) and _usual(harder))
        if comparable and (original(easier.dataset), original(harder.dataset)) in HARDER:
            yield from _between(harder, easier, MP)


def _usual(place: Place) -> bool:
    return label(place.model) == usual_model(place.dataset)


def _smaller_model(pruner: str | None) -> Callable[[Place, Place], Iterator[Check]]:
    def checks(smaller: Place, larger: Place) -> Iterator[Check]:
        resnets = all(label(place.model).startswith("ResNet-") for place in (smaller, larger))
        if resnets and smaller.dataset == larger.dataset:
            yield from _between(smaller, larger, pruner or smaller.up())

    return checks


def _between(more: Place, less: Place, pruner: str) -> Iterator[Check]:
    for ratio in more.ratios(pruner):
        if ratio in less.ratios(pruner):
            cell = pruner, ratio
            guessing = more.guesses(cell) or less.guesses(cell)
            row = independent([], []) if guessing else independent(more.of(cell, ALPHA), less.of(cell, ALPHA))
            n_at_chance = more.n_at_chance(cell) + less.n_at_chance(cell)
            yield Check(f"{pruner}, t={ratio:g}", ALPHA, row, ABOVE, n_at_chance, guessing)


CLAIMS = (
    Claim(
        '"at each P except RP, intensification tends to remain similar or become stronger at higher pruning ratios"',
        "7.1",
        "alpha at each ratio minus alpha at the one before",
        _pruned_more,
        every=False,
    ),
    Claim(
        '"low ratios tend to have CIs entirely below 1"',
        "6.2",
        "alpha - 1, ratios up to 4",
        _low_ratios,
        every=False,
    ),
    Claim(
        '"high ratios tend to have CIs entirely above 1"',
        "6.2",
        "alpha - 1 at the highest ratio",
        _highest_ratio,
        every=False,
    ),
    Claim(
        'intensification "happens for both underperforming classes [...] and overperforming classes [...] for any '
        'pruning method other than Random Pruning"',
        "9",
        "alpha - 1 of the classes below the accuracy, and of those above it, at the highest ratio",
        _weak_and_strong,
    ),
    Claim(
        '"network pruning has a corrective effect on recall differences" under moderate pruning',
        "1 (iii)",
        "alpha, and the spread of the balances, minus those of the same fine-tuning without pruning, ratios up to 4",
        _corrective,
    ),
    Claim('"The exception is P=RP, where the CIs are below 1 at all ratios"', "6.2", "alpha - 1", _random_against(1)),
    Claim('"RP always has negative slopes"', "7.4", "alpha", _random_against(0)),
    Claim('"all three methods differ from RP, at each ratio"', "7.4", "difference of alpha", _random_minus(DIFFERS)),
    Claim(
        '"RP has the lowest intensification ratio of them all"',
        "poster, 4",
        "alpha of RP minus that of MP, GP and UP",
        _random_minus(BELOW),
    ),
    Claim(
        '"UP tends to have less intensification than MP"',
        "7.4",
        "alpha of UP minus that of MP",
        _up_minus(MP),
        every=False,
    ),
    Claim(
        '"at most ratios, UP tends to have shallower but still positive slopes (less intensification) than MP or GP"',
        "7.4",
        "alpha of UP minus that of GP",
        _up_minus(GP),
        every=False,
    ),
    Claim('"still positive slopes" of UP', "7.4", "alpha of UP", _up_positive, every=False),
    Claim(
        '"[alpha, of all networks together] is always smaller for UP"',
        "7.4",
        "pooled alpha of UP minus that of MP",
        _up_minus(MP, "pooled"),
    ),
    Claim(
        '"the average slopes for MP, GP, and UP differ from each other at higher pruning ratios"',
        "7.4",
        "difference of alpha, ratios from 10",
        _pruners_differ,
    ),
    Claim(
        'UP has a smaller mean alpha than MP, "while having better accuracy [...] at the same pruning rate"',
        "poster, 4",
        "accuracy of UP minus that of MP",
        _up_more_accurate,
        every=False,
    ),
    Claim(
        'MP has "seemingly better performance than GP"',
        "6.1",
        "accuracy of MP minus that of GP",
        _magnitude_more_accurate,
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
        'what Table 11 "probably confirms": "that recall variance increases with pruning"',
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
    ),
    Claim(
        '"the equally-weighted mean of intensification ratios is not robust to outliers"',
        "G",
        "distance from the median over networks, of the mean ratio over that of alpha, logarithm",
        _mean_ratio_is_volatile,
    ),
    Claim(
        '"at most ratios, MNIST and Fashion tend to have shallower slopes (less intensification) than CIFAR-10, which '
        'has shallower slopes than CIFAR-100"',
        "7.3",
        "alpha on the harder data set minus that on the easier, by the same model or the paper's",
        _harder_data,
        places=2,
        every=False,
    ),
    Claim(
        '"at most ratios, smaller model sizes tend to have more intensification than larger model sizes", MP '
        '(9 says "greater model complexity")',
        "7.2",
        "alpha of the smaller ResNet minus that of the larger",
        _smaller_model(MP),
        places=2,
        every=False,
    ),
    Claim(
        "the same, UP",
        "7.2",
        "alpha of the smaller ResNet minus that of the larger",
        _smaller_model(None),
        places=2,
        every=False,
    ),
    Claim(
        '"the effect of pruning more expressive on recall than on precision or F-score"',
        "4",
        "distance of alpha from 1, of recall minus that of precision, and of F1, MP",
        _recall_is_most_expressive,
        every=False,
    ),
    Claim(
        'LTH: "an intensification above 1 consistently occurs if the pruning ratio exceeds a certain threshold"',
        "H",
        "not built here",
    ),
    Claim('CHIP: "intensification starts to increase from one pruning ratio to another"', "H", "not built here"),
)
