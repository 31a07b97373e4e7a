"""Sentences on the losses and costs of classes, which tables of reports share."""

import math

import pandas as pd

from analysis.common.points import points
from analysis.rendering.formats import interval


def points_with_interval(value: float, low: float, high: float) -> str:
    """Return a loss in points, and its interval if it has one.

    Examples
    --------
    >>> points_with_interval(0.135, 0.091, 0.191), points_with_interval(0.135, float("nan"), float("nan"))
    ('13.5 points (9.1 to 19.1)', '13.5 points')
    """
    ends = "" if math.isnan(low) or math.isnan(high) else f" ({interval(low, high, points)})"
    return f"{points(value)} points{ends}"


def class_shown(name: str, is_shown: bool) -> str:
    """Return the table cell for the class that costs most: its name if its cost is shown to be above 0.

    Parameters
    ----------
    name : str
        Empty if no class has a cost.
    is_shown : bool

    Examples
    --------
    >>> class_shown("Shirt", True), class_shown("Shirt", False)
    ('Shirt', 'none shown')
    """
    return name if is_shown or not name else "none shown"


def classes_shown(frame: pd.DataFrame) -> list[str]:
    """Return `class_shown` of each row of a frame with columns of `cells.csv`."""
    return [class_shown(*row) for row in frame[["worst_class", "worst_class_shown"]].itertuples(index=False)]
