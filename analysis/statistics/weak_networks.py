"""Count networks at chance level before and after compression, and dense networks without images of some class."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from analysis.runs.checks import some
from analysis.statistics.hypothesis_tests import exact_mcnemar
from analysis.statistics.intensification import CHANCE_LEVEL, networks_at_chance
from analysis.statistics.recalls import Recalls

Sides = Mapping[str, np.ndarray]
_BARELY = 0.1  # of the way from guessing to perfect recall


class ChanceLevelCounts(NamedTuple):
    """Numbers of networks at chance level.

    Attributes
    ----------
    counts : dict, side -> (networks at chance level, all networks)
        The sides are before, after and, if there is one, control.
    collapsed : int
        Number of networks at chance level after compression, but neither before nor in the control. McNemar's test must
        also show that they are less accurate than before, so that merely crossing the bound of chance level does not
        count as collapse.
    are_all_at_chance : bool
        Whether every pair has a network at chance level, so that there is no alpha. If networks are not paired, whether
        all networks before or all networks after are at chance level.
    """

    counts: Mapping[str, tuple[int, int]]
    collapsed: int = 0
    are_all_at_chance: bool = False

    @property
    def any_at_chance(self) -> bool:
        """Whether any network is at chance level."""
        return any(at_chance_level for at_chance_level, _ in self.counts.values())


class SoundPairs(NamedTuple):
    """Pairs with both networks above chance: whether each network is right about each image, (pairs, images)."""

    before: np.ndarray
    after: np.ndarray


def chance_level(
    label: np.ndarray, right: Sides, *, paired: bool, control_paired: bool = True
) -> tuple[ChanceLevelCounts, SoundPairs]:
    """Count the networks at chance level, which are excluded from alpha but from nothing else.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    right : mapping of str to (networks, images), bool
        Whether each network is right, by side: before, after and optionally control.
    paired : bool
        Whether networks before and after are pairs, in the same order. A single network before is paired with all
        networks after.
    control_paired : bool
        The same for the networks of control and after. If they are not pairs, a network counts as collapsed only if the
        share of networks at chance level is smaller in the control than after.

    Returns
    -------
    ChanceLevelCounts
    SoundPairs
        The pairs that have an alpha; none if networks are not paired.

    Examples
    --------
    >>> label = np.repeat([0, 1], 50)
    >>> knows, guesses = np.ones(100, bool), label == 0
    >>> counts, pairs = chance_level(
    ...     label, {"before": np.array([knows, knows]), "after": np.array([knows, guesses])}, paired=True
    ... )
    >>> counts
    ChanceLevelCounts(counts={'before': (0, 2), 'after': (1, 2)}, collapsed=1, are_all_at_chance=False)
    >>> len(pairs.after)
    1
    """
    guesses = {side: networks_at_chance(label, answers) for side, answers in right.items()}
    counts = {side: (int(each.sum()), len(each)) for side, each in guesses.items()}
    before, after = guesses["before"], guesses["after"]
    in_control = guesses.get("control", np.zeros(len(after), dtype=bool))
    one_by_one = paired and len(before) == len(after)
    collapsed = sum(
        _collapsed(right["before"][~before & (np.arange(len(before)) == index if one_by_one else True)], answers)
        for index, answers in enumerate(right["after"])
        if after[index] and not (in_control[index] if control_paired else in_control.mean() >= after.mean())
    )
    if not paired:
        return ChanceLevelCounts(counts, collapsed, bool(before.all() or after.all())), SoundPairs(*np.empty((2, 0, 0)))
    sound = ~(before | after)
    start = np.broadcast_to(right["before"], right["after"].shape)
    return ChanceLevelCounts(counts, collapsed, not sound.any()), SoundPairs(start[sound], right["after"][sound])


def barely_works(mean_recall: float, classes: int) -> bool:
    """Return whether a mean recall is less than a tenth of the way from 1 / classes, that of a guess, to 1.

    Many test images may show that such a network is above chance, but its losses are as uninformative.

    Examples
    --------
    Guessing one of 20 classes has a mean recall of 5 %, and a tenth of the way to 100 % is 14.5 %:

    >>> barely_works(0.14, 20), barely_works(0.15, 20)
    (True, False)
    """
    return classes > 1 and classes * mean_recall - 1 < _BARELY * (classes - 1)


def _collapsed(before: np.ndarray, after: np.ndarray) -> bool:
    """Test whether a compressed network is less accurate than the worst one in `before`, (networks, images)."""
    if not len(before):
        return False
    worst = before[before.mean(1).argmin()]
    n_lost, n_won = int((worst & ~after).sum()), int((after & ~worst).sum())
    return n_lost > n_won and bool(exact_mcnemar(n_lost, n_won) <= CHANCE_LEVEL)


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
