"""Choose the pruning ratio of each network by its accuracy on validation images."""

import numpy as np

NONE = -1


def nearest(accuracy: np.ndarray, target: np.ndarray, tolerance: float) -> np.ndarray:
    """Find, for each network, the index of the ratio at which its accuracy is nearest to a target.

    The ratio with the nearest accuracy is chosen, not the largest ratio that reaches the target. The latter would be
    chosen partly by luck on the validation images, so its accuracy would tend to be lower on new images.

    Parameters
    ----------
    accuracy : (networks, ratios)
        Accuracy on validation images, with ratios ascending; NaN if a network was not pruned at a ratio.
    target : (networks,)
        The required accuracy; NaN if unknown.
    tolerance : float
        Largest accepted distance from the target.

    Returns
    -------
    (networks,), integers
        Index of the ratio, the smallest in a tie; `NONE` if no ratio is within the tolerance.

    Examples
    --------
    The first network's accuracies are .01 and .02 from its target. The second network has no accuracy within .03 of its
    target:

    >>> nearest(np.array([[0.91, 0.88], [0.99, 0.80]]), np.array([0.90, 0.90]), tolerance=0.03).tolist()
    [0, -1]
    """
    if not accuracy.shape[1]:
        return np.full(len(accuracy), NONE)
    distance = np.abs(accuracy - target[:, np.newaxis]).round(12)  # so that rounding errors do not break ties
    distance = np.where(np.isnan(distance), np.inf, distance)
    index = distance.argmin(1)
    return np.where(distance[np.arange(len(index)), index] <= tolerance, index, NONE)
