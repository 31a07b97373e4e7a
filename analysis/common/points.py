"""Format shares as percentage points."""


def points(share: float) -> str:
    """Format a share as percentage points, with one decimal.

    Examples
    --------
    >>> points(0.0125), points(-0.0001)
    ('1.2', '0.0')
    """
    return f"{round(100 * share, 1) + 0.0:.1f}"  # no -0.0


def limit_in_points(share: float) -> str:
    """Write out a limit as a number of percentage points, as the user gave it.

    Examples
    --------
    >>> limit_in_points(0.01), limit_in_points(0.025)
    ('1 point', '2.5 points')
    """
    return f"{100 * share:g} {'point' if share == 0.01 else 'points'}"
