"""Find single networks that lost much of their recall of a class, even if the mean over networks hides this loss."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.statistics.hypothesis_tests import LEVEL, change_interval

# Because retraining alone moved a class's recall by up to 26 points in a single network, a loss above `GROSS_LOSS`
# must also pass the rule below, which benchmarks/false_alarms.py checks.
GROSS_LOSS = 0.2
# Because retraining causes losses as well as gains, a loss must be above this many times the largest gain, or above
# this share of the recall.
_GAINS, _MOST = 2, 0.75


def gross_losses(
    names: Sequence[str], label: np.ndarray, right: Mapping[str, np.ndarray], *, paired: bool, tests: int
) -> pd.DataFrame:
    """Find classes whose recall in a single network is shown to have fallen by more than `GROSS_LOSS`.

    A network is compared with its control or, if there is none, with the same network before compression. If networks
    are not paired, each class is compared with the control (without controls, the network before compression) in which
    its recall is lowest. Because retraining alone moves classes up as well as down, the loss must also be more than
    twice the largest gain of any class in any network, or more than three quarters of the recall in the reference.

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    label : (images,), integers
        Class of each image, from 0.
    right : mapping of str to (networks, images), bool
        Whether each network is right, by side: before, after and optionally control.
    paired : bool
        As for `class_table.costs`. A single network before compression is paired with all compressed networks.
    tests : int
        Number of compressed networks times number of classes, by which the level of 5 % is divided.

    Returns
    -------
    DataFrame, the largest loss first
        - network: number of the network in `after`, from 1.
        - name: name of the class.
        - loss: loss of recall.
        - low: lower end of the loss's interval over images.

    Examples
    --------
    The second network loses 60 of the 100 images of the second class:

    >>> label, right = np.repeat([0, 1], 100), np.ones((2, 200), bool)
    >>> after = right.copy()
    >>> after[1, 140:] = False
    >>> found = gross_losses(["cat", "dog"], label, {"before": right, "after": after}, paired=True, tests=4)
    >>> found[["network", "name", "loss"]].to_numpy().tolist(), found["low"].round(2).tolist()
    ([[2, 'dog', 0.6]], [0.48])
    """
    after, support = right["after"], np.bincount(label)
    references = _references(label, right, paired=paired)
    lost, won = (
        np.array([np.bincount(label, each, len(support)) for each in sides])
        for sides in (references & ~after, after & ~references)
    )
    of_each = np.broadcast_to(support, lost.shape)
    low = -change_interval(lost, won, of_each, 1 - LEVEL / tests)[1]
    loss = (lost - won) / of_each
    recall = np.array([np.bincount(label, each, len(support)) for each in references]) / of_each
    largest_move = np.minimum(_GAINS * max((-loss).max(), 0.0), _MOST * recall)
    network, of_class = np.nonzero((low > GROSS_LOSS) & (loss > largest_move))
    place = network, of_class
    return pd.DataFrame(
        {
            "network": network + 1,
            "name": [names[each] for each in of_class.tolist()],
            "loss": loss[place],
            "low": low[place],
        }
    ).sort_values("loss", ascending=False, kind="stable", ignore_index=True)


def _references(label: np.ndarray, right: Mapping[str, np.ndarray], *, paired: bool) -> np.ndarray:
    """Return whether the reference of each compressed network is right, (networks, images)."""
    start, after = right.get("control", right["before"]), right["after"]
    if len(start) == 1 or (paired and len(start) == len(after)):
        return np.broadcast_to(start, after.shape)
    recalls = np.array([np.bincount(label, each) for each in start])
    weakest = recalls.argmin(0)[label]
    return np.broadcast_to(start[weakest, np.arange(len(label))], after.shape)
