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
    hit = "the hardest-hit group" if row["n"] == 1 else "the hardest-hit group, which differs between networks,"
    return (
        f"By {row['grouping']}, {row['groups']:,} groups of {row['fewest_images']:,} to {row['most_images']:,} images: "
        f"alpha is {alpha}, the raw slope {raw}. {_systematic(row)}Chance movement: {hit} loses {largest} "
        f"points more than the accuracy{beside}; noise of the test images alone would give {floor}.{left_out}"
    )


def _systematic(row: Mapping[str, Any]) -> str:
    """Say which group costs most, if that is shown."""
    if not row["worst_group_shown"]:
        return ""
    beyond = " beyond the control" if np.isfinite(row["largest_excess_control"]) else ""
    cost = points_with_interval(*(row[f"worst_group_cost{end}"] for end in ("", "_low", "_high")))
    return (
        f"Systematic cost{beyond}: {row['worst_group']} costs most: on average it loses {cost} more than the accuracy. "
    )
