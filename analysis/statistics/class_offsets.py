"""Class offsets: fit a number to add to each class's logit, so that each recall falls by as much as the accuracy."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.common.class_arrays import without_objects
from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.statistics.arithmetic import exact_sum

# With this many images, the standard error of a change of recall is at most 5 points if the networks disagree on a
# tenth of the images: .1 / 40 = .05^2. For real networks, offsets fitted on fewer images hardly lowered the excess on
# new images.
LEAST_IMAGES = 40
FOLDS = 5
_MOST_STEPS = 100
_PATIENCE = 20  # steps without a better fit
_ROWS = 2**13  # images at a time, for the processor's cache


class Offsets(NamedTuple):
    """Offsets, the estimates that they are based on, and the excess that they leave, each (classes,).

    Attributes
    ----------
    value : numpy.ndarray
        Numbers to add to the classes' logits; they sum to 0.
    excess : numpy.ndarray
        Change of recall minus change of the accuracy, without offsets.
    error : numpy.ndarray
        Standard error of the excess.
    reliability : numpy.ndarray
        Share of the excess that the offsets aim to remove, from 0 to 1.
    excess_left : numpy.ndarray
        The excess with offsets, on the images that they were fitted on.
    """

    value: np.ndarray
    excess: np.ndarray
    error: np.ndarray
    reliability: np.ndarray
    excess_left: np.ndarray


def fit(
    before: np.ndarray,
    after: np.ndarray,
    label: np.ndarray,
    *,
    shrinkage: float = 1.0,
    class_names: Sequence[str] | None = None,
) -> Offsets:
    """Fit offsets for the logits `after`, so that each class's recall changes as the accuracy does.

    Only the share `reliability` of a class's excess is removed, so that offsets hardly react to noise.

    Parameters
    ----------
    before, after : (images, classes), floats
        Logits of two networks for the same images.
    label : (images,), integers
        True class of each image, from 0.
    shrinkage : float, >= 0
        Weight of the noise in `reliability`. With 0, all of the excess is removed.
    class_names : sequence of str, optional
        Names of the classes, for errors.

    Returns
    -------
    Offsets
        All offsets are 0 if no class has an excess, for example because the networks are equal.

    Raises
    ------
    StudyError
        If the arrays or names do not match in shape, if some logits are not finite, or if a class has fewer than
        `LEAST_IMAGES` images.

    Examples
    --------
    Each class has 40 images. The second network misclassifies 8 images of class 1, each by a margin of .1. It
    classifies all images of class 0 correctly, 4 of them by a margin of only .05. Offsets that win back the 8 images
    therefore lose these 4:

    >>> label = np.repeat([0, 1], 40)
    >>> before = np.eye(2)[label]
    >>> after = before.copy()
    >>> after[40:48] = [0.1, 0]
    >>> after[:4] = [0.05, 0]
    >>> found = fit(before, after, label, shrinkage=0)
    >>> found.excess.tolist(), found.excess_left.round(3).tolist()
    ([0.1, -0.1], [-0.05, 0.05])
    """
    check(before, after, label, class_names)
    return _fit(before, after, label, shrinkage)


def held_out(before: np.ndarray, after: np.ndarray, label: np.ndarray, *, shrinkage: float = 1.0) -> np.ndarray:
    """Add cross-fitted offsets to the logits `after`: an image's offsets are fitted without this image.

    The images of each class are divided in order among `FOLDS` folds. Each fold's images get offsets fitted on the
    other folds, so the effect of offsets on new images can be measured without further images.

    Parameters
    ----------
    before, after, label, shrinkage
        As for `fit`, with the same errors.

    Returns
    -------
    (images, classes)
    """
    check(before, after, label)
    adjusted = after.copy()
    for fold in _folds(label, after.shape[1]):
        training = ~fold
        adjusted[fold] += _fit(before[training], after[training], label[training], shrinkage).value.astype(after.dtype)
    return adjusted


def table(
    before: np.ndarray, after: np.ndarray, label: np.ndarray, class_names: Sequence[str], *, shrinkage: float = 1.0
) -> pd.DataFrame:
    """Tabulate offsets and their effects, with a row for each class.

    Parameters
    ----------
    before, after, label, class_names, shrinkage
        As for `fit`, with the same errors.

    Returns
    -------
    DataFrame
        - class, index: name and index of the class.
        - offset: number to add to the class's logit.
        - excess: change of recall minus change of accuracy, without offsets; below 0 for a class that loses more than
          the accuracy.
        - error: standard error of excess.
        - reliability: share of excess that the offsets aim to remove.
        - excess_fitted: the excess with offsets, on the images that they were fitted on.
        - excess_held_out: the excess with offsets, on images that they were not fitted on (`held_out`).
        - images: number of the class's images.
    """
    offsets = fit(before, after, label, shrinkage=shrinkage, class_names=class_names)
    adjusted = held_out(before, after, label, shrinkage=shrinkage)
    right_before, right_held_out = (_answers(logits, label).right for logits in (before, adjusted))
    return pd.DataFrame(
        {
            "class": class_names,
            "index": range(len(class_names)),
            "offset": offsets.value,
            "excess": offsets.excess,
            "error": offsets.error,
            "reliability": offsets.reliability,
            "excess_fitted": offsets.excess_left,
            "excess_held_out": excess(right_before, right_held_out, label, len(class_names))[0],
            "images": np.bincount(label, minlength=len(class_names)),
        }
    )


def excess(before: np.ndarray, after: np.ndarray, label: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute each class's change of recall minus the change of accuracy, and its standard error.

    The standard error treats the two networks' answers to an image as a pair. Half an image is added to each of a
    class's four counts (right both times, wrong both times, lost, won; Agresti and Min 2005), because otherwise a
    class in which by chance no image changes would seem to have no sampling error.

    Parameters
    ----------
    before, after : (images,), bool
        Whether the network before or after is right about each image.
    label : (images,), integers
    classes : int
        Number of classes, each of which has images.

    Returns
    -------
    excess, error : (classes,)

    Examples
    --------
    >>> right = np.ones(20, bool)
    >>> found, error = excess(right, np.arange(20) > 1, np.repeat([0, 1], 10), 2)
    >>> found.round(2).tolist()
    [-0.1, 0.1]
    """
    support = np.bincount(label, minlength=classes)
    share = support / len(label)
    n_lost, n_won = (np.bincount(label, each, classes) for each in (before & ~after, after & ~before))
    change = (n_won - n_lost) / support
    total = support + 2
    variance = (n_lost + n_won + 1 - (n_won - n_lost) ** 2 / total) / total**2
    of_excess = (1 - 2 * share) * variance + exact_sum(share**2 * variance)
    return change - exact_sum(share * change), np.sqrt(of_excess)


def reliability(excess: np.ndarray, error: np.ndarray, shrinkage: float = 1.0) -> np.ndarray:
    """Compute the share of each class's excess to remove: excess^2 / (excess^2 + shrinkage * error^2).

    This is signal / (signal + noise), with the class's own squared excess as the signal. If a signal variance common to
    all classes were used instead, the largest excesses would shrink most, because their classes have the largest
    errors.

    Parameters
    ----------
    excess, error : (classes,)
        Errors are above 0.
    shrinkage : float, >= 0

    Returns
    -------
    (classes,)
        0 for a class without excess, and one half if the excess equals its error and shrinkage is 1. All are 1 if
        shrinkage is 0.

    Examples
    --------
    >>> reliability(np.array([0.0, 0.01, 0.03]), np.array([0.01, 0.01, 0.01])).round(3).tolist()
    [0.0, 0.5, 0.9]
    """
    signal, noise = excess**2, error**2
    return np.asarray(signal / (signal + shrinkage * noise)) if shrinkage else np.ones(len(excess))


def check(before: np.ndarray, after: np.ndarray, label: np.ndarray, class_names: Sequence[str] | None = None) -> None:
    """Raise a StudyError if offsets cannot be fitted to logits, as described in `fit`."""
    check_arrays(before, after, label)
    classes = before.shape[1]
    if class_names is not None and len(class_names) != classes:
        raise StudyError(f"class_names has {len(class_names):,} names for {classes:,} classes: name every class")
    check_images(np.bincount(label, minlength=classes), class_names)


def as_arrays(arrays: Sequence[ArrayLike]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convert label, before and after to arrays, in which whole numbers are int64 labels and float64 logits.

    Raises
    ------
    StudyError
        If rows differ in length.
    """
    try:
        label, before, after = map(np.asarray, arrays)
    except ValueError as error:
        raise StudyError("label, before and after must each have rows of equal length") from error
    label = without_objects(label)
    label = label.astype(np.int64) if label.dtype.kind in "iu" else label
    before, after = (logits.astype(float) if logits.dtype.kind in "iu" else logits for logits in (before, after))
    return label, before, after


def check_arrays(before: np.ndarray, after: np.ndarray, label: np.ndarray) -> None:
    """Raise a StudyError unless logits are finite, labels are whole numbers, and their shapes match."""
    if before.ndim != 2 or before.shape != after.shape or before.shape[1] < 2:
        raise StudyError(
            f"logits have shapes {before.shape} and {after.shape}: give (images, classes) for both networks"
        )
    if label.shape != before.shape[:1] or label.dtype.kind not in "iu":
        raise StudyError(
            f"labels are {label.dtype} of shape {label.shape} for {len(before):,} images: give a whole number for each"
        )
    for side, logits in (("before", before), ("after", after)):
        if logits.dtype.kind != "f" or not np.isfinite(logits).all():
            raise StudyError(
                f"logits {side} are not all finite numbers: leave out images with other values, or repair the network"
            )
    classes = before.shape[1]
    if label.size and not 0 <= label.min() <= label.max() < classes:
        wrong = label.min() if label.min() < 0 else label.max()
        raise StudyError(f"label {wrong} is not one of the {classes:,} columns of logits, which are counted from 0")


def check_images(support: np.ndarray, class_names: Sequence[str] | None = None, option: str | None = None) -> None:
    """Raise a StudyError if a class has fewer than `LEAST_IMAGES` images.

    Parameters
    ----------
    support : (classes,), integers
    class_names : sequence of str, optional
    option : str, optional
    """
    fewest = int(np.argmin(support))
    if support[fewest] < LEAST_IMAGES:
        name = shortened(class_names[fewest]) if class_names is not None else str(fewest)
        raise StudyError(
            f"class {name} has {support[fewest]:,} images, too few to fit its offset: give at least "
            f"{LEAST_IMAGES} images of each class",
            option=option,
        )


def _fit(before: np.ndarray, after: np.ndarray, label: np.ndarray, shrinkage: float) -> Offsets:
    classes = after.shape[1]
    right_before = _answers(before, label).right
    class_excess, error = excess(right_before, _answers(after, label).right, label, classes)
    share = reliability(class_excess, error, shrinkage)
    recall = np.bincount(label, right_before, classes) / np.bincount(label, minlength=classes)
    value = _offsets(after, label, recall + (1 - share) * class_excess) if class_excess.any() else np.zeros(classes)
    excess_left = excess(right_before, _answers(after, label, value).right, label, classes)[0]
    return Offsets(value, class_excess, error, share, excess_left)


def _offsets(logits: np.ndarray, label: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit offsets that make all recalls differ from their targets by the same number, to within an image if possible.

    The recall of a class rises with its own offset and falls with the offsets of other classes, and only differences
    between offsets matter. If a class misses its target by more than an image, each step moves its offset towards the
    value that would reach the target if the other offsets stayed the same (`_step`). The offsets of the best step are
    returned.
    """
    support = np.bincount(label)
    classes = [np.flatnonzero(label == each) for each in range(len(target))]
    offsets = best = np.zeros(len(target))
    least, at = np.inf, 0
    for step in range(_MOST_STEPS):
        answers = _answers(logits, label, offsets)
        right = np.bincount(label, answers.right, len(target))
        gap = right / support - target
        gap -= exact_sum(support * gap) / len(label)
        if (loss := exact_sum(gap * gap)) < least:
            best, least, at = offsets, loss, step
        missing = np.rint(-gap * support).astype(int)
        moving = np.flatnonzero(np.abs(gap * support) > 1)
        if not len(moving) or step - at >= _PATIENCE:
            break
        offsets = offsets.copy()
        for each in moving:
            offsets[each] += _step(answers.margin[classes[each]], int(right[each]) + missing[each])
        offsets -= exact_sum(offsets) / len(offsets)
    return best


def _step(margins: np.ndarray, right: int) -> float:
    """Compute the next shift of a class's margins; after all steps, `right` of them should be above 0.

    If margins are sorted in descending order, those with the indices `right - 1` and `right` should end up on different
    sides of 0. A shift that puts 0 midway between these two margins is halved and returned.

    If several images have the same margin at these indices, the shift moves all of these images above 0 or none. It
    aims at the result whose number of margins above 0 is nearer to `right`. If both results are equally near, it aims
    at the one that changes the number of margins above 0. Such a shift is not halved, because half steps might never
    end.
    """
    sorted_margins = np.sort(margins)[::-1]
    right, n_positive = min(max(right, 0), len(sorted_margins)), int((sorted_margins > 0).sum())
    equals = np.flatnonzero(sorted_margins == sorted_margins[min(right, len(sorted_margins) - 1)])
    first, last = int(equals[0]), int(equals[-1]) + 1
    is_tied = len(equals) > 1 and (first < right or right == 0)
    if is_tied and first < right < last:
        right = min((last, first), key=lambda end: (abs(end - right), end == n_positive))
    if is_tied and right == n_positive:
        return 0.0
    above = sorted_margins[right - 1] if right else sorted_margins[0] + is_tied * (abs(sorted_margins[0]) or 1.0)
    below = (
        sorted_margins[right] if right < len(sorted_margins) else sorted_margins[-1] - (abs(sorted_margins[-1]) or 1.0)
    )
    return -float(above + below) / (2 if is_tied else 4)


class _ScoredAnswers(NamedTuple):
    """Whether a network is right, and the margin of the label's logit over the largest other one, each (images,)."""

    right: np.ndarray
    margin: np.ndarray


def _answers(logits: np.ndarray, label: np.ndarray, offsets: np.ndarray | None = None) -> _ScoredAnswers:
    """Compute a network's answers with offsets. Ties go to the first class, as in argmax."""
    right, margin = np.empty(len(label), bool), np.empty(len(label))
    shift = np.zeros(logits.shape[1]) if offsets is None else offsets
    for start in range(0, len(label), _ROWS):
        rows = slice(start, start + _ROWS)
        part, own = logits[rows] + shift.astype(logits.dtype), label[rows, np.newaxis]
        right[rows] = part.argmax(1) == own[:, 0]
        of_label = np.take_along_axis(part, own, 1)[:, 0]
        np.put_along_axis(part, own, -np.inf, 1)
        margin[rows] = of_label - part.max(1)
    return _ScoredAnswers(right, margin)


def _folds(label: np.ndarray, classes: int) -> Iterator[np.ndarray]:
    """Yield a mask, (images,), for each fold; each class's images are divided evenly between the folds."""
    fold_of = np.empty(len(label), int)
    for each in range(classes):
        images = np.flatnonzero(label == each)
        fold_of[images] = np.arange(len(images)) % FOLDS
    return (fold_of == fold for fold in range(FOLDS))
