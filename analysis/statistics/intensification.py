"""Which classes pruning cost: recall balance, its slopes, and how surely each is known.

Sections are those of Good et al. 2022, "Recall Distortion in Neural Network Pruning and the Undecayed Pruning
Algorithm". Arrays have the classes last; whatever stands before them (seeds, cells) is carried along.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.resampling import (
    RESAMPLES,
    _ratio,
    bootstrap_interval,
    draws,
    image_draws,
    mark,
    mean_interval,
)

# A root mean square below this is the rounding of recalls logged as float32, not a balance; the smallest step
# of a real one is 1 / test images.
_NO_BALANCE = 1e-7


def recall_balance(recall: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """Normalised recall balance b = (R - A) / A (Section 4).

    Parameters
    ----------
    recall : (..., classes)
    accuracy : (...)

    Returns
    -------
    (..., classes) ; NaN where the accuracy is 0.
    """
    accuracy = np.asarray(accuracy, dtype=float)[..., np.newaxis]
    return _ratio(np.asarray(recall) - accuracy, accuracy)


def mean_balance(values: ArrayLike) -> np.ndarray:
    """Normalised balance of a metric that has no accuracy to be centred on: precision, F1.

    Parameters
    ----------
    values : (..., classes)

    Returns
    -------
    (..., classes) ; distance from their own mean over the classes, over that mean; NaN where it is 0.
    """
    return recall_balance(values, np.asarray(values).mean(-1))


def alpha(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Slope, without intercept, of recall balance after pruning on before (Section 5).

    Above 1 pruning intensifies the differences between classes, below 1 it de-intensifies them. With the
    balance of `none` as `before` it is pruning's own effect, fine-tuning taken out.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance, as `recall_balance` returns it.

    Returns
    -------
    (...) ; NaN where undefined: `before` is 0 for every class, or either holds a NaN.
    """
    before, after = np.asarray(before), np.asarray(after)
    return _ratio((before * after).sum(-1), _square(before).sum(-1))


def weighted_alpha(before: ArrayLike, after: ArrayLike, support: ArrayLike) -> np.ndarray:
    """Slope with every class weighted by its share of the images; needs no intercept where classes differ.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.
    support : (..., classes)
        Test images of each class.

    Returns
    -------
    (...) ; NaN where undefined, as for `alpha`.
    """
    weight = np.sqrt(_ratio(support, np.asarray(support).mean(-1, keepdims=True)))
    return alpha(weight * before, weight * after)


def unbalanced(support: ArrayLike) -> np.ndarray:
    """Whether supports (..., classes) differ by more than 1 %, so that `weighted_alpha` is needed."""
    return np.max(support, axis=-1) > 1.01 * np.min(support, axis=-1)


def intensification_ratios(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Intensification ratio I of every class (Section 5): balance after over balance before.

    Parameters
    ----------
    before, after : (..., classes)
        Normalised recall balance.

    Returns
    -------
    (..., classes) ; NaN where the class was balanced before.
    """
    return _ratio(after, before)


def correlation(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Uncentred correlation r of the balances, (..., classes) -> (...): do the same classes stay behind?

    `alpha` is this times `spread_ratio`. NaN where either balance is 0 for every class.
    """
    before, after = np.asarray(before), np.asarray(after)
    return _ratio((before * after).sum(-1), np.sqrt(_square(before).sum(-1) * _square(after).sum(-1)))


def spread_ratio(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Root mean square of the balance after over before, (..., classes) -> (...): did the spread grow?

    NaN where `before` is 0 for every class.
    """
    return np.sqrt(_ratio(_square(np.asarray(after)).sum(-1), _square(np.asarray(before)).sum(-1)))


def worst_class_change(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Lowest recall after minus lowest recall before, (..., classes) -> (...); not always the same class."""
    return np.min(after, axis=-1) - np.min(before, axis=-1)


def at_chance(accuracy: ArrayLike, classes: int) -> np.ndarray:
    """Whether a network guesses, accuracy (...) < 1.5 / classes: its alpha is then any number."""
    return np.asarray(accuracy) < 1.5 / classes


class Interval(NamedTuple):
    """An estimate, its interval, and what was resampled to get it (`seeds` or `seeds and images`).

    `reliability` is the part of the sum of squares in the slope's denominator that is not noise;
    `identified` is False where the interval of that denominator reaches 0: the slope may then be anything.
    """

    estimate: float
    low: float
    high: float
    reliability: float
    identified: bool
    resampled: str


def alpha_new(
    before: np.ndarray,
    after: np.ndarray,
    both_right: np.ndarray,
    support: np.ndarray,
    *,
    confidence: float = 0.95,
) -> Interval:
    """Slope that new images of the same kind would show, from recalls alone; interval over seeds.

    The same test images stand behind the balance before and after, so their noise is in both and biases
    `alpha`. Halves of the test images have independent noise; this is the limit over all splits in halves.
    The interval is for new seeds on these test images; with predictions at hand take
    `alpha_new_from_predictions`.

    Parameters
    ----------
    before, after : (seeds, classes)
        Recall before and after pruning.
    both_right : (seeds, classes)
        Share of the images of a class that are right before and after.
    support : (classes,)
        Test images of each class.
    confidence : float
        Of the jackknife interval.

    Returns
    -------
    Interval
        The estimate is a sum over seeds of numerators by one of denominators, never a mean of ratios. NaN
        where a class has a single image.
    """
    sums = new_image_sums(before, after, both_right, support)
    total = sums.sum(-1)
    return _jackknife(total, total[:2, np.newaxis] - sums[:2], confidence)


def new_image_sums(before: np.ndarray, after: np.ndarray, both_right: np.ndarray, support: np.ndarray) -> np.ndarray:
    """What `alpha_new` is made of: its numerator, its denominator and the sum of squares of every seed, (3, seeds).

    Parameters are those of `alpha_new`. The expectation of numerator and denominator is that over new images.
    """
    spare = np.asarray(support) - 1.0
    shared_noise = _ratio(both_right - before * after, spare)
    own_noise = _ratio(before * (1 - before), spare)
    return np.array(_split_sums(before, after, shared_noise, own_noise, support))


def alpha_new_from_predictions(
    label: np.ndarray,
    right_before: np.ndarray,
    right_after: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """`alpha_new` with seeds and images resampled: the interval for new networks and new images.

    Images are drawn within their class, the same ones for all seeds, before and after. An image drawn twice
    never stands in both halves of a split: only pairs of different images count, in the sample as in the
    estimate, so that the bootstrap is centred on the estimate.

    Parameters
    ----------
    label : (images,), integers
        Class of each test image.
    right_before, right_after : (seeds, images), bool
        Whether each network is right about each image.
    confidence, resamples
        As for `alpha_new`.

    Returns
    -------
    Interval
        With one seed it is that network's, for new images.
    """
    rng = np.random.default_rng(0)
    sums, (numerator, denominator, _) = drawn_image_sums(label, right_before, right_after, resamples, rng)
    drawn = draws(rng, resamples, len(right_before))
    numerator, denominator = (drawn * numerator).sum(1), (drawn * denominator).sum(1)
    return _interval(
        sums.sum(-1),
        bootstrap_interval(_ratio(numerator, denominator), confidence).tolist(),
        bootstrap_interval(denominator, confidence).tolist(),
        "seeds and images",
    )


def drawn_image_sums(
    label: np.ndarray, right_before: np.ndarray, right_after: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`new_image_sums` of the images as they are, (3, seeds), and of images drawn anew, (3, resamples, seeds).

    Parameters are those of `alpha_new_from_predictions`. The same labels and generator draw the same images.
    """
    right = [
        (right_before[:, label == c].T.astype(np.float32), right_after[:, label == c].T.astype(np.float32))
        for c in np.unique(label)
    ]
    support = np.array([len(z) for z, _ in right])
    sums = _sums_of_images([np.ones((1, images), np.float32) for images in support], right)[:, 0]
    return sums, np.hstack([_sums_of_images(weights, right) for weights in image_draws(rng, support, resamples)])


def _sums_of_images(weights: Sequence[np.ndarray], right: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """`_split_sums`, (3, samples, seeds), of weighted images.

    Parameters
    ----------
    weights : (samples, images), float32, for every class
        How often each image of the class counts.
    right : ((images, seeds), (images, seeds)) for every class
        1 where right before, after.
    """
    moments = [_distinct_pairs(w, *of_class) for w, of_class in zip(weights, right, strict=True)]
    before, after, shared_noise, own_noise = np.stack(moments, axis=-1)
    support = np.array([w.shape[1] for w in weights])
    return np.array(_split_sums(before, after, shared_noise, own_noise, support))


def _distinct_pairs(weights: np.ndarray, z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Recalls and noise of one class under every row of image weights.

    Parameters
    ----------
    weights : (samples, images), float32
    z, w : (images, seeds)
        1 where right before, after.

    Returns
    -------
    (4, samples, seeds) : recall before, after, and what their product and the square of the first exceed
    the mean over pairs of different images by.
    """
    images = weights.shape[1]
    squares = np.square(weights)
    # Sums of counts are exact in float32; the differences below are not.
    products = weights @ z, weights @ w, squares @ (z * w), squares @ z
    right, right_after, both, same = (product.astype(float) for product in products)
    pairs = images**2 - squares.sum(1, keepdims=True, dtype=float)
    before, after = right / images, right_after / images
    shared = before * after - _ratio(right * right_after - both, pairs)
    own = before**2 - _ratio(right**2 - same, pairs)
    return np.array([before, after, shared, own])


def _split_sums(
    before: np.ndarray,
    after: np.ndarray,
    shared_noise: np.ndarray,
    own_noise: np.ndarray,
    support: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numerator, denominator and sum of squares of `alpha_new`, each (...), in normalised balances."""
    share = support / np.sum(support)
    accuracy_before, accuracy_after = before @ share, after @ share
    b, b_t = recall_balance(before, accuracy_before), recall_balance(after, accuracy_after)
    weight = 1 - 2 * share + len(share) * share**2
    square = _square(b).sum(-1)
    numerator = (b * b_t).sum(-1) - _ratio(shared_noise @ weight, accuracy_before * accuracy_after)
    denominator = square - _ratio(own_noise @ weight, accuracy_before**2)
    return numerator, denominator, square


def alpha_shared(before: np.ndarray, after: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """Slope on the part of the balance that all seeds have in common; interval over seeds.

    A network's own accidents, which any further training undoes, are in `alpha` as de-intensification; here
    each network's balance is compared with the mean balance of the other seeds.

    Parameters
    ----------
    before, after : (seeds, classes)
        Normalised recall balance.
    confidence : float
        Of the jackknife interval.

    Returns
    -------
    Interval ; NaN with fewer than two seeds, and no interval with two.
    """
    # Sums over all pairs of different seeds; leaving a seed out takes its pairs away, as first and as second.
    as_first = np.array([(before * (other.sum(0) - other)).sum(1) for other in (after, before)])
    as_second = np.array([((before.sum(0) - before) * other).sum(1) for other in (after, before)])
    totals = as_first.sum(1)
    without_one = totals[:, np.newaxis] - as_first - as_second
    square = (len(before) - 1) * np.square(before).sum()
    return _jackknife([*totals, square], without_one, confidence)


def other_seed(balance: np.ndarray) -> np.ndarray:
    """Control without training: alpha from each dense network to those of the other seeds, averaged.

    Parameters
    ----------
    balance : (seeds, classes)
        Normalised recall balance of dense networks.

    Returns
    -------
    (seeds,) ; what alpha is where nothing of the network is remembered. NaN with fewer than two seeds.
    """
    others = _ratio(balance.sum(0) - balance, len(balance) - 1)
    return alpha(balance, others)


def cell(
    recall_before: np.ndarray,
    recall_after: np.ndarray,
    accuracy_before: np.ndarray,
    accuracy_after: np.ndarray,
    *,
    support: np.ndarray | None = None,
    both_right: np.ndarray | None = None,
    confidence: float = 0.95,
) -> dict[str, float | int | str | bool]:
    """All slopes of one cell (one data set, model, pruner and ratio) and what must stand beside them.

    Parameters
    ----------
    recall_before, recall_after : (seeds, classes)
    accuracy_before, accuracy_after : (seeds,)
    support : (classes,), optional
        Test images of each class; alpha_weighted and alpha_new are NaN without it.
    both_right : (seeds, classes), optional
        As for `alpha_new`, which is NaN without it.
    confidence : float
        Of the interval of the mean alpha, its mark, and the intervals of alpha_new and alpha_shared.

    Returns
    -------
    dict
        n counts the seeds whose alpha is defined, and all else is of these; correlation, spread_ratio,
        worst_class_change and alpha_weighted are means over them.
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
        "alpha_mean": _mean(slopes),
        "alpha_median": float(np.median(slopes)) if len(slopes) else np.nan,
        "alpha_sd": float(slopes.std(ddof=1)) if len(slopes) > 1 else np.nan,
        "ci_low": low,
        "ci_high": high,
        "mark": mark(low, high),
        "alpha_weighted": _mean(weighted),
        "alpha_new": new.estimate if new else np.nan,
        "alpha_new_low": new.low if new else np.nan,
        "alpha_new_high": new.high if new else np.nan,
        "alpha_new_identified": bool(new and new.identified),
        "reliability": new.reliability if new else np.nan,
        "alpha_shared": shared.estimate,
        "alpha_shared_low": shared.low,
        "alpha_shared_high": shared.high,
        "alpha_shared_identified": shared.identified,
        "correlation": _mean(correlation(before, after)),
        "spread_ratio": _mean(spread_ratio(before, after)),
        "worst_class_change": _mean(worst_class_change(recall_before[kept], recall_after[kept])),
        "accuracy_before": _mean(accuracy_before[kept]),
        "accuracy_after": _mean(accuracy_after[kept]),
    }


def ratio_summary(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Why alpha and not the mean of the intensification ratios (supplement, Section G).

    Parameters
    ----------
    before, after : (seeds, classes)
        Normalised recall balance.

    Returns
    -------
    dict
        pooled_alpha, over all seeds and classes; mean, sd, min and max over seeds of `alpha` and of `ratio`,
        the mean over classes of I; worst_ratio, the I furthest from 0. Classes balanced before have no I.
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


def _jackknife(sums: Sequence[float], without_one: np.ndarray, confidence: float) -> Interval:
    """Tukey's interval over seeds for a ratio of sums.

    Parameters
    ----------
    sums : numerator, denominator, sum of squares
    without_one : (2, seeds)
        Numerator and denominator with each seed left out.
    """
    seeds = without_one.shape[1]

    def interval(whole: float, parts: np.ndarray) -> tuple[float, float]:
        return mean_interval(seeds * whole - (seeds - 1) * parts, confidence)

    slope = interval(float(_ratio(sums[0], sums[1])), _ratio(*without_one))
    return _interval(sums, slope, interval(sums[1], without_one[1]), "seeds")


def _interval(
    sums: Sequence[float], slope: tuple[float, float], denominator: tuple[float, float], resampled: str
) -> Interval:
    return Interval(
        estimate=float(_ratio(sums[0], sums[1])),
        low=slope[0],
        high=slope[1],
        reliability=float(_ratio(sums[1], sums[2])),
        identified=bool(denominator[0] > 0),
        resampled=resampled,
    )


def _mean(values: np.ndarray | None) -> float:
    """Mean, NaN of nothing."""
    return float(values.mean()) if values is not None and len(values) else np.nan


def _square(balance: np.ndarray) -> np.ndarray:
    """Squares, 0 wherever the classes together are as good as balanced."""
    square = np.square(balance)
    return np.where(square.mean(-1, keepdims=True) < _NO_BALANCE**2, 0.0, square)
