"""Say from dense networks which classes are likely to pay, and how good this guess is."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.common.points import limit_in_points, points
from analysis.statistics.implied_losses import implied_losses

ACCURACY_LOSS = 0.01
# Measured in results/risk (correlation) and results/what-is-forgotten
HOW_GOOD = (
    "Classes with more errors are likely to lose more, but this is a guess: in results/risk the rank correlation with "
    "the cost of classes is .7, and the first two classes contain the one that pays most in 93 % of the networks "
    "trained with a decaying learning rate, and in half of those with a constant one."
)


def sentence(names: Sequence[str], recall: np.ndarray, share: np.ndarray, accuracy_loss: float) -> Iterator[str]:
    """Yield a sentence on the likely loss of the class with most errors; nothing if the loss of accuracy implies none.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    recall, share : (classes,)
        Recalls of dense networks, and shares of the images.
    accuracy_loss : float
        A limit, as a share; it may be infinite.

    Examples
    --------
    >>> list(sentence(["cat", "dog"], np.array([0.9, 0.7]), np.array([0.5, 0.5]), 0.01))
    ['Among classes, dog has most errors: a loss of 1 point of accuracy is likely to cost it about 1.4 points.']
    """
    loss = implied_losses(recall, share, accuracy_loss)[recall.argmin()]
    if np.isfinite(loss):
        limit = limit_in_points(accuracy_loss)
        cost = f"a loss of {limit} of accuracy is likely to cost it about {points(float(loss))} points"
        yield f"Among classes, {names[int(recall.argmin())]} has most errors: {cost}."
