"""Find weak dense networks, which are at chance or recognise no image of some class."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from analysis.runs.checks import some
from analysis.statistics.intensification import networks_at_chance
from analysis.statistics.recalls import Recalls


class WeakDense(NamedTuple):
    """Counts of weak dense networks.

    Attributes
    ----------
    networks : int
        Number of dense networks.
    at_chance : int
        Number of dense networks at chance.
    unrecognized : dict, name of a class -> int
        Number of networks above chance in which the class has recall 0. Classes with the most such networks come first.
    """

    networks: int
    at_chance: int
    unrecognized: Mapping[str, int]

    @property
    def is_hopeless(self) -> bool:
        """Whether all networks are at chance."""
        return 0 < self.at_chance == self.networks


def weak_dense(names: Sequence[str], recall: np.ndarray, guesses: np.ndarray) -> WeakDense:
    """Count weak dense networks.

    Parameters
    ----------
    names : (classes,)
    recall : (networks, classes)
        Recalls, NaN for classes that a network does not have.
    guesses : (networks,), bool
        Whether each network is at chance.

    Examples
    --------
    >>> weak_dense(["bag", "hat"], np.array([[0.9, 0], [1, 0], [0.8, 0.7]]), np.array([False, True, False]))
    WeakDense(networks=3, at_chance=1, unrecognized={'hat': 1})
    """
    counts = (recall[~guesses] == 0).sum(0)
    order = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
    return WeakDense(len(recall), int(guesses.sum()), {str(names[index]): int(counts[index]) for index in order})


def weak_from_answers(names: Sequence[str], label: np.ndarray, right: np.ndarray) -> WeakDense:
    """Count weak dense networks, given whether each network is right about each image, (networks, images).

    `label` has classes from 0, each of which has images.
    """
    return weak_dense(names, Recalls.from_answers(label, right).recall, networks_at_chance(label, right))


def sentence(weak: WeakDense) -> str:
    """Describe the weaknesses of dense networks in a sentence or two; return an empty string if there are none.

    Examples
    --------
    >>> sentence(WeakDense(1, 0, {"hat": 1, "bag": 1}))
    'The dense network is weak: no test image of hat, bag is recognised.'
    """
    if weak.networks == 1:
        if weak.at_chance:
            return "The dense network is at chance."
        unrecognized = some(weak.unrecognized)
        return f"The dense network is weak: no test image of {unrecognized} is recognised." if unrecognized else ""
    sentences = []
    if weak.at_chance:
        amount = "All" if weak.at_chance == weak.networks else f"{weak.at_chance} of"
        sentences.append(f"{amount} {weak.networks} dense networks {'is' if weak.at_chance == 1 else 'are'} at chance.")
    if weak.unrecognized:
        classes = some(f"{name} ({count} of {weak.networks} networks)" for name, count in weak.unrecognized.items())
        sentences.append(f"Dense networks are weak and recognise no test image of {classes}.")
    return " ".join(sentences)
