"""Numbers of networks and of images with which the interval of a loss becomes narrow enough."""

from typing import NamedTuple

import numpy as np

from analysis.statistics import two_way

# More networks than this nobody trains, and more images nobody labels.
MOST_NETWORKS, MOST_TIMES_THE_IMAGES = 1000, 10_000
_STEPS = 400


class Spread(NamedTuple):
    """Variances of a mean loss over networks and over images.

    Attributes
    ----------
    networks : int
        Networks a side.
    over_networks, dof : float
        Variance over networks, as `two_way.Variances` has it, and its degrees of freedom. 0 of a network that the loss
        is about.
    over_images, in_both : float
        Variance over images, and the part of it that the variance over networks contains too. NaN if not known.
    """

    networks: int
    over_networks: float
    dof: float
    over_images: float
    in_both: float


def half_widths(
    spread: Spread, level: float, networks: np.ndarray | float = 1.0, images: np.ndarray | float = 1.0
) -> np.ndarray:
    """Return half the width of the interval with other numbers of networks and images.

    Parameters
    ----------
    spread : Spread
    level : float
        1 minus the confidence.
    networks, images : array or float
        How many times as many networks and images.

    Examples
    --------
    Without networks, four times as many images halve the interval:

    >>> half_widths(Spread(1, 0.0, np.inf, 1.0, 0.0), 0.05, images=np.array([1.0, 4.0])).round(2).tolist()
    [1.96, 0.98]
    """
    networks, images = np.broadcast_arrays(np.asarray(networks, float), np.asarray(images, float))
    own = max(spread.over_networks - spread.in_both, 0.0)
    in_both = spread.in_both / (images * networks)
    over_images = max(spread.over_images - spread.in_both, 0.0) / images + in_both
    over_networks = own / networks + in_both
    dof = spread.dof + spread.networks * (networks - 1)
    return two_way.half_widths(two_way.Variances([(over_networks, dof)], over_images, in_both), level)


def with_images(spread: Spread, times: float) -> Spread:
    """Return the spread with so many times as many images.

    Examples
    --------
    Networks differ by 1 - .5 apart from what images add, and twice the images halve that:

    >>> with_images(Spread(3, 1.0, 2, 0.6, 0.5), 2.0)
    Spread(networks=3, over_networks=0.75, dof=2, over_images=0.3, in_both=0.25)
    """
    own = max(spread.over_networks - spread.in_both, 0.0)
    over_images, in_both = spread.over_images / times, spread.in_both / times
    return spread._replace(over_networks=own + in_both, over_images=over_images, in_both=in_both)


def networks_needed(
    spread: Spread, margin: float, level: float = two_way.LEVEL, *, fewest: int | None = None
) -> int | None:
    """Return the fewest networks a side with which half an interval is below a margin.

    Parameters
    ----------
    spread : Spread
    margin, level : float
    fewest : int, optional
        The fewest to consider; one more than there are, if not given.

    Returns
    -------
    int, optional
        None if there is no variance over networks, or if `MOST_NETWORKS` are too few.

    Examples
    --------
    Networks have the variance 3. Of eleven the standard error is .522, and t for ten degrees of freedom is 2.23:

    >>> networks_needed(Spread(3, 1.0, 2, 0.0, 0.0), 1.2)
    11
    """
    if not spread.over_networks > 0:
        return None
    counts = np.arange(fewest or spread.networks + 1, MOST_NETWORKS + 1)
    enough = half_widths(spread, level, networks=counts / spread.networks) < margin
    return int(counts[enough.argmax()]) if enough.any() else None


def images_needed(spread: Spread, margin: float, level: float = two_way.LEVEL) -> float | None:
    """Return how many times as many images make half an interval less than a margin, within 3 %.

    Returns
    -------
    float, optional
        None if `MOST_TIMES_THE_IMAGES` are too few, since networks differ too.

    Examples
    --------
    >>> round(images_needed(Spread(1, 0.0, np.inf, 1.0, 0.0), 0.98))
    4
    """
    times = np.geomspace(1, MOST_TIMES_THE_IMAGES, _STEPS)[1:]
    enough = half_widths(spread, level, images=times) < margin
    return float(times[enough.argmax()]) if enough.any() else None
