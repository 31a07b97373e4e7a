"""Recalls of classes with the accuracy of the same networks, their balance, and precision and F1 from predictions."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.common.errors import StudyError
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


class ClassMetrics(NamedTuple):
    """Confusion matrix (classes, classes), and support, recall, precision and F1 of every class, each (classes,)."""

    confusion: np.ndarray
    support: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray


def class_metrics(label: ArrayLike, predicted: ArrayLike, classes: int) -> ClassMetrics:
    """Compute the confusion matrix, and the recall, precision and F1 of every class.

    Parameters
    ----------
    label, predicted : (images,), integers in [0, classes)
        True and predicted class of each image.
    classes : int
        Number of classes.

    Returns
    -------
    ClassMetrics
        Rows of `confusion` are true classes, columns are predicted ones. A class that is never predicted has precision
        0. A class without images has recall NaN; if it is also never predicted, its F1 is NaN.

    Raises
    ------
    StudyError
        If labels and predictions differ in number, or if a value is not a class index.

    Examples
    --------
    Two of three images of class 0 are recognised, and so is the one image of class 1:

    >>> metrics = class_metrics([0, 0, 0, 1], [0, 0, 1, 1], classes=2)
    >>> metrics.confusion.tolist()
    [[2, 1], [0, 1]]
    >>> metrics.recall.round(2).tolist(), metrics.precision.tolist(), metrics.f1.round(2).tolist()
    ([0.67, 1.0], [1.0, 0.5], [0.8, 0.67])
    """
    label, predicted = np.asarray(label), np.asarray(predicted)
    if label.shape != predicted.shape:
        raise StudyError(f"{label.size} labels for {predicted.size} predictions: give one prediction per label")
    for name, values in (("label", label), ("predicted", predicted)):
        if (wrong := values[~np.isin(values, range(classes))]).size:
            raise StudyError(f"{name} contains {wrong.tolist()[0]!r}: give whole numbers from 0 to {classes - 1}")
    pairs = label.astype(np.int64) * classes + predicted.astype(np.int64)
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    right, support, guesses = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return ClassMetrics(
        confusion=confusion,
        support=support,
        recall=quotient(right, support),
        precision=right / np.maximum(guesses, 1),
        f1=quotient(2 * right, support + guesses),
    )
