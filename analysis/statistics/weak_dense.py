"""Dense networks that are themselves weak: at chance, or without a single right image of some class."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from analysis.runs.checks import some
from analysis.statistics.intensification import networks_at_chance


class WeakDense(NamedTuple):
    """What makes dense networks weak.

    Attributes
    ----------
    networks : int
        All dense networks.
    at_chance : int
        Those that are at chance.
    unrecognized : dict, name of a class -> int
        In how many of the others the class has recall 0, the most frequent class first.
    """

    networks: int
    at_chance: int
    unrecognized: Mapping[str, int]

    @property
    def is_hopeless(self) -> bool:
        """Whether all of them are at chance."""
        return 0 < self.at_chance == self.networks


SOUND = WeakDense(0, 0, {})


def weak_dense(names: Sequence[str], recall: np.ndarray, guesses: np.ndarray) -> WeakDense:
    """Find out what makes dense networks weak.

    Parameters
    ----------
    names : (classes,)
    recall : (networks, classes)
        NaN for a class that a network does not have.
    guesses : (networks,), bool
        Whether each is at chance.

    Examples
    --------
    >>> weak_dense(["bag", "hat"], np.array([[0.9, 0], [1, 0], [0.8, 0.7]]), np.array([False, True, False]))
    WeakDense(networks=3, at_chance=1, unrecognized={'hat': 1})
    """
    counts = (recall[~guesses] == 0).sum(0)
    order = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
    return WeakDense(len(recall), int(guesses.sum()), {str(names[index]): int(counts[index]) for index in order})


def weak_from_answers(names: Sequence[str], label: np.ndarray, right: np.ndarray) -> WeakDense:
    """Find out what makes dense networks weak, from whether they are right about each image, (networks, images).

    `label` counts the classes from 0, and each class has an image.
    """
    support = np.bincount(label)
    recall = np.array([np.bincount(label, network) for network in right]) / support
    return weak_dense(names, recall, networks_at_chance(label, right))


def sentence(weak: WeakDense) -> str:
    """Say what makes dense networks weak, in a sentence or two; the empty text if nothing does.

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
        classes = some(f"{name} ({count} of {weak.networks})" for name, count in weak.unrecognized.items())
        sentences.append(f"Dense networks are weak: no test image is recognised of {classes}.")
    return " ".join(sentences)
