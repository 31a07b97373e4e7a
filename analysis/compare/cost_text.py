"""Sentences on the losses and costs of classes, which `prune`, audits and reports share."""

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


def gain(name: str, value: float, gained: int, reference: str, kind: str = "classes") -> str:
    """Say which class gained recall or, if several did, how many and which gained most, without a full stop.

    Parameters
    ----------
    name : str
        The class that gained most.
    value : float
        Its gain of recall, as a share.
    gained : int
        Number of classes that are shown to have gained.
    reference : str
        The kind of network that the gain is relative to, such as `control`.
    kind : str
        `classes` or `groups`.

    Examples
    --------
    >>> gain("Dress", 0.11, 1, "control")
    'Dress is shown to have 11.0 points more recall than in the control'
    >>> gain("Dress", 0.11, 3, "network before")
    '3 classes are shown to have more recall than in the network before; Dress gained most, 11.0 points'
    """
    if gained == 1:
        return f"{name} is shown to have {points(value)} points more recall than in the {reference}"
    more = f"more recall than in the {reference}"
    return f"{gained} {kind} are shown to have {more}; {name} gained most, {points(value)} points"


def class_shown(name: str, low: float, is_shown: bool) -> str:
    """Return the table cell for the class that costs most: its name only if its own cost is shown to be above 0.

    Parameters
    ----------
    name : str
        Empty if no class has a cost.
    low : float
        Lower end of the interval of the largest cost of all classes; NaN if it is unknown.
    is_shown : bool
        Whether the class's own cost is shown, as in `class_costs.WorstClass`.

    Examples
    --------
    >>> class_shown("Shirt", 0.037, True), class_shown("Shirt", -0.046, False), class_shown("Shirt", 0.037, False)
    ('Shirt', 'none shown', 'not shown which')
    """
    if is_shown or not name:
        return name
    return "not shown which" if low > 0 else "none shown"


def classes_shown(frame: pd.DataFrame) -> list[str]:
    """Return `class_shown` of each row of a frame with columns of `cells.csv`."""
    columns = ["worst_class", "worst_class_cost_low", "worst_class_shown"]
    return [class_shown(*row) for row in frame[columns].itertuples(index=False)]


def costliest(
    name: str, cost: float, low: float, high: float, networks: int, kind: str = "class", *, is_shown: bool
) -> str:
    """Say which class costs most on average, if that is shown, or else how large the largest cost may be.

    Parameters
    ----------
    name : str
    cost : float
        Cost as a share, estimated on networks and images that were not used to choose the class.
    low, high : float
        95 % interval of the largest cost of all classes; NaN if it is unknown.
    networks : int
        Number of pairs of networks, two or more.
    kind : str
        `class` or `group`.
    is_shown : bool
        As for `class_shown`.

    Examples
    --------
    >>> costliest("Shirt", 0.044, 0.037, 0.051, 20, is_shown=True)
    'Shirt costs most: on average it loses 4.4 points more than the accuracy (3.7 to 5.1).'
    >>> costliest("Shirt", 0.044, 0.012, 0.063, 5, is_shown=False).partition(". ")[2]
    'They show only that on average some class loses 1.2 to 6.3 points more than the accuracy.'
    >>> costliest("Shirt", -0.012, -0.046, 0.104, 3, is_shown=False).partition(". ")[2]
    'They show only that on average no class loses over 10.4 points more than the accuracy.'
    >>> costliest("Shirt", -0.012, -0.9, 1.3, 3, is_shown=False)
    '3 networks are too few to show which class costs most.'
    """
    if is_shown:
        value = f"{points(cost)} points more than the accuracy ({interval(low, high, points)})"
        return f"{name} costs most: on average it loses {value}."
    if not high > 0 or cost == 0:  # 0 if no answer changed
        return f"No {kind} is shown to lose more than the accuracy does."
    too_few = f"{networks} networks are too few to show which {kind} costs most."
    if low > 0:
        more = f"{interval(low, high, points)} points more than the accuracy"
        return f"{too_few} They show only that on average some {kind} loses {more}."
    if not high < 1:
        return too_few
    limit = f"no {kind} loses over {points(high)} points more than the accuracy"
    return f"{too_few} They show only that on average {limit}."
