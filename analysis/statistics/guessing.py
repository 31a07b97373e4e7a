"""Networks at chance level, in comparisons of networks before and after compression."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from analysis.statistics.hypothesis_tests import exact_mcnemar
from analysis.statistics.intensification import CHANCE_LEVEL, at_chance

Sides = Mapping[str, np.ndarray]


class ChanceLevelCounts(NamedTuple):
    """How many networks are at chance level.

    Attributes
    ----------
    counts : dict, side -> (networks at chance level, all networks)
        The sides are before, after and, if there is one, control.
    collapsed : int
        Networks at chance level after compression, and neither before nor in the control. They are also less
        accurate than before by McNemar's test, so that no network collapses by crossing the bound.
    left_out : bool
        Whether the pairs with a network at chance level are left out. They are not if no other pair is left.
    """

    counts: Mapping[str, tuple[int, int]]
    collapsed: int = 0
    left_out: bool = False

    @property
    def any_at_chance(self) -> bool:
        """Whether any network is at chance level."""
        return any(at_chance_level for at_chance_level, _ in self.counts.values())

    @property
    def are_all_at_chance(self) -> bool:
        """Whether the numbers are those of networks at chance level."""
        return self.any_at_chance and not self.left_out


def without_guessing(
    label: np.ndarray, right: Sides, *, paired: bool
) -> tuple[ChanceLevelCounts, dict[str, np.ndarray]]:
    """Leave out the pairs in which a network is at chance level, unless that leaves none.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    right : mapping of str to (networks, images), bool
        Whether each network of the sides before, after and perhaps control is right.
    paired : bool
        Whether the networks before are those after, in the same order; a single one before is that of all after.
        Otherwise networks are left out one by one, those of the control with those after.

    Returns
    -------
    ChanceLevelCounts
    dict
        `right` of the remaining networks.

    Examples
    --------
    >>> label = np.repeat([0, 1], 50)
    >>> knows, guesses = np.ones(100, bool), label == 0
    >>> chance_level, remaining = without_guessing(
    ...     label, {"before": np.array([knows, knows]), "after": np.array([knows, guesses])}, paired=True
    ... )
    >>> chance_level
    ChanceLevelCounts(counts={'before': (0, 2), 'after': (1, 2)}, collapsed=1, left_out=True)
    >>> [len(networks) for networks in remaining.values()]
    [1, 1]
    """
    support = np.bincount(label)
    guesses = {side: at_chance(answers.mean(1), len(support), support) for side, answers in right.items()}
    counts = {side: (int(each.sum()), len(each)) for side, each in guesses.items()}
    before, after = guesses["before"], guesses["after"]
    one_by_one = paired and len(before) == len(after)
    collapsed = sum(
        _collapsed(right["before"][~before & (np.arange(len(before)) == index if one_by_one else True)], answers)
        for index, answers in enumerate(right["after"])
        if after[index] and not ("control" in guesses and guesses["control"][index])
    )
    after_out = after | guesses.get("control", after) | (before if paired else False)
    sound = {side: answers[~after_out] for side, answers in right.items() if side != "before"}
    sound = {"before": right["before"][~(after_out if one_by_one else before)], **sound}
    left_out = any(guess for guess, _ in counts.values()) and all(map(len, sound.values()))
    return ChanceLevelCounts(counts, collapsed, left_out), sound if left_out else dict(right)


def _collapsed(before: np.ndarray, after: np.ndarray) -> bool:
    """Return whether a network at chance level is surely less accurate than the worst of those that are not."""
    if not len(before):
        return False
    worst = before[before.mean(1).argmin()]
    n_lost, n_won = int((worst & ~after).sum()), int((after & ~worst).sum())
    return n_lost > n_won and bool(exact_mcnemar(n_lost, n_won) <= CHANCE_LEVEL)
