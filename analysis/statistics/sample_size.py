"""Compute the numbers of networks and images that make the interval of a loss narrow enough."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from analysis.statistics import two_way
from analysis.statistics.image_bounds import ImageBounds

# Largest numbers considered, because nobody trains more networks or labels more images.
MOST_NETWORKS, MOST_TIMES_THE_IMAGES = 1000, 10_000
_STEPS = 400


class Spread(NamedTuple):
    """Variances of a mean loss, over networks and over images.

    Attributes
    ----------
    networks : int
        Number of networks per side.
    over_networks, dof : float
        Variance over networks, as in `two_way.Variances`, and its degrees of freedom. The variance is 0 if there is a
        single network on each side, because the loss is then for this network only.
    over_images, in_both : float
        Variance over images, NaN if unknown, and the part of it that the variance over networks also contains.
    """

    networks: int
    over_networks: float
    dof: float
    over_images: float
    in_both: float


def half_widths(
    spread: Spread, level: float, networks: np.ndarray | float = 1.0, images: np.ndarray | float = 1.0
) -> np.ndarray:
    """Compute the half-width of the interval that other numbers of networks and images would give.

    Parameters
    ----------
    spread : Spread
    level : float
        1 minus the confidence.
    networks, images : array or float
        Factors by which the numbers of networks and images are multiplied.

    Examples
    --------
    Without variance over networks, four times as many images halve the interval:

    >>> half_widths(Spread(1, 0.0, np.inf, 1.0, 0.0), 0.05, images=np.array([1.0, 4.0])).round(2).tolist()
    [1.96, 0.98]
    """
    return two_way.half_widths(_projected(spread, networks, images), level)


def _projected(
    spread: Spread, networks: np.ndarray | float = 1.0, images: np.ndarray | float = 1.0
) -> two_way.Variances:
    networks, images = np.broadcast_arrays(np.asarray(networks, float), np.asarray(images, float))
    own = max(spread.over_networks - spread.in_both, 0.0)
    in_both = spread.in_both / (images * networks)
    over_images = max(spread.over_images - spread.in_both, 0.0) / images + in_both
    over_networks = own / networks + in_both
    dof = spread.dof + spread.networks * (networks - 1)
    return two_way.Variances([(over_networks, dof)], over_images, in_both)


def with_images(spread: Spread, times: float) -> Spread:
    """Compute the spread of the loss if the number of images is multiplied by `times`.

    Examples
    --------
    The variance over networks, 1, contains an image part of .5, which halves if the images double:

    >>> with_images(Spread(3, 1.0, 2, 0.6, 0.5), 2.0)
    Spread(networks=3, over_networks=0.75, dof=2, over_images=0.3, in_both=0.25)
    """
    own = max(spread.over_networks - spread.in_both, 0.0)
    over_images, in_both = spread.over_images / times, spread.in_both / times
    return spread._replace(over_networks=own + in_both, over_images=over_images, in_both=in_both)


def networks_needed(
    spread: Spread,
    margin: float,
    level: float = two_way.LEVEL,
    *,
    fewest: int | None = None,
    of_images: ImageBounds | None = None,
    chance: float = 0.5,
) -> int | None:
    """Find the fewest networks per side for which the upper end of an interval is below a limit.

    Parameters
    ----------
    spread : Spread
    margin : float
        The limit minus the loss.
    level : float
        1 minus the confidence of the interval.
    fewest : int, optional
        Smallest number to consider; by default one more than `spread.networks`.
    of_images : ImageBounds, optional
        Bound of the same loss, which must exceed the loss by less than the margin too.
    chance : float
        Probability that the end is below the limit. The default supposes that the estimate equals the loss.

    Returns
    -------
    int, optional
        None if there is no variance over networks, or if `MOST_NETWORKS` are too few.

    Examples
    --------
    The mean of three networks has variance 1, so the mean of eleven has the standard error (3 / 11)^.5 = .522. The
    quantile of t with ten degrees of freedom is 2.23:

    >>> networks_needed(Spread(3, 1.0, 2, 0.0, 0.0), 1.2)
    11

    With 19 networks, the standard error is .397 and the half-width 2.1 * .397 = .835. The end has the variance .397² +
    .835² / 36 = .177, so in one study of five it is more than .842 * .421 = .354 too high:

    >>> networks_needed(Spread(3, 1.0, 2, 0.0, 0.0), 1.2, chance=0.8)
    19
    """
    if not spread.over_networks > 0:
        return None
    counts = np.arange(fewest or spread.networks + 1, MOST_NETWORKS + 1)
    variances = _projected(spread, networks=counts / spread.networks)
    half = two_way.half_widths(variances, level)
    ((_, dof),) = variances.networks
    # The end varies with the estimate and its standard error, whose relative variance is 1 / (2 dof).
    deviation = NormalDist().inv_cdf(chance) * np.sqrt(variances.total + np.square(half) / (2 * dof))
    enough = half + deviation < margin
    if of_images is not None:
        enough &= of_images.projected(networks=counts / spread.networks).upper - of_images.loss < margin
    return int(counts[enough.argmax()]) if enough.any() else None


def images_needed(
    spread: Spread,
    margin: float,
    level: float = two_way.LEVEL,
    *,
    of_images: ImageBounds | None = None,
) -> float | None:
    """Find, to within 3 %, the factor by which images must be multiplied for a half-width to be below a margin.

    Parameters
    ----------
    spread : Spread
    margin, level : float
    of_images : ImageBounds, optional
        As for `networks_needed`.

    Returns
    -------
    float, optional
        None if a factor of `MOST_TIMES_THE_IMAGES` is not enough, because networks also differ.

    Examples
    --------
    >>> round(images_needed(Spread(1, 0.0, np.inf, 1.0, 0.0), 0.98))
    4
    """
    times = np.geomspace(1, MOST_TIMES_THE_IMAGES, _STEPS)[1:]
    enough = half_widths(spread, level, images=times) < margin
    if of_images is not None:
        enough &= of_images.projected(images=times).upper - of_images.loss < margin
    return float(times[enough.argmax()]) if enough.any() else None
