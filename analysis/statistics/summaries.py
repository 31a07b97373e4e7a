"""Compute all slopes of one cell, and the numbers needed to interpret them."""

import numpy as np

from analysis.statistics.arithmetic import mean, quotient
from analysis.statistics.intensification import (
    alpha,
    alpha_shared,
    correlation,
    excess_loss,
    intensification_ratios,
    largest_excess_floor,
    raw_slope,
    raw_spread_ratio,
    spread_ratio,
    weighted_alpha,
    worst_class_change,
)
from analysis.statistics.new_images import alpha_new
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import UNDEFINED, mark, mean_interval, with_ends


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
