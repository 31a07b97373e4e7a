"""Recall, precision and F1 of every class."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.runs.errors import StudyError
from analysis.statistics.resampling import _ratio


class ClassMetrics(NamedTuple):
    """What `class_metrics` returns; all but `confusion` have the shape (classes,)."""

    confusion: np.ndarray
    support: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray


def class_metrics(label: ArrayLike, predicted: ArrayLike, classes: int) -> ClassMetrics:
    """Count the predictions of every class.

    Parameters
    ----------
    label, predicted : (images,), integers in [0, classes)
    classes : int
        Number of classes, C.

    Returns
    -------
    ClassMetrics
        `confusion` (C, C), rows true, columns predicted; `support`, `recall`, `precision`, `f1`, each (C,).
        A class never predicted has precision 0; one without an image has recall NaN.

    Raises
    ------
    StudyError
        Where the two differ in length or a value is not a class.
    """
    label, predicted = np.asarray(label, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if label.shape != predicted.shape:
        raise StudyError(f"{label.size} labels for {predicted.size} predictions: give one prediction per label")
    for name, values in (("label", label), ("predicted", predicted)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise StudyError(f"{name} holds {values.min()} to {values.max()}: give classes from 0 to {classes - 1}")
    confusion = np.bincount(label * classes + predicted, minlength=classes**2).reshape(classes, classes)
    right, support, guesses = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return ClassMetrics(
        confusion=confusion,
        support=support,
        recall=_ratio(right, support),
        precision=right / np.maximum(guesses, 1),
        f1=_ratio(2 * right, support + guesses),
    )
