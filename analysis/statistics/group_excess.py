"""Estimate the loss of accuracy of groups of test images beyond that of all images, and test it."""

from typing import NamedTuple

import numpy as np

from analysis.statistics import class_losses, class_sums, retraining, two_way
from analysis.statistics.hypothesis_tests import unchanged_interval


class Excess(NamedTuple):
    """Excess losses with their 95 % intervals and two-sided p, each (groups,), and their variances."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    variances: two_way.Variances

    @property
    def p(self) -> np.ndarray:
        """Two-sided p of the null hypothesis that the group loses as much as all images."""
        return two_way.p_values(self.variances, self.value)


def excess_losses(
    place: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    retrained_from: np.ndarray | None = None,
    *,
    moderated: bool = False,
) -> Excess:
    """Estimate each group's loss of accuracy beyond that of all images, for new networks and new images.

    The variance over images of a group is set to at least that of an equal number of images drawn from all groups.
    Otherwise a few images that happen to change alike would seem to have variance 0.

    Parameters
    ----------
    place : (images,), integers
        Group of each image, from 0; every group has an image.
    before, after : (networks, images), bool
        Whether each network is right about each image; row i of both belongs to the same dense network.
    retrained_from : (networks, images), bool, optional
        The same for the dense networks, if `before` is a control retrained from them. With one network, the dense
        network is needed to account for the effect of retraining alone; with several networks, the variance over
        networks contains this effect.
    moderated : bool
        Whether to shrink the variances over networks towards those of all groups (`class_losses.moderated`). This has
        no effect with fewer than ten groups.

    Returns
    -------
    Excess
        p is NaN if nothing changes, or if there is a single group.

    Examples
    --------
    Both groups lose a fifth of their images, so neither has an excess loss:

    >>> place, image = np.repeat([0, 1], 10), np.arange(20)
    >>> before = np.ones((1, 20), bool)
    >>> found = excess_losses(place, before, image[np.newaxis] % 5 > 0)
    >>> found.value.tolist(), found.p.tolist()
    ([0.0, 0.0], [1.0, 1.0])

    One group loses six of its ten images, and the other none:

    >>> found = excess_losses(place, before, image[np.newaxis] > 5)
    >>> found.value.round(2).tolist(), bool(found.p[0] < 0.05)
    ([0.3, -0.3], True)
    """
    support = np.bincount(place)
    weights = -class_sums.excess_weights(support / len(place))
    changes = class_losses.from_predictions(place, before, after)
    image_variance = (
        np.var(after.mean(0) - before.mean(0), ddof=1) / support if len(place) > 1 else np.zeros(len(support))
    )
    changes = changes._replace(images=np.fmax(changes.images, image_variance))
    changes = class_losses.of_few_images(changes, support)
    if moderated:
        changes = class_losses.moderated(changes, np.bincount(place, (before.mean(0) + after.mean(0)) / 2) / support)
    variances = changes.variances(weights)
    if retrained_from is not None and len(after) == 1:
        alone, against = (
            retraining.changed(place, *pair) for pair in ((retrained_from[0], before[0]), (before[0], after[0]))
        )
        shift_variance, dof = retraining.shift_variances(alone, against)
        if dof:
            variances = variances._replace(networks=[(np.square(weights) @ shift_variance, dof)])
    value = weights @ changes.groups[0].mean(0)
    low, high = value + np.outer([-1, 1], two_way.half_widths(variances))
    if (before == after).all() and len(support) > 1:
        low, high = unchanged_interval(support)
    return Excess(value, low, high, variances)
