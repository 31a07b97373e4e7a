"""Sentences on a comparison, which `prune`, the results in Python, `audit` and `compress` share."""

import numpy as np

from analysis.common.points import points
from analysis.compare.comparison import Comparison
from analysis.rendering.formats import decimals, with_interval
from analysis.statistics import weak_networks
from analysis.statistics.pair_slopes import Slopes, gap_change, gap_sentence
from analysis.statistics.resampling import Interval

_WHEN = {"after": "after compression", "control": "in the control"}


def weak(comparison: Comparison) -> str:
    """Say what makes the networks before compression weak; return an empty string if nothing does."""
    return weak_networks.sentence(comparison.dense)


def at_chance(comparison: Comparison) -> str:
    """Say how many networks are at chance after compression and in the control; empty if none is."""
    of_sides = comparison.chance_level.counts
    counts = [(*of_sides[side], when) for side, when in _WHEN.items() if of_sides.get(side, (0,))[0]]
    if not counts:
        return ""
    if max(networks for _, networks in of_sides.values()) == 1:
        return f"The network is at chance {' and '.join(when for *_, when in counts)}."
    (guess, networks, when), *more_counts = counts
    more = "".join(f", {guess} of {networks} {when}" for guess, networks, when in more_counts)
    return f"{guess} of {networks} networks {'is' if guess == 1 else 'are'} at chance {when}{more}."


def not_working(comparison: Comparison) -> str:
    """Say that no network is much better than guessing; empty if that is not so, or if one is at chance."""
    if comparison.chance_level.any_at_chance or not comparison.neither_works:
        return ""
    before, after = (points(comparison.mean_recall_of(side)) for side in ("before", "after"))
    which, guess = "Neither" if comparison.is_single else "No", points(1 / len(comparison.names))
    return f"{which} network works: mean recall is {before} % before and {after} % after, and {guess} % by guessing."


def differences(comparison: Comparison) -> str:
    """Say how the differences between the classes changed, by slope and spread on new images, in a clause."""
    raw, spread = comparison.slopes.raw_new, comparison.slopes.spread_new
    if comparison.at_chance:
        return "slopes mean nothing at chance"
    if not comparison.identified or raw is None or spread is None:
        networks = f" and {comparison.networks} networks" if comparison.networks > 1 else ""
        images = f"{len(comparison.label):,} test images{networks}"
        return f"the differences between classes are too small for {images} to show how they changed"
    return gap_sentence(gap_change(raw, spread, comparison.slopes.unchanged))


def on_slopes(comparison: Comparison) -> str:
    """Say in a sentence how the differences between classes changed, or why that is left out; empty for groups."""
    said = without_alpha(comparison) or ("" if comparison.groups else f"{slopes(comparison)}.")
    return said[:1].upper() + said[1:]


def without_alpha(comparison: Comparison) -> str:
    """If the classes are too alike, say that alpha is left out; otherwise, and for groups, return an empty string."""
    if comparison.groups or not _are_too_alike(comparison):
        return ""
    recalls = comparison.table["recall_before"]
    ends = f"{points(recalls.min())} to {points(recalls.max())} %"
    return (
        "Alpha, which measures how the differences between the recalls of classes grew, is left out, because the "
        f"recalls of the {len(recalls)} classes before compression ({ends}) differ too little for so few images and "
        "networks."
    )


def _are_too_alike(comparison: Comparison) -> bool:
    """Return whether classes before compression differ too little for a slope from these images and networks."""
    raw_new = comparison.slopes.raw_new
    return raw_new is not None and not raw_new.identified and not comparison.at_chance


def slopes(comparison: Comparison) -> str:
    """Say how the differences between classes changed, by raw slope and spread, and give alpha."""
    slopes = comparison.slopes
    if comparison.at_chance:
        return "alpha means nothing at chance"
    if slopes.new is None or slopes.raw_new is None or slopes.spread_new is None:
        return "alpha is n/a"
    write = decimals(2)
    alphas = f"alpha is {with_interval(slopes.alpha, slopes.low, slopes.high, write)}"
    if np.isfinite(slopes.weighted):
        alphas += f", {slopes.weighted:.2f} with classes weighted by their images"
    new = with_interval(slopes.new.estimate, slopes.new.low, slopes.new.high, write)
    numbers = _slope_and_spread(slopes, slopes.raw_new, slopes.spread_new)
    return f"{differences(comparison)} ({numbers}); {alphas}, and on new images {new}"


def _slope_and_spread(slopes: Slopes, raw: Interval, spread: Interval) -> str:
    """Format the raw slope and the raw spread ratio on new images, with their intervals."""
    write = decimals(2)
    if gap_change(raw, spread, slopes.unchanged).size == "same" and slopes.unchanged is not None:
        narrower = f"90 % interval {slopes.unchanged.low:.2f} to {slopes.unchanged.high:.2f}"
        return f"raw slope on new images {raw.estimate:.2f}, {narrower}"
    slope = f"raw slope on new images {with_interval(raw.estimate, raw.low, raw.high, write)}"
    return f"{slope}, spread {with_interval(spread.estimate, spread.low, spread.high, write)}"
