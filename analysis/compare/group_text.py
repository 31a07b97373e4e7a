"""Sentences on a grouping of images, which reports, recommendations and audits share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.compare.cost_text import points_with_interval
from analysis.rendering.formats import decimals, with_interval


def grouping(row: Mapping[str, Any]) -> str:
    """Describe in a few sentences how compression changed the groups of a grouping.

    Parameters
    ----------
    row : mapping
        The grouping's name under the key `grouping`, and the values that `statistics.grouping.summary` returns.
    """
    write, points = decimals(2), decimals(1)
    low, high = (100 * row[f"largest_excess_{end}"] for end in ("low", "high"))
    largest = with_interval(100 * row["largest_excess"], low, high, points)
    control = row["largest_excess_control"]
    beside = f", {points(100 * control)} in the control" if np.isfinite(control) else ""
    floor = points(100 * row["largest_excess_floor"])
    alpha, raw = (
        with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], write) for name in ("alpha", "raw_slope")
    )
    single = row.get("single_image_groups")
    left_out = f" Groups of one image are left out of chance movement: {single}." if single else ""
    who = row["largest_excess_group"] if row["n"] == 1 else "the hardest-hit group, which differs between networks,"
    return (
        f"By {row['grouping']}, {row['groups']:,} groups of {row['fewest_images']:,} to {row['most_images']:,} images: "
        f"alpha is {alpha}, the raw slope {raw}. {_systematic(row)}Chance movement: {who} loses {largest} points more "
        f"than the accuracy{beside}; noise of the test images alone would give {floor}.{left_out}"
    )


def _systematic(row: Mapping[str, Any]) -> str:
    """Say which group costs most, if that is shown; empty if no group has a cost."""
    if not row["worst_group"]:
        return ""
    beyond = " beyond the control" if np.isfinite(row["largest_excess_control"]) else ""
    said = "no group is shown to lose more than the accuracy."
    if row["worst_group_shown"]:
        cost = points_with_interval(*(row[f"worst_group_cost{end}"] for end in ("", "_low", "_high")))
        said = f"{row['worst_group']} costs most: on average it loses {cost} more than the accuracy."
    return f"Systematic cost{beyond}: {said} "
