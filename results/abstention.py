"""Accuracy of a classifier that abstains on the most doubtful images (El-Yaniv and Wiener 2010).

Any score of an image can serve as its doubt. Hooker et al. (2019, Section 1) suggest the share of pairs of a dense and
a pruned network that disagree on the image.
"""

import numpy as np


def retained_accuracy(right: np.ndarray, doubt: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Compute the accuracy on the images that are left if the most doubtful ones are omitted.

    Among images with equal doubt, each is equally likely to be omitted; the accuracy returned is the expected one.

    Parameters
    ----------
    right : (images,), bool
        Whether the network is right about each image.
    doubt : (images,)
    coverage : (coverages,)
        Share of images that are left, above 0 and at most 1. The number of these images is rounded, to at least 1.

    Returns
    -------
    (coverages,)

    Examples
    --------
    Omitting the most doubtful image, which is misclassified, raises the accuracy to 2 / 3. If half of the images are
    left, one of the two with equal doubt is among them, so the expected accuracy is (1 + 1 / 2) / 2:

    >>> right, doubt = np.array([1, 1, 0, 0]), np.array([0, 0.5, 0.5, 0.9])
    >>> retained_accuracy(right, doubt, np.array([1, 0.75, 0.5])).round(3).tolist()
    [0.5, 0.667, 0.75]
    """
    order = np.argsort(doubt, kind="stable")
    _, first, count = np.unique(doubt[order], return_index=True, return_counts=True)
    # Each image gets the mean accuracy of all images with the same doubt.
    shared = np.repeat(np.add.reduceat(np.asarray(right, dtype=float)[order], first) / count, count)
    images_left = np.maximum(np.rint(np.asarray(coverage) * len(right)).astype(int), 1)
    return np.asarray(np.cumsum(shared)[images_left - 1] / images_left)


def disputes(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Compute, for each network and image, how often two other networks predict different classes.

    Parameters
    ----------
    first : (networks, images), integers
        The class that each network predicts, from 0.
    second : (networks, images), integers, optional
        The same for a second population; row i has the same seed in both. Each pair then has one network from each
        population; if None, both networks are from `first`.

    Returns
    -------
    (networks, images)
        For network i, the share of pairs that predict different classes, among the pairs that do not contain network i.

    Examples
    --------
    Only the third of three networks predicts class 1. Its row is about the pair of the first two networks, which agree.
    Each of the other rows is about a pair with the third network:

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
    """For each network and image, count the other networks that predict a class, (networks, images)."""
    votes = predicted == each_class
    return np.asarray(votes.sum(0) - votes.astype(int))
