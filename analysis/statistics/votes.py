"""Votes of populations of networks: modal labels, pruning-identified exemplars (PIEs), and how much of both is chance.

Definitions follow Hooker et al. 2019, "What Do Compressed Deep Neural Networks Forget?", Section 2.3.

Chance alone makes the modal labels of two small populations differ. On images whose modal labels differ, dense networks
are less accurate, because at most one of the two labels is right. Two halves of the dense population show how much of
both effects occurs without compression.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from analysis.statistics.resampling import mean_interval

# Fewest networks for a modal label. With two networks, any disagreement is a tie.
FEWEST = 5
# Fewest networks in a population that is split into halves, each with modal labels.
FEWEST_HALVED = 2 * FEWEST
# Number of random splits of a population. With so many, the choice of splits adds less standard error than the choice
# of networks.
SPLITS = 20
# Largest number of groups of networks that the jackknife omits in turn.
MOST_GROUPS = 10
_FEWEST_LEFT = 4  # the jackknife needs more networks than this


def vote_counts(members: np.ndarray, predicted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Count the votes that each image has from each population, first for the highest class of every image.

    Parameters
    ----------
    members : (populations, networks)
        1 if a network belongs to a population, else 0.
    predicted : (networks, images), integers from 0

    Yields
    ------
    images : (images left,), integers
        The images that have votes for another class.
    label : (images left,)
        The next lower class of each of these images.
    votes : (images left, populations)

    Examples
    --------
    >>> for images, label, votes in vote_counts(np.array([[1, 1, 1]]), np.array([[0, 2], [0, 2], [0, 1]])):
    ...     print(images.tolist(), label.tolist(), votes.ravel().tolist())
    [0, 1] [0, 2] [3.0, 2.0]
    [1] [1] [1.0]
    """
    members = members.astype(np.float32)  # memory limits the speed, so numbers are small
    left = predicted.astype(np.min_scalar_type(-1 - int(predicted.max(initial=0))))  # -1 stands for no vote
    images = np.arange(left.shape[1])
    while len(images):
        label = left.max(0)
        is_vote = left == label
        yield images, label, is_vote.T.astype(np.float32) @ members.T
        left = np.where(is_vote, left.dtype.type(-1), left)
        has_votes = (left >= 0).any(0)
        images, left = images[has_votes], left[:, has_votes]


def leaders(members: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the modal label of each population (the highest in a tie), its votes, and whether it is tied.

    Parameters
    ----------
    members, predicted
        As for `vote_counts`.

    Returns
    -------
    label, votes : (images, populations), integers
    tied : (images, populations), bool
        Whether another class has equally many votes.

    Examples
    --------
    >>> leaders(np.array([[1, 1, 1], [1, 1, 0]]), np.array([[2, 0], [2, 1], [0, 1]]))[0].tolist()
    [[2, 2], [1, 1]]
    """
    label, most = np.zeros((2, predicted.shape[1], len(members)), np.int32)
    tied = np.zeros(label.shape, dtype=bool)
    for images, candidate, votes in vote_counts(members, predicted):
        former, leads = most[images], votes > most[images]
        label[images] = np.where(leads, candidate[:, np.newaxis], label[images])
        tied[images] = ~leads & (tied[images] | (votes == former))
        most[images] = np.maximum(votes, former)
    return label, most, tied


class Modes(NamedTuple):
    """The most frequent prediction of a population of networks for each image.

    Attributes
    ----------
    label : (images,), integers
        The modal label: the class with the most votes; in a tie, the one with the highest index.
    share : (images,)
        Share of networks that predict the modal label.
    tied : (images,), bool
        Whether another class has equally many votes.
    """

    label: np.ndarray
    share: np.ndarray
    tied: np.ndarray


def modes(predicted: np.ndarray) -> Modes:
    """Find the modal label of each image (Section 2.3). Ties go to the highest label, as in the authors' code.

    Parameters
    ----------
    predicted : (networks, images), integers
        The classes predicted by the networks, from 0.

    Examples
    --------
    Two of three networks predict class 2 for the first image; for the second, each predicts a different class:

    >>> found = modes(np.array([[2, 0], [2, 1], [0, 2]]))
    >>> found.label.tolist(), found.tied.tolist()
    ([2, 2], [False, True])
    """
    label, votes, tied = (each[:, 0] for each in leaders(np.ones((1, len(predicted))), predicted))
    return Modes(label, votes / len(predicted), tied)


class Exemplars(NamedTuple):
    """Pruning identified exemplars (PIEs): images whose modal label differs between the two populations.

    Attributes
    ----------
    dense, compressed : Modes
        Modes of every image in each population.
    identified : (images,), bool
        Whether the modal labels differ.
    """

    dense: Modes
    compressed: Modes
    identified: np.ndarray

    @property
    def ties(self) -> int:
        """Number of images whose modal label is tied in either population."""
        return int(self._tied.sum())

    @property
    def untied(self) -> int:
        """Number of exemplars for which neither modal label is tied."""
        return int((self.identified & ~self._tied).sum())

    @property
    def _tied(self) -> np.ndarray:
        return np.asarray(self.dense.tied | self.compressed.tied)


def exemplars(dense: np.ndarray, compressed: np.ndarray) -> Exemplars:
    """Find the pruning identified exemplars of two populations (PIEs; Hooker et al., Section 2.3).

    Parameters
    ----------
    dense, compressed : (networks, images), integers
        Predictions of the networks of each population. The populations may differ in size.

    Examples
    --------
    >>> found = exemplars(np.array([[0, 1], [0, 1], [1, 1]]), np.array([[1, 1], [1, 1], [0, 0]]))
    >>> found.identified.tolist()
    [True, False]
    """
    return exemplars_between(modes(dense), modes(compressed))


def exemplars_between(dense: Modes, compressed: Modes) -> Exemplars:
    """Find the exemplars as `exemplars` does, given the modes of both populations."""
    return Exemplars(dense, compressed, dense.label != compressed.label)


def disagreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute how often a network of one population and a network of another predict different classes.

    Unlike a comparison of modal labels, this uses every vote.

    Parameters
    ----------
    first, second : (networks, images), integers

    Returns
    -------
    (images,)
        Share of pairs that differ, among all pairs of one network from each population.

    Examples
    --------
    >>> disagreement(np.array([[0], [1]]), np.array([[0], [0]])).tolist()
    [0.5]
    """
    of_first = np.arange(len(first) + len(second)) < len(first)
    agree = np.zeros(first.shape[1])
    for images, _, votes in vote_counts(np.array([of_first, ~of_first]), np.concatenate([first, second])):
        agree[images] += votes.prod(1)
    pairs = len(first) * len(second)
    return (pairs - agree) / pairs


def disagreement_within(predicted: np.ndarray) -> np.ndarray:
    """Compute how often two networks of one population predict different classes.

    Parameters
    ----------
    predicted : (networks, images), integers

    Returns
    -------
    (images,)
        Share of pairs of networks that differ; NaN with one network.

    Examples
    --------
    >>> disagreement_within(np.array([[0], [0], [1]])).round(3).tolist()
    [0.667]
    """
    n = len(predicted)
    return disagreement(predicted, predicted) * n / (n - 1) if n > 1 else np.full(predicted.shape[1], np.nan)


def are_copies(networks: np.ndarray) -> bool:
    """Return whether all networks have the same predictions, or recalls, as copies of one network have.

    Halves of such a population differ in nothing, so they give no placebo.

    Parameters
    ----------
    networks : (networks, images) or (networks, classes)
    """
    return bool((networks == networks[0]).all())


def matched_share(right: np.ndarray, share: np.ndarray, identified: np.ndarray) -> float:
    """Compute the accuracy on images other than PIEs, weighted to match the vote shares of the PIEs.

    Dense networks are less accurate on PIEs by construction, because at most one of the two modal labels is right. A
    fair comparison is with images on which equally many dense networks agree.

    Parameters
    ----------
    right : (images,)
        Share of the networks that are right about each image.
    share : (images,)
        Vote share of the dense modal label.
    identified : (images,), bool
        Whether each image is a PIE.

    Returns
    -------
    float
        Mean over PIEs of the accuracy on other images with the same vote share. A PIE is left out if there are no such
        images. NaN if all PIEs are left out.

    Examples
    --------
    The PIE and one other image have vote share .6:

    >>> matched_share(np.array([0.4, 0.6, 1.0]), np.array([0.6, 0.6, 1.0]), np.array([True, False, False]))
    0.6
    """
    _, stratum = np.unique(np.round(share, 9), return_inverse=True)
    pies, other_images = np.bincount(stratum, identified), np.bincount(stratum, ~identified)
    total = np.bincount(stratum, np.where(identified, 0, right))
    weight = np.where(other_images > 0, pies, 0)
    if not weight.sum():
        return np.nan
    return float((weight * total / np.maximum(other_images, 1)).sum() / weight.sum())


class HalvesExemplars(NamedTuple):
    """Numbers of PIEs between halves, and accuracies on PIEs and on other images, over all splits.

    The first entry of each (1 + groups,) array is for all networks. Each further entry omits one group of networks.

    Attributes
    ----------
    n_pie : (1 + groups,)
        Mean number of PIEs.
    of_splits : (splits,)
        Number of PIEs of each split, for all networks.
    untied : float
        Mean number of PIEs for which neither modal label is tied, for all networks.
    pie, non_pie : (1 + groups,)
        Accuracy of the dense half on its PIEs and on other images.
    matched : float
        Accuracy of the dense half on other images, for all networks. The images are weighted so that the dense half is
        as undecided about them as about its PIEs: the share of votes for the modal label has the same distribution.
    """

    n_pie: np.ndarray
    of_splits: np.ndarray
    untied: float
    pie: np.ndarray
    non_pie: np.ndarray
    matched: float

    @property
    def most_splits(self) -> tuple[float, float]:
        """The 5 % and 95 % quantiles of the number of PIEs over splits."""
        return most_of(self.of_splits)

    @property
    def gap(self) -> np.ndarray:
        """Accuracy on other images minus accuracy on PIEs, (1 + groups,)."""
        return np.asarray(self.non_pie - self.pie)


class Halves:
    """Random halves of a population of dense networks.

    Parameters
    ----------
    dense : (networks, images), integers
        The classes predicted by the networks, from 0.
    label : (images,), integers
    splits : int
        Number of random splits into halves, which are the same in every call.

    Examples
    --------
    All dense networks agree, and misclassify the second image. After compression they predict another class for it:

    >>> halves = Halves(np.array([[0, 1]] * 10), np.array([0, 2]))
    >>> found = halves.against(np.array([[0, 2]] * 10))
    >>> [float(each[0]) for each in (found.n_pie, found.pie, found.non_pie, halves.placebo.n_pie)]
    [1.0, 0.0, 1.0, 0.0]
    """

    def __init__(self, dense: np.ndarray, label: np.ndarray, splits: int = SPLITS) -> None:
        if len(dense) < FEWEST_HALVED:
            raise ValueError(f"{len(dense)} networks, but modal labels of halves need {FEWEST_HALVED}")
        self._splits, self._dense = splits, dense
        members, self._others = (sides.reshape(-1, len(dense)) for sides in _members(len(dense), splits))
        self._labels, votes, self._tied = leaders(members, dense)
        self._right = np.ascontiguousarray((dense == label).T).astype(np.float32) @ members.T / members.sum(1)
        # A stratum consists of the images with the same vote share in one split.
        self._strata = votes[:, :splits] + (len(dense) + 1) * np.arange(splits)
        self.placebo = self.against(dense)

    def against(self, second: np.ndarray) -> HalvesExemplars:
        """Find the PIEs between each dense half and those networks of `second` that belong to the other half.

        Parameters
        ----------
        second : (networks, images), integers
            Predictions of compressed networks; row i is of dense network i after compression. For the placebo, give the
            predictions of the dense networks themselves.
        """
        differ, tied = self._differing(second)
        n_pie, right_pie = self._over_splits(differ), self._over_splits(self._right * differ)
        with np.errstate(invalid="ignore"):
            pie = right_pie / n_pie
            non_pie = (self._over_splits(self._right) - right_pie) / (second.shape[1] * self._splits - n_pie)
        base = slice(self._splits)
        right, pies = self._right[:, base], differ[:, base]
        return HalvesExemplars(
            n_pie / self._splits,
            pies.sum(0),
            float((pies & ~(self._tied | tied)[:, base]).sum() / self._splits),
            pie,
            non_pie,
            matched_share(right.ravel(), self._strata.ravel(), pies.ravel()),
        )

    def image_shares(self, second: np.ndarray) -> np.ndarray:
        """Compute the share of splits in which each image is a PIE, (1 + groups, images)."""
        differ, _ = self._differing(second)
        return np.asarray(differ.reshape(len(differ), -1, self._splits).mean(2).T.astype(np.float32))

    @cached_property
    def placebo_shares(self) -> np.ndarray:
        """`image_shares` of the placebo."""
        return self.image_shares(self._dense)

    def _differing(self, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whether the labels of both halves differ, and whether the second half's is tied, (images, splits)."""
        labels, _, tied = leaders(self._others, second)
        return self._labels != labels, tied

    def _over_splits(self, values: np.ndarray) -> np.ndarray:
        """Sum values, (images, populations), over images and splits; the result is (1 + groups,)."""
        sums: np.ndarray = values.sum(0, dtype=float).reshape(-1, self._splits).sum(1)
        return sums


def most_of(counts: np.ndarray) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of counts over splits; NaN if counts are NaN.

    Examples
    --------
    >>> most_of(np.arange(20)), most_of(np.array([0, 0, 0, 7]))
    ((0.0, 18.0), (0.0, 7.0))
    """
    low, high = np.quantile(counts, [0.05, 0.95], method="inverted_cdf")
    return float(low), float(high)


class Counts(NamedTuple):
    """Mean numbers over splits: of all PIEs, and of PIEs without a tied modal label."""

    pies: float
    untied: float


def exemplars_of_halves(first: np.ndarray, second: np.ndarray, splits: int = SPLITS) -> Counts:
    """Compute mean numbers of PIEs between one half of the networks in `first` and the other half in `second`.

    If both are the dense population, the result is the placebo: the number of PIEs without compression. If they are the
    dense and the compressed population, the result can be compared with the placebo, which is computed from equally
    many networks.

    Parameters
    ----------
    first, second : (networks, images), integers
        Predictions; row i of both belongs to the same dense network.
    splits : int
        Number of random splits into halves, which are the same in every call.

    Returns
    -------
    Counts
        NaN with fewer than ten networks (five per half).

    Examples
    --------
    All networks of a population agree, but the two populations predict different classes for the second image:

    >>> dense, compressed = np.array([[0, 1]] * 10), np.array([[0, 2]] * 10)
    >>> exemplars_of_halves(dense, dense).pies, exemplars_of_halves(dense, compressed).pies
    (0.0, 1.0)
    """
    if len(first) < FEWEST_HALVED:
        return Counts(np.nan, np.nan)
    first_half, second_half = (sides[0] for sides in _members(len(first), splits))
    (labels, _, first_tied), (second_labels, _, second_tied) = leaders(first_half, first), leaders(second_half, second)
    differ = labels != second_labels
    return Counts(float(differ.sum(0).mean()), float((differ & ~first_tied & ~second_tied).sum(0).mean()))


def halves(networks: int, splits: int = SPLITS) -> tuple[np.ndarray, np.ndarray]:
    """Split networks at random into two halves of equal size, each (splits, networks // 2).

    The splits are the same in every call. If the number of networks is odd, each split omits one.
    """
    order, half = _order(networks, splits), networks // 2
    return order[:, :half], order[:, half : 2 * half]


def _order(networks: int, splits: int) -> np.ndarray:
    return np.random.default_rng(0).permuted(np.tile(np.arange(networks), (splits, 1)), axis=1)


def _members(networks: int, splits: int) -> tuple[np.ndarray, np.ndarray]:
    """Mark each half's members by 1 and other networks by 0, in one array per half, (1 + groups, splits, networks).

    The first entry splits all networks as `halves` does. Each further entry omits one group of networks, and splits the
    others in the same order.
    """
    order = _order(networks, splits)
    group = group_of(networks)
    sides = np.zeros((2, 1 + groups(networks), splits, networks), np.float32)
    for left_out in range(-1, groups(networks)):
        networks_left = order[group[order] != left_out].reshape(splits, -1)
        half = networks_left.shape[1] // 2
        for side, half_members in zip(sides, (networks_left[:, :half], networks_left[:, half : 2 * half]), strict=True):
            np.put_along_axis(side[left_out + 1], half_members, 1, axis=1)
    return sides[0], sides[1]


def jackknife_values(values: np.ndarray) -> np.ndarray:
    """Compute the jackknife's pseudo-values: their mean estimates a statistic, and their spread its standard error.

    On average, this standard error is not too small for any statistic that is symmetric in the networks (Efron and
    Stein 1981). Bootstrapping networks would be biased, because a network drawn twice casts two votes for one modal
    label.

    Parameters
    ----------
    values : (1 + groups,)
        The statistic for all networks, then without each group of them.

    Returns
    -------
    (groups,)
    """
    without = values[1:]
    if not len(without):
        return without
    pseudo_values: np.ndarray = values[0] + (len(without) - 1) * (without.mean() - without)
    return pseudo_values


def jackknife_estimate(values: np.ndarray) -> tuple[float, float, float]:
    """Compute a statistic and the ends of its 95 % interval; `values` is as for `jackknife_values`.

    Examples
    --------
    For the mean of three networks with values 0, 3 and 6, this is the t-interval of the values:

    >>> [round(each, 2) for each in jackknife_estimate(np.array([3, 4.5, 3, 1.5]))]
    [3.0, -4.45, 10.45]
    """
    return float(values[0]), *mean_interval(jackknife_values(values))


def group_of(networks: int) -> np.ndarray:
    """Assign each network to a jackknife group, (networks,), with sizes as equal as possible."""
    return np.arange(networks) * groups(networks) // networks


def groups(networks: int) -> int:
    """Return the number of groups that the jackknife omits in turn; 0 if there are too few networks."""
    return min(networks, MOST_GROUPS) if networks > _FEWEST_LEFT else 0
