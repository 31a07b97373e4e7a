"""Recalls of classes with the accuracy of the same networks, and the recall balance computed from both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import quotient


def recall_balance(recall: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Compute the normalised recall balance b = (R - A) / A (Good et al. 2022, Section 4).

    Parameters
    ----------
    recall : (..., classes)
        Recall R of each class.
    accuracy : (...)
        Accuracy A of the same networks.

    Returns
    -------
    (..., classes)
        NaN if the accuracy is 0.

    Examples
    --------
    >>> recall_balance([0.9, 0.7], accuracy=0.8).round(3).tolist()
    [0.125, -0.125]
    """
    accuracy = np.asarray(accuracy, dtype=float)[..., np.newaxis]
    return quotient(np.asarray(recall) - accuracy, accuracy)


@dataclass(frozen=True, init=False, eq=False)
class Recalls:
    """Recalls of networks and the accuracy of the same networks; classes may also be other groups of images.

    Parameters
    ----------
    recall : (..., classes)
        Recall R of each class. The axes before the last are networks, for example one per seed.
    accuracy : (...)
        Accuracy A.

    Examples
    --------
    >>> Recalls([0.9, 0.7], accuracy=0.8).balance.round(3).tolist()
    [0.125, -0.125]
    """

    recall: np.ndarray
    accuracy: np.ndarray

    def __init__(self, recall: ArrayLike, accuracy: ArrayLike) -> None:
        object.__setattr__(self, "recall", np.asarray(recall, dtype=float))
        object.__setattr__(self, "accuracy", np.asarray(accuracy, dtype=float))

    @classmethod
    def from_answers(cls, label: np.ndarray, right: np.ndarray) -> "Recalls":
        """Compute recalls and accuracies from the answers to test images.

        Parameters
        ----------
        label : (images,), integers
            Class of each image, from 0; every class has an image.
        right : (networks, images), bool
            Whether each network is right about each image.

        Examples
        --------
        >>> Recalls.from_answers(np.array([0, 0, 1]), np.array([[True, False, True]])).recall.tolist()
        [[0.5, 1.0]]
        """
        recall = np.array([np.bincount(label, network) for network in right]) / np.bincount(label)
        return cls(recall, right.mean(1))

    def __getitem__(self, networks: np.ndarray) -> "Recalls":
        """Select networks along the first axis."""
        return Recalls(self.recall[networks], self.accuracy[networks])

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return len(self.recall)

    @property
    def raw_balance(self) -> np.ndarray:
        """Gap B = R - A of each class, (..., classes)."""
        return np.asarray(self.recall - self.accuracy[..., np.newaxis])

    @property
    def balance(self) -> np.ndarray:
        """Normalised recall balance b of each class, (..., classes)."""
        return recall_balance(self.recall, self.accuracy)
