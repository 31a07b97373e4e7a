"""How much groups of images differ, and how much of it is chance.

A few images for each group make any two groups differ. The placebo deals the same images out anew: each group gets as
many images of each class as it has, drawn from all images of that class. What is beyond the placebo belongs to the
groups, and neither to their size nor to the classes that are in them.
"""

from typing import NamedTuple

import numpy as np

SHUFFLES = 999


class Placebo(NamedTuple):
    """The spread of groups beside that of groups whose images were dealt out anew.

    Attributes
    ----------
    spread : float
        As `spread` returns it.
    chance, low, high : float
        Root mean square of the shuffled spreads, and the range that holds 95 % of them.
    p : float
        Share of the shuffled spreads, and the real one, that are at least as large as the real one.
    """

    spread: float
    chance: float
    low: float
    high: float
    p: float


def spread(values: np.ndarray, place: np.ndarray) -> float:
    """Return the standard deviation of group means, every group weighted by its images.

    Parameters
    ----------
    values : (images,)
        A number for each image, such as the share of networks that are right.
    place : (images,), integers
        Group of each image, from 0; every group has an image.

    Examples
    --------
    The means are 0 and 1, of two images each:

    >>> spread(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    0.5
    """
    support, sums = np.bincount(place), np.bincount(place, values)
    return float(np.sqrt(_mean_square(sums, support, values.mean())))


def spread_by_chance(values: np.ndarray, place: np.ndarray, label: np.ndarray) -> float:
    """Return the root mean square of the placebo's spread, over all ways to deal the images out.

    Parameters
    ----------
    values, place : (images,)
        As for `spread`.
    label : (images,), integers
        Class of each image, from 0.

    Examples
    --------
    Of four images of one class, two are right. Dealt out in pairs they are 0 and 1, .5 and .5 (in four of six ways):

    >>> values, place = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
    >>> round(spread_by_chance(values, place, np.zeros(4, int)) ** 2, 6) == round(0.25 * 2 / 6, 6)
    True
    """
    support, of_class = np.bincount(place), np.bincount(label)
    counts = np.zeros((len(support), len(of_class)))
    np.add.at(counts, (place, label), 1)
    class_images = np.maximum(of_class, 1)
    mean = np.bincount(label, values) / class_images
    # Of n images drawn from N without replacement, the sum has the variance n (N - n) / N times that of the images.
    variance = np.bincount(label, np.square(values - mean[label])) / np.maximum(of_class - 1, 1)
    square = np.square(counts @ mean) + (counts * (1 - counts / class_images)) @ variance
    return float(np.sqrt(max((square / support).sum() / len(values) - values.mean() ** 2, 0.0)))


def placebos(values: np.ndarray, place: np.ndarray, label: np.ndarray, shuffles: int = SHUFFLES) -> list[Placebo]:
    """Hold the spread of groups against groups whose images were dealt out anew.

    Parameters
    ----------
    values : (kinds, images)
        Numbers of several kinds for each image, such as the shares of networks that are right before and after.
    place, label : (images,)
        As for `spread_by_chance`.
    shuffles : int
        How often the images are dealt out, always in the same ways.

    Returns
    -------
    list of Placebo
        One of each kind.

    Examples
    --------
    All images of the second group are right, and none of the first:

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
    """Return a spread beside the squares of the shuffled ones."""
    low, high = np.sqrt(np.quantile(squares, [0.025, 0.975]))
    beyond = int((squares >= own**2 * (1 - 1e-9)).sum())  # ways that deal alike are as large, whatever was rounded
    return Placebo(own, float(np.sqrt(squares.mean())), float(low), float(high), (1 + beyond) / (1 + len(squares)))


def _mean_square(sums: np.ndarray, support: np.ndarray, mean: float) -> float:
    """Return the variance of group means, (groups,) sums over their images, weighted by the images."""
    return max(float((np.square(sums) / support).sum() / support.sum() - mean**2), 0.0)
