"""Recall, precision and F1 of every class, counted from predictions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.common.errors import StudyError
from analysis.statistics.arithmetic import quotient


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
