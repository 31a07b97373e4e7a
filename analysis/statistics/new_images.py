"""Estimate slopes, such as alpha, for new images of the same kind, with intervals.

The balances before and after pruning come from the same test images, so both contain the noise of these images, which
biases `alpha`. Because two halves of the test images have independent noise, `alpha_new` is in effect the slope between
halves, averaged over all splits.
"""

from typing import NamedTuple

import numpy as np

from analysis.statistics import two_way
from analysis.statistics.arithmetic import quotient
from analysis.statistics.intensification import square
from analysis.statistics.resampling import Interval, jackknife_interval, pseudo_values


def alpha_new(
    before: np.ndarray,
    after: np.ndarray,
    both_right: np.ndarray,
    support: np.ndarray,
    *,
    confidence: float = 0.95,
) -> Interval:
    """Estimate alpha for new images from recalls and `both_right` alone, with an interval over seeds.

    The estimate is corrected for the noise of the test images, as the module docstring explains. The interval is for
    new seeds on these test images. If predictions are known, `alpha_new_from_predictions` gives an interval for new
    seeds and new images.

    Parameters
    ----------
    before, after : (seeds, classes)
        Recall before and after pruning.
    both_right : (seeds, classes)
        Share of the images of each class on which both networks are right.
    support : (classes,)
        Number of test images of each class.
    confidence : float
        Confidence of the jackknife interval.

    Returns
    -------
    Interval
        The estimate is the sum of numerators over seeds divided by the sum of denominators, not a mean of ratios. It is
        NaN if a class has a single image.

    Examples
    --------
    With four images per class, recalls are 1 and .5 before, and .75 and .25 after, and no image is classified correctly
    only after. Let d be recall minus accuracy. The squares of d before sum to 1/8, of which 1/24 is noise. The products
    of d before and d after also sum to 1/8, of which 1/48 is noise. The ratio of the accuracies is .75 / .5, so the
    slope is 1.5 * (1/8 - 1/48) / (1/8 - 1/24) = 1.875:

    >>> after = np.array([[0.75, 0.25]])
    >>> new = alpha_new(np.array([[1, 0.5]]), after, both_right=after, support=np.array([4, 4]))
    >>> round(new.estimate, 3), round(new.reliability, 3)
    (1.875, 0.667)
    """
    sums = new_image_sums(before, after, both_right, support)
    means = quotient(sums.sum(-1), len(before))
    without_one = quotient(sums[:2].sum(-1, keepdims=True) - sums[:2], len(before) - 1)
    return jackknife_interval(means.tolist(), without_one, confidence)


def new_image_sums(
    before: np.ndarray, after: np.ndarray, both_right: np.ndarray, support: np.ndarray, *, raw: bool = False
) -> np.ndarray:
    """Compute numerator and denominator of `alpha_new`, and the sum of squared balances, for every seed.

    Numerator and denominator are unbiased estimates of their values for new images.

    Parameters
    ----------
    before, after, both_right : (seeds, classes)
        As for `alpha_new`.
    support : (classes,)
        Number of test images of each class.
    raw : bool
        Whether to leave balances undivided by the accuracies, as for `raw_slope`.

    Returns
    -------
    (3, seeds)

    Examples
    --------
    In the example of `alpha_new`, the balances are d divided by the accuracies .75 and .5. Multiplied by these
    accuracies again, the sums are those of d:

    >>> after = np.array([[0.75, 0.25]])
    >>> sums = new_image_sums(np.array([[1, 0.5]]), after, both_right=after, support=np.array([4, 4]))
    >>> (sums[:, 0] * [0.75 * 0.5, 0.75**2, 0.75**2]).round(4).tolist()  # 1/8 - 1/48, 1/8 - 1/24, 1/8
    [0.1042, 0.0833, 0.125]
    """
    share, spare = support / np.sum(support), np.asarray(support) - 1.0
    accuracies = before @ share, after @ share
    scale, scale_after = np.ones((2, len(before))) if raw else accuracies
    b, b_t = (
        quotient(recall - accuracy[:, np.newaxis], divisor[:, np.newaxis])
        for recall, accuracy, divisor in zip((before, after), accuracies, (scale, scale_after), strict=True)
    )
    weight = _noise_weights(share)
    shared_noise = quotient(both_right - before * after, spare) @ weight
    own_noise = quotient(before * (1 - before), spare) @ weight
    squares = square(b).sum(-1)
    numerator = (b * b_t).sum(-1) - quotient(shared_noise, scale * scale_after)
    return np.array([numerator, squares - quotient(own_noise, scale**2), squares])


def alpha_new_from_predictions(
    label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray, *, confidence: float = 0.95
) -> Interval:
    """Estimate `alpha_new` with an interval for new networks and new images.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image.
    right_before, right_after : (networks, images), bool
        Whether each network is right about each image.
    confidence : float
        Confidence of the interval (`two_way.half_width`), which in most simulations covers at least as often as stated.

    Returns
    -------
    Interval
        If there is one network, the interval is for that network and new images.

    Examples
    --------
    Pruning that changes no prediction has slope 1 on any images:

    >>> label = np.repeat([0, 1], 100)
    >>> right = np.arange(200)[np.newaxis] % np.where(label, 2, 10) > 0  # recalls .9 and .5
    >>> interval = alpha_new_from_predictions(label, right, right)
    >>> round(interval.low, 3), round(interval.estimate, 3), round(interval.high, 3)
    (1.0, 1.0, 1.0)
    """
    return pooled_slope(slope_parts(label, right_before, right_after)).interval(confidence)


class SlopeParts(NamedTuple):
    """Parts of `alpha_new` for every network.

    Attributes
    ----------
    sums : (3, networks)
        Numerators, denominators and sums of squares, as `new_image_sums` returns them.
    moves : (2, networks, images), optional
        Influence of each image on each network's numerator and denominator. The squares of a row, (images,), sum to the
        variance over images.
    pairs : (2, networks, 2, networks), optional
        The part of the covariances over images that is counted twice in products of the moves (`pair_covariances`).
    """

    sums: np.ndarray
    moves: np.ndarray | None = None
    pairs: np.ndarray | None = None

    def of(self, networks: np.ndarray) -> "SlopeParts":
        """Select the parts of some networks."""
        return SlopeParts(
            self.sums[:, networks],
            None if self.moves is None else self.moves[:, networks],
            None if self.pairs is None else self.pairs[:, networks][..., networks],
        )


class PooledSlope(NamedTuple):
    """`alpha_new` pooled over several networks, with the influence of each network and each image.

    Attributes
    ----------
    estimate, reliability : float
        As in `Interval`.
    pseudo_values : (networks,)
        Jackknife pseudo-values of the estimate.
    moves : (networks, images), optional
        Influence of each image on each network's part of the estimate, times the number of networks.
    pairs : (networks, networks), optional
        The part of the covariances that is counted twice in products of these moves. None for one network.
    denominator : float
        Mean denominator over the networks.
    denominator_variances : two_way.Variances
        Variances of that mean.
    """

    estimate: float
    reliability: float
    pseudo_values: np.ndarray
    moves: np.ndarray | None
    pairs: np.ndarray | None
    denominator: float
    denominator_variances: two_way.Variances

    @property
    def variances(self) -> two_way.Variances:
        """Variances of the estimate over networks and, if predictions are known, over images."""
        return two_way.variances(self.pseudo_values, self.moves, self.pairs)

    def identified(self, level: float = two_way.LEVEL) -> bool:
        """Return whether the interval of the denominator is above 0; if not, the slope may have any value."""
        return bool(self.denominator - two_way.half_width(self.denominator_variances, level) > 0)

    def interval(self, confidence: float) -> Interval:
        """Return the estimate with its interval."""
        half = two_way.half_width(self.variances, 1 - confidence)
        return Interval(
            self.estimate,
            self.estimate - half,
            self.estimate + half,
            self.reliability,
            self.identified(1 - confidence),
            "seeds" if self.moves is None else "seeds and images",
        )


def pooled_slope(parts: SlopeParts) -> PooledSlope:
    """Compute a pooled slope: the sum of numerators over networks, divided by the sum of denominators.

    Parameters
    ----------
    parts : SlopeParts
        Parts of at least one network.

    Returns
    -------
    PooledSlope

    Examples
    --------
    The ratio is (1 + 3 + 2) / 3 = 2:

    >>> slope = pooled_slope(SlopeParts(np.array([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])))
    >>> slope.estimate, slope.reliability, slope.pseudo_values.tolist()
    (2.0, 0.5, [1.0, 3.0, 2.0])
    """
    numerators, denominators, squares = parts.sums
    slope = float(quotient(numerators.sum(), denominators.sum()))
    mean = float(denominators.mean())
    by_part = quotient([1, -slope], mean)
    moves = pairs = denominator_moves = None
    if parts.moves is not None:
        moves, denominator_moves = np.tensordot(by_part, parts.moves, 1), parts.moves[1]
    # For one network the pairs are not subtracted, because its interval uses a normal quantile, and would otherwise be
    # too narrow far in the tails of a ratio.
    if parts.pairs is not None and len(numerators) > 1:
        pairs = np.einsum("a,ambk,b", by_part, parts.pairs, by_part)
    return PooledSlope(
        slope,
        reliability=float(quotient(mean, squares.mean())),
        pseudo_values=pseudo_values(numerators, denominators) if len(numerators) > 1 else np.array([slope]),
        moves=moves,
        pairs=pairs,
        denominator=mean,
        denominator_variances=two_way.variances(denominators, denominator_moves),
    )


def slope_parts(
    label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray, *, raw: bool = False, paired: bool = True
) -> SlopeParts:
    """Compute the parts of `alpha_new` from predictions, with the influence of each image.

    Numerator and denominator depend on the images through three means for each class: the shares of images that are
    classified correctly before, after, and both before and after. The influence of an image on a part is the change of
    this part if the image is omitted, scaled so that squares sum to variances.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image.
    right_before, right_after : (networks, images), bool
        Whether each network is right about each image.
    raw : bool
        Whether to leave balances undivided by the accuracies, as for `raw_slope`.
    paired : bool
        Whether to compute `pairs`, which take most of the time.

    Returns
    -------
    SlopeParts
        NaN if a class has a single image.

    Examples
    --------
    >>> label, right = np.array([0, 0, 0, 1, 1]), np.array([[True, True, False, True, False]])
    >>> parts = slope_parts(label, right, right)
    >>> parts.sums.shape, parts.moves.shape
    ((3, 1), (2, 1, 5))
    """
    images = np.bincount(label)
    index, support = (np.cumsum(images > 0) - 1)[label], images[images > 0]
    # Class and state (`moves_by_state`) of each image for each network, (networks, images), and the number of images of
    # each class and state.
    states, count = 4 * index + right_before + 2 * right_after, 4 * len(support)
    counts = np.array([np.bincount(network, minlength=count) for network in states]).reshape(len(states), -1, 4)
    before, after, right_both = (counts[..., states_right].sum(-1) / support for states_right in ([1, 3], [2, 3], [3]))
    sums = new_image_sums(before, after, right_both, support, raw=raw)
    tables = np.array(moves_by_state(before, after, right_both, None if raw else sums, support)).reshape(2, -1, count)
    moves = np.array([[row[state] for row, state in zip(table, states, strict=True)] for table in tables])
    if not paired:
        return SlopeParts(sums, moves)
    answers = np.array([right_after, right_before], dtype=float)
    if not raw:
        answers *= quotient(1.0, answers.mean(-1, keepdims=True))
    return SlopeParts(sums, moves, pair_covariances(answers, index, support))


def moves_by_state(
    before: np.ndarray, after: np.ndarray, both: np.ndarray, sums: np.ndarray | None, support: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute an image's influence on numerator and denominator by class and state, each (networks, classes, states).

    The states are: wrong before and after, correct only before, correct only after, correct before and after. `sums`,
    as `new_image_sums` returns them, are needed if balances are divided by accuracies, because each image also affects
    the accuracies; None means undivided balances. `slope_parts` defines the influence.
    """
    share = support / support.sum()
    accuracy, accuracy_after = (before @ share)[:, np.newaxis], (after @ share)[:, np.newaxis]
    # For a class of two images, the divisor is arbitrary, because all products with this weight are 0.
    noise = 2 * _noise_weights(share) / np.maximum(support - 2.0, 1.0)
    balance, balance_after = before - accuracy, after - accuracy_after
    # Each class's recall affects its own balance directly, and the balances of all classes through the accuracy.
    centred, centred_after = (b - share * b.sum(1, keepdims=True) for b in (balance, balance_after))
    by_before, by_after = centred_after + noise * after, centred + noise * before
    by_both = np.broadcast_to(-noise, before.shape)
    squares_by_before = 2 * centred - noise * (1 - 2 * before)
    if sums is not None:
        product = accuracy * accuracy_after
        numerator, denominator = sums[0][:, np.newaxis] * share, sums[1][:, np.newaxis] * share
        by_before = quotient(by_before, product) - quotient(numerator, accuracy)
        by_after = quotient(by_after, product) - quotient(numerator, accuracy_after)
        by_both = quotient(by_both, product)
        squares_by_before = quotient(squares_by_before, accuracy**2) - quotient(2 * denominator, accuracy)
    # With this scale, the squared moves of a class's images sum to the variance of a mean over these images.
    scale = quotient(1.0, np.sqrt(support * (support - 1.0)))[:, np.newaxis]
    is_before, is_after = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    from_before = is_before - before[..., np.newaxis]
    from_after, from_both = is_after - after[..., np.newaxis], is_before * is_after - both[..., np.newaxis]
    numerator_moves = (
        by_before[..., np.newaxis] * from_before
        + by_after[..., np.newaxis] * from_after
        + by_both[..., np.newaxis] * from_both
    )
    return numerator_moves * scale, squares_by_before[..., np.newaxis] * from_before * scale


def pair_covariances(answers: np.ndarray, index: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Compute covariances over images of the contribution of image pairs to numerators and denominators.

    Numerators and denominators are sums of products of the answers to two images. After subtraction of the class's
    recall from the answers, the products for two images of the same class are the contribution of these pairs. The
    jackknife counts the variance of this contribution twice, once for each image (Efron and Stein 1981, Annals of
    Statistics 9). Pairs of images from different classes are ignored, because they contribute only about 1 / classes
    of the variance.

    Parameters
    ----------
    answers : (2, networks, images)
        Whether each network is right after pruning (for the numerators) and before pruning (for the denominators),
        divided by the accuracy if the balances are divided by it.
    index, support : (images,), (classes,)
        Class of each image, and number of images of each class.

    Returns
    -------
    (2, networks, 2, networks)
    """
    count, images = answers.shape[1], answers.shape[-1]
    centred = np.take(answers, np.argsort(index, kind="stable"), axis=-1)
    means = np.add.reduceat(centred, np.cumsum(support) - support, axis=-1) / support
    by_class = np.split(centred.reshape(-1, images), np.cumsum(support)[:-1], axis=1)
    for own, mean in zip(by_class, means.reshape(-1, len(support)).T, strict=True):
        own -= mean[:, np.newaxis]
    weights = 2 * quotient(_noise_weights(support / support.sum()), support * (support - 1.0)) ** 2
    products = np.array([own @ own.T for own in by_class]).reshape(-1, 2, count, 2, count)
    all_pairs = (products[:, 1:, :, 1:] * products + products[:, 1:] * products[:, :, :, 1:]) / 2
    itself = (centred * centred[1]).reshape(-1, images)  # an image with itself is not a pair
    # The memory of `centred` is reused, because allocating more takes longer than computing.
    weighted = np.multiply(itself, np.repeat(weights, support), out=centred.reshape(-1, images))
    without = weighted @ itself.T
    return np.asarray(np.tensordot(weights, all_pairs, 1) - without.reshape(2, count, 2, count))


def _noise_weights(share: np.ndarray) -> np.ndarray:
    """Compute the weight of each class's noise, (classes,), in a sum of products of balances."""
    return np.asarray(1 - 2 * share + len(share) * share**2)
