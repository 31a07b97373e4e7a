"""How many networks and images it takes to promise that no class loses more than a limit."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.statistics import class_costs, sample_size
from analysis.statistics.class_losses import Changes
from analysis.statistics.class_sums import each_class
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.sample_size import Spread

# Of recall, in shares.
LIMITS = (0.01, 0.02, 0.05)
# Images a class that a table shows beside the number that there is.
IMAGES = (1000, 10_000)
_FEWEST = 3  # networks; two hardly show how far they differ


def spreads(changes: Changes) -> list[Spread]:
    """Return the variances of the mean loss of each class.

    Parameters
    ----------
    changes : Changes
        Of paired networks, two or more.
    """
    variances = changes.variances(each_class(len(changes.images)))
    ((over_networks, dof),) = variances.networks
    columns = np.broadcast_arrays(over_networks, dof, variances.images, variances.in_both)
    return [Spread(len(changes.groups[0]), *map(float, each)) for each in zip(*columns, strict=True)]


def networks_for_limit(changes: Changes, limit: float, level: float = LEVEL) -> int | None:
    """Return how many networks bring the upper bounds of all classes below a limit, if losses stay what they are.

    Parameters
    ----------
    changes : Changes
        As `class_costs.bounds` takes them.
    limit : float
    level : float
        1 minus the confidence of all bounds together.

    Returns
    -------
    int, optional
        None if a loss is at the limit or beyond it, if networks are not paired or do not differ, or if
        `sample_size.MOST_NETWORKS` are too few.

    Examples
    --------
    Losses of .01, .02 and .03 have a bound of .02 + 2.92 * .00577 by t for two degrees of freedom, just below .037:

    >>> from analysis.statistics.class_losses import from_recalls
    >>> changes = from_recalls(np.ones((3, 1)), 1 - np.array([[0.01], [0.02], [0.03]]))
    >>> networks_for_limit(changes, 0.035)
    4
    """
    values = class_costs.of_networks(changes, each_class(len(changes.images)))
    if values is None:
        return None
    level_of_one = 2 * class_costs.joint_level(values, level)
    needed = [
        sample_size.networks_needed(spread, limit - loss, level_of_one)
        for spread, loss in zip(spreads(changes), values.mean(0), strict=True)
        if loss + sample_size.half_widths(spread, level_of_one) > limit
    ]
    counts = [count for count in needed if count is not None]
    return max(counts) if counts and len(counts) == len(needed) else None


def promises(
    changes: Changes, images: float, *, limits: Sequence[float] = LIMITS, level: float = LEVEL
) -> pd.DataFrame:
    """Return the networks with which no class is promised to lose more than a limit, where none loses anything.

    Networks and images are taken to vary as those that are given, by the class that varies most.

    Parameters
    ----------
    changes : Changes
        Of paired networks, two or more.
    images : float
        Images of a class.
    limits : sequence of float
        Losses of recall.
    level : float
        1 minus the confidence of all bounds together.

    Returns
    -------
    DataFrame
        limit, images (a class), networks; NaN where `sample_size.MOST_NETWORKS` are too few.

    Examples
    --------
    >>> from analysis.statistics.class_losses import Changes
    >>> changes = Changes([np.array([[0.0], [0.02], [0.01]])], np.zeros(1), np.zeros(1))
    >>> promises(changes, 1000, limits=[0.02]).to_numpy().tolist()
    [[0.02, 1000.0, 3.0], [0.02, 10000.0, 3.0]]
    """
    of_classes = spreads(changes)
    level_of_one = 2 * level / len(of_classes)
    rows = []
    for limit in limits:
        for count in sorted({round(images), *(each for each in IMAGES if each > images)}):
            scaled = [sample_size.with_images(each, count / images) for each in of_classes]
            needed = [
                sample_size.networks_needed(each, limit, level_of_one, fewest=_FEWEST)
                for each in scaled
                if each.over_networks > 0
            ]
            known = [each for each in needed if each is not None]
            rows.append((limit, count, max(known) if known and len(known) == len(needed) else np.nan))
    return pd.DataFrame(rows, columns=["limit", "images", "networks"])
