"""Format shares as percentage points."""


def points(share: float) -> str:
    """Format a share as percentage points, with one decimal.

    Examples
    --------
    >>> points(0.0125), points(-0.0001)
    ('1.2', '0.0')
    """
    return f"{round(100 * share, 1) + 0.0:.1f}"  # no -0.0
