"""Modal labels: the most frequent prediction of a population of networks.

They are defined as in Hooker et al., "What Do Compressed Deep Neural Networks Forget?".
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

# Fewest networks for a modal label. With two networks, any disagreement is a tie.
FEWEST = 5


class Modes(NamedTuple):
    """The most frequent prediction of a population of networks for each image.

    Attributes
    ----------
    label : (..., images), integers
        The modal label: the class with the most votes; in a tie, the one with the highest index.
    share : (..., images)
        Share of networks that predict the modal label.
    tied : (..., images), bool
        Whether another class has equally many votes.
    """

    label: np.ndarray
    share: np.ndarray
    tied: np.ndarray


def modes(predicted: np.ndarray) -> Modes:
    """Find the modal label of each image (Section 2.3). Ties go to the highest label, as in the authors' code.

    Parameters
    ----------
    predicted : (..., networks, images), integers
        The classes predicted by the networks, from 0.

    Examples
    --------
    Two of three networks predict class 2 for the first image; for the second, each predicts a different class:

    >>> found = modes(np.array([[2, 0], [2, 1], [0, 2]]))
    >>> found.label.tolist(), found.tied.tolist()
    ([2, 2], [False, True])
    """
    votes = np.moveaxis(predicted, -2, 0)
    label, share = votes[0].copy(), np.ones(votes[0].shape)
    is_tied, contested = np.zeros(label.shape, dtype=bool), (votes != label).any(0)
    label[contested], share[contested], is_tied[contested] = _modes(votes[:, contested])
    return Modes(label, share, is_tied)


def _modes(voted: np.ndarray) -> Modes:
    """Find the modal labels of votes (networks, images)."""
    # One-byte integers are sorted and compared several times as fast as eight-byte ones.
    sorted_votes = np.sort(voted.astype(np.min_scalar_type(voted.max(initial=0))), axis=0)
    label, votes = sorted_votes[0], np.ones(sorted_votes[0].shape, dtype=np.uint16)
    is_tied, run = np.zeros(label.shape, dtype=bool), votes
    for previous, current in pairwise(sorted_votes):
        run = np.where(current == previous, run + 1, 1).astype(np.uint16)
        leads = run >= votes
        is_tied = np.where(leads, run == votes, is_tied)
        label = np.where(leads, current, label)
        votes = np.maximum(votes, run)
    return Modes(label.astype(voted.dtype), votes / len(sorted_votes), is_tied)
