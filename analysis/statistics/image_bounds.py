"""Bound the losses of classes by the images that change: few images show little, however many networks there are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.arithmetic import quotient
from analysis.statistics.class_sums import Weights
from analysis.statistics.hypothesis_tests import change_interval

# In how many changed images the usual size counts for the size of a class; benchmarks/few_images.py checks it.
_USUAL_CHANGES = 30
_QUANTILES = 40  # number of quantiles of the number of changed images that `chance_below` tries


def unchanged_bound(support: ArrayLike, level: float) -> np.ndarray:
    """Compute upper bounds of the losses of classes without any changed image, by the rule of three.

    Parameters
    ----------
    support : (classes,)
        Number of images of each class.
    level : float
        1 minus the confidence of the one-sided bound.

    Examples
    --------
    If 5 % of all images are lost, the probability of no loss among 59 images is .95 ** 59 = .0485:

    >>> float(unchanged_bound(59, 0.05).round(3))
    0.05
    """
    return np.asarray(1 - level ** (1 / np.asarray(support)))


class ImageBounds(NamedTuple):
    """Upper bounds of the losses of classes, from the changes of their images.

    The mean change of an image, d, is the share of networks that win it minus the share that lose it. For networks that
    were each tested on their own images, it is the image's part of the mean change of its class, times `support`.

    Attributes
    ----------
    loss, moved, moved_square : (classes,)
        Mean loss of each class, and means over its images of |d| and d².
    support : (classes,)
        Number of images of each class.
    level : float
        1 minus the confidence of each one-sided bound.
    in_both : (classes,)
        As in `two_way.Variances`. Times `support` - 1, it is the part of `moved_square` that comes from differences
        between networks.
    usual_size : float
        Mean size of the changes of all classes together, Σ d² / Σ |d| over all images. By chance, only single networks
        may change the few images of a class, although all networks would lose others. If the usual size is larger than
        the class's own size, the mean of both counts, with the weights 30 and Σ |d| over the class's images.
    """

    loss: np.ndarray
    moved: np.ndarray
    moved_square: np.ndarray
    support: np.ndarray
    level: float
    in_both: np.ndarray
    usual_size: np.ndarray | float = 0.0

    @property
    def upper(self) -> np.ndarray:
        """The bounds, (classes,).

        The changed images of a class are replaced by images that all change by one size, chosen so that the sum of the
        changes and the sum of their squares stay the same. The bound is this size times the bound of one network that
        changes this number of images (`hypothesis_tests.change_interval`), and at least `unchanged_bound`.

        Examples
        --------
        If two networks lose the same one of 40 images, the bound is that of one network that loses one image. If they
        lose different images, it is half the bound of one network that loses two, unless this is below the rule of
        three:

        >>> found = ImageBounds(np.full(2, 1 / 40), np.full(2, 1 / 40), np.array([1 / 40, 1 / 80]), 40, 0.025, 0.0)
        >>> found.upper.round(3).tolist(), float(unchanged_bound(40, 0.025).round(3))
        ([0.129, 0.088], 0.088)
        >>> [round(float(-change_interval(lost, 0, 40)[0]), 3) for lost in (1, 2)]
        [0.129, 0.165]
        """
        return np.asarray(np.maximum(self._of_changed, unchanged_bound(self.support, self.level)))

    @property
    def _of_changed(self) -> np.ndarray:
        """The bounds from the changed images alone, 0 if none changes, (classes,)."""
        lost, won = (
            np.maximum(self.support * (self.moved + sign * self.loss) / (2 * self._size), 0) for sign in (1, -1)
        )
        of_changed = -self._size * change_interval(lost, won, self.support, 1 - 2 * self.level)[0]
        return np.where(self.moved > 0, of_changed, 0.0)

    @property
    def _distances(self) -> np.ndarray:
        """The distances from the losses to their bounds, (classes,).

        For a class that wins images, the rule of three counts from 0.
        """
        of_unchanged = unchanged_bound(self.support, self.level) - np.maximum(self.loss, 0)
        return np.asarray(np.maximum(self._of_changed - self.loss, of_unchanged))

    def of_sums(self, weights: Weights) -> np.ndarray:
        """Compute upper bounds of weighted sums of the losses, such as costs, (sums,).

        The squared distances from the losses to their bounds are added, times the squared weights: to the upper bounds
        of classes with a positive weight, and to the lower bounds of classes with a negative one (Zou and Donner 2008,
        Statistics in Medicine 27, 1693-1702).

        Parameters
        ----------
        weights : (sums, classes)

        Examples
        --------
        One network loses one of 40 images of the first class and none of the second. The bounds of these losses are
        .129 and .088, and the lower bound of the second one is -.088:

        >>> lost = np.array([1 / 40, 0.0])
        >>> found = ImageBounds(lost, lost, lost, 40, 0.025, 0.0)
        >>> upper = found.of_sums(np.array([[0.5, -0.5], [0.5, 0.5]]))
        >>> upper.round(4).tolist(), [round(1 / 80 + ((0.129 - 0.025) ** 2 + 0.088**2) ** 0.5 / 2, 4)] * 2
        ([0.0806, 0.0806], [0.0806, 0.0806])
        """
        won = self._replace(loss=-self.loss)
        above, below = (np.square(each._distances) for each in (self, won))
        squares = np.square(np.maximum(weights, 0)) @ above + np.square(np.minimum(weights, 0)) @ below
        return np.asarray(np.minimum(weights @ self.loss + np.sqrt(squares), np.abs(weights) @ np.ones(len(squares))))

    @property
    def _size(self) -> np.ndarray:
        """The size of the changes in `upper`, 1 without changed images, (classes,)."""
        own, changes = quotient(self.moved_square, self.moved), self.support * self.moved
        shrunk = (changes * own + _USUAL_CHANGES * self.usual_size) / (changes + _USUAL_CHANGES)
        return np.where(self.moved > 0, np.maximum(own, shrunk), 1.0)

    def projected(self, networks: ArrayLike = 1.0, images: ArrayLike = 1.0) -> "ImageBounds":
        """Return the bounds that other numbers of networks and images would give, if losses stay the same.

        Parameters
        ----------
        networks, images : array or float
            Factors by which the numbers of networks and images are multiplied. Networks are tested on the same images.

        Examples
        --------
        Three of 100 images are lost. With four times as many images, twelve of 400 are:

        >>> three = ImageBounds(0.03, 0.03, 0.03, 100, 0.025, 0.0)
        >>> three.projected(images=np.array([1.0, 4.0])).upper.round(3).tolist()
        [0.085, 0.052]

        If half of the squared changes come from differences between two networks, a fourth does with four networks:

        >>> both = ImageBounds(0.15, 0.2, 0.1, 101, 0.025, 0.0005)
        >>> [round(float(each), 4) for each in both.projected(networks=2.0)[1:3]]
        [0.2, 0.075]
        """
        of_networks = self.in_both * (self.support - 1)
        square = np.maximum(self.moved_square - of_networks * (1 - 1 / np.asarray(networks)), np.square(self.loss))
        support = self.support * np.asarray(images)
        # The mean of |d| is at most the root of the mean of d².
        return self._replace(moved=np.minimum(self.moved, np.sqrt(square)), moved_square=square, support=support)

    def chance_below(self, limit: float) -> np.ndarray:
        """Compute the share of studies whose bounds are below a limit if the classes truly lose nothing, (classes,).

        The number of changed images, which are replaced by images that change by one size as in `upper`, varies between
        studies as a Poisson variable. Because each of them is as likely lost as won, the number of lost images minus
        that of won images varies as much, around 0.

        Examples
        --------
        One of 1,000 images changes in the first class, and none in the second. The bound is below .009 if one image is
        lost, and above if two are. If two images change, one more than on average, one counts as lost. So the bound is
        below .009 if at most two change, with the probability (1 + 1 + 1 / 2) e^-1:

        >>> [round(float(-change_interval(lost, 0, 1000, 0.99)[0]), 3) for lost in (1, 2)]
        [0.008, 0.01]
        >>> moved, support = np.array([0.001, 0.0]), np.full(2, 1000)
        >>> ImageBounds(np.zeros(2), moved, moved, support, 0.005, 0.0).chance_below(0.009).round(2).tolist()
        [0.92, 1.0]
        """
        from scipy.stats import poisson  # the command line must not wait for it

        changed = self.support * self.moved / self._size
        most = poisson.ppf(1 - np.geomspace(0.5, 1e-5, _QUANTILES)[:, np.newaxis], changed)
        beyond = most - np.floor(changed)
        lost_or_won = np.maximum(np.minimum(changed, most), beyond)
        loss, moved = (self._size / self.support * each for each in (beyond, lost_or_won))
        of_others = self._replace(loss=loss, moved=moved, moved_square=self._size * moved, usual_size=0.0)
        return np.asarray(np.where(of_others.upper < limit, poisson.cdf(most, changed), 0).max(0))
