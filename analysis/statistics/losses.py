"""Estimate what classes lost: the only place that makes intervals, bounds and tests of losses.

A class's *loss* is its recall before compression, or in the control, minus its recall after compression. Its *cost* is
this loss minus the loss of accuracy. Losses are shares, and a loss is positive. Classes may be groups of images, or the
groups within each class: a `label` says to which of them an image belongs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri, ndtr, ndtri, stdtrit

from analysis.statistics.hypothesis_tests import LEVEL, POWER, change_interval, corrected, exact_mcnemar

PRIOR_DOF = 4  # degrees of freedom that all classes together lend to each class's variance over networks
ENDINGS = ("_low", "_high", "_upper_all", "_p")  # of names of columns with bounds and p
FEWEST_CAPPED = 5  # with so many classes, single outliers are kept out of the classes' usual variance
_OUTLIER = 0.01  # probability that some class is capped although all vary alike
_REFITS = 4  # of the usual variance, without what is above the cap
_HALVINGS = 50
_SMALLEST_P = 1e-100  # squares of quantiles of t overflow below it
_TIED_DIGITS = 9
_ROUNDING = 1e-9  # recalls that differ by less are the same


class Spread(NamedTuple):
    """Losses of classes, or what they lost beyond expectation, with all that intervals and tests need.

    A class without test images is NaN everywhere.

    Attributes
    ----------
    value : (classes,)
        Mean over networks.
    n : int
        Number of networks; of the side with fewer networks, if two sides do not belong together.
    dof : float or (classes,)
        Degrees of freedom of `networks`; 0 without networks that vary.
    networks : (classes,)
        Variance of the mean over networks.
    beyond, images : (classes,)
        Variance over images, without and with the part that `networks` contains too.
    rare : (classes,)
        Variance that one more image of the usual size would add by changing, because images that did not change in this
        test set may change in another.
    counts : Pair or Counts, optional
        What a single pair of networks won and lost. Its intervals need no variances, which are then NaN.
    """

    value: np.ndarray
    n: int
    dof: float | np.ndarray
    networks: np.ndarray
    beyond: np.ndarray
    images: np.ndarray
    rare: np.ndarray
    counts: "Pair | Counts | None" = None

    def interval(self, level: float = LEVEL) -> np.ndarray:
        """Compute two-sided intervals, (2, classes), cut at a loss or gain of 100 %.

        Parameters
        ----------
        level : float
            1 minus the confidence.

        Examples
        --------
        Five of a hundred images are lost. McNemar's p is 2 / 2^5, above .05, so the interval reaches 0:

        >>> lost = np.repeat([1, 0], [5, 95])
        >>> spread(np.zeros(100, int), lost[np.newaxis]).interval().round(3).tolist()
        [[0.0], [0.112]]
        """
        down, up = self._distances(level)
        low, high = self.value - down, self.value + up
        if isinstance(self.counts, Pair):  # the interval and McNemar's test never disagree
            may_be_0 = self.counts.p() > level
            low, high = np.where(may_be_0, np.minimum(low, 0), low), np.where(may_be_0, np.maximum(high, 0), high)
        return np.array([np.maximum(low, np.minimum(self.value, -1)), np.minimum(high, np.maximum(self.value, 1))])

    def upper(self, level: float = LEVEL) -> np.ndarray:
        """Compute one-sided upper bounds, (classes,). With `LEVEL` / classes they hold for all classes together.

        Examples
        --------
        If no image changes, Tango's bound is z^2 / (n + z^2), where z is 1.645:

        >>> spread(np.zeros(100, int), np.zeros((1, 100))).upper().round(4).tolist(), round(2.7055 / 102.7055, 4)
        ([0.0263], 0.0263)
        """
        return np.asarray(self.interval(2 * level)[1])

    def lower(self, level: float = LEVEL) -> np.ndarray:
        """Compute one-sided lower bounds, (classes,)."""
        return np.asarray(self.interval(2 * level)[0])

    def may_lose_most(self) -> int:
        """Return the index of the class with the largest upper bound; an unknown bound counts as the largest."""
        upper = self.upper()
        return int(np.where(np.isnan(upper), np.inf, upper).argmax())

    def p(self) -> np.ndarray:
        """Compute two-sided p, (classes,), uncorrected: the level at which the interval touches 0.

        For one pair of networks it is the larger p of McNemar's exact and asymptotic tests.

        Examples
        --------
        All of six changed images are lost, and six coins show the same side with the probability 2 / 2^6:

        >>> spread(np.zeros(9, int), np.repeat([1, 0], [6, 3])[np.newaxis]).p().tolist(), 2 / 2**6
        ([0.03125], 0.03125)
        """
        if isinstance(self.counts, Pair):
            return np.where(np.isnan(self.value), np.nan, self.counts.p())
        low, high = np.full_like(self.value, np.log(_SMALLEST_P)), np.zeros_like(self.value)  # of log p
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            down, up = self._distances(np.exp(middle))
            reaches_0 = np.where(self.value > 0, down, up) >= np.abs(self.value)
            low, high = np.where(reaches_0, middle, low), np.where(reaches_0, high, middle)
        is_known = np.isfinite(self.value + self._distances(LEVEL)[0])
        return np.where(is_known, np.exp(high), np.nan)

    def projected(self, networks: float = 1, images: float = 1) -> "Spread":
        """Return what so many times the networks and images would give if losses and variances stayed as they are.

        Parameters
        ----------
        networks, images : float
            Factors. Without networks that vary, only the number of images matters.

        Examples
        --------
        Twenty of four hundred lost images have a narrower interval than five of a hundred:

        >>> of_100 = spread(np.zeros(100, int), np.repeat([1, 0], [5, 95])[np.newaxis])
        >>> of_100.projected(images=4).interval().round(3).tolist()
        [[0.033], [0.076]]
        """
        if self.counts is not None:
            return self._replace(counts=self.counts.times(images))
        shared = self.images - self.beyond
        among_networks, beyond = np.minimum(shared, self.networks), self.beyond / images
        return self._replace(
            n=round(self.n * networks),
            dof=self.dof + self.n * (networks - 1),
            networks=(self.networks - among_networks) / networks + among_networks / (networks * images),
            beyond=beyond,
            images=beyond + shared / (networks * images),
            rare=self.rare / images**2,
        )

    def detectable(self, level: float = LEVEL) -> np.ndarray:
        """Estimate which losses are shown in four of five test sets, or studies, if classes lose nothing else.

        Parameters
        ----------
        level : float
            Two-sided level of the test of a single class, divided by the number of classes.

        Returns
        -------
        (classes,)
            For one pair, at least as many images must be lost as a test needs if none is won.

        Examples
        --------
        The quantiles of the level and of the power are 1.96 and .84, so 2.8^2 = 7.85 of a hundred images must be lost:

        >>> spread(np.zeros(100, int), np.zeros((1, 100))).detectable().round(4).tolist()
        [0.0785]
        """
        z, of_power = -ndtri(level / 2), ndtri(POWER)
        if self.counts is not None:
            images = np.square(z + of_power) / self.counts.sizes
            return np.asarray(np.minimum(np.maximum(images, np.sqrt(images * self.counts.changed)), 1))
        error = np.sqrt(np.maximum(self.networks + self.beyond, self.images))
        return np.asarray(np.minimum(self._distances(level)[0] + of_power * error, 1))

    def of(self, is_kept: np.ndarray) -> "Spread":
        """Return the losses of some classes; `is_kept` is a mask or indices."""
        return self._replace(
            value=self.value[is_kept],
            dof=np.broadcast_to(self.dof, self.value.shape)[is_kept],
            networks=self.networks[is_kept],
            beyond=self.beyond[is_kept],
            images=self.images[is_kept],
            rare=self.rare[is_kept],
            counts=None if self.counts is None else self.counts.of(is_kept),
        )

    def _distances(self, level: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return how far intervals reach down and up from the value; a level for all classes, or one for each."""
        z = -ndtri(np.asarray(level) / 2)
        if self.counts is not None:
            return self.counts.distances(z)
        t = -stdtrit(self.dof, np.asarray(level) / 2)
        # Squares of half-widths over networks and over images add up conservatively (Banerjee 1960, Sankhya 22).
        square = np.square(t) * self.networks + np.square(z) * (self.beyond + np.square(z) * self.rare)
        half = np.sqrt(np.maximum(square, np.square(z) * (self.images + np.square(z) * self.rare)))
        return half, half


class Pair(NamedTuple):
    """Numbers of images that one network after compression lost and won, and of all images, each (classes,)."""

    lost: np.ndarray
    won: np.ndarray
    images: np.ndarray

    def p(self) -> np.ndarray:
        """Compute two-sided p, the larger one of McNemar's exact and asymptotic tests."""
        normal = 2 * ndtr(-np.abs(self.lost - self.won) / np.sqrt(np.maximum(self.lost + self.won, 1)))
        return np.asarray(np.maximum(exact_mcnemar(self.lost, self.won), normal))

    def distances(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far Tango's interval reaches down and up from the loss; z is the normal quantile of its level."""
        low, high = change_interval(self.lost, self.won, self.images, 1 - 2 * ndtr(-z))  # of minus the loss
        loss = (self.lost - self.won) / self.images
        return loss + high, -low - loss

    @property
    def sizes(self) -> np.ndarray:
        """Number of images, (classes,)."""
        return self.images

    @property
    def changed(self) -> np.ndarray:
        """Share of images that were lost or won, (classes,)."""
        return np.asarray((self.lost + self.won) / self.images)

    def of(self, is_kept: np.ndarray) -> "Pair":
        """Return the numbers of some classes."""
        return Pair(*(each[is_kept] for each in self))

    def times(self, images: float) -> "Pair":
        """Return what so many times the images would give."""
        return Pair(*(images * count for count in self))


class Counts(NamedTuple):
    """Numbers of images that were right before and after, and of all images before and after, each (2, classes)."""

    right: np.ndarray
    images: np.ndarray

    def distances(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far Newcombe's interval reaches down and up from the loss; z is the normal quantile."""
        recall, square = self.right / self.images, np.square(z)
        # Wilson's intervals of both recalls
        centre = (2 * self.right + square) / (2 * (self.images + square))
        half = z * np.sqrt(square + 4 * self.right * (1 - recall)) / (2 * (self.images + square))
        down, up = recall - (centre - half), centre + half - recall
        return np.hypot(down[0], up[1]), np.hypot(up[0], down[1])

    @property
    def sizes(self) -> np.ndarray:
        """Number of images of the smaller side, (classes,)."""
        return np.asarray(self.images.min(0))

    @property
    def changed(self) -> np.ndarray:
        """Variance of a difference of two independent images, (classes,)."""
        recall = self.right / self.images
        return np.asarray((recall * (1 - recall)).sum(0))

    def of(self, is_kept: np.ndarray) -> "Counts":
        """Return the numbers of some classes."""
        return Counts(*(each[:, is_kept] for each in self))

    def times(self, images: float) -> "Counts":
        """Return what so many times the images would give."""
        return Counts(*(images * count for count in self))


def spread(label: np.ndarray, difference: np.ndarray, expected: ArrayLike = 0.0, *, classes: int = 0) -> Spread:
    """Estimate the losses of classes from what networks lost and won.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0. Images with -1 are left out.
    difference : (networks, images)
        1 if an image is right only before, -1 if only after, else 0. NaN if the network did not predict the image.
    expected : float or (classes,)
        How many times the loss of accuracy is subtracted: 0 for losses, 1 for costs, or the ratio of a class's error to
        that of all images before compression for the loss beyond proportion.
    classes : int
        Number of classes, if there are more than `label` names.

    Returns
    -------
    Spread
        For one pair of networks, of these two networks on new images, by Tango's score interval. For several pairs, of
        new networks and images. A class without an image that every network predicted is NaN.

    Raises
    ------
    ValueError
        If a single pair is asked for more than its losses.

    Examples
    --------
    Three networks lose two, one and two of six images, and all of them lose the first image. The mean loss is 5 / 18;
    the losses' variance is 1 / 108, so the mean's is 1 / 324, with two degrees of freedom:

    >>> lost = np.array([[1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0]])
    >>> found = spread(np.zeros(6, int), lost)
    >>> found.value.round(4).tolist(), found.networks.round(6).tolist(), round(1 / 324, 6), found.dof
    ([0.2778], [0.003086], 0.003086, 2)

    The first class loses half of its images and the second none, so the accuracy loses a quarter:

    >>> spread(np.array([0, 0, 1, 1]), np.array([[1, 0, 0, 0], [0, 1, 0, 0]]), 1).value.tolist()
    [0.25, -0.25]
    """
    is_known, label, (difference,) = _known_classes(label, [difference], classes)
    if len(difference) > 1:
        return _several(label, [_side(label, difference, paired=True)], expected, is_known)
    if np.any(expected):
        raise ValueError("what a class lost beyond expectation needs two pairs of networks or more")
    lost, won, images = (
        _placed(np.bincount(label, each, is_known.sum()), is_known, 0.0)
        for each in (difference[0] == 1, difference[0] == -1, ~np.isnan(difference[0]))
    )
    return _of_counts((lost - won) / np.where(is_known, images, np.nan), Pair(lost, won, np.maximum(images, 1)))


def between(
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    expected: ArrayLike = 0.0,
    *,
    paired: bool = True,
    classes: int = 0,
) -> Spread:
    """Estimate the losses of classes from which images networks recognise before, or in the control, and after.

    Parameters
    ----------
    label, expected, classes
        As for `spread`.
    before, after : (networks, images), bool
        Whether each network is right; or numbers, with NaN if a network did not predict an image. A single network is
        compared with each network of the other side.
    paired : bool
        Whether row i of both belongs to the same dense network. If not, or if the numbers of networks differ, the
        variances of both sides add up.

    Examples
    --------
    Both sides have two networks, whose recalls are 1 and .75, and .5 and .25. Each side's variance is 1 / 32, so that
    of its mean is 1 / 64:

    >>> before = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    >>> after = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    >>> found = between(np.zeros(4, int), before, after, paired=False)
    >>> found.value.tolist(), found.networks.tolist(), 2 / 64
    ([0.5], [0.03125], 0.03125)
    """
    if 1 in (len(before), len(after)) or (paired and len(before) == len(after)):
        return spread(label, _difference(before, after), expected, classes=classes)
    is_known, label, sides = _known_classes(label, [before, _difference(np.zeros_like(after), after)], classes)
    return _several(label, [_side(label, side, paired=False) for side in sides], expected, is_known)


def accuracy(label: np.ndarray, difference: np.ndarray) -> Spread:
    """Estimate the loss of accuracy: the loss of all images taken as one class.

    Parameters
    ----------
    label, difference
        As for `spread`.

    Examples
    --------
    >>> accuracy(np.array([0, 1, 1, -1]), np.array([[1, 0, 0, 1]])).value.round(3).tolist()
    [0.333]
    """
    return spread(np.minimum(label, 0), difference)


def from_recalls(losses: np.ndarray) -> Spread:
    """Estimate losses of networks whose predictions are not known, for new networks and the same images.

    Parameters
    ----------
    losses : (networks, classes)
        Losses or costs of each network.

    Returns
    -------
    Spread
        Bounds and p are NaN for a single network, and for classes of which all networks lose the same.

    Examples
    --------
    The standard error is 1 point, and the quantile of t with one degree of freedom is 12.7:

    >>> from_recalls(np.array([[0.04], [0.06]])).interval().round(3).tolist()
    [[-0.077], [0.177]]
    """
    n, none = len(losses), np.zeros(losses.shape[1])
    differ = np.ptp(losses, axis=0) > _ROUNDING
    variance = np.where(differ, losses.var(0, ddof=min(n - 1, 1)) / n, np.nan)
    return Spread(losses.mean(0), n, n - 1, variance, none, none, none)


def from_counts(before: ArrayLike, after: ArrayLike, images: ArrayLike) -> Spread:
    """Estimate the losses of one network of which only counts are known, such as a confusion matrix.

    Parameters
    ----------
    before, after : (classes,)
        Number of images of each class that were right.
    images : (classes,) or (2, classes)
        Number of images of each class, or those before and after.

    Returns
    -------
    Spread
        With the hybrid score interval of Newcombe (1998, Statistics in Medicine 17, 873-890) for independent shares.

    Examples
    --------
    Newcombe reports .0524 to .3339 for 56 of 70 against 48 of 80:

    >>> from_counts([56], [48], np.array([[70], [80]])).interval().round(4).tolist()
    [[0.0524], [0.3339]]
    """
    right = np.array([before, after], dtype=float)
    number = np.broadcast_to(images, right.shape)
    recall = right / np.where(number > 0, number, np.nan)
    return _of_counts(recall[0] - recall[1], Counts(right, np.maximum(number, 1)))


def joined(spreads: Sequence[Spread]) -> Spread:
    """Return the losses of several groupings one after the other.

    Examples
    --------
    >>> each = spread(np.array([0, 0, 1]), np.array([[1, 0, 1], [0, 0, 1]]))
    >>> joined([each, each]).value.tolist()
    [0.25, 1.0, 0.25, 1.0]
    """
    first = spreads[0]
    counts = [each.counts for each in spreads if each.counts is not None]
    dof = [np.broadcast_to(each.dof, each.value.shape) for each in spreads]
    arrays = zip(*((each.value, each.networks, each.beyond, each.images, each.rare) for each in spreads), strict=True)
    value, networks, beyond, images, rare = (np.concatenate(each) for each in arrays)
    together = type(counts[0])(*(np.concatenate(each, -1) for each in zip(*counts, strict=True))) if counts else None
    return Spread(value, first.n, np.concatenate(dof), networks, beyond, images, rare, together)


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p of classes by Holm; NaN are no tests.

    Parameters
    ----------
    p : (tests,)

    Examples
    --------
    >>> holm(np.array([0.01, np.nan, 0.04])).tolist()
    [0.02, nan, 0.04]
    """
    is_known = ~np.isnan(p)
    return _placed(corrected(p[is_known], int(is_known.sum()))[1], is_known, np.nan)


def columns(name: str, found: Spread) -> dict[str, np.ndarray]:
    """Return columns of tables: the value, and with each of `ENDINGS` its interval, bound for all classes, and p.

    Parameters
    ----------
    name : str
        Name of the value, such as `cost`.
    found : Spread
        Values of all classes. The bounds hold for all of them together by Bonferroni, and p is corrected by Holm.

    Examples
    --------
    All of six changed images are lost, so that the interval begins above 0:

    >>> found = columns("loss", spread(np.zeros(100, int), np.repeat([1, 0], [6, 94])[np.newaxis]))
    >>> {name: each.round(3).tolist() for name, each in found.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'loss': [0.06], 'loss_low': [0.021], 'loss_high': [0.125], 'loss_upper_all': [0.112],
     'loss_p': [0.031]}
    """
    tests = max(int(np.isfinite(found.value).sum()), 1)
    bounds = *found.interval(), found.upper(LEVEL / tests), holm(found.p())
    return {name: found.value} | {f"{name}{end}": bound for end, bound in zip(ENDINGS, bounds, strict=True)}


class WorstClass(NamedTuple):
    """The class that seems to lose most: its index, and its loss or cost on other images, with interval and p.

    p is corrected for all classes, because the same networks name the class. The index is -1, and the rest NaN, if no
    class has two images.
    """

    place: int = -1
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan


def worst_class(label: np.ndarray, difference: np.ndarray, expected: ArrayLike = 0.0) -> WorstClass:
    """Name the class that loses most on every other image of each class, and read its loss on the other images.

    By chance, the largest of several losses is too large on the images that named it, but not on others.

    Parameters
    ----------
    label, difference, expected
        As for `spread`.

    Examples
    --------
    The second class loses most on the first and third image of each class. On the others it loses half as much:

    >>> worst_class(np.repeat([0, 1], 4), np.array([[0, 1, 0, 0, 1, 1, 1, 0]]))[:2]
    (1, 0.5)
    """
    names_class, classes = _place_in_class(label) % 2 == 0, int(label.max()) + 1
    if not (label[~names_class] >= 0).any():
        return WorstClass()
    named, read = (
        spread(label[half], difference[:, half], expected, classes=classes) for half in (names_class, ~names_class)
    )
    return _worst(named.value, read)


def worst_of_recalls(losses: np.ndarray) -> WorstClass:
    """Name the class that loses most in networks whose predictions are not known.

    Parameters
    ----------
    losses : (networks, classes)
        As for `from_recalls`.

    Examples
    --------
    >>> worst_of_recalls(np.array([[0.01, 0.05], [0.03, 0.05]]))[:2]
    (1, 0.05)
    """
    found = from_recalls(losses)
    return _worst(found.value, found)


def _worst(named: np.ndarray, read: Spread) -> WorstClass:
    """Name the class with the largest value, and read its loss."""
    values = np.where(np.isnan(read.value), np.nan, named.round(_TIED_DIGITS))  # ties go to the first class
    if np.isnan(values).all():
        return WorstClass()
    place = int(np.nanargmax(values))
    low, high = read.interval()[:, place]
    return WorstClass(place, float(read.value[place]), float(low), float(high), float(holm(read.p())[place]))


def _difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    dtype = np.result_type(before, after, np.int8)  # booleans have no difference
    return np.asarray(np.subtract(before, after, dtype=dtype))


def _place_in_class(label: np.ndarray) -> np.ndarray:
    """Return the place of each image among those of its class, from 0."""
    order = np.argsort(label, kind="stable")
    ordered, place = label[order], np.empty(len(label), dtype=int)
    place[order] = np.arange(len(label)) - np.searchsorted(ordered, ordered)
    return place


def _known_classes(
    label: np.ndarray, sides: Sequence[np.ndarray], classes: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return which classes have an image for every network, and labels and sides without the other classes."""
    is_kept = label >= 0
    is_known = np.bincount(label[is_kept], minlength=classes) > 0
    for row in (row for side in sides for row in side if np.isnan(row).any()):
        is_known &= np.bincount(label[is_kept & ~np.isnan(row)], minlength=len(is_known)) > 0
    is_kept &= is_known[label]
    return is_known, (np.cumsum(is_known) - 1)[label[is_kept]], [side[:, is_kept] for side in sides]


class _Side(NamedTuple):
    """What several networks lost on average; arrays are (networks, classes), (classes,), or (images,)."""

    losses: np.ndarray
    usual: np.ndarray  # the variance over networks that is expected of a class, (classes,) like the next
    both: np.ndarray  # variance over images of the mean that the networks' variance contains too
    mean: np.ndarray  # of each image, so that a class's loss is the mean of its images
    centred: np.ndarray  # of each image, so that a class's squares add up to the variance over images


def _side(label: np.ndarray, rows: np.ndarray, *, paired: bool) -> _Side:
    """Sum up several networks; `rows` are differences of pairs, or whether networks are right."""
    n, total, is_missing = len(rows), np.bincount(label), np.isnan(rows)
    rows = np.where(is_missing, 0, rows)

    def sums(of: np.ndarray) -> np.ndarray:
        return np.array([np.bincount(label, row, len(total)) for row in of])

    images = total - sums(is_missing) if is_missing.any() else np.broadcast_to(total, (n, len(total)))
    losses, squares, degrees = sums(rows) / images, sums(np.square(rows)) / images, np.maximum(images - 1, 1)
    scale, mean = 1 / np.sqrt(images * degrees), rows.mean(0)
    if is_missing.any():
        mean = np.mean([row / own[label] for row, own in zip(rows, images, strict=True)], axis=0) * total[label]
        deviations = np.where(is_missing, 0, rows - losses[:, label])
        centred = np.mean([row * own[label] for row, own in zip(deviations, scale, strict=True)], axis=0)
    else:
        centred = (mean - losses.mean(0)[label]) * scale[0, label]
    alone = ((squares - np.square(losses)) / degrees).sum(0)
    both = (alone - n * np.bincount(label, np.square(centred), len(total))) / (n * (n - 1))
    share, support = squares.mean(0), images.mean(0)  # the share is that of changed images, or the recall
    moving = (share if paired else share * (1 - share)) + 1 / support
    return _Side(losses, _usual(losses.var(0, ddof=1), n * both, moving, support, n), both, mean, centred)


def _several(label: np.ndarray, sides: Sequence[_Side], expected: ArrayLike, is_known: np.ndarray) -> Spread:
    """Add up the sides; labels are those of known classes, `is_known` is of all classes."""
    images = np.bincount(label)
    share, times = images / images.sum(), np.broadcast_to(np.asarray(expected, float), is_known.shape)[is_known]

    def total(of_images: np.ndarray) -> np.ndarray:
        return np.bincount(label, of_images, len(images))

    def added(variance: np.ndarray) -> np.ndarray:
        """Return variances of the loss minus `expected` times the loss of accuracy."""
        square = np.square(share) * variance
        return np.asarray(np.square(1 - times * share) * variance + np.square(times) * (square.sum() - square))

    prior, value, networks = min(PRIOR_DOF, len(images) - 1), np.zeros(len(images)), np.zeros(len(images))
    for side in sides:
        n, losses = len(side.losses), side.losses - np.multiply.outer(side.losses @ share, times)
        value, own = value + losses.mean(0), losses.var(0, ddof=1)
        networks += np.maximum(own, (prior * added(side.usual) + (n - 1) * own) / (prior + n - 1)) / n
    both, mean, centred = (np.sum(each, axis=0) for each in zip(*[side[-3:] for side in sides], strict=True))
    over_images = total(np.square(centred))
    # The mean size of changes is 1 if all networks change the same images or few images change, 1 / n if others.
    size = (total(np.square(mean)) + 1) / (total(np.abs(mean)) + 1)
    beyond, over_images, rare = (
        added(each) for each in (np.maximum(over_images - both, 0), over_images, np.square(size / images))
    )
    value, networks, beyond, over_images, rare = (
        _placed(each, is_known, np.nan) for each in (value, networks, beyond, over_images, rare)
    )
    n = min(len(side.losses) for side in sides)
    return Spread(value, n, prior + n - 1, networks, beyond, over_images, rare)


def _usual(variance: np.ndarray, noise: np.ndarray, moving: np.ndarray, support: np.ndarray, n: int) -> np.ndarray:
    """Return the variances over networks that the classes' images (noise) and shares of changed images let expect."""

    def fitted(values: np.ndarray) -> np.ndarray:
        factor = max(0.0, support @ (values - noise) / (support @ moving))
        return np.asarray(np.maximum(noise + factor * moving, 1e-12))

    usual = fitted(variance)
    for _ in range(_REFITS if len(support) >= FEWEST_CAPPED else 0):
        # A class that one network destroyed must not widen the intervals of the others.
        scale = np.median(variance / usual) * (n - 1) / chdtri(n - 1, 0.5)
        usual = fitted(np.minimum(variance, usual * scale * chdtri(n - 1, _OUTLIER / len(support)) / (n - 1)))
    return usual


def _of_counts(value: np.ndarray, counts: Pair | Counts) -> Spread:
    unknown = np.full_like(value, np.nan)
    return Spread(value, 1, 0, unknown, unknown, unknown, unknown, counts)


def _placed(values: np.ndarray, is_known: np.ndarray, otherwise: float) -> np.ndarray:
    """Return values of known classes among all classes."""
    placed = np.full(len(is_known), otherwise)
    placed[is_known] = values
    return placed
