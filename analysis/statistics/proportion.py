"""Proportional errors: whether pruning multiplies the error of every class by one factor, and what is beyond that.

If the error of every class, 1 minus its recall, grows by the factor k by which the error of all images grows, then each
class's recall minus the accuracy grows by k too: the raw slope is k, and alpha is the odds ratio of the error. The
accuracy alone then tells how far pruning drives classes apart. The other extreme is that all classes lose the same
recall, which leaves the raw slope at 1.

Networks before pruning are controls here, which were trained as long and not pruned, so that only pruning is told.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics import class_costs, class_losses, class_sums, two_way
from analysis.statistics.arithmetic import quotient
from analysis.statistics.class_costs import COST_COLUMNS, Bounds
from analysis.statistics.intensification import shared_sums
from analysis.statistics.new_images import PooledSlope, pooled_slope, slope_parts
from analysis.statistics.resampling import mean_interval, pseudo_values

# Columns of tables: `disproportionate_losses`.
DISPROPORTIONATE_COLUMNS = tuple(name.replace("cost", "disproportionate") for name in COST_COLUMNS)
# Errors are proportional for practical purposes if the slope moves as far as k does, give or take this share.
MARGIN = 0.2


def odds_ratio(accuracy_before: ArrayLike, accuracy_after: ArrayLike) -> np.ndarray:
    """Return the odds ratio of the error, which alpha is where errors are proportional.

    Parameters
    ----------
    accuracy_before, accuracy_after : (...)

    Returns
    -------
    (...)
        NaN where there was no error before, or no image is right after.

    Examples
    --------
    Odds of 3 : 7 after odds of 2 : 8:

    >>> round(float(odds_ratio(0.8, 0.7)), 4)
    1.7143
    """
    before, after = np.asarray(accuracy_before, dtype=float), np.asarray(accuracy_after, dtype=float)
    return quotient((1 - after) * before, after * (1 - before))


def expected_losses(recall: ArrayLike, accuracy: ArrayLike, accuracy_loss: ArrayLike) -> np.ndarray:
    """Return the recall that each class loses if the error of all classes grows by one factor.

    Parameters
    ----------
    recall : (..., classes)
        Recalls before pruning.
    accuracy, accuracy_loss : (...)
        Accuracy before pruning, and what pruning takes off it.

    Returns
    -------
    (..., classes)
        NaN if there was no error before.

    Examples
    --------
    The accuracy of .8 falls by a tenth, so that the error grows by half:

    >>> expected_losses([0.9, 0.7], 0.8, 0.1).round(3).tolist()
    [0.05, 0.15]
    """
    share_of_error = quotient(np.asarray(accuracy_loss, dtype=float), 1 - np.asarray(accuracy, dtype=float))
    return np.asarray((1 - np.asarray(recall, dtype=float)) * share_of_error[..., np.newaxis])


class Ratio(NamedTuple):
    """Estimate of a ratio, and the ends of its Fieller interval."""

    estimate: float
    low: float
    high: float


UNDEFINED = Ratio(np.nan, np.nan, np.nan)


class Proportion(NamedTuple):
    """Raw slope and growth of the error of several networks together, and how they vary together.

    Attributes
    ----------
    slope, growth : float
        The raw slope s of the pruned networks on their controls, and k, the error of the pruned networks divided by
        that of their controls. Each is a sum over networks divided by another.
    identified : bool
        Whether the controls' classes are shown to differ. If not, the slope may be anything, so that tests and ratios
        are NaN.
    networks, images, in_both : (2, 2)
        Covariances of slope and growth: over networks, over images, and the part of the latter that the former contain
        too, as in `two_way.Variances`.
    dof : int
        Degrees of freedom of `networks`. A single network has none.
    """

    slope: float
    growth: float
    identified: bool
    networks: np.ndarray
    images: np.ndarray
    in_both: np.ndarray
    dof: int

    def proportionality(self, level: float = two_way.LEVEL) -> Ratio:
        """Return the proportionality (s - 1) / (k - 1): 1 where errors are proportional, 0 where losses are equal.

        It is NaN where k is not shown to differ from 1.
        """
        return self._ratio(np.array([self.slope - 1, self.growth - 1]), level)

    def alpha_beyond(self, level: float = two_way.LEVEL) -> Ratio:
        """Return alpha beyond proportion: alpha divided by the odds ratio of the error.

        Both have the factor accuracy before over accuracy after, so that this is s / k.
        """
        return self._ratio(np.array([self.slope, self.growth]), level)

    def slope_interval(self, level: float = two_way.LEVEL) -> tuple[float, float]:
        """Return the ends of the interval of s."""
        half = two_way.half_width(self._variances(np.array([1.0, 0.0])), level)
        return self.slope - half, self.slope + half

    def growth_interval(self, level: float = two_way.LEVEL) -> tuple[float, float]:
        """Return the ends of the interval of k."""
        half = two_way.half_width(self._variances(np.array([0.0, 1.0])), level)
        return self.growth - half, self.growth + half

    def p_value(self, proportionality: float) -> float:
        """Test two-sidedly that the proportionality is a given number, without dividing by k - 1.

        0 is the test of equal losses, 1 that of proportional errors.
        """
        if not self.identified:
            return np.nan
        return two_way.p_value(self._variances(np.array([1.0, -proportionality])), self._contrast(proportionality))

    def equivalence_p(self, margin: float = MARGIN) -> float:
        """Test that s moves as far from 1 as k does, give or take a share, without dividing by k - 1.

        Two tests, each one-sided, are both passed: (s - 1) - (1 - margin) (k - 1) lies on the side of k - 1, and
        (s - 1) - (1 + margin) (k - 1) on the other. The larger p counts.
        """
        side = float(np.sign(self.growth - 1))
        return max(self._one_sided_p(1 - margin, side), self._one_sided_p(1 + margin, -side))

    def _one_sided_p(self, proportionality: float, side: float) -> float:
        half = self.p_value(proportionality) / 2
        return half if side * self._contrast(proportionality) > 0 else 1 - half

    def _contrast(self, proportionality: float) -> float:
        return self.slope - 1 - proportionality * (self.growth - 1)

    def _variances(self, weights: np.ndarray) -> two_way.Variances:
        """Return the variances of a weighted sum of slope and growth."""
        networks, images, in_both = (
            float(weights @ each @ weights) for each in (self.networks, self.images, self.in_both)
        )
        return two_way.Variances(((networks, self.dof),) if self.dof else (), max(images, 0.0), in_both)

    def _ratio(self, terms: np.ndarray, level: float) -> Ratio:
        """Return the first term divided by the second, with all ratios that a test of their contrast does not reject.

        The square of a half-width of `two_way` is the largest of three, of which each is a quadratic function of the
        ratio. So the interval is the widest of three intervals, each between the roots of a quadratic equation.
        """
        if not self.identified:
            return UNDEFINED
        ratio = float(quotient(*terms))
        ends = [ratio]
        for squares in self._squared_half_widths(level):
            (constant, linear), (_, square) = np.outer(terms, terms) - squares
            if not square > 0:  # the denominator may be 0
                return UNDEFINED
            if (discriminant := linear**2 - constant * square) > 0:
                ends += [(linear + sign * np.sqrt(discriminant)) / square for sign in (-1, 1)]
        return Ratio(ratio, float(min(ends)), float(max(ends)))

    def _squared_half_widths(self, level: float) -> list[np.ndarray]:
        """Return the three squares of the half-widths of `two_way`, as quadratic forms of the weights."""
        from scipy.special import stdtrit  # training imports this package and must not wait for scipy

        over_images = stdtrit(np.inf, level / 2) ** 2 * self.images
        if not self.dof:
            return [over_images]
        over_networks = stdtrit(self.dof, level / 2) ** 2 * self.networks
        alone = stdtrit(np.inf, level / 2) ** 2 * (self.images - self.in_both)
        return [over_images, over_networks, over_networks + alone]


def for_new_images(label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray) -> Proportion:
    """Estimate the proportion that new images of the same kind would show, from predictions.

    The noise of the test images is taken out of the slope, as in `new_images.alpha_new`.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image, from 0; every class has two or more.
    right_before, right_after : (networks, images), bool
        Whether each control, and each pruned network, is right about each image.

    Examples
    --------
    Of ten thousand images of each of three classes the controls have 10, 20 and 30 % wrong, and the pruned networks
    half as many again:

    >>> label, share = np.repeat([0, 1, 2], 10_000), np.tile(np.arange(10_000) / 10_000, 3)
    >>> before, after = (share >= np.array(wrong)[label] for wrong in ([0.1, 0.2, 0.3], [0.15, 0.3, 0.45]))
    >>> found = for_new_images(label, before[np.newaxis], after[np.newaxis])
    >>> round(found.growth, 2), round(found.slope, 2), round(found.proportionality().estimate, 2)
    (1.5, 1.5, 1.0)
    """
    slope = pooled_slope(slope_parts(label, right_before, right_after, raw=True))
    assert slope.moves is not None
    networks = len(right_before)
    before, after = (1 - right.mean(1) for right in (right_before, right_after))
    growth = float(quotient(after.sum(), before.sum()))
    error_moves = _error_moves(label, right_after) - growth * _error_moves(label, right_before)
    moves = np.array([slope.moves, quotient(error_moves, before.mean())])
    values = np.array([slope.pseudo_values, pseudo_values(after, before) if networks > 1 else np.array([growth])])
    counted_twice = np.zeros((2, networks, 2, networks))
    if slope.pairs is not None:  # the growth is no product of answers
        counted_twice[0, :, 0] = slope.pairs
    return Proportion(slope.estimate, growth, slope.identified(), *_covariances(values, moves, counted_twice))


def pooled_alpha_beyond(
    alpha: PooledSlope,
    accuracy_before: np.ndarray,
    accuracy_after: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> PooledSlope:
    """Return alpha beyond proportion of several networks: `alpha_new` divided by the odds ratio of the error.

    The odds ratio is that of the mean accuracies. To first order it moves with each network's accuracies, and with each
    image.

    Parameters
    ----------
    alpha : PooledSlope
        `alpha_new` of the networks together.
    accuracy_before, accuracy_after : (networks,)
    answers : tuple of (images,), (networks, images) and (networks, images), optional
        Class of each image from 0, and whether each network is right before and after. None if `alpha` has no moves.

    Examples
    --------
    The accuracy falls from .8 to .7, so that the odds of an error grow from 2 : 8 to 3 : 7, which explains alpha:

    >>> from analysis.statistics.new_images import SlopeParts
    >>> alpha = pooled_slope(SlopeParts(np.array([[12.0, 12.0], [7.0, 7.0], [7.0, 7.0]])))
    >>> round(pooled_alpha_beyond(alpha, np.array([0.8, 0.8]), np.array([0.7, 0.7])).estimate, 6)
    1.0
    """
    before, after = float(accuracy_before.mean()), float(accuracy_after.mean())
    growth = float(odds_ratio(before, after))
    # How far the logarithm of the odds ratio moves with the accuracy of either side.
    weights = quotient(1, before * (1 - before)), quotient(1, after * (1 - after))
    of_networks = (accuracy_before - before) * weights[0] - (accuracy_after - after) * weights[1]
    moves = alpha.moves
    if moves is not None and answers is not None:
        label, *right = answers
        error_moves = [weight * _error_moves(label, side) for weight, side in zip(weights, right, strict=True)]
        moves = quotient(moves - alpha.estimate * (error_moves[1] - error_moves[0]), growth)
    return alpha._replace(
        estimate=float(quotient(alpha.estimate, growth)),
        pseudo_values=quotient(alpha.pseudo_values - alpha.estimate * of_networks, growth),
        moves=moves,
        pairs=None if alpha.pairs is None else quotient(alpha.pairs, growth**2),
    )


def on_these_images(recall_before: np.ndarray, recall_after: np.ndarray, share: np.ndarray) -> Proportion:
    """Estimate the proportion of the errors that networks make on these test images, from recalls.

    The balances of each pruned network are compared with those of the other networks' controls, as in
    `intensification.alpha_shared`, so that a network's own accidents, and its noise, do not count.

    Parameters
    ----------
    recall_before, recall_after : (networks, classes)
        Recalls of the controls and of the pruned networks, two or more of each.
    share : (classes,)
        Share of the test images of each class.

    Returns
    -------
    Proportion
        It varies over networks alone. With two networks its variance is not known.

    Examples
    --------
    Each pruned network makes half as many errors again as its control:

    >>> recall = np.array([[0.9, 0.8, 0.7], [0.8, 0.7, 0.6], [0.9, 0.7, 0.7]])
    >>> found = on_these_images(recall, 1 - 1.5 * (1 - recall), np.full(3, 1 / 3))
    >>> round(found.growth, 6), round(found.slope, 6)
    (1.5, 1.5)
    """
    networks = len(recall_before)
    accuracies = recall_before @ share, recall_after @ share
    balances = (
        recall - each[:, np.newaxis] for recall, each in zip((recall_before, recall_after), accuracies, strict=True)
    )
    totals, without_one = shared_sums(*balances)
    slope = float(quotient(totals[0], totals[1]))
    errors_before, errors_after = (1 - each for each in accuracies)
    growth = float(quotient(errors_after.sum(), errors_before.sum()))
    slopes = networks * slope - (networks - 1) * quotient(*without_one)
    values = np.array([slopes, pseudo_values(errors_after, errors_before)])
    low, _ = mean_interval(networks * totals[1] - (networks - 1) * without_one[1], 1 - two_way.LEVEL)
    nothing = np.zeros((2, 2))
    return Proportion(slope, growth, bool(low > 0), np.cov(values) / networks, nothing, nothing, networks - 1)


def _covariances(
    values: np.ndarray, moves: np.ndarray, counted_twice: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the variances of two statistics together, as `two_way.variances` does, and the degrees of freedom.

    Parameters
    ----------
    values : (2, networks)
    moves : (2, networks, images)
    counted_twice : (2, networks, 2, networks)
    """
    networks = values.shape[1]
    mean, twice = moves.mean(1), counted_twice.mean((1, 3))
    images = mean @ mean.T - twice
    np.fill_diagonal(images, np.maximum(images.diagonal(), twice.diagonal()))
    if networks == 1:
        return np.zeros((2, 2)), images, np.zeros((2, 2)), 0
    own = (moves - mean[:, np.newaxis]).reshape(2, -1)
    own_twice = np.einsum("aibi->ab", counted_twice) / networks - twice
    return np.cov(values) / networks, images, (own @ own.T / networks - own_twice) / (networks - 1), networks - 1


def _error_moves(label: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return how far each image moves each network's error; the squares of a row sum to the variance over images."""
    support = np.bincount(label)
    recalls = np.array([np.bincount(label, row) for row in right]) / support
    scale = quotient(support / support.sum(), np.sqrt(support * (support - 1.0)))
    return np.asarray((recalls[:, label] - right) * scale[label])


def disproportionate_losses(
    label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray, *, level: float = two_way.LEVEL
) -> Bounds:
    """Estimate what each class loses beyond its proportion: its loss minus (k - 1) times the error of its controls.

    The loss and the control's error of a class are of the same images. Since both enter once, and not as a product, the
    noise of these images does not bias their difference: halves of the images, one for the loss and one for the error,
    give the same on average over all splits. Weighted by support the values sum to 0, so that a class is always above:
    only its size and its test say something.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image, from 0; every class has an image.
    right_before, right_after : (networks, images), bool
        Whether each control, and each pruned network, is right about each image.
    level : float
        1 minus the confidence.

    Returns
    -------
    Bounds
        The intervals, with moderated variances, and the one-sided tests contain the variance of k.

    Examples
    --------
    The controls have 10 and 20 of a hundred images wrong, and the pruned networks 10 and 50, so that k is 2. In
    proportion the classes would lose 10 and 20 points:

    >>> label, place = np.repeat([0, 1], 100), np.tile(np.arange(100), 2)
    >>> before, after = (place >= np.array(wrong)[label] for wrong in ([10, 20], [10, 50]))
    >>> disproportionate_losses(label, before[np.newaxis], after[np.newaxis]).value.round(3).tolist()
    [-0.1, 0.1]
    """
    share = np.bincount(label) / len(label)
    error_before, error_after = (1 - right.mean() for right in (right_before, right_after))
    growth = float(quotient(error_after, error_before))
    # The change of a class is its error, times k, minus its error after pruning.
    changes = class_losses.from_answers(label, [right_after - 1.0 - growth * (right_before - 1.0)])
    recalls = [np.bincount(label, right.mean(0)) / np.bincount(label) for right in (right_before, right_after)]
    moderated = class_losses.moderated(changes, (recalls[0] + recalls[1]) / 2)
    # What all classes together change moves k, and with it each class by as much as it has errors before.
    factors = quotient(1 - recalls[0], error_before)
    weights = class_sums.ClassWeights(1 - factors * share, -share, factors)
    return class_costs.bounds(moderated, weights, level=level)
