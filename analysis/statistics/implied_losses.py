"""Guess from dense networks what classes will lose: each recall is raised to the same power.

Like proportional errors, this gives classes with more errors larger losses, but no class loses more than its recall.
"""

import numpy as np

_LARGEST_POWER = 1e6


def implied_losses(recall: np.ndarray, images: np.ndarray, accuracy_loss: float) -> np.ndarray:
    """Compute the recall that each class loses if all recalls are raised to the power that gives a loss of accuracy.

    Parameters
    ----------
    recall : (classes,)
        Recalls before compression.
    images : (classes,)
        Number of images of each class.
    accuracy_loss : float
        Loss of accuracy, as a share.

    Returns
    -------
    (classes,)
        NaN if no power gives this loss, as when every recall is 1.

    Examples
    --------
    The accuracy falls from .85 to .725, because .9^2 = .81 and .8^2 = .64:

    >>> implied_losses(np.array([0.9, 0.8]), np.array([10, 10]), 0.125).round(6).tolist()
    [0.09, 0.16]
    """
    from scipy.optimize import brentq  # training imports this package and must not wait for scipy

    share = images / images.sum()
    target = recall @ share - accuracy_loss
    if not recall**_LARGEST_POWER @ share < target <= recall @ share:
        return np.full(len(recall), np.nan)
    power = brentq(lambda exponent: recall**exponent @ share - target, 1, _LARGEST_POWER)
    return np.asarray(recall - recall**power)
