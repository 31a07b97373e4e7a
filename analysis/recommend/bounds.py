"""A cell's networks on validation images: estimates, and bounds that the true values surely do not exceed.

Validation images may be other images for each seed. Then the variance over networks contains that over images.
"""

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import block_diag

from analysis.common.errors import StudyError
from analysis.runs import frames, schema
from analysis.runs.frames import ReadPredictions
from analysis.statistics import class_costs, class_losses, intensification, two_way
from analysis.statistics.class_losses import Changes
from analysis.statistics.new_images import PooledSlope, SlopeParts, pooled_slope, slope_parts


class ValidationAnswers(NamedTuple):
    """Classes of validation images, and whether a network is right about each before and after pruning."""

    label: np.ndarray  # (images,)
    before: np.ndarray
    after: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """Images of each label, (labels,)."""
        return np.bincount(self.label)

    @property
    def recall(self) -> np.ndarray:
        """Recall of each label, (labels,), the mean of before and after."""
        return np.bincount(self.label, (self.before.astype(float) + self.after) / 2) / self.support

    @property
    def at_chance(self) -> tuple[bool, bool]:
        """Whether the network guesses before pruning, and after."""
        before, after = intensification.networks_at_chance(self.label, np.array([self.before, self.after])).tolist()
        return before, after


class Bounded(NamedTuple):
    """An estimate and its one-sided upper bound."""

    value: float
    high: float


class CellLosses(NamedTuple):
    """What the networks of a cell lost on validation images.

    Attributes
    ----------
    n, n_at_chance : int
        Networks that count, and pruned networks that are left out because they guess.
    loss : Bounded
        Accuracy before minus accuracy after.
    alpha, raw_slope : float
        Means over the networks.
    alpha_new : Bounded
        The bound is NaN where noise hides the differences between classes.
    excess : dict, label of a class -> Bounded
        Loss of recall of the class minus the loss of accuracy.
    class_loss : dict, label of a class -> Bounded
        Loss of recall of the class, with bounds that hold for all classes together.
    changes : Changes, optional
        What the bounds of the classes rest on.
    images : int
        Fewest images of a class.
    """

    n: int
    n_at_chance: int
    loss: Bounded
    alpha: float
    raw_slope: float
    alpha_new: Bounded
    excess: dict[int, Bounded]
    class_loss: dict[int, Bounded]
    changes: Changes | None = None
    images: int = 0

    @property
    def largest_excess(self) -> Bounded:
        """The largest excess loss, and the largest bound.

        The bound needs no correction for the number of classes: it is at least that of the class with the truly
        largest excess loss.
        """
        values = np.array(list(self.excess.values())).reshape(-1, 2)
        return Bounded(*values.max(0).tolist()) if len(values) else Bounded(np.nan, np.nan)

    @property
    def worst_class(self) -> tuple[int, Bounded]:
        """The label of the class that may lose most, and its loss; one without a bound comes first."""
        return max(self.class_loss.items(), key=lambda item: np.inf if np.isnan(item[1].high) else item[1].high)


def answers(runs: pd.DataFrame, predictions: ReadPredictions, notes: list[str]) -> list[ValidationAnswers]:
    """Return the answers of a cell's networks, one entry for each network.

    Parameters
    ----------
    runs : DataFrame
        Runs of one cell, as `pull.runs` returns them.
    predictions : callable
        Takes run ids and returns what the runs predicted for validation images.
    notes : list of str
        Gets a sentence on runs that are left out.

    Raises
    ------
    StudyError
        If no run has validation predictions of the same images as its dense run.
    """
    pairs = _prediction_pairs(runs, predictions)
    if not pairs:
        raise StudyError(
            f"{schema.VAL_PREDICTIONS} of the same images is in none of the runs "
            f"{', '.join(runs[frames.RUN_ID][:3])} and their dense runs: log it with each, since test images must not "
            "choose"
        )
    if n_left_out := len(runs) - len(pairs):
        pruner, ratio = runs[[schema.PRUNER, schema.RATIO]].iloc[0]
        notes.append(
            f"{n_left_out} of {len(runs)} runs of {pruner} at ratio {ratio:g} left out, without "
            f"{schema.VAL_PREDICTIONS} of the images of their dense run."
        )
    return [
        ValidationAnswers(
            dense[schema.LABEL], *(run[schema.PREDICTED] == dense[schema.LABEL] for run in (dense, pruned))
        )
        for dense, pruned in pairs
    ]


def _prediction_pairs(
    runs: pd.DataFrame, predictions: ReadPredictions
) -> list[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]:
    """Return the predictions of each dense run and its pruned run, if both predicted the same images."""
    ids = list(zip(runs[schema.DENSE_RUN_ID], runs[frames.RUN_ID], strict=True))
    arrays = predictions(list(dict.fromkeys(run_id for pair in ids for run_id in pair)))
    pairs = [(arrays[dense], arrays[pruned]) for dense, pruned in ids if dense in arrays and pruned in arrays]
    return [(dense, pruned) for dense, pruned in pairs if np.array_equal(dense[schema.LABEL], pruned[schema.LABEL])]


def measure(networks: list[ValidationAnswers], level: float) -> CellLosses:
    """Measure what the networks of a cell lost, over the classes of which each network has images.

    A network whose dense network guesses counts nowhere. The variances of the classes over networks are moderated
    (`class_losses.moderated`).

    Parameters
    ----------
    networks : list of ValidationAnswers
    level : float
        Chance that a bound is too low. The bounds hold for any number of networks (`two_way.half_width`). If no
        prediction changed, those of the losses are by the rule of three, from the images of one network.

    Returns
    -------
    Measured
        NaN where no network counts.
    """
    classes, networks = _common_classes(networks)
    chance_flags = [network.at_chance for network in networks]
    sound = [network for network, either in zip(networks, chance_flags, strict=True) if not any(either)]
    n_at_chance = chance_flags.count((False, True))
    nothing = Bounded(np.nan, np.nan)
    if not sound:
        return CellLosses(0, n_at_chance, nothing, np.nan, np.nan, nothing, {}, {})
    share = np.mean([network.support / len(network.label) for network in sound], axis=0)
    (loss,) = _bounded_losses(_changes(sound, level, of_accuracy=True), np.ones((1, 1)), level)
    changes = class_losses.moderated(_changes(sound, level), np.mean([network.recall for network in sound], axis=0))
    excess = _bounded_losses(changes, class_losses.excess_weights(share), level)
    support = np.min([network.support for network in sound], axis=0)
    of_class = class_costs.bounds(changes, np.eye(len(classes)), support=support, level=level)
    class_loss = [Bounded(*map(float, each)) for each in zip(of_class.value, of_class.upper_all, strict=True)]
    slope = _pooled_slope(sound)
    half = two_way.half_width(slope.variances, 2 * level) if slope.identified(2 * level) else np.nan
    alphas, raw_slopes = _slopes(sound)
    return CellLosses(
        n=len(sound),
        n_at_chance=n_at_chance,
        loss=loss,
        alpha=float(alphas.mean()),
        raw_slope=float(raw_slopes.mean()),
        alpha_new=Bounded(slope.estimate, slope.estimate + half),
        excess=dict(zip(classes, excess, strict=True)),
        class_loss=dict(zip(classes, class_loss, strict=True)),
        changes=changes,
        images=int(support.min()),
    )


def _common_classes(networks: list[ValidationAnswers]) -> tuple[list[int], list[ValidationAnswers]]:
    """Return the labels that all networks have images of, and the answers for these, with labels counted from 0."""
    classes = reduce(np.intersect1d, (np.unique(network.label) for network in networks))
    has_class = [np.isin(network.label, classes) for network in networks]
    return classes.tolist(), [
        ValidationAnswers(np.searchsorted(classes, network.label[has]), network.before[has], network.after[has])
        for network, has in zip(networks, has_class, strict=True)
    ]


def _slopes(networks: list[ValidationAnswers]) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha and the raw slope of each network."""
    sides = [[(network, network.before) for network in networks], [(network, network.after) for network in networks]]
    recalls = [np.array([np.bincount(own.label, right) / own.support for own, right in side]) for side in sides]
    accuracies = [np.array([right.mean() for _, right in side]) for side in sides]
    balances = [
        intensification.recall_balance(*recalls_and_accuracy)
        for recalls_and_accuracy in zip(recalls, accuracies, strict=True)
    ]
    return intensification.alpha(*balances), intensification.raw_slope(*recalls, *accuracies)


def _changes(networks: list[ValidationAnswers], level: float, *, of_accuracy: bool = False) -> Changes:
    """Return the changes of recall of all networks, or those of their accuracies as the recall of one class."""
    label_of = np.zeros_like if of_accuracy else np.asarray
    if all(np.array_equal(network.before, network.after) for network in networks):
        return _no_change(len(networks), np.bincount(label_of(networks[0].label)), level)
    if common_images := _of_the_same_images(networks):
        label, before, after = common_images
        return class_losses.from_predictions(label_of(label), before, after)
    each = [
        class_losses.from_predictions(label_of(label), before, after) for label, before, after in map(_alone, networks)
    ]
    images = np.sum([changes.images for changes in each], axis=0) / len(each) ** 2
    return Changes([np.vstack([changes.groups[0] for changes in each])], images, images)


def _no_change(networks: int, support: np.ndarray, level: float) -> Changes:
    """Return changes of 0, with variances that bound each class's loss by the rule of three.

    No loss among n images rules out that 1 - level^(1 / n) of all images are lost, which is 3 / n at .05.
    """
    most = 1 - level ** (1 / support)
    images = np.square(most / stats.norm.isf(level))
    return Changes([np.zeros((networks, len(support)))], images, np.zeros(len(support)))


def _pooled_slope(networks: list[ValidationAnswers]) -> PooledSlope:
    """Return alpha on new images of all networks together."""
    if common_images := _of_the_same_images(networks):
        return pooled_slope(slope_parts(*common_images))
    each = [slope_parts(*_alone(network)) for network in networks]
    # The images of a network move no other network.
    moves = [block_diag(*(parts.moves[side] for parts in each if parts.moves is not None)) for side in range(2)]
    return pooled_slope(SlopeParts(np.hstack([parts.sums for parts in each]), np.array(moves)))


def _alone(network: ValidationAnswers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return network.label, network.before[np.newaxis], network.after[np.newaxis]


def _of_the_same_images(networks: list[ValidationAnswers]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return labels and answers, (networks, images), before and after, if all networks have the same labels."""
    label = networks[0].label
    if not all(np.array_equal(network.label, label) for network in networks):
        return None
    return label, np.array([network.before for network in networks]), np.array([network.after for network in networks])


def _bounded_losses(changes: Changes, weights: np.ndarray, level: float) -> list[Bounded]:
    """Return weighted sums, (sums, classes), of the classes' losses."""
    values = -weights @ changes.groups[0].mean(0)
    halves = two_way.half_widths(changes.variances(weights), 2 * level)
    return [Bounded(float(value), float(value + half)) for value, half in zip(values, halves, strict=True)]
