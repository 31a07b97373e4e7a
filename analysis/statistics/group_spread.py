"""Measure the spread between the means of groups of images, and compare it with chance.

Even by chance, the means of groups with few images differ. The placebo assigns the same images at random: each group
gets as many images of each class as it really has, drawn from all images of that class. A spread larger than in the
placebo is therefore due to the groups, not to their sizes or classes.
"""

from typing import NamedTuple

import numpy as np

SHUFFLES = 999


class Placebo(NamedTuple):
    """The spread of groups, compared with the spread after the images are shuffled.

    Attributes
    ----------
    spread : float
        As `spread` returns it.
    chance, low, high : float
        Root mean square of the shuffled spreads, and the range that contains 95 % of them.
    p : float
        Share of all spreads, shuffled and real, that are at least as large as the real one.
    """

    spread: float
    chance: float
    low: float
    high: float
    p: float


def spread(values: np.ndarray, place: np.ndarray) -> float:
    """Compute the standard deviation of group means, weighted by the groups' numbers of images.

    Parameters
    ----------
    values : (images,)
        A number for each image, such as the share of networks that are right.
    place : (images,), integers
        Group of each image, from 0; every group has an image.

    Examples
    --------
    Each group has two images, and their means are 0 and 1:

    >>> spread(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    0.5
    """
    support, sums = np.bincount(place), np.bincount(place, values)
    return float(np.sqrt(_mean_square(sums, support, values.mean())))


def spread_by_chance(values: np.ndarray, place: np.ndarray, label: np.ndarray) -> float:
    """Compute the root mean square of the placebo's spread over all possible assignments of images to groups.

    Parameters
    ----------
    values, place : (images,)
        As for `spread`.
    label : (images,), integers
        Class of each image, from 0.

    Examples
    --------
    Two of four images of one class are recognised. In two of the six ways to choose the first pair, the means of the
    pairs are 0 and 1, and in the other four both are .5:

    >>> values, place = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
    >>> round(spread_by_chance(values, place, np.zeros(4, int)) ** 2, 6) == round(0.25 * 2 / 6, 6)
    True
    """
    support, of_class = np.bincount(place), np.bincount(label)
    counts = np.zeros((len(support), len(of_class)))
    np.add.at(counts, (place, label), 1)
    class_images = np.maximum(of_class, 1)
    mean = np.bincount(label, values) / class_images
    # The sum of n of N images, drawn without replacement, has a variance of n (N - n) / N times that of the images.
    variance = np.bincount(label, np.square(values - mean[label])) / np.maximum(of_class - 1, 1)
    square = np.square(counts @ mean) + (counts * (1 - counts / class_images)) @ variance
    return float(np.sqrt(max((square / support).sum() / len(values) - values.mean() ** 2, 0.0)))


def placebos(values: np.ndarray, place: np.ndarray, label: np.ndarray, shuffles: int = SHUFFLES) -> list[Placebo]:
    """Compare the spread of groups with the spread after the images are shuffled.

    Parameters
    ----------
    values : (kinds, images)
        One or several numbers for each image, such as the shares of networks that are right before and after.
    place, label : (images,)
        As for `spread_by_chance`.
    shuffles : int
        Number of shuffles, which are the same in every call.

    Returns
    -------
    list of Placebo
        One result for each row of `values`.

    Examples
    --------
    All images of the second group are recognised, and none of the first:

    >>> (found,) = placebos(np.repeat([[0.0, 1.0]], 20, axis=1), np.repeat([0, 1], 20), np.zeros(40, int))
    >>> found.spread, found.p
    (0.5, 0.001)
    """
    rng = np.random.default_rng(0)
    support, order = np.bincount(place), np.argsort(label, kind="stable")
    of_class = np.split(order, np.cumsum(np.bincount(label))[:-1])
    means = [kind.mean() for kind in values]
    permutation = np.empty(len(label), dtype=int)
    squares = np.empty((len(values), shuffles))
    for number in range(shuffles):
        permutation[order] = np.concatenate([rng.permutation(images) for images in of_class])
        for kind, mean in enumerate(means):
            squares[kind, number] = _mean_square(np.bincount(place, values[kind, permutation]), support, mean)
    return [_placebo(spread(kind, place), own) for kind, own in zip(values, squares, strict=True)]


def _placebo(own: float, squares: np.ndarray) -> Placebo:
    """Compare a spread with shuffled spreads, given their squares."""
    low, high = np.sqrt(np.quantile(squares, [0.025, 0.975]))
    # With the tolerance, the spread of a shuffle that gives the real groups counts as equally large despite rounding.
    beyond = int((squares >= own**2 * (1 - 1e-9)).sum())
    return Placebo(own, float(np.sqrt(squares.mean())), float(low), float(high), (1 + beyond) / (1 + len(squares)))


def _mean_square(sums: np.ndarray, support: np.ndarray, mean: float) -> float:
    """Compute the variance of group means, weighted by numbers of images, from sums over images (groups,)."""
    return max(float((np.square(sums) / support).sum() / support.sum() - mean**2), 0.0)
