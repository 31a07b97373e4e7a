"""Compute how many networks and images are needed to promise that no class loses more than a limit."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from analysis.statistics import class_costs, sample_size
from analysis.statistics.class_losses import Changes
from analysis.statistics.class_sums import each_class
from analysis.statistics.hypothesis_tests import LEVEL, POWER
from analysis.statistics.image_bounds import ImageBounds
from analysis.statistics.sample_size import Spread

# Limits for losses of recall, as shares.
LIMITS = (0.01, 0.02, 0.05)
# Numbers of images per class in the table of `promises`, besides the present number.
IMAGES = (1000, 10_000)
_FEWEST = 3  # fewest networks, because two give a poor estimate of the variance


def spreads(changes: Changes) -> list[Spread]:
    """Return the spread of the mean loss of each class.

    Parameters
    ----------
    changes : Changes
        Changes of at least two paired networks.
    """
    variances = changes.variances(each_class(len(changes.images)))
    ((over_networks, dof),) = variances.networks
    columns = np.broadcast_arrays(over_networks, dof, variances.images, variances.in_both)
    return [Spread(len(changes.groups[0]), *map(float, each)) for each in zip(*columns, strict=True)]


def images_are_too_few(changes: Changes, limit: float, support: np.ndarray, level: float = LEVEL) -> bool:
    """Return whether a loss is below a limit, but no number of networks would rule out that it is above.

    Parameters
    ----------
    changes : Changes
    limit : float
    support : (classes,)
        Number of images of each class.
    level : float
        1 minus the joint confidence of all bounds.

    Examples
    --------
    If none of 100 images is lost, a loss of 3 % is ruled out, but not one of 2 %:

    >>> from analysis.statistics import class_losses
    >>> label, right = np.zeros(100, int), np.ones((5, 100), bool)
    >>> changes = class_losses.from_predictions(label, right, right)
    >>> [images_are_too_few(changes, limit, np.array([100])) for limit in (0.02, 0.03)]
    [True, False]
    """
    found = changes.image_bounds(support, level / len(support))
    if found is None:
        return False
    return bool(((found.loss < limit) & (found.projected(networks=np.inf).upper >= limit)).any())


def _of_each_class(changes: Changes, support: np.ndarray | None, level: float) -> list[ImageBounds | None]:
    """Return the bound from the images of each class; None if it is unknown."""
    classes = len(changes.images)
    found = None if support is None else changes.image_bounds(support, level / classes)
    if found is None:
        return [None] * classes
    return [ImageBounds(*each) for each in zip(*np.broadcast_arrays(*found), strict=True)]


def networks_for_limit(
    changes: Changes, limit: float, level: float = LEVEL, *, support: np.ndarray | None = None
) -> int | None:
    """Estimate how many networks bring the upper bounds of all classes below a limit, if the mean losses stay the same.

    Parameters
    ----------
    changes : Changes
        As for `class_costs.bounds`.
    limit : float
    level : float
        1 minus the joint confidence of all bounds.
    support : (classes,), optional
        Number of images of each class; None if only recalls are known.

    Returns
    -------
    int, optional
        The number of networks in `changes` if it is enough. None if a mean loss is at or beyond the limit, if networks
        are not paired or all lose the same, or if `sample_size.MOST_NETWORKS` are too few.

    Examples
    --------
    Losses of .01, .02 and .03 have the bound .02 + 2.92 * .00577 (t with two degrees of freedom), just below .037. For
    the limit .035, a fourth network is needed:

    >>> from analysis.statistics.class_losses import from_recalls
    >>> changes = from_recalls(np.ones((3, 1)), 1 - np.array([[0.01], [0.02], [0.03]]))
    >>> networks_for_limit(changes, 0.037), networks_for_limit(changes, 0.035)
    (3, 4)
    """
    values = class_costs.of_networks(changes, each_class(len(changes.images)))
    if values is None:
        return None
    level_of_one = 2 * level / values.shape[1]
    of_images = _of_each_class(changes, support, level)
    needed = [
        sample_size.networks_needed(spread, limit - loss, level_of_one, of_images=bound)
        for spread, loss, bound in zip(spreads(changes), values.mean(0), of_images, strict=True)
        if not (loss + sample_size.half_widths(spread, level_of_one) < limit and (bound is None or bound.upper < limit))
    ]
    counts = [count for count in needed if count is not None]
    return max(counts, default=len(values)) if len(counts) == len(needed) else None


def promises(
    changes: Changes, support: np.ndarray, *, limits: Sequence[float] = LIMITS, level: float = LEVEL
) -> pd.DataFrame:
    """Tabulate the networks needed to promise that no class loses more than a limit, if none truly loses anything.

    With this number of networks, the bounds of all classes are below the limit in a share `POWER` of studies. Further
    networks and images are assumed to vary like the given ones, and the same share of each class's images to change.
    The class that varies most determines the number of networks.

    Parameters
    ----------
    changes : Changes
        Changes of at least two paired networks.
    support : (classes,)
        Number of images of each class.
    limits : sequence of float
        Losses of recall.
    level : float
        1 minus the joint confidence of all bounds.

    Returns
    -------
    DataFrame
        - limit: as in `limits`.
        - images: the supposed number of images of the smallest class. The first is the present number; then follow the
          larger ones of `IMAGES`.
        - networks: number of networks needed; NaN if `sample_size.MOST_NETWORKS` are too few, because networks vary too
          much or a class has too few images, or if all networks lose the same.

    Examples
    --------
    The standard deviation over networks is .01, so the standard error of eight networks is .00354. Their bound is 1.9
    standard errors above the estimate. In four of five studies it is at most 2.84 standard errors above 0:

    >>> from analysis.statistics.class_losses import Changes
    >>> changes = Changes([np.array([[0.0], [0.02], [0.01]])], np.zeros(1), np.zeros(1))
    >>> promises(changes, np.array([1000]), limits=[0.0101]).to_numpy().tolist()
    [[0.0101, 1000.0, 8.0], [0.0101, 10000.0, 8.0]]
    """
    of_classes, of_images = spreads(changes), _without_loss(changes, support, level)
    classes, present = len(of_classes), int(support.min())
    rows = []
    for limit in limits:
        for count in sorted({present, *(each for each in IMAGES if each > present)}):
            times = np.maximum(count / support, 1.0)
            needed = [
                sample_size.networks_needed(
                    sample_size.with_images(each, factor),
                    limit,
                    2 * level / classes,
                    fewest=_FEWEST,
                    chance=POWER ** (1 / classes),
                )
                for each, factor in zip(of_classes, times, strict=True)
                if each.over_networks > 0
            ]
            known = [each for each in needed if each is not None]
            counts = range(max(known), sample_size.MOST_NETWORKS + 1) if known and len(known) == len(needed) else []
            # More networks lower the bounds from the images only as far as networks change different images.
            is_enough = partial(_allow, of_images, limit, times, len(changes.groups[0]))
            place = bisect_left(counts, True, key=is_enough)
            rows.append((limit, count, counts[place] if place < len(counts) else np.nan))
    return pd.DataFrame(rows, columns=["limit", "images", "networks"])


def _allow(of_images: ImageBounds, limit: float, times: np.ndarray, given: int, networks: int) -> bool:
    """Return whether the images of all classes allow the promise in a share `POWER` of studies with more networks."""
    return bool(of_images.projected(networks / given, times).chance_below(limit).prod() >= POWER)


def _without_loss(changes: Changes, support: np.ndarray, level: float) -> ImageBounds:
    """Return the bounds from the images if no class loses anything; with recalls alone, as if no image changed."""
    nothing = np.zeros(len(support))
    found = changes.image_bounds(support, level / len(support))
    if found is None:
        return ImageBounds(nothing, nothing, nothing, support, level / len(support), nothing)
    return found._replace(loss=nothing)
