"""Choose the pruning ratio of each network by its accuracy on validation images."""

import numpy as np

NONE = -1


def nearest(accuracy: np.ndarray, target: np.ndarray, tolerance: float) -> np.ndarray:
    """Return, for each network, the place of the ratio at which its accuracy is nearest to a target.

    The nearest one, not the last one that reaches the target: that one would be chosen for its luck on the validation
    images, and be less accurate than the target on new ones.

    Parameters
    ----------
    accuracy : (networks, ratios)
        Accuracy on validation images, ratios ascending; NaN where a network was not pruned at a ratio.
    target : (networks,)
        The accuracy that is asked for; NaN if nothing is known of it.
    tolerance : float
        Largest distance from the target.

    Returns
    -------
    (networks,), integers
        Of several ratios as near as each other, the smallest. `NONE` where no ratio is within the tolerance.

    Examples
    --------
    The first network is .01 and .02 from its target, the second has none within .03:

    >>> nearest(np.array([[0.91, 0.88], [0.99, 0.80]]), np.array([0.90, 0.90]), tolerance=0.03).tolist()
    [0, -1]
    """
    if not accuracy.shape[1]:
        return np.full(len(accuracy), NONE)
    distance = np.abs(accuracy - target[:, np.newaxis]).round(12)  # so that rounding breaks no ties
    distance = np.where(np.isnan(distance), np.inf, distance)
    index = distance.argmin(1)
    return np.where(distance[np.arange(len(index)), index] <= tolerance, index, NONE)
