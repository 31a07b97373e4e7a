"""Estimate how much of the changes of recall between two networks is due to a shift of each class's logit."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.statistics.class_offsets import check_arrays

# The images are divided into this many groups. The even-numbered groups form one half of the images.
GROUPS = 20
# A class with this many images has two in every group.
LEAST_IMAGES = 2 * GROUPS
_LEVEL = 0.05
_ROWS = 2**12  # images at a time, to save memory
_LEAST_WEIGHT = 1e-6  # so that the shift of a class that is never confused is defined too


class CommonShift(NamedTuple):
    """A shift of the classes' logits that all images have in common, and the share of the movement that it explains.

    Attributes
    ----------
    value : numpy.ndarray
        Number that the shift adds to each class's logit, (classes,); the numbers sum to 0.
    excess, excess_left : numpy.ndarray
        Change of each class's recall minus the change of accuracy, and the same with the shift undone.
    movement, movement_left : float
        Sums over classes of the squared `excess` and `excess_left`, corrected for the noise of the images. They may be
        below 0 by chance.
    share : float
        Share of the movement that the shift explains: 1 - movement_left / movement, at most 1. NaN if the movement
        is not shown to be above 0.
    low, high : float
        95 % interval of the share, over images.
    changed, changed_left : float
        Share of the images for which the networks predict different classes, and the same with the shift undone.
    """

    value: np.ndarray
    excess: np.ndarray
    excess_left: np.ndarray
    movement: float
    movement_left: float
    share: float
    low: float
    high: float
    changed: float
    changed_left: float


def diagnose(before: Sequence[np.ndarray], after: Sequence[np.ndarray], label: np.ndarray) -> CommonShift:
    """Split the movement of classes into a common shift of their logits and changes of single images.

    For an image of class y, the difference between the two networks' logits of class k is modelled as t_y + s_k + rest.
    t_y is the same for all logits of the image, so it has no effect on predictions; s is the shift, like a change of
    the output layer's bias. `fit` estimates s by least squares. The shift is fitted on one half of the images and
    undone on the other half, and vice versa. Let e be the change of a class's recall minus the change of accuracy, with
    the variance v over images. Then

        movement = sum(e^2 - v),    share = 1 - movement with the shift undone / movement,

    where both movements are averaged over the halves, and v removes the bias due to the noise of the images. The shift
    is not fitted to recalls, because nearly any change of recalls, whatever its cause, can be matched by some shift.
    Least squares detects only differences that the images of a class have in common.

    The interval is Fieller's for a ratio, with variances by a jackknife that leaves out each group of images in turn.
    It is for these networks only, not for new ones.

    Parameters
    ----------
    before, after : sequence of (images, classes), floats
        Logits of pairs of networks for the same images. The results for several pairs are means, except the share and
        its interval, which are computed from mean movements.
    label : (images,), integers
        True class of each image, from 0.

    Raises
    ------
    StudyError
        If the arrays do not match in shape, or if a class has fewer than `LEAST_IMAGES` images.

    Examples
    --------
    The second network adds 1 to the logit of class 0, so it wins images of class 0 and loses images of class 1:

    >>> label = np.repeat([0, 1], 1000)
    >>> before = 1.5 * np.eye(2)[label] + np.random.default_rng(0).normal(size=(2000, 2))
    >>> found = diagnose([before], [before + [1, 0]], label)
    >>> found.value.round(2).tolist(), round(found.share, 3)
    ([0.5, -0.5], 1.0)
    >>> found.excess.round(2).tolist(), found.excess_left.round(2).tolist()
    ([0.15, -0.15], [0.0, 0.0])
    """
    if not len(before) or len(before) != len(after):
        raise StudyError(f"there are logits of {len(before)} networks before and {len(after)} after: give pairs")
    for first, second in zip(before, after, strict=True):
        check_arrays(first, second, label)
    check_images(np.bincount(label, minlength=before[0].shape[1]))
    pairs = [_LogitPair(first, second, label) for first, second in zip(before, after, strict=True)]
    pair_sums = [pair.sums() for pair in pairs]
    movement, movement_left = (
        np.mean([sums.movement for sums in pair_sums], 0),
        np.mean([sums.movement_left for sums in pair_sums], 0),
    )
    share, low, high = _share(movement, movement_left)
    return CommonShift(
        np.mean([pair.shift for pair in pairs], 0),
        np.mean([sums.excess for sums in pair_sums], 0),
        np.mean([sums.excess_left for sums in pair_sums], 0),
        float(movement[0]),
        float(movement_left[0]),
        share,
        low,
        high,
        float(np.mean([sums.changed for sums in pair_sums])),
        float(np.mean([sums.changed_left for sums in pair_sums])),
    )


def fit(weights: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Fit the shift s to logit differences t_y + s_k by weighted least squares.

    Parameters
    ----------
    weights, differences : (classes, classes)
        Row y has the weight and the mean logit difference of each class k, for images of class y. Weights are above 0.

    Returns
    -------
    (classes,)
        The shift, which sums to 0.

    Examples
    --------
    >>> fit(np.ones((2, 2)), np.array([[5.0, 1.0], [2.0, -2.0]])).tolist()
    [2.0, -2.0]

    Images of other classes are hardly ever confused with class 2, so its logit has nearly no weight for them:

    >>> weights = np.array([[1.0, 1.0, 1e-6], [1.0, 1.0, 1e-6], [1.0, 1.0, 2.0]])
    >>> fit(weights, np.array([[1.0, 0.0, 9.0], [1.0, 0.0, 9.0], [1.0, 0.0, 0.5]])).round(3).tolist()
    [0.5, -0.5, 0.0]
    """
    of_row = weights.sum(1, keepdims=True)
    deviations = differences - (weights * differences).sum(1, keepdims=True) / of_row
    normal = np.diag(weights.sum(0)) - weights.T @ (weights / of_row)
    # The equations determine the shift only up to a constant. This term, whose size is arbitrary, makes it unique.
    normal += normal.trace() / normal.size
    shift = np.linalg.solve(normal, (weights * deviations).sum(0))
    return np.asarray(shift - shift.mean())


def check_images(support: np.ndarray, class_names: Sequence[str] | None = None) -> None:
    """Raise a StudyError if a class has fewer than `LEAST_IMAGES` images.

    Parameters
    ----------
    support : (classes,), integers
    class_names : sequence of str, optional
    """
    fewest = int(np.argmin(support))
    if support[fewest] < LEAST_IMAGES:
        name = shortened(class_names[fewest]) if class_names is not None else str(fewest)
        raise StudyError(
            f"class {name} has {support[fewest]:,} images, too few to estimate a shift of its logit: give at least "
            f"{LEAST_IMAGES} images of each class"
        )


class _Sums(NamedTuple):
    """Contribution of a pair of networks to a `CommonShift`.

    `movement` and `movement_left` are (1 + groups,): for all images, then without each group of images.
    """

    movement: np.ndarray
    movement_left: np.ndarray
    excess: np.ndarray
    excess_left: np.ndarray
    changed: float
    changed_left: float


class _LogitPair:
    """Two networks' logits for the same images, which are divided into groups; even-numbered groups form one half.

    Logits are converted to one scale, because a network that is only more confident in all its predictions favours no
    class.
    """

    def __init__(self, before: np.ndarray, after: np.ndarray, label: np.ndarray) -> None:
        self._logits, self._label = (before, after), label
        self._classes = before.shape[1]
        self._group = _groups(label, self._classes)
        self._answers = before.argmax(1)
        spreads = _spread(before), _spread(after)
        self._factors = [(spreads[0] * spreads[1]) ** 0.5 / own_spread for own_spread in spreads]
        halves = np.zeros((2, 3, self._classes, self._classes))
        for group in range(GROUPS):
            halves[group % 2] += self._of_group(group)
        self._halves = halves

    @property
    def shift(self) -> np.ndarray:
        """The shift fitted to all images, on the scale of the first network's logits."""
        return self._fitted(self._halves.sum(0), np.ones(GROUPS, bool))[0]

    def sums(self) -> _Sums:
        """Compute the estimates of the pair, with all groups and with each group left out."""
        counts = [self._counts(half, np.zeros(self._classes)) for half in (0, 1)]
        counts_left = [self._count_undone(half) for half in (0, 1)]
        squares = [(_mean_squares(counts), _mean_squares(counts_left))]
        for group in range(GROUPS):
            refitted = list(counts_left)
            refitted[1 - group % 2] = self._count_undone(1 - group % 2, without=group)
            squares.append((_mean_squares(counts, without=group), _mean_squares(refitted, without=group)))
        images, net_gain, _, n_changed = np.sum(counts, (0, 2))
        _, won_left, _, changed_left = np.sum(counts_left, (0, 2))
        movement, of_left = np.transpose(squares)
        return _Sums(
            movement,
            of_left,
            _excess(images, net_gain),
            _excess(images, won_left),
            float(n_changed.sum() / images.sum()),
            float(changed_left.sum() / images.sum()),
        )

    def _count_undone(self, half: int, without: int | None = None) -> np.ndarray:
        """Count a half's images after undoing the shift fitted to the other half, or to all but one of its groups."""
        sums, groups = self._halves[1 - half], np.arange(GROUPS) % 2 != half
        if without is not None:
            sums, groups = sums - self._of_group(without), groups & (np.arange(GROUPS) != without)
        shift, scale = self._fitted(sums, groups)
        return self._counts(half, scale * shift)

    def _of_group(self, group: int) -> np.ndarray:
        """Sum weights and each network's logits over a group's images of each class.

        The sums are (3, classes, classes). A weight is p (1 - p), where p is the probability of a class by the mean of
        the networks' logits. A class with which an image is never confused thus has a weight near 0, as it should,
        because its logit is irrelevant. Weights are summed over a class's images before they are multiplied with
        logits, because a single image's weights depend on its logits.
        """
        images = np.flatnonzero(self._group == group)
        images = images[np.argsort(self._label[images], kind="stable")]
        before, after = (each[images] - each[images].mean(1, keepdims=True) for each in self._logits)
        middle = (self._factors[0] * before + self._factors[1] * after) / 2
        probability = np.exp(middle - middle.max(1, keepdims=True))
        probability /= probability.sum(1, keepdims=True)
        classes, starts = np.unique(self._label[images], return_index=True)
        sums = np.zeros((3, self._classes, self._classes))
        weights = probability * (1 - probability) + _LEAST_WEIGHT
        for row, each in enumerate((weights, before, after)):
            sums[row, classes] = np.add.reduceat(each, starts)
        return sums

    def _fitted(self, sums: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, float]:
        """Fit the shift to sums over `groups`, (groups,) bool; return it and the ratio of scales, after / before."""
        images = np.bincount(self._label, groups[self._group], self._classes)[:, np.newaxis]
        weights, before, after = sums[0], sums[1] / images, sums[2] / images
        scales = _contrast(weights, before), _contrast(weights, after)
        scale = scales[1] / scales[0] if min(scales) > 0 else 1.0
        return fit(weights, after / scale - before), scale

    def _counts(self, half: int, shift: np.ndarray) -> np.ndarray:
        """Count images of a half by group and class, with a shift of the second network's logits undone.

        The counts are (4, groups, classes): all images, images won minus lost, images won plus lost, and images for
        which the networks predict different classes.
        """
        images = np.flatnonzero(self._group % 2 == half)
        after = self._logits[1]
        class_shift = shift.astype(after.dtype)
        answers = np.empty(len(images), int)
        for start in range(0, len(images), _ROWS):
            rows = images[start : start + _ROWS]
            answers[start : start + _ROWS] = (after[rows] - class_shift).argmax(1)
        label, before = self._label[images], self._answers[images]
        gain = (answers == label).astype(int) - (before == label)
        cell = self._group[images] * self._classes + label
        each = (np.ones(len(images)), gain, np.abs(gain), answers != before)
        counts = [np.bincount(cell, numbers, GROUPS * self._classes) for numbers in each]
        return np.reshape(counts, (len(each), GROUPS, self._classes))


def _groups(label: np.ndarray, classes: int) -> np.ndarray:
    """Deal each class's images out to the groups in turn, and return each image's group, (images,)."""
    group = np.empty(len(label), int)
    for each in range(classes):
        images = np.flatnonzero(label == each)
        group[images] = np.arange(len(images)) % GROUPS
    return group


def _spread(logits: np.ndarray) -> float:
    """Compute the standard deviation of centred logits over images, as root mean square over classes; 1 if it is 0."""
    centred = logits - logits.mean(1, keepdims=True)
    return float(centred.var(0, dtype=float).mean() ** 0.5) or 1.0


def _contrast(weights: np.ndarray, means: np.ndarray) -> float:
    """Compute the root of the sum of weighted squares of mean logits after removing row and column effects.

    This measures a network's scale, because a shift does not change it, and changes of single images hardly affect the
    means.
    """
    residuals = means - fit(weights, means)
    residuals -= (weights * residuals).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    return float((weights * np.square(residuals)).sum() ** 0.5)


def _mean_squares(counts: Sequence[np.ndarray], without: int | None = None) -> float:
    """Average `squared_excess` over the halves, optionally without one group."""
    group_masks = [np.arange(GROUPS) % 2 == half for half in (0, 1)]
    if without is not None:
        group_masks[without % 2][without] = False
    return float(
        np.mean([squared_excess(*each[:3, groups].sum(1)) for each, groups in zip(counts, group_masks, strict=True)])
    )


def _excess(images: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Compute each class's change of recall minus the change of accuracy, (classes,), from counts of images."""
    return np.asarray(change / images - change.sum() / images.sum())


def squared_excess(images: np.ndarray, change: np.ndarray, n_moved: np.ndarray) -> float:
    """Sum the squared excess over classes, minus its expectation under image noise alone.

    Parameters
    ----------
    images, change, n_moved : (classes,)
        Numbers of images, of images won minus lost, and of images won plus lost.

    Examples
    --------
    Both classes have 11 images. Class 0 wins one and class 1 loses one, so the excess is 1/11 and -1/11. The variance
    of each change is (1/11 - 1/121) / 10 = 1/121, and the variance of each excess is half of that:

    >>> round(squared_excess(np.array([11, 11]), np.array([1, -1]), np.array([1, 1])) * 121, 9)
    1.0
    """
    share = images / images.sum()
    variance = (n_moved / images - np.square(change / images)) / (images - 1)
    noise = ((1 - 2 * share) * variance).sum() + len(share) * (np.square(share) * variance).sum()
    return float(np.square(_excess(images, change)).sum() - noise)


def _share(movement: np.ndarray, movement_left: np.ndarray) -> tuple[float, float, float]:
    """Compute 1 - movement_left / movement, at most 1, and its interval.

    Parameters
    ----------
    movement, movement_left : (1 + groups,)
        For all images, then without each group of images.
    """
    from scipy.special import stdtrit  # training imports this package and must not wait for scipy

    totals = np.array([movement_left[0], movement[0]])
    parts = np.array([movement_left[1:], movement[1:]])
    apart = parts - parts.mean(1, keepdims=True)
    groups = parts.shape[1]
    covariance = apart @ apart.T * (groups - 1) / groups
    reach = stdtrit(groups - 1, 1 - _LEVEL / 2) ** 2 * covariance
    # Fieller: the ends r of the interval of movement_left / movement solve r^2 s[1, 1] - 2 r s[0, 1] + s[0, 0] = 0,
    # where s stands for `squares`.
    squares = np.outer(totals, totals) - reach
    if totals[1] <= 0 or squares[1, 1] <= 0:
        return np.nan, np.nan, np.nan
    half = max(squares[0, 1] ** 2 - squares[0, 0] * squares[1, 1], 0) ** 0.5
    ends = ((squares[0, 1] + sign * half) / squares[1, 1] for sign in (1, -1))
    share, low, high = (min(float(1 - part), 1.0) for part in (totals[0] / totals[1], *ends))
    return share, low, high
