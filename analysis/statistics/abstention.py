"""How accurate a classifier is if it abstains on the images that it doubts most (El-Yaniv and Wiener 2010).

Doubt is any number of an image. Hooker et al. (2019, Section 1) suggest the images that pruning changes: those about
which dense and pruned networks dispute.
"""

import numpy as np


def retained_accuracy(right: np.ndarray, doubt: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Return the accuracy on the images that are left if those of the largest doubt are left out.

    Of images that are doubted alike, any are as likely to be left out. So the accuracy is that expected over them.

    Parameters
    ----------
    right : (images,), bool
        Whether the network is right about each image.
    doubt : (images,)
    coverage : (coverages,)
        Shares of the images that are left, above 0 and at most 1; rounded to whole images, and at least one.

    Returns
    -------
    (coverages,)

    Examples
    --------
    Without the most doubted image, the wrong one, the network is right about all. With half of the images, one of the
    two that are doubted alike is left:

    >>> right, doubt = np.array([1, 1, 0, 0]), np.array([0, 0.5, 0.5, 0.9])
    >>> retained_accuracy(right, doubt, np.array([1, 0.75, 0.5])).round(3).tolist()
    [0.5, 0.667, 0.75]
    """
    order = np.argsort(doubt, kind="stable")
    _, first, count = np.unique(doubt[order], return_index=True, return_counts=True)
    # Images doubted alike share what they have right, and so does each of the sums over them.
    shared = np.repeat(np.add.reduceat(np.asarray(right, dtype=float)[order], first) / count, count)
    images_left = np.maximum(np.rint(np.asarray(coverage) * len(right)).astype(int), 1)
    return np.asarray(np.cumsum(shared)[images_left - 1] / images_left)


def disputes(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Return how often two other networks predict different classes for an image, for each network.

    Parameters
    ----------
    first : (networks, images), integers
        The class that each network predicts, from 0.
    second : (networks, images), integers, optional
        The same of another population; row i of both is of one seed. None: two networks of the first are compared.

    Returns
    -------
    (networks, images)
        For network i, the share of the pairs of a network of each population, none of which is i, that differ.

    Examples
    --------
    Of three networks the third differs. Each of the others sees one dispute, and the third itself sees none:

    >>> disputes(np.array([[0], [0], [1]])).ravel().tolist()
    [1.0, 1.0, 0.0]
    """
    others = len(first) - 1
    pairs = others * (others - 1) if second is None else others**2
    same = np.zeros(first.shape)
    for each_class in range(int(max(first.max(), 0 if second is None else second.max())) + 1):
        votes = _votes_of_others(first, each_class)
        same += votes * (votes - 1 if second is None else _votes_of_others(second, each_class))
    return np.asarray(1 - same / pairs)


def _votes_of_others(predicted: np.ndarray, each_class: int) -> np.ndarray:
    """Return how many of the other networks predict a class, (networks, images)."""
    votes = predicted == each_class
    return np.asarray(votes.sum(0) - votes.astype(int))
