"""Summarise a grouping of test images: slopes over its groups, largest excess loss, and spread."""

from typing import Any

import numpy as np

from analysis.runs.checks import some
from analysis.statistics.arithmetic import mean, quotient
from analysis.statistics.group_spread import spread, spread_by_chance
from analysis.statistics.guessing import chance_level
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.intensification import excess_loss, raw_slope
from analysis.statistics.largest_excess import largest_excess_floor
from analysis.statistics.losses import WorstClass, worst_class
from analysis.statistics.pair_slopes import Slopes, slopes
from analysis.statistics.recalls import Recalls
from analysis.statistics.resampling import mean_interval


def summary(
    names: np.ndarray,
    place: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray | None = None,
    *,
    control_paired: bool = True,
) -> dict[str, Any]:
    """Compute slopes over groups, the largest excess loss of a group, and the spread of the groups' changes.

    Parameters
    ----------
    names : (groups,)
    place : (images,), integers
        Group of each image, from 0; every group has an image.
    label : (images,), integers
        Class of each image, from 0.
    before, after : (networks, images), bool
        Whether each network is right about each image; row i of both is of the same network.
    control : (networks, images), bool, optional
        The same for networks that were retrained without compression.
    control_paired : bool
        Whether row i of the control is of the same network too. If not, the values for the control and the worst group
        are NaN or empty.

    Returns
    -------
    dict
        Values marked * have a 95 % interval (`_low`, `_high`). Values that cannot be computed are NaN.

        - n: number of networks.
        - groups: number of groups.
        - fewest_images, most_images: number of images of the smallest and of the largest group.
        - alpha*, raw_slope*: means over the networks that are not at chance.
        - alpha_new*, raw_slope_new*: alpha and raw slope for new networks and new images of the same groups, over
          groups with at least two images.
        - alpha_new_identified: whether the groups differ enough before compression to estimate alpha_new.
        - alpha_weighted: mean alpha with groups weighted by their numbers of images.
        - largest_excess*: the largest loss of accuracy of a group beyond that of all images, a mean over networks. This
          loss is chance movement, because the group may differ between networks. Groups of one image are left out of
          largest_excess, largest_excess_floor and largest_excess_group.
        - largest_excess_floor: expected largest_excess if only image noise moved groups.
        - largest_excess_group: the group with the largest mean excess loss; `none` if all groups have one image.
        - single_image_groups: names of up to three groups of one image, and the number of further ones.
        - worst_group: the group with the largest cost, relative to the control if there is one, chosen on every other
          image of each group. Empty for one network.
        - worst_group_cost*: its cost on the other images, as in `losses.worst_class`.
        - worst_group_shown: whether this cost is shown to be above 0, by its p corrected for all groups.
        - alpha_control, raw_slope_control, largest_excess_control, largest_excess_floor_control: the same for the
          change from the networks before compression to the control. These slopes include networks at chance.
        - spread_change: standard deviation of the groups' changes of accuracy, weighted by the groups' numbers of
          images.
        - spread_change_chance: expected spread_change of groups with shuffled images (`group_spread`).

    Examples
    --------
    Group day loses nothing, and group night loses two of the three images that were right before:

    >>> place, label = np.repeat([0, 1], 4), np.zeros(8, int)
    >>> before = np.array([[1, 1, 1, 1, 1, 1, 1, 0]], bool)
    >>> after = np.array([[1, 1, 1, 1, 1, 0, 0, 0]], bool)
    >>> found = summary(np.array(["day", "night"]), place, label, before, after)
    >>> found["largest_excess"], found["largest_excess_group"], found["raw_slope"], found["spread_change"]
    (0.25, 'night', 3.0, 0.25)
    """
    support = np.bincount(place)
    excess = _excess(place, before, after)
    largest = excess.max(1)
    low, high = mean_interval(largest, 1 - LEVEL)
    change = after.mean(0) - before.mean(0)
    reference = before if control is None else control
    columns: dict[str, Any] = {
        "n": len(after),
        "groups": len(names),
        "fewest_images": int(support.min()),
        "most_images": int(support.max()),
        **_slopes(place, *chance_level(label, {"before": before, "after": after}, paired=True)[1]),
        "largest_excess": float(largest.mean()),
        "largest_excess_low": low,
        "largest_excess_high": high,
        "largest_excess_floor": _floor(place, before, after),
        "largest_excess_group": str(names[excess.mean(0).argmax()]) if np.isfinite(largest).all() else "none",
        "single_image_groups": some(names[support == 1].astype(str).tolist()) if (support == 1).any() else "",
        **_worst_group(names, place, reference if control_paired else None, after),
    }
    return columns | {
        **_of_control(place, before, control if control_paired else None),
        "spread_change": spread(change, place),
        "spread_change_chance": spread_by_chance(change, place, label),
    }


def _worst_group(
    names: np.ndarray, place: np.ndarray, reference: np.ndarray | None, after: np.ndarray
) -> dict[str, Any]:
    worst = WorstClass()
    if reference is not None and len(after) > 1:
        worst = worst_class(place, np.subtract(reference, after, dtype=np.int8), 1)
    return {
        "worst_group": str(names[worst.place]) if worst.place >= 0 else "",
        "worst_group_cost": worst.value,
        "worst_group_cost_low": worst.low,
        "worst_group_cost_high": worst.high,
        "worst_group_shown": worst.value > 0 and worst.p <= LEVEL,
    }


def _excess(group: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Compute excess losses, (networks, groups): -inf for groups of one image, or NaN if all groups have one image."""
    excess = excess_loss(*(Recalls.from_answers(group, right) for right in (before, after)))
    is_single = np.bincount(group) == 1
    return np.where(is_single, np.nan if is_single.all() else -np.inf, excess)


def _floor(group: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """Compute the floor of the largest excess loss, averaged over networks."""
    first, second, both = (Recalls.from_answers(group, right).recall for right in (before, after, before & after))
    support = np.bincount(group)
    return mean(largest_excess_floor(first, second, both, np.where(support > 1, support, 0)))


def _of_control(group: np.ndarray, before: np.ndarray, control: np.ndarray | None) -> dict[str, float]:
    names = ("alpha_control", "raw_slope_control", "largest_excess_control", "largest_excess_floor_control")
    if control is None:
        return dict.fromkeys(names, np.nan)
    recalls = Recalls.from_answers(group, before), Recalls.from_answers(group, control)
    raw = raw_slope(*recalls)
    alphas = raw * quotient(recalls[0].accuracy, recalls[1].accuracy)
    excess = _excess(group, before, control).max(1)
    return dict(zip(names, (*map(mean, (alphas, raw, excess)), _floor(group, before, control)), strict=True))


def _slopes(group: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Compute the slopes; for new images, use only groups with at least two images, whose noise can be estimated."""
    all_slopes = slopes(group, before, after, [])
    images = np.flatnonzero(np.bincount(group)[group] > 1)
    testable_slopes = all_slopes
    if len(images) < len(group):
        group_number = np.unique(group[images], return_inverse=True)[1]
        testable_slopes = slopes(group_number, before[:, images], after[:, images], []) if len(images) else Slopes(0)
    columns = {
        "alpha": all_slopes.alpha,
        "alpha_low": all_slopes.low,
        "alpha_high": all_slopes.high,
        "alpha_weighted": all_slopes.alpha if all_slopes.n and np.isnan(all_slopes.weighted) else all_slopes.weighted,
        "raw_slope": all_slopes.raw_slope,
        "raw_slope_low": all_slopes.raw_slope_low,
        "raw_slope_high": all_slopes.raw_slope_high,
    }
    for name, new in (("alpha_new", testable_slopes.new), ("raw_slope_new", testable_slopes.raw_new)):
        ends = new[:3] if new else (np.nan, np.nan, np.nan)
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
    return columns | {"alpha_new_identified": bool(testable_slopes.new and testable_slopes.new.identified)}
