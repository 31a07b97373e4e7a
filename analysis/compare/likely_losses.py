"""Say from dense networks which classes are likely to pay, and how good this guess is."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.common.points import limit_in_points, points
from analysis.statistics.proportion import implied_losses

ACCURACY_LOSS = 0.01
HOW_GOOD = (
    "Likely recall: every recall is raised to the power that costs 1 point of accuracy. It is a guess: in results/risk "
    "the rank correlation of the likely loss with what classes pay on average is .7 if the learning rate decays, and "
    ".2 if it is constant. The first two classes contain the one that pays most in two thirds of the networks with a "
    "decaying rate, and in half of those with a constant one."
)


def sentence(names: Sequence[str], recall: np.ndarray, images: np.ndarray, accuracy_loss: float) -> Iterator[str]:
    """Yield a sentence on the likely loss of the class with most errors; nothing if no such loss can be computed.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    recall, images : (classes,)
        Recalls of dense networks, and numbers of images.
    accuracy_loss : float
        A limit, as a share; it may be infinite.

    Examples
    --------
    >>> list(sentence(["cat", "dog"], np.array([0.9, 0.7]), np.array([100, 100]), 0.01))
    ['A loss of 1 point of accuracy is likely to cost dog, the class with most errors, about 1.4 points.']
    """
    most = int(recall.argmin())
    loss = float(implied_losses(recall, images, accuracy_loss)[most])
    if np.isfinite(loss):
        limit, cost = limit_in_points(accuracy_loss), f"about {points(loss)} points"
        yield f"A loss of {limit} of accuracy is likely to cost {names[most]}, the class with most errors, {cost}."
