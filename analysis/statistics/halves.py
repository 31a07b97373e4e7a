"""Count pruning-identified exemplars (PIEs) between halves of populations of networks, and measure their difficulty.

Chance alone makes the modal labels of two small populations differ. On images whose modal labels differ, dense networks
are less accurate, because at most one of the two labels is right. Two halves of the dense population show how much of
both effects occurs without compression.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from analysis.statistics import modal_labels
from analysis.statistics.modal_labels import modes
from analysis.statistics.resampling import mean_interval

# Number of random splits of a population. With so many, the choice of splits adds less standard error than the choice
# of networks.
SPLITS = 20
# Largest number of groups of networks that the jackknife omits in turn.
MOST_GROUPS = 10
# Fewest networks in a population that is split into halves, each with modal labels.
FEWEST = 2 * modal_labels.FEWEST
_FEWEST_LEFT = 4  # the jackknife needs more networks than this
_BLOCK = 256  # images


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
        if len(dense) < FEWEST:
            raise ValueError(f"{len(dense)} networks, but modal labels of halves need {FEWEST}")
        self._splits = splits
        members, other_members = (sides.reshape(-1, len(dense)) for sides in _members(len(dense), splits))
        self._others, size = other_members, members.sum(1)
        self._least_half = int(size.min())
        self._labels, votes, self._tied = leaders(members, dense)
        self._right = np.ascontiguousarray((dense == label).T).astype(np.float32) @ members.T / size
        self._all_right = self._over_splits(self._right)
        # A stratum consists of the images with the same vote share in one split; `_images` counts them.
        self._strata = votes[:, :splits] + (len(dense) + 1) * np.arange(splits)
        self._images = np.bincount(self._strata.ravel())
        self._right_by_stratum = np.bincount(self._strata.ravel(), self._right[:, :splits].ravel())
        self._mode, self._open = self._common_mode(dense)
        self._dense = dense
        self.placebo = self.against(dense)

    def against(self, second: np.ndarray) -> HalvesExemplars:
        """Find the PIEs between each dense half and those networks of `second` that belong to the other half.

        Parameters
        ----------
        second : (networks, images), integers
            Predictions of compressed networks; row i is of dense network i after compression. For the placebo, give the
            predictions of the dense networks themselves.
        """
        images, differ, tied = self._differing(second)
        right, untied = self._right[images], ~(self._tied[images] | tied)
        n_pie = self._over_splits(differ)
        right_pie = self._over_splits(right * differ)
        with np.errstate(invalid="ignore"):
            pie = right_pie / n_pie
            non_pie = (self._all_right - right_pie) / (second.shape[1] * self._splits - n_pie)
        base = differ[:, : self._splits]
        matched_accuracy = self._matched(self._strata[images][base], right[:, : self._splits][base])
        return HalvesExemplars(
            n_pie / self._splits,
            base.sum(0),
            float((base & untied[:, : self._splits]).sum() / self._splits),
            pie,
            non_pie,
            matched_accuracy,
        )

    def image_shares(self, second: np.ndarray) -> np.ndarray:
        """Compute the share of splits in which each image is a PIE, (1 + groups, images)."""
        images, differ, _ = self._differing(second)
        shares = np.zeros((differ.shape[1] // self._splits, second.shape[1]), np.float32)
        shares[:, images] = differ.reshape(len(images), len(shares), self._splits).mean(2).T
        return shares

    @cached_property
    def placebo_shares(self) -> np.ndarray:
        """`image_shares` of the placebo."""
        return self.image_shares(self._dense)

    def _differing(self, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find the images whose modal label can differ between halves.

        Return these images; whether their labels differ, (images, populations); and whether the second half's label is
        tied, (images, populations).
        """
        mode, is_open = self._common_mode(second)
        images = np.flatnonzero(is_open | self._open | (mode != self._mode))
        labels = self._labels[images]
        differ, tied = labels != mode[images, np.newaxis], np.zeros_like(labels, dtype=bool)
        other_labels, _, tied[is_open[images]] = leaders(self._others, second[:, is_open])
        differ[is_open[images]] = self._labels[is_open] != other_labels
        return images, differ, tied

    def _over_splits(self, values: np.ndarray) -> np.ndarray:
        """Sum values, (images, populations), over images and splits; the result is (1 + groups,)."""
        sums: np.ndarray = values.sum(0, dtype=float).reshape(-1, self._splits).sum(1)
        return sums

    def _common_mode(self, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the modal label of all networks, and whether a half may have another label, each (images,)."""
        label, share, _ = modes(predicted)
        return label, np.rint(share * len(predicted)) <= len(predicted) - self._least_half / 2

    def _matched(self, strata: np.ndarray, right: np.ndarray) -> float:
        """Compute `HalvesExemplars.matched` from the strata and accuracies of the PIEs of all splits."""
        pies = np.bincount(strata, minlength=len(self._images))
        other_images = self._images - pies
        total = self._right_by_stratum - np.bincount(strata, right, minlength=len(self._images))
        weight = np.where(other_images > 0, pies, 0)
        return float((weight * total / np.maximum(other_images, 1)).sum() / weight.sum()) if weight.sum() else np.nan


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
    if len(first) < FEWEST:
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


def leaders(members: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the modal label of each population (the highest in a tie), its votes, and whether it is tied.

    Parameters
    ----------
    members : (populations, networks), float32
        1 if a network belongs to a population, else 0.
    predicted : (networks, images), integers from 0

    Returns
    -------
    label, votes : (images, populations), integers
    tied : (images, populations), bool
        Whether another class has equally many votes.

    Examples
    --------
    >>> leaders(np.array([[1, 1, 1], [1, 1, 0]], np.float32), np.array([[2, 0], [2, 1], [0, 1]]))[0].tolist()
    [[2, 2], [1, 1]]
    """
    # Small integers save time, because memory limits the speed. They are signed because -1 stands for no class.
    predicted = predicted.astype(np.min_scalar_type(-1 - int(predicted.max(initial=0))))
    contested = np.flatnonzero((predicted != predicted[0]).any(axis=0))
    label = np.repeat(predicted[0, :, np.newaxis], len(members), axis=1)
    votes = np.tile(members.sum(axis=1).astype(np.min_scalar_type(len(members.T))), (len(label), 1))
    tied = np.zeros(label.shape, dtype=bool)
    predicted = predicted[:, contested]
    predicted, candidates = np.ascontiguousarray(predicted.T), np.ascontiguousarray(_candidates(predicted).T)
    order = np.argsort((candidates >= 0).sum(axis=1), kind="stable")
    for start in range(0, len(order), _BLOCK):  # votes of a block of images stay in the processor's cache
        block = order[start : start + _BLOCK]
        images = contested[block]
        label[images], votes[images], tied[images] = _leaders(members, predicted[block], candidates[block])
    return label, votes, tied


def _candidates(predicted: np.ndarray) -> np.ndarray:
    """Return the distinct classes predicted for each image, (ranks, images), in descending order and padded with -1."""
    levels = [predicted.max(axis=0)]
    while ((lower := np.where(predicted < levels[-1], predicted, predicted.dtype.type(-1))) >= 0).any():
        levels.append(lower.max(axis=0))
    return np.array(levels)


def _leaders(
    members: np.ndarray, predicted: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute `leaders` for a block of images, from predictions (images, networks) and candidates."""
    candidates = candidates[:, (candidates >= 0).any(axis=0)]
    last, bits = candidates.shape[1] - 1, (candidates.shape[1] - 1).bit_length()
    best, second = np.zeros((2, len(predicted), len(members)), np.float32)
    votes_weigh = (members * 2**bits).T
    # Votes are in the high bits and the rank in the low ones, so that the first candidate wins ties.
    for rank, candidate in enumerate(candidates.T):
        own = (predicted == candidate[:, np.newaxis]).astype(np.float32) @ votes_weigh
        own += last - rank
        np.maximum(second, np.minimum(best, own), out=second)
        np.maximum(best, own, out=best)
    best_votes, second_votes = best.astype(np.int32), second.astype(np.int32)
    candidate_index = (
        last - (best_votes & (2**bits - 1)) + candidates.shape[1] * np.arange(len(candidates))[:, np.newaxis]
    )
    return candidates.ravel()[candidate_index], best_votes >> bits, best_votes >> bits == second_votes >> bits
