"""The claims of the recall distortion paper, and the comparisons in a study that test them.

Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning Algorithm"; sections and
appendices are those of this paper.
"""

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

import numpy as np
import pandas as pd

from analysis.report.papers.claims import (
    ABOVE,
    ALIKE,
    BELOW,
    DIFFERS,
    HIGH,
    NOT_ABOVE,
    NOT_BELOW,
    Arm,
    Check,
    Claim,
    Workload,
    estimate,
)
from analysis.report.papers.recall_distortion.channel_pruning import PRUNER as CHIP
from analysis.report.papers.recall_distortion.comparisons import HARDER, differ_in_size, usual_model
from analysis.report.papers.recall_distortion.lottery import PRUNERS as TICKET_PRUNERS
from analysis.report.papers.recall_distortion.lottery import printed_threshold
from analysis.report.published import label, original
from analysis.statistics.hypothesis_tests import LEVEL, Row
from analysis.study.predictions import OTHER_METRICS
from analysis.study.settings import CONTROL, ITERATION

ALPHA, ACCURACY, SPREAD, VARIANCE, LOG_RATIO = "alpha", "accuracy", "spread ratio", "variance", "log of ratio"
MP, GP, RP = "mp", "gp", "rp"
# "Low pruning rates (t <= 4)": poster, Section 5.
_LOW = 4.0

# Comparisons.

_NOTHING = estimate(pd.Series(dtype=float))
# Networks at chance have no slopes, but count in these quantities.
_OF_ALL_NETWORKS = (ACCURACY, VARIANCE)


def _differences(
    workload: Workload, first: Arm, second: Arm, claimed: str, column: str = ALPHA, quantity: str = ALPHA
) -> Check:
    """Return a check of the difference of two arms over the networks that both have."""
    of_first, of_second = workload.values(first, column).align(workload.values(second, column), join="inner")
    return _check(workload, (first, second), estimate(of_first - of_second), claimed, quantity)


def _accuracies(workload: Workload, first: Arm, second: Arm, claimed: str) -> Check:
    return _differences(workload, first, second, claimed, "accuracy_after", ACCURACY)._replace(part="accuracy")


def _slope(workload: Workload, arm: Arm, value: float, claimed: str, column: str = ALPHA) -> Check:
    """Return a check of an arm's mean slope minus a value, with an interval corrected for the number of ratios."""
    row = estimate(workload.values(arm, column) - value, level=LEVEL / len(workload.ratios(arm.pruner)))
    return _check(workload, (arm,), row, claimed)


def _change(workload: Workload, arm: Arm, first: str, second: str) -> Row:
    """Return the mean difference of two columns of an arm, with its interval."""
    return estimate(workload.values(arm, first) - workload.values(arm, second))


def _check(
    workload: Workload, arms: tuple[Arm, ...], row: Row, claimed: str, quantity: str = ALPHA, part: str = ""
) -> Check:
    """Return a check of one arm or two, without an estimate if it is of slopes and most networks are at chance."""
    if quantity in _OF_ALL_NETWORKS:
        return Check(arms, quantity, row, claimed, part=part)
    at_chance = any(map(workload.is_at_chance, arms))
    return Check(arms, quantity, _NOTHING if at_chance else row, claimed, workload.n_at_chance(*arms), at_chance, part)


def _pruned_more(workload: Workload) -> Iterator[Check]:
    for pruner in (MP, GP, workload.up()):
        for less, more in pairwise(workload.arms(pruner)):
            yield _differences(workload, more, less, NOT_BELOW)


def _low_ratios(workload: Workload) -> Iterator[Check]:
    for pruner in (MP, GP, workload.up()):
        for arm in workload.arms(pruner, at_most=_LOW):
            yield _slope(workload, arm, 1, BELOW)


def _highest_ratio(workload: Workload) -> Iterator[Check]:
    for pruner in (MP, GP, workload.up()):
        for arm in workload.highest(pruner):
            yield _slope(workload, arm, 1, ABOVE)


def _weak_and_strong(workload: Workload) -> Iterator[Check]:
    for pruner in (MP, GP, workload.up()):
        for arm in workload.highest(pruner):
            for classes in ("weak", "strong"):
                yield _slope(workload, arm, 1, ABOVE, f"alpha_{classes}")._replace(part=f"{classes} classes")


def _corrective(workload: Workload) -> Iterator[Check]:
    for arm in workload.arms(MP, at_most=_LOW):
        for control in workload.arms(CONTROL):
            yield _differences(workload, arm, control, BELOW)
            yield _differences(workload, arm, control, BELOW, "spread_ratio", SPREAD)


def _random_against(value: float) -> Callable[[Workload], Iterator[Check]]:
    def checks(workload: Workload) -> Iterator[Check]:
        for arm in workload.arms(RP):
            yield _slope(workload, arm, value, BELOW)

    return checks


def _random_minus(claimed: str) -> Callable[[Workload], Iterator[Check]]:
    def checks(workload: Workload) -> Iterator[Check]:
        for pruner in (MP, GP, workload.up()):
            for pair in workload.shared(RP, pruner):
                yield _differences(workload, *pair, claimed)

    return checks


def _up_minus(other: str, column: str = ALPHA) -> Callable[[Workload], Iterator[Check]]:
    def checks(workload: Workload) -> Iterator[Check]:
        for pair in workload.shared(workload.up(), other):
            yield _differences(workload, *pair, BELOW, column)

    return checks


def _up_positive(workload: Workload) -> Iterator[Check]:
    for arm in workload.arms(workload.up()):
        yield _slope(workload, arm, 0, ABOVE)


def _pruners_differ(workload: Workload) -> Iterator[Check]:
    for first, second in combinations((MP, GP, workload.up()), 2):
        for pair in workload.shared(first, second, at_least=HIGH):
            yield _differences(workload, *pair, DIFFERS)


def _up_more_accurate(workload: Workload) -> Iterator[Check]:
    for pair in workload.shared(workload.up(), MP):
        yield _accuracies(workload, *pair, ABOVE)


def _magnitude_more_accurate(workload: Workload) -> Iterator[Check]:
    for pair in workload.shared(MP, GP):
        yield _accuracies(workload, *pair, ABOVE)


def _light_pruning(workload: Workload) -> Iterator[Check]:
    for arm in workload.arms(MP, at_most=_LOW):
        yield _gained(workload, arm, ABOVE)
        yield _slope(workload, arm, 1, NOT_ABOVE)


def _heavy_pruning(workload: Workload) -> Iterator[Check]:
    for arm in workload.highest(MP):
        yield _gained(workload, arm, BELOW)
        yield _slope(workload, arm, 1, ABOVE)


def _gained(workload: Workload, arm: Arm, claimed: str) -> Check:
    row = _change(workload, arm, "accuracy_after", "accuracy_before")
    return _check(workload, (arm,), row, claimed, ACCURACY, part="accuracy")


def _variance_grows(workload: Workload) -> Iterator[Check]:
    for arm in workload.arms(MP):
        yield _check(workload, (arm,), _change(workload, arm, "variance_after", "variance_before"), ABOVE, VARIANCE)


def _linear(workload: Workload) -> Iterator[Check]:
    for arm in workload.arms(MP):
        yield _check(workload, (arm,), _change(workload, arm, "near", "far"), ALIKE)


def _mean_ratio_is_volatile(workload: Workload) -> Iterator[Check]:
    for arm in workload.arms(MP):
        ratio, slope = (_log_deviations(workload.values(arm, name)) for name in ("mean_ratio", ALPHA))
        yield _check(workload, (arm,), estimate(ratio - slope), ABOVE, LOG_RATIO)


def _log_deviations(values: pd.Series) -> pd.Series:
    """Return the logarithm of the distance from the median; NaN for a network at the median."""
    distance = (values - values.median()).abs()
    return np.log(distance.mask(distance == 0))


def _recall_is_most_expressive(workload: Workload) -> Iterator[Check]:
    for arm in workload.arms(MP):
        for metric in OTHER_METRICS:
            if workload.values(arm, f"alpha_{metric}").notna().any():
                recall, other = ((workload.values(arm, name) - 1).abs() for name in (ALPHA, f"alpha_{metric}"))
                yield _check(workload, (arm,), estimate(recall - other), ABOVE, part=f"recall minus {metric}")


def _harder_data(first: Workload, second: Workload) -> Iterator[Check]:
    for easier, harder in ((first, second), (second, first)):
        comparable = easier.model == harder.model or (_usual(easier) and _usual(harder))
        if comparable and (original(easier.dataset), original(harder.dataset)) in HARDER:
            yield from _between(harder, easier, MP)


def _usual(workload: Workload) -> bool:
    return label(workload.model) == usual_model(workload.dataset)


def _smaller_model(pruner: str | None) -> Callable[[Workload, Workload], Iterator[Check]]:
    def checks(smaller: Workload, larger: Workload) -> Iterator[Check]:
        if smaller.dataset == larger.dataset and differ_in_size(smaller.model, larger.model):
            yield from _between(smaller, larger, pruner or smaller.up())

    return checks


def _between(more: Workload, less: Workload, pruner: str) -> Iterator[Check]:
    for arm in more.arms(pruner):
        if arm in less.arms(pruner):
            at_chance = more.is_at_chance(arm) or less.is_at_chance(arm)
            row = _NOTHING if at_chance else estimate(more.values(arm, ALPHA), less.values(arm, ALPHA))
            yield Check((arm,), ALPHA, row, ABOVE, more.n_at_chance(arm) + less.n_at_chance(arm), at_chance)


def _tickets_above_threshold(workload: Workload) -> Iterator[Check]:
    if workload.tickets is None:
        return
    for pruner in TICKET_PRUNERS:
        for arm in workload.tickets.arms(pruner):
            level = int(workload.tickets.setting(arm, ITERATION))
            if level >= printed_threshold():
                yield _slope(workload.tickets, arm, 1, ABOVE)._replace(part=f"level {level}")


def _chip_rises(workload: Workload) -> Iterator[Check]:
    for less, more in pairwise(workload.arms(CHIP)):
        yield _differences(workload, more, less, ABOVE)


CLAIMS = (
    Claim(
        "more-pruning-intensifies",
        '"at each P except RP, intensification tends to remain similar or become stronger at higher pruning ratios"',
        "7.1",
        "alpha at each ratio minus alpha at the one before",
        _pruned_more,
        every=False,
    ),
    Claim(
        "low-ratios-below-1",
        '"low ratios tend to have CIs entirely below 1"',
        "6.2",
        "alpha - 1, ratios up to 4",
        _low_ratios,
        every=False,
    ),
    Claim(
        "high-ratios-above-1",
        '"high ratios tend to have CIs entirely above 1"',
        "6.2",
        "alpha - 1 at the highest ratio",
        _highest_ratio,
        every=False,
    ),
    Claim(
        "weak-and-strong-classes",
        'intensification "happens for both underperforming classes [...] and overperforming classes [...] for any '
        'pruning method other than Random Pruning"',
        "9",
        "alpha - 1 of the classes below the accuracy, and of those above it, at the highest ratio",
        _weak_and_strong,
    ),
    Claim(
        "moderate-pruning-corrects",
        '"network pruning has a corrective effect on recall differences" under moderate pruning',
        "1 (iii)",
        "MP: alpha, and the spread of the balances, minus those of the control, ratios up to 4",
        _corrective,
    ),
    Claim(
        "random-below-1",
        '"The exception is P=RP, where the CIs are below 1 at all ratios"',
        "6.2",
        "alpha - 1",
        _random_against(1),
    ),
    Claim("random-negative", '"RP always has negative slopes"', "7.4", "alpha", _random_against(0)),
    Claim(
        "random-differs",
        '"all three methods differ from RP, at each ratio"',
        "7.4",
        "difference of alpha",
        _random_minus(DIFFERS),
    ),
    Claim(
        "random-lowest",
        '"RP has the lowest intensification ratio of them all"',
        "poster, 4",
        "alpha of RP minus that of MP, GP or UP",
        _random_minus(BELOW),
    ),
    Claim(
        "up-below-mp",
        '"UP tends to have less intensification than MP"',
        "7.4",
        "alpha of UP minus that of MP",
        _up_minus(MP),
        every=False,
    ),
    Claim(
        "up-below-gp",
        '"at most ratios, UP tends to have shallower but still positive slopes (less intensification) than MP or GP"',
        "7.4",
        "alpha of UP minus that of GP",
        _up_minus(GP),
        every=False,
    ),
    Claim("up-positive", '"still positive slopes" of UP', "7.4", "alpha of UP", _up_positive, every=False),
    Claim(
        "pooled-up-below-mp",
        '"[alpha, of all networks together] is always smaller for UP"',
        "7.4",
        "pooled alpha of UP minus that of MP",
        _up_minus(MP, "pooled"),
    ),
    Claim(
        "pruners-differ",
        '"the average slopes for MP, GP, and UP differ from each other at higher pruning ratios"',
        "7.4",
        "difference of alpha, ratios from 10",
        _pruners_differ,
    ),
    Claim(
        "up-more-accurate",
        'UP has a smaller mean alpha than MP, "while having better accuracy [...] at the same pruning rate"',
        "poster, 4",
        "accuracy of UP minus that of MP",
        _up_more_accurate,
        every=False,
    ),
    Claim(
        "mp-more-accurate-than-gp",
        'MP has "seemingly better performance than GP"',
        "6.1",
        "accuracy of MP minus that of GP",
        _magnitude_more_accurate,
        every=False,
    ),
    Claim(
        "light-pruning",
        '"lighter pruning makes the accuracy better while not pushing intensification above 1"',
        "E",
        "change of accuracy, and alpha - 1, ratios up to 4",
        _light_pruning,
    ),
    Claim(
        "heavy-pruning",
        '"heavy pruning makes the accuracy worse and intensification stronger"',
        "E",
        "change of accuracy, and alpha - 1, at the highest ratio",
        _heavy_pruning,
    ),
    Claim(
        "recall-variance-grows",
        'what Table 11 "probably confirms": "that recall variance increases with pruning"',
        "F",
        "variance of recall after minus before",
        _variance_grows,
        every=False,
    ),
    Claim(
        "linear-at-origin",
        '"we did not observe any behavior around the origin that would differ substantially from the linear trend"',
        "G",
        "slope of the half of the points nearest to the origin minus that of the others",
        _linear,
    ),
    Claim(
        "mean-ratio-volatile",
        '"the equally-weighted mean of intensification ratios is not robust to outliers"',
        "G",
        "log distance of a network's mean intensification ratio from the median over networks minus the log distance "
        "of its alpha",
        _mean_ratio_is_volatile,
    ),
    Claim(
        "harder-data-intensify",
        '"at most ratios, MNIST and Fashion tend to have shallower slopes (less intensification) than CIFAR-10, which '
        'has shallower slopes than CIFAR-100"',
        "7.3",
        "alpha on the harder data set minus alpha on the easier one, if both have the same model, or each has the "
        "model that the paper uses on it",
        _harder_data,
        places=2,
        every=False,
    ),
    Claim(
        "smaller-models-intensify",
        '"at most ratios, smaller model sizes tend to have more intensification than larger model sizes", MP '
        '(but Section 9 says "greater model complexity")',
        "7.2",
        "alpha of the smaller ResNet or LeNet5 minus alpha of the larger",
        _smaller_model(MP),
        places=2,
        every=False,
    ),
    Claim(
        "smaller-models-intensify-up",
        '"at most ratios, smaller model sizes tend to have more intensification than larger model sizes", UP',
        "7.2",
        "alpha of the smaller ResNet or LeNet5 minus alpha of the larger",
        _smaller_model(None),
        places=2,
        every=False,
    ),
    Claim(
        "recall-most-expressive",
        '"the effect of pruning more expressive on recall than on precision or F-score"',
        "4",
        "MP: distance of recall's alpha from 1, minus that of precision's or of F1's",
        _recall_is_most_expressive,
        every=False,
    ),
    Claim(
        "lth-threshold",
        'LTH: "an intensification above 1 consistently occurs if the pruning ratio exceeds a certain threshold"',
        "H",
        "MP: alpha - 1 at each level, from the level at which the printed alpha stays above 1",
        _tickets_above_threshold,
    ),
    Claim(
        "chip-rises",
        'CHIP: "intensification starts to increase from one pruning ratio to another"',
        "H",
        "alpha of CHIP at each ratio minus alpha at the one before",
        _chip_rises,
    ),
)
