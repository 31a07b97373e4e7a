"""Recall distortion: recall balance, its slopes (alpha and others), and how surely each is known.

Sections are those of Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning
Algorithm". Arrays have the classes last; dimensions before them (seeds, cells) are carried along.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import mean, quotient
from analysis.statistics.resampling import (
    RESAMPLES,
    Interval,
    bootstrap_interval,
    draws,
    image_draws,
    jackknife_interval,
    mark,
    mean_interval,
    ratio_interval,
)

# Recalls are logged as float32, whose rounding makes a root mean square below this; the smallest step of a real balance
# is 1 / test images.
_NO_BALANCE = 1e-7


def recall_balance(recall: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Return the normalised recall balance b = (R - A) / A (Section 4).

    Parameters
    ----------
    recall : (..., classes)
        Recall R of each class.
    accuracy : (...)
        Accuracy A of the same networks.

    Returns
    -------
    (..., classes)
        NaN where the accuracy is 0.

    Examples
    --------
    >>> recall_balance([0.9, 0.7], accuracy=0.8).round(3).tolist()
    [0.125, -0.125]
    """
    accuracy = np.asarray(accuracy, dtype=float)[..., np.newaxis]
    return quotient(np.asarray(recall) - accuracy, accuracy)


def mean_balance(values: ArrayLike) -> np.ndarray:
    """Return the normalised balance of a metric that has no accuracy to be centred on: precision or F1.

    Parameters
    ----------
    values : (..., classes)
        The metric of each class.

    Returns
    -------
    (..., classes)
        Distance from the mean over the classes, divided by that mean; NaN where the mean is 0.

    Examples
    --------
    >>> mean_balance([0.9, 0.6, 0.0]).round(3).tolist()
    [0.8, 0.2, -1.0]
    """
    return recall_balance(values, np.asarray(values).mean(-1))


def alpha(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the slope, without intercept, of recall balance after pruning on before (Section 5).

    Above 1 pruning intensifies the differences between classes, below 1 it de-intensifies them. If `before` is the
    balance of the control `none`, the slope is the effect of pruning alone, without that of fine-tuning.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance, as `recall_balance` returns it.

    Returns
    -------
    (...)
        NaN where `before` is 0 for every class, or either holds a NaN.

    Examples
    --------
    The accuracy falls from .8 to .6, and each recall by .2:

    >>> before = recall_balance([0.9, 0.7], accuracy=0.8)  # 1/8, -1/8
    >>> after = recall_balance([0.7, 0.5], accuracy=0.6)  # 1/6, -1/6
    >>> round(float(alpha(before, after)), 3)
    1.333
    """
    before, after = np.asarray(before), np.asarray(after)
    return quotient((before * after).sum(-1), _square(before).sum(-1))


def weighted_alpha(before: ArrayLike, after: ArrayLike, support: ArrayLike) -> np.ndarray:
    """Return the slope with every class weighted by its share of the images.

    Unlike `alpha` this slope needs no intercept where the classes differ in size.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.
    support : (..., classes)
        Number of test images of each class.

    Returns
    -------
    (...)
        NaN where `alpha` is.

    Examples
    --------
    (3 * .1 * .2 + 1 * .3 * .3) / (3 * .1 * .1 + 1 * .3 * .3) = .15 / .12:

    >>> round(float(weighted_alpha([0.1, -0.3], [0.2, -0.3], support=[300, 100])), 3)
    1.25
    """
    weight = np.sqrt(quotient(support, np.asarray(support).mean(-1, keepdims=True)))
    return alpha(weight * before, weight * after)


def unbalanced(support: ArrayLike) -> np.ndarray:
    """Return whether supports differ by more than 1 %, so that `weighted_alpha` is needed.

    Parameters
    ----------
    support : (..., classes)
        Number of test images of each class.

    Returns
    -------
    (...), bool
        True where they differ.

    Examples
    --------
    >>> unbalanced([[100, 101], [100, 102]]).tolist()
    [False, True]
    """
    return np.asarray(np.max(support, axis=-1) > 1.01 * np.min(support, axis=-1))


def intensification_ratios(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the intensification ratio I of every class: balance after over balance before (Section 5).

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (..., classes)
        NaN where the class was balanced before.

    Examples
    --------
    >>> intensification_ratios([0.1, -0.2], [0.2, 0.1]).tolist()
    [2.0, -0.5]
    """
    return quotient(after, before)


def correlation(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the uncentred correlation r of the balances, which says whether the same classes stay behind.

    `alpha` is the product of `correlation` and `spread_ratio`.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (...)
        Between -1 and 1; NaN where either balance is 0 for every class.

    Examples
    --------
    The weak class changes places with the strong one:

    >>> round(float(correlation([0.1, -0.1], [-0.2, 0.2])), 3)
    -1.0
    """
    before, after = np.asarray(before), np.asarray(after)
    return quotient((before * after).sum(-1), np.sqrt(_square(before).sum(-1) * _square(after).sum(-1)))


def spread_ratio(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the root mean square of the balance after over that before: above 1 the spread grew.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (...)
        NaN where `before` is 0 for every class.

    Examples
    --------
    >>> round(float(spread_ratio([0.1, -0.1], [-0.2, 0.2])), 3)
    2.0
    """
    return np.asarray(np.sqrt(quotient(_square(np.asarray(after)).sum(-1), _square(np.asarray(before)).sum(-1))))


def worst_class_change(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Return the lowest recall after minus the lowest recall before, which need not be of the same class.

    Parameters
    ----------
    before, after : (..., classes)
        Recall of each class.

    Returns
    -------
    (...)
        Negative where the worst class fares worse after pruning.

    Examples
    --------
    >>> round(float(worst_class_change([0.9, 0.7], [0.6, 0.8])), 3)
    -0.1
    """
    return np.asarray(np.min(after, axis=-1) - np.min(before, axis=-1))


def at_chance(accuracy: ArrayLike, classes: int) -> np.ndarray:
    """Return whether a network guesses, so that its alpha may be any number.

    Parameters
    ----------
    accuracy : (...)
        Accuracy of each network.
    classes : int
        Number of classes.

    Returns
    -------
    (...), bool
        True where the accuracy is below 1.5 / classes.

    Examples
    --------
    >>> at_chance([0.14, 0.15, 0.9], classes=10).tolist()
    [True, False, False]
    """
    return np.asarray(np.asarray(accuracy) < 1.5 / classes)


def alpha_new(
    before: np.ndarray,
    after: np.ndarray,
    both_right: np.ndarray,
    support: np.ndarray,
    *,
    confidence: float = 0.95,
) -> Interval:
    """Estimate the slope that new images of the same kind would show, from recalls alone, with an interval over seeds.

    The balances before and after come from the same test images. Noise of these images is therefore in both balances,
    and biases `alpha`. Halves of the test images have independent noise; the estimate is the limit over all splits into
    halves. The interval is for new seeds on these test images. If predictions are known, `alpha_new_from_predictions`
    gives one for new images too.

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
        The estimate is a sum of numerators over seeds divided by a sum of denominators, not a mean of ratios. It is NaN
        if a class has a single image.

    Examples
    --------
    Four images a class, recalls 1 and .5 before, .75 and .25 after, right after only where right before. The squares of
    B sum to 1/8, the products of B and B_t to 1/8, the noise in them to 1/24 and 1/48; A / A_t is .75 / .5. So the
    slope is 1.5 * (1/8 - 1/48) / (1/8 - 1/24) = 1.875:

    >>> after = np.array([[0.75, 0.25]])
    >>> new = alpha_new(np.array([[1, 0.5]]), after, both_right=after, support=np.array([4, 4]))
    >>> round(new.estimate, 3), round(new.reliability, 3)
    (1.875, 0.667)
    """
    sums = new_image_sums(before, after, both_right, support)
    total = sums.sum(-1)
    return jackknife_interval(total.tolist(), total[:2, np.newaxis] - sums[:2], confidence)


def new_image_sums(before: np.ndarray, after: np.ndarray, both_right: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return the numerator and the denominator of `alpha_new` and the sum of squares, of every seed.

    Numerator and denominator have the expectations that they would have over new images.

    Parameters
    ----------
    before, after, both_right : (seeds, classes)
        As for `alpha_new`.
    support : (classes,)
        Number of test images of each class.

    Returns
    -------
    (3, seeds)
        In normalised balances.

    Examples
    --------
    The network of the example of `alpha_new`, whose balances are divided by the accuracies .75 and .5:

    >>> after = np.array([[0.75, 0.25]])
    >>> sums = new_image_sums(np.array([[1, 0.5]]), after, both_right=after, support=np.array([4, 4]))
    >>> (sums[:, 0] * [0.75 * 0.5, 0.75**2, 0.75**2]).round(4).tolist()  # 1/8 - 1/48, 1/8 - 1/24, 1/8
    [0.1042, 0.0833, 0.125]
    """
    spare = np.asarray(support) - 1.0
    shared_noise = quotient(both_right - before * after, spare)
    own_noise = quotient(before * (1 - before), spare)
    return np.array(_split_sums(before, after, shared_noise, own_noise, support))


def alpha_new_from_predictions(
    label: np.ndarray,
    right_before: np.ndarray,
    right_after: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Estimate `alpha_new` with an interval for new networks and new images.

    The bootstrap draws seeds, and images within their class: the same images for all seeds, before and after. Only
    pairs of different images count, in the samples as in the estimate, because an image that is drawn twice must not
    stand in both halves of a split. So the bootstrap is centred on the estimate.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image.
    right_before, right_after : (seeds, images), bool
        Whether each network is right about each image.
    confidence : float
        Confidence of the bootstrap interval.
    resamples : int
        Number of bootstrap samples.

    Returns
    -------
    Interval
        If there is one seed, the interval is for that network and new images.

    Examples
    --------
    Pruning that changes no prediction has the slope 1 on any images:

    >>> label = np.repeat([0, 1], 100)
    >>> right = np.arange(200)[np.newaxis] % np.where(label, 2, 10) > 0  # recalls .9 and .5
    >>> interval = alpha_new_from_predictions(label, right, right, resamples=50)
    >>> round(interval.low, 3), round(interval.estimate, 3), round(interval.high, 3)
    (1.0, 1.0, 1.0)
    """
    rng = np.random.default_rng(0)
    sums, (numerator, denominator, _) = drawn_image_sums(label, right_before, right_after, resamples, rng)
    drawn = draws(rng, resamples, len(right_before))
    numerator, denominator = (drawn * numerator).sum(1), (drawn * denominator).sum(1)
    return ratio_interval(
        sums.sum(-1).tolist(),
        bootstrap_interval(quotient(numerator, denominator), confidence).tolist(),
        bootstrap_interval(denominator, confidence).tolist(),
        "seeds and images",
    )


def drawn_image_sums(
    label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return `new_image_sums` of the test images, and of bootstrap samples of them.

    Calls with the same labels and equal generators draw the same images.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image.
    right_before, right_after : (seeds, images), bool
        Whether each network is right about each image.
    resamples : int
        Number of bootstrap samples.
    rng : Generator
        Source of the random numbers.

    Returns
    -------
    sums : (3, seeds)
        As `new_image_sums` returns them.
    drawn : (3, resamples, seeds)
        The same of each bootstrap sample.

    Examples
    --------
    >>> label, right = np.array([0, 0, 0, 1, 1]), np.array([[True, True, False, True, False]])
    >>> sums, drawn = drawn_image_sums(label, right, right, resamples=20, rng=np.random.default_rng(0))
    >>> sums.shape, drawn.shape
    ((3, 1), (3, 20, 1))
    """
    right = [
        (right_before[:, label == c].T.astype(np.float32), right_after[:, label == c].T.astype(np.float32))
        for c in np.unique(label)
    ]
    support = np.array([len(z) for z, _ in right])
    sums = _sums_of_images([np.ones((1, images), np.float32) for images in support], right)[:, 0]
    return sums, np.hstack([_sums_of_images(weights, right) for weights in image_draws(rng, support, resamples)])


def _sums_of_images(weights: Sequence[np.ndarray], right: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return `_split_sums`, (3, samples, seeds), of weighted images.

    Parameters
    ----------
    weights : (samples, images), float32, for every class
        How often each image of the class counts.
    right : ((images, seeds), (images, seeds)) for every class
        1 where the network is right before and after pruning.
    """
    moments = [_distinct_pairs(w, *both) for w, both in zip(weights, right, strict=True)]
    before, after, shared_noise, own_noise = np.stack(moments, axis=-1)
    support = np.array([w.shape[1] for w in weights])
    return np.array(_split_sums(before, after, shared_noise, own_noise, support))


def _distinct_pairs(weights: np.ndarray, z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return recalls and noise of one class under every row of image weights.

    Parameters
    ----------
    weights : (samples, images), float32
        How often each image counts.
    z, w : (images, seeds)
        1 where the network is right before and after pruning.

    Returns
    -------
    (4, samples, seeds)
        Recall before; recall after; their product less its mean over pairs of different images; and the square of the
        first less its mean over pairs of different images.
    """
    images = weights.shape[1]
    squares = np.square(weights)
    # Sums of counts are exact in float32; their differences would not be.
    products = weights @ z, weights @ w, squares @ (z * w), squares @ z
    right, right_after, both, same = (product.astype(float) for product in products)
    pairs = images**2 - squares.sum(1, keepdims=True, dtype=float)
    before, after = right / images, right_after / images
    shared = before * after - quotient(right * right_after - both, pairs)
    own = before**2 - quotient(right**2 - same, pairs)
    return np.array([before, after, shared, own])


def _split_sums(
    before: np.ndarray,
    after: np.ndarray,
    shared_noise: np.ndarray,
    own_noise: np.ndarray,
    support: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return numerator, denominator and sum of squares of `alpha_new`, each (...), in normalised balances."""
    share = support / np.sum(support)
    accuracy_before, accuracy_after = before @ share, after @ share
    b, b_t = recall_balance(before, accuracy_before), recall_balance(after, accuracy_after)
    weight = 1 - 2 * share + len(share) * share**2
    square = _square(b).sum(-1)
    numerator = (b * b_t).sum(-1) - quotient(shared_noise @ weight, accuracy_before * accuracy_after)
    denominator = square - quotient(own_noise @ weight, accuracy_before**2)
    return numerator, denominator, square


def alpha_shared(before: np.ndarray, after: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """Estimate the slope on the part of the balance that all seeds have in common, with an interval over seeds.

    In `alpha`, accidents of a single network, which any further training undoes, count as de-intensification. Here the
    balances of each network are compared with the mean balance of the other seeds.

    Parameters
    ----------
    before, after : (seeds, classes)
        Normalised recall balance.
    confidence : float
        Confidence of the jackknife interval.

    Returns
    -------
    Interval
        NaN with fewer than two seeds; its ends are NaN with two.

    Examples
    --------
    The first network is held against the balance of the second, and the second against that of the first. The numerator
    is 2 * (2 * 1 + 1 * 3) = 10, the denominator 2 * (2 * 1 + 1 * 2) = 8:

    >>> before = np.array([[1.0, -1.0], [2.0, -2.0]])
    >>> after = np.array([[1.0, -1.0], [3.0, -3.0]])
    >>> alpha_shared(before, after).estimate
    1.25
    """
    # The sums are over all pairs of different seeds. Without a seed they lack its pairs, as the first and as the
    # second.
    as_first = np.array([(before * (other.sum(0) - other)).sum(1) for other in (after, before)])
    as_second = np.array([((before.sum(0) - before) * other).sum(1) for other in (after, before)])
    totals = as_first.sum(1)
    without_one = totals[:, np.newaxis] - as_first - as_second
    square = (len(before) - 1) * np.square(before).sum()
    return jackknife_interval([*totals.tolist(), square], without_one, confidence)


def other_seed(balance: np.ndarray) -> np.ndarray:
    """Return the mean alpha from each dense network to the networks of the other seeds.

    This control needs no training: it is the alpha of pruning that remembers nothing of the network.

    Parameters
    ----------
    balance : (seeds, classes)
        Normalised recall balance of dense networks.

    Returns
    -------
    (seeds,)
        NaN with fewer than two seeds.

    Examples
    --------
    >>> other_seed(np.array([[1.0, -1.0], [2.0, -2.0]])).tolist()
    [2.0, 0.5]
    """
    others = quotient(balance.sum(0) - balance, len(balance) - 1)
    return alpha(balance, others)


def cell_summary(
    recall_before: np.ndarray,
    recall_after: np.ndarray,
    accuracy_before: np.ndarray,
    accuracy_after: np.ndarray,
    *,
    support: np.ndarray | None = None,
    both_right: np.ndarray | None = None,
    confidence: float = 0.95,
) -> dict[str, float | int | str | bool]:
    """Return all slopes of one cell (data set, model, pruner and ratio), and the numbers needed to judge them.

    Parameters
    ----------
    recall_before, recall_after : (seeds, classes)
        Recall of each class before and after pruning.
    accuracy_before, accuracy_after : (seeds,)
        Accuracy before and after pruning.
    support : (classes,), optional
        Number of test images of each class; alpha_weighted and alpha_new are NaN without it.
    both_right : (seeds, classes), optional
        As for `alpha_new`, which is NaN without it.
    confidence : float
        Confidence of the intervals of the mean alpha, of alpha_new and of alpha_shared.

    Returns
    -------
    dict
        `n` counts the seeds whose alpha is defined, and all other values are of these seeds. `correlation`,
        `spread_ratio`, `worst_class_change` and `alpha_weighted` are means over them.

    Examples
    --------
    Two networks with alpha 4/3 and 2:

    >>> recall_before, recall_after = np.array([[0.9, 0.7], [0.9, 0.7]]), np.array([[0.7, 0.5], [1.0, 0.6]])
    >>> row = cell_summary(recall_before, recall_after, np.array([0.8, 0.8]), np.array([0.6, 0.8]))
    >>> row["n"], round(row["alpha_mean"], 3), row["mark"]
    (2, 1.667, '?')
    """
    before = recall_balance(recall_before, accuracy_before)
    after = recall_balance(recall_after, accuracy_after)
    slopes = alpha(before, after)
    kept = np.isfinite(slopes)
    before, after, slopes = before[kept], after[kept], slopes[kept]
    low, high = mean_interval(slopes, confidence)
    new = weighted = None
    if support is not None:
        weighted = weighted_alpha(before, after, support)
        if both_right is not None:
            recalls = recall_before[kept], recall_after[kept], both_right[kept]
            new = alpha_new(*recalls, support, confidence=confidence)
    shared = alpha_shared(before, after, confidence=confidence)
    return {
        "n": len(slopes),
        "n_at_chance": int(at_chance(accuracy_after[kept], before.shape[1]).sum()),
        "alpha_mean": mean(slopes),
        "alpha_median": float(np.median(slopes)) if len(slopes) else np.nan,
        "alpha_sd": float(slopes.std(ddof=1)) if len(slopes) > 1 else np.nan,
        "ci_low": low,
        "ci_high": high,
        "mark": mark(low, high),
        "alpha_weighted": np.nan if weighted is None else mean(weighted),
        "alpha_new": new.estimate if new else np.nan,
        "alpha_new_low": new.low if new else np.nan,
        "alpha_new_high": new.high if new else np.nan,
        "alpha_new_identified": bool(new and new.identified),
        "reliability": new.reliability if new else np.nan,
        "alpha_shared": shared.estimate,
        "alpha_shared_low": shared.low,
        "alpha_shared_high": shared.high,
        "alpha_shared_identified": shared.identified,
        "correlation": mean(correlation(before, after)),
        "spread_ratio": mean(spread_ratio(before, after)),
        "worst_class_change": mean(worst_class_change(recall_before[kept], recall_after[kept])),
        "accuracy_before": mean(accuracy_before[kept]),
        "accuracy_after": mean(accuracy_after[kept]),
    }


def ratio_summary(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Compare alpha with the mean of the intensification ratios I over the classes (supplement, Section G).

    Parameters
    ----------
    before, after : (seeds, classes)
        Normalised recall balance.

    Returns
    -------
    dict
        `pooled_alpha` is over all seeds and classes. `alpha_...` and `ratio_...` are mean, sd, min and max over seeds
        of alpha and of the mean I. `worst_ratio` is the I furthest from 0. A class that is balanced before has no I.

    Examples
    --------
    A class that is almost balanced before has a large I, and hardly moves alpha:

    >>> summary = ratio_summary(np.array([[0.1, -0.101, 0.001]]), np.array([[0.1, -0.091, -0.009]]))
    >>> round(summary["alpha_mean"], 2), round(summary["ratio_mean"], 2), round(summary["worst_ratio"], 2)
    (0.95, -2.37, -9.0)
    """
    ratios = intensification_ratios(before, after)
    summary = {"pooled_alpha": float(alpha(before.ravel(), after.ravel()))}
    for name, values in (("alpha", alpha(before, after)), ("ratio", np.nanmean(ratios, axis=-1))):
        summary |= {
            f"{name}_mean": float(values.mean()),
            f"{name}_sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
            f"{name}_min": float(values.min()),
            f"{name}_max": float(values.max()),
        }
    return summary | {"worst_ratio": float(ratios.flat[np.nanargmax(np.abs(ratios))])}


def _square(balance: np.ndarray) -> np.ndarray:
    """Return the squares, 0 where all classes are balanced up to rounding."""
    square = np.square(balance)
    return np.where(square.mean(-1, keepdims=True) < _NO_BALANCE**2, 0.0, square)
