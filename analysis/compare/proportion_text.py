"""Sentences on how the errors of classes grow, and on disproportionate losses, for reports and comparisons."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.compare.comparison import Comparison, right_by_class
from analysis.compare.cost_text import points_with_interval
from analysis.rendering.formats import decimals, p_value
from analysis.runs.checks import some
from analysis.statistics import proportion
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.intensification import networks_at_chance
from analysis.statistics.proportion import FACTOR_COLUMNS, UNDEFINED, WITHOUT_COLUMNS, Ratio, on_these_images

_FEWEST = 3  # networks, so that the jackknife has two when one is left out


class ErrorGrowth(NamedTuple):
    """How the errors of pruned networks grew, against their controls.

    Attributes
    ----------
    growth : float
        Error over all images, divided by that of the controls.
    classes : DataFrame
        A row for each class: `class`, `FACTOR_COLUMNS` and `WITHOUT_COLUMNS`.
    equal_p : float
        p of the test that the factors of all classes are equal.
    proportionality : Ratio
        It leaves out pairs with a network at chance.
    pairs, at_chance : int
        Number of pairs of networks, and how many of them have a network at chance.
    """

    growth: float
    classes: pd.DataFrame
    equal_p: float
    proportionality: Ratio
    pairs: int
    at_chance: int


def of_comparison(comparison: Comparison) -> ErrorGrowth | None:
    """Measure the growth of errors, if classes are compared in three pairs of networks or more with their controls."""
    right = comparison.right
    is_paired = "control" in comparison.pairs and len(right.get("control", ())) == comparison.networks
    if comparison.groups or not is_paired or comparison.networks < _FEWEST or right["control"].all():
        return None
    label, sides = comparison.label, (right["control"], right["after"])
    support = np.bincount(label)
    share = support / support.sum()
    before, after = (right_by_class(label, side) / support for side in sides)
    sound = ~np.logical_or(*(networks_at_chance(label, side) for side in sides))
    factors = proportion.error_factors(1 - before, 1 - after)
    without, proportionality = np.full((3, len(support)), np.nan), UNDEFINED
    if sound.sum() >= _FEWEST:
        without = proportion.proportionality_without_each(before[sound], after[sound], share)
        proportionality = on_these_images(before[sound], after[sound], share).proportionality()
    columns = dict(zip((*FACTOR_COLUMNS, *WITHOUT_COLUMNS), (*factors, *without), strict=True))
    return ErrorGrowth(
        float((~sides[1]).sum() / (~sides[0]).sum()),
        pd.DataFrame({"class": list(map(str, comparison.names)), **columns}),
        proportion.equal_factors_p(1 - before, 1 - after, share),
        proportionality,
        comparison.networks,
        int((~sound).sum()),
    )


def sentences(errors: ErrorGrowth) -> Iterator[str]:
    """Yield sentences on the growth of the error, overall and by class, and on the change of the gaps."""
    has_factor = errors.classes["error_factor"].notna()
    by_class = f", and {_factors(errors)}" if has_factor.any() else ""
    yield f"The error is {errors.growth:.2f} times that of the control{by_class}."
    if has_factor.any() and not has_factor.all():
        left_out = some(errors.classes.loc[~has_factor, "class"])
        yield f"Without a factor, because no control misclassifies an image of it: {left_out}."
    yield from _gaps(errors)


def _factors(errors: ErrorGrowth) -> str:
    """Name the classes with the smallest and the largest factor, and say whether the factors differ."""
    rows = errors.classes.dropna(subset="error_factor").sort_values("error_factor")
    least, most = (_value(row, FACTOR_COLUMNS, of=f"; {row['class']}") for _, row in rows.iloc[[0, -1]].iterrows())
    if errors.pairs <= len(rows):
        tested = f"too few networks to test whether these factors differ, which takes {len(rows) + 1}"
    elif np.isnan(errors.equal_p):
        tested = "the networks are too alike to test whether these factors differ"
    else:
        tested = f"these factors {'' if errors.equal_p <= LEVEL else 'are not shown to '}differ"
        tested += f" (p {p_value(errors.equal_p)})"
    return f"by class {least} to {most} times; {tested}"


def _gaps(errors: ErrorGrowth) -> Iterator[str]:
    """Say how the gaps changed, as a share of what proportional errors would give."""
    if errors.at_chance == errors.pairs:
        yield "The change of the gaps between classes is undefined, because every pair has a network at chance."
        return
    without = f" (without {_pairs_at_chance(errors.at_chance)})" if errors.at_chance else ""
    share, low, high = (100 * each for each in errors.proportionality)
    if np.isnan(share):
        yield f"Whether classes lose in proportion to their errors, or all lose the same, cannot be told{without}."
        return
    if high < 0 and errors.growth > 1:
        yield f"Gaps between classes narrowed{without}, although proportional errors would have widened them."
    else:
        yield (
            f"The change of the gaps between classes{without} is {share:.0f} % ({low:.0f} to {high:.0f}) of the change "
            "that proportional errors would give; equal losses would give 0 %."
        )


def without_each(classes: pd.DataFrame) -> Iterator[str]:
    """Name the classes without which proportionality is smallest and largest, or unknown."""
    rows = classes.dropna(subset="proportionality_without").sort_values("proportionality_without")
    if rows.empty:
        return
    in_percent = rows.assign(**100 * rows[[*WITHOUT_COLUMNS]])
    least, most = (
        f"without {row['class']} it is {_value(row, WITHOUT_COLUMNS, ' %')}"
        for _, row in in_percent.iloc[[0, -1]].iterrows()
    )
    unknown = classes.loc[classes["proportionality_without"].isna(), "class"]
    rest = f"without {some(unknown)} it cannot be told" if len(unknown) else "without any other class it is in between"
    yield f"On these test images, {least}, {most}, and {rest}."


def _value(row: pd.Series, names: Sequence[str], unit: str = "", of: str = "") -> str:
    """Write a value and its interval, in per cent without decimals or as a factor with two."""
    value, low, high = map(decimals(0 if unit else 2), row[[*names]])
    return f"{value}{unit} ({low} to {high}{of})"


def _pairs_at_chance(pairs: int) -> str:
    number = "one pair that has" if pairs == 1 else f"{pairs} pairs that have"
    return f"{number} a network at chance"


def beyond_proportion(rows: pd.DataFrame, names: pd.Series) -> str:
    """Return a sentence on classes that are shown to lose more than in proportion to their errors.

    Parameters
    ----------
    rows : DataFrame
        A row for each class, with the columns `disproportionate`, its interval and its p, as in `classes.csv`.
    names : Series
        Names of the rows.

    Examples
    --------
    >>> ends = {"disproportionate_low": [-0.05, 0.01], "disproportionate_high": [-0.01, 0.05]}
    >>> rows = pd.DataFrame({"disproportionate": [-0.03, 0.03], **ends, "disproportionate_p": [0.01, 0.01]})
    >>> beyond_proportion(rows, pd.Series(["cat", "dog"]))
    'dog loses 3.0 points (1.0 to 5.0) more than in proportion to its error.'
    """
    shown = rows[(rows["disproportionate_p"] <= LEVEL) & (rows["disproportionate"] > 0)]
    shown = shown.sort_values("disproportionate", ascending=False)
    if shown.empty:
        return "No class is shown to lose more than in proportion to its error."
    loss = points_with_interval(*(shown.iloc[0][f"disproportionate{end}"] for end in ("", "_low", "_high")))
    others = len(shown) - 1
    more = f", and so do {others} others" if others > 1 else ", and so does another class" if others else ""
    return f"{names[shown.index[0]]} loses {loss} more than in proportion to its error{more}."
