"""Proportional errors: measure how nearly the errors of classes grow in proportion, also class by class.

If the error of every class, 1 minus its recall, grew k times, like the error of all images, then each class's recall
minus the accuracy would also be multiplied by k, so the raw slope would be k and alpha the odds ratio of the error. The
loss of accuracy alone would then determine how far pruning drives classes apart. At the other extreme, all classes lose
equally much recall, and the raw slope is 1. One class may have most of the leverage of this slope, so the slope alone
does not show that the factors of all classes are equal: see `error_factors`.

In this module "before pruning" means in the controls, which were trained equally long without pruning, so that only the
effect of pruning is measured.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics import losses, two_way
from analysis.statistics.arithmetic import quotient
from analysis.statistics.intensification import shared_means
from analysis.statistics.new_images import PooledSlope, pooled_slope, slope_parts
from analysis.statistics.resampling import mean_interval, pseudo_values

# Columns of tables for the result of `disproportionate_losses`.
DISPROPORTIONATE_COLUMNS = tuple(f"disproportionate{end}" for end in ("", *losses.ENDINGS))
# Errors count as practically proportional if the raw slope minus 1 differs from k - 1 by less than this share of k - 1.
MARGIN = 0.2


def odds_ratio(accuracy_before: ArrayLike, accuracy_after: ArrayLike) -> np.ndarray:
    """Compute the odds ratio of the error, which equals alpha if errors are proportional.

    Parameters
    ----------
    accuracy_before, accuracy_after : (...)

    Returns
    -------
    (...)
        NaN if there was no error before, or if no image is classified correctly after.

    Examples
    --------
    The odds of an error are 2 : 8 before and 3 : 7 after:

    >>> round(float(odds_ratio(0.8, 0.7)), 4)
    1.7143
    """
    before, after = np.asarray(accuracy_before, dtype=float), np.asarray(accuracy_after, dtype=float)
    return quotient((1 - after) * before, after * (1 - before))


def expected_losses(recall: ArrayLike, accuracy: ArrayLike, accuracy_loss: ArrayLike) -> np.ndarray:
    """Compute the recall that each class loses in proportion to its error.

    Parameters
    ----------
    recall : (..., classes)
        Recalls before pruning.
    accuracy, accuracy_loss : (...)
        Accuracy before pruning, and its loss by pruning.

    Returns
    -------
    (..., classes)
        NaN if there was no error before.

    Examples
    --------
    The accuracy falls from .8 to .7, so the error grows by half:

    >>> expected_losses([0.9, 0.7], 0.8, 0.1).round(3).tolist()
    [0.05, 0.15]
    """
    share_of_error = quotient(np.asarray(accuracy_loss, dtype=float), 1 - np.asarray(accuracy, dtype=float))
    return np.asarray((1 - np.asarray(recall, dtype=float)) * share_of_error[..., np.newaxis])


class Ratio(NamedTuple):
    """An estimate of a ratio, with the ends of its Fieller interval."""

    estimate: float
    low: float
    high: float


UNDEFINED = Ratio(np.nan, np.nan, np.nan)


class Proportion(NamedTuple):
    """Raw slope and growth of the error, pooled over networks, with their covariances.

    Attributes
    ----------
    slope, growth : float
        The raw slope s of the pruned networks on their controls, and the growth k: the error of the pruned networks
        divided by the error of their controls. Each is a ratio of sums over networks.
    identified : bool
        Whether the controls' recalls are shown to differ between classes. If not, the slope may have any value, so
        tests and ratios are NaN.
    networks, images, in_both : (2, 2)
        Covariances of slope and growth over networks and over images, and the part of the covariances over images that
        those over networks also contain, as in `two_way.Variances`.
    dof : int
        Degrees of freedom of `networks`, 0 for a single network.
    """

    slope: float
    growth: float
    identified: bool
    networks: np.ndarray
    images: np.ndarray
    in_both: np.ndarray
    dof: int

    def proportionality(self, level: float = two_way.LEVEL) -> Ratio:
        """Compute the proportionality (s - 1) / (k - 1): 1 if errors are proportional, 0 if losses are equal.

        It is NaN if k is not shown to differ from 1.
        """
        return self._ratio(np.array([self.slope - 1, self.growth - 1]), level)

    def alpha_beyond(self, level: float = two_way.LEVEL) -> Ratio:
        """Compute alpha beyond proportion: alpha divided by the odds ratio of the error.

        Both contain the factor accuracy before / accuracy after, so their ratio is s / k.
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
        """Compute the two-sided p of a test that the proportionality is a given number, without dividing by k - 1.

        The number 0 gives the test of equal losses, and 1 the test of proportional errors.
        """
        if not self.identified:
            return np.nan
        return two_way.p_value(self._variances(np.array([1.0, -proportionality])), self._contrast(proportionality))

    def equivalence_p(self, margin: float = MARGIN) -> float:
        """Compute p of the test that s - 1 equals k - 1 within a relative margin, without dividing by k - 1.

        There are two one-sided tests: whether (s - 1) - (1 - margin) (k - 1) has the sign of k - 1, and whether (s - 1)
        - (1 + margin) (k - 1) has the opposite sign. The larger p is returned.
        """
        side = float(np.sign(self.growth - 1))
        return max(self._one_sided_p(1 - margin, side), self._one_sided_p(1 + margin, -side))

    def _one_sided_p(self, proportionality: float, side: float) -> float:
        half = self.p_value(proportionality) / 2
        return half if side * self._contrast(proportionality) > 0 else 1 - half

    def _contrast(self, proportionality: float) -> float:
        return self.slope - 1 - proportionality * (self.growth - 1)

    def _variances(self, weights: np.ndarray) -> two_way.Variances:
        """Compute the variances of a weighted sum of slope and growth."""
        networks, images, in_both = (
            float(weights @ each @ weights) for each in (self.networks, self.images, self.in_both)
        )
        return two_way.Variances(((networks, self.dof),) if self.dof else (), max(images, 0.0), in_both)

    def _ratio(self, terms: np.ndarray, level: float) -> Ratio:
        """Compute the ratio of two terms, and the interval of all numbers that a test does not reject as the ratio.

        The squared half-width in `two_way` is the largest of three quadratic functions of the ratio, so the interval is
        the union of three intervals, each between the roots of a quadratic equation.
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
        """Return the squared half-widths that `two_way` compares, as quadratic forms in the weights of s and k."""
        from scipy.special import stdtrit  # training imports this package and must not wait for scipy

        over_images = stdtrit(np.inf, level / 2) ** 2 * self.images
        if not self.dof:
            return [over_images]
        over_networks = stdtrit(self.dof, level / 2) ** 2 * self.networks
        alone = stdtrit(np.inf, level / 2) ** 2 * (self.images - self.in_both)
        return [over_images, over_networks, over_networks + alone]


def for_new_images(label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray) -> Proportion:
    """Estimate slope and growth for new images of the same kind, from predictions.

    The slope is corrected for the noise of the test images, as in `new_images.alpha_new`.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image, from 0; every class has at least two.
    right_before, right_after : (networks, images), bool
        Whether each control, and each pruned network, is right about each image.

    Examples
    --------
    The control has errors of 10, 20 and 30 % in three classes of ten thousand images each, and the pruned network makes
    one and a half times as many errors:

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
    if slope.pairs is not None:  # only the slope depends on products of answers
        counted_twice[0, :, 0] = slope.pairs
    return Proportion(slope.estimate, growth, slope.identified(), *_covariances(values, moves, counted_twice))


def pooled_alpha_beyond(
    alpha: PooledSlope,
    accuracy_before: np.ndarray,
    accuracy_after: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> PooledSlope:
    """Compute alpha beyond proportion over several networks: `alpha_new` divided by the odds ratio of the error.

    The odds ratio is that of the mean accuracies. The influence of each network and each image on this odds ratio is
    linearised.

    Parameters
    ----------
    alpha : PooledSlope
        `alpha_new` pooled over the networks.
    accuracy_before, accuracy_after : (networks,)
    answers : tuple of (images,), (networks, images) and (networks, images), optional
        Class of each image from 0, and whether each network is right before and after. None if `alpha.moves` is None.

    Examples
    --------
    The accuracy falls from .8 to .7, so the odds of an error grow from 2 : 8 to 3 : 7, which explains all of alpha:

    >>> from analysis.statistics.new_images import SlopeParts
    >>> alpha = pooled_slope(SlopeParts(np.array([[12.0, 12.0], [7.0, 7.0], [7.0, 7.0]])))
    >>> round(pooled_alpha_beyond(alpha, np.array([0.8, 0.8]), np.array([0.7, 0.7])).estimate, 6)
    1.0
    """
    before, after = float(accuracy_before.mean()), float(accuracy_after.mean())
    growth = float(odds_ratio(before, after))
    # Absolute derivatives of the logarithm of the odds ratio with respect to the accuracies before and after.
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
    """Estimate slope and growth on these test images, from recalls.

    The gaps of each pruned network are compared with those of the other networks' controls, as balances are in
    `intensification.alpha_shared`, so that a network's own chance deviations and noise do not count.

    Parameters
    ----------
    recall_before, recall_after : (networks, classes)
        Recalls of the controls and of the pruned networks, at least two of each.
    share : (classes,)
        Each class's share of the test images.

    Returns
    -------
    Proportion
        Its covariances are over networks only. With two networks, those of the slope are NaN.

    Examples
    --------
    Each pruned network makes one and a half times as many errors as its control:

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
    means, without_one = shared_means(*balances)
    slope = float(quotient(means[0], means[1]))
    errors_before, errors_after = (1 - each for each in accuracies)
    growth = float(quotient(errors_after.sum(), errors_before.sum()))
    slopes = networks * slope - (networks - 1) * quotient(*without_one)
    values = np.array([slopes, pseudo_values(errors_after, errors_before)])
    low, _ = mean_interval(networks * means[1] - (networks - 1) * without_one[1], 1 - two_way.LEVEL)
    nothing = np.zeros((2, 2))
    return Proportion(slope, growth, bool(low > 0), np.cov(values) / networks, nothing, nothing, networks - 1)


def _covariances(
    values: np.ndarray, moves: np.ndarray, counted_twice: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Compute the covariances of two statistics as `two_way.variances` does, and the degrees of freedom.

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
    """Compute each image's influence on each network's error; the squares of a row sum to the variance over images."""
    support = np.bincount(label)
    recalls = np.array([np.bincount(label, row) for row in right]) / support
    scale = quotient(support / support.sum(), np.sqrt(support * (support - 1.0)))
    return np.asarray((recalls[:, label] - right) * scale[label])


def disproportionate_losses(
    label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray
) -> dict[str, np.ndarray]:
    """Estimate each class's disproportionate loss: its loss minus (k - 1) times its error in the controls.

    This is the loss minus the loss of accuracy times the class's error in proportion to the error of all images. Loss
    and error are measured on the same images. The noise of these images causes no bias, because the formula has the
    difference of loss and error, not their product. The sum of all values, weighted by support, is 0. Some class is
    therefore always at or above 0, and only the size and the test of its value are informative.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image, from 0; every class has an image.
    right_before, right_after : (networks, images), bool
        Whether each control, and each pruned network, is right about each image. Row i of both belongs together.

    Returns
    -------
    dict of str to (classes,)
        `DISPROPORTIONATE_COLUMNS`; NaN for a single pair of networks, and if the controls make no error.

    Examples
    --------
    Two classes have a hundred images each. The controls misclassify 10 and 20 of them, and the pruned networks 10 and
    50, so k is 2. If errors were proportional, the classes would lose 10 and 20 points:

    >>> label, place = np.repeat([0, 1], 100), np.tile(np.arange(100), 2)
    >>> before, after = (np.tile(place >= np.array(wrong)[label], (2, 1)) for wrong in ([10, 20], [10, 50]))
    >>> disproportionate_losses(label, before, after)["disproportionate"].round(3).tolist()
    [-0.1, 0.1]
    """
    support, errors = np.bincount(label), 1 - right_before.mean(0)
    if len(right_after) == 1:
        return dict.fromkeys(DISPROPORTIONATE_COLUMNS, np.full(len(support), np.nan))
    error_ratio = quotient(np.bincount(label, errors) / support, errors.mean())
    return losses.columns("disproportionate", losses.between(label, right_before, right_after, error_ratio))


FACTOR_COLUMNS, WITHOUT_COLUMNS = (
    tuple(f"{name}{end}" for end in ("", "_low", "_high")) for name in ("error_factor", "proportionality_without")
)


def error_factors(error_before: np.ndarray, error_after: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """Compute the factor of each class, a ratio of sums over networks, with Tukey's jackknife interval over networks.

    In normal draws of 3 to 40 networks with the covariances of those of results/proportion, 95 % intervals cover .95 to
    .96 in the mean over classes and .92 in the least covered class.

    Parameters
    ----------
    error_before, error_after : (networks, classes)
        Errors of the controls and of the compressed networks, as shares. Row i of both belongs together.
    confidence : float
        Confidence of each interval.

    Returns
    -------
    (3, classes)
        Factors, and the ends of their intervals. NaN for a class of which no control misclassifies an image.

    Examples
    --------
    The networks have errors of 1, 3 and 2 % after, and the controls 1 % each. No control misclassifies the other class:

    >>> error_factors(np.array([[0.01, 0]] * 3), np.array([[0.01, 0], [0.03, 0], [0.02, 0]])).round(2).tolist()
    [[2.0, nan], [-0.48, nan], [4.48, nan]]
    """
    factors = quotient(error_after.sum(0), error_before.sum(0))
    ends = [
        mean_interval(pseudo_values(after, before), confidence)
        for before, after in zip(error_before.T, error_after.T, strict=True)
    ]
    return np.array([factors, *np.transpose(ends)])


def equal_factors_p(error_before: np.ndarray, error_after: np.ndarray, share: np.ndarray) -> float:
    """Test whether all classes have equal factors, by Hotelling's T-squared over networks.

    With k, the factor of all images, a network's value of a class is the class's error after minus k times its error
    before. Because k is itself estimated, each network's influence on k is subtracted (the delta method). The values of
    a network, weighted by shares of images, then sum to 0, so that classes - 1 are tested.

    If all factors are equal, the test at 5 % rejects .04 to .055 of the draws of `error_factors`, from 11 networks on.

    Parameters
    ----------
    error_before, error_after : (networks, classes)
        As for `error_factors`. Classes of which no control misclassifies an image are left out.
    share : (classes,)
        Each class's share of the test images.

    Returns
    -------
    float
        NaN for fewer than two classes, if there are not more networks than classes, or if the networks' values do not
        vary in every direction.

    Examples
    --------
    Three networks have two classes, as large, with errors of .1 in the controls, so k is 2. The values of the first
    class are .02, .01 and .03, whose mean is 3.46 standard errors above 0. The test of one value is the t test:

    >>> before, of_first = np.full((3, 2), 0.1), np.array([0.22, 0.21, 0.23])
    >>> p = equal_factors_p(before, np.transpose([of_first, 0.4 - of_first]), np.array([0.5, 0.5]))
    >>> from scipy.stats import ttest_1samp
    >>> round(p, 4), round(float(ttest_1samp([0.02, 0.01, 0.03], 0).pvalue), 4)
    (0.0742, 0.0742)
    """
    from scipy.special import fdtrc  # training imports this package and must not wait for scipy

    has_errors = error_before.sum(0) > 0
    before, after, share = error_before[:, has_errors], error_after[:, has_errors], share[has_errors]
    networks, tested = len(before), has_errors.sum() - 1
    if tested < 1 or networks < tested + 2:
        return np.nan
    of_all = before @ share
    beyond = after - (after @ share).sum() / of_all.sum() * before
    values = (beyond - np.outer(beyond @ share, before.mean(0) / of_all.mean()))[:, :tested]
    mean = values.mean(0)
    if np.linalg.matrix_rank(values - mean) < tested:
        return np.nan
    t_squared = networks * mean @ np.linalg.solve(np.cov(values.T).reshape(tested, tested), mean)
    free = networks - tested
    return float(fdtrc(tested, free, t_squared * free / (tested * (networks - 1))))


def proportionality_without_each(recall_before: np.ndarray, recall_after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Compute the proportionality of the other classes, as if a class had no images, for each class.

    Parameters
    ----------
    recall_before, recall_after, share
        As for `proportion.on_these_images`.

    Returns
    -------
    (3, classes)
        Proportionality and the ends of its interval; NaN with fewer than three classes.

    Examples
    --------
    The errors of the controls are .1, .2 and .3, and of the others .15, .3 and .33. Without the first class, the gap
    changes from .1 to .03, and the errors grow by the factor .63 / .5, so (s - 1) / (k - 1) is (.3 - 1) / (1.26 - 1):

    >>> before, after = (1 - np.array([errors] * 3) for errors in ([0.1, 0.2, 0.3], [0.15, 0.3, 0.33]))
    >>> proportionality_without_each(before, after, np.full(3, 1 / 3))[0].round(2).tolist()
    [-2.69, -0.5, 1.0]
    """
    without = []
    for place in range(len(share)):
        before, after = (np.delete(recall, place, axis=1) for recall in (recall_before, recall_after))
        others = np.delete(share, place)
        has_gaps = len(others) > 1
        without.append(
            on_these_images(before, after, others / others.sum()).proportionality() if has_gaps else UNDEFINED
        )
    return np.transpose(without)


_LARGEST_POWER = 1e6


def implied_losses(recall: np.ndarray, images: np.ndarray, accuracy_loss: float) -> np.ndarray:
    """Compute the recall that each class loses if all recalls are raised to the power that gives a loss of accuracy.

    Parameters
    ----------
    recall : (classes,)
        Recalls before compression.
    images : (classes,)
        Number of images of each class.
    accuracy_loss : float
        Loss of accuracy, as a share.

    Returns
    -------
    (classes,)
        NaN if no power gives this loss, as when every recall is 1.

    Examples
    --------
    The accuracy falls from .85 to .725, because .9^2 = .81 and .8^2 = .64:

    >>> implied_losses(np.array([0.9, 0.8]), np.array([10, 10]), 0.125).round(6).tolist()
    [0.09, 0.16]
    """
    from scipy.optimize import brentq  # training imports this package and must not wait for scipy

    share = images / images.sum()
    target = recall @ share - accuracy_loss
    if not recall**_LARGEST_POWER @ share < target <= recall @ share:
        return np.full(len(recall), np.nan)
    power = brentq(lambda exponent: recall**exponent @ share - target, 1, _LARGEST_POWER)
    return np.asarray(recall - recall**power)
