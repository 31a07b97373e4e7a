"""Single networks that lost most of a class, which the mean over several networks hides."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.statistics.hypothesis_tests import LEVEL, change_interval

# Retraining alone moved a class by up to 26 points between two networks; benchmarks/false_alarms.py measures the rule.
GROSS_LOSS = 0.2
# What retraining changes goes both ways, so that a loss has to be so many times the largest gain, or most of a recall.
_GAINS, _MOST = 2, 0.75


def gross_losses(
    names: Sequence[str], label: np.ndarray, right: Mapping[str, np.ndarray], *, paired: bool, tests: int
) -> pd.DataFrame:
    """Return the classes of which a network alone surely lost more than `GROSS_LOSS`.

    A network is compared with its control, or else with the network before that it was made of. If it is not known
    which that is, it is compared with the one of them whose recall of the class is lowest. Retraining alone moves
    classes too, but upwards as well as downwards. So the loss is also more than twice the largest gain of any class in
    any network, or more than three quarters of the recall.

    Parameters
    ----------
    names : sequence of str
        Of the classes.
    label : (images,), integers
        Class of each image, from 0.
    right : mapping of str to (networks, images), bool
        Whether each network before, after and, if there is one, in the control is right.
    paired : bool
        As `class_table.costs` takes it. A single network before is that of all after.
    tests : int
        Networks after times classes: the 5 % are divided by it.

    Returns
    -------
    DataFrame, the largest loss first
        network (its place after, from 1), name, loss, and low, the lower end of its interval over images.

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
    """Return the networks that those after are compared with, (networks, images)."""
    start, after = right.get("control", right["before"]), right["after"]
    if len(start) == 1 or (paired and len(start) == len(after)):
        return np.broadcast_to(start, after.shape)
    recalls = np.array([np.bincount(label, each) for each in start])
    weakest = recalls.argmin(0)[label]
    return np.broadcast_to(start[weakest, np.arange(len(label))], after.shape)
