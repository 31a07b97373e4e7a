"""Tabulate recalls of classes and their changes with intervals, and mark the classes shown to have lost recall."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.statistics import class_costs, class_losses, retraining, two_way
from analysis.statistics.class_sums import Weights, each_class, excess_weights
from analysis.statistics.hypothesis_tests import LEVEL, change_interval, corrected, wilson_interval
from analysis.statistics.image_bounds import ImageBounds, unchanged_bound

# Column of the changes of recall beyond those of the control.
LOSS = "beyond_control"


def class_table(
    names: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray | None = None,
    *,
    paired: bool = True,
    control_paired: bool = True,
) -> pd.DataFrame:
    """Tabulate recalls and their changes, with a row for each class.

    Parameters
    ----------
    names : (classes,)
    label : (images,), integers
        Class of each image, from 0.
    before, after : (networks, images), bool
        Whether each network is right about each image.
    control : (networks, images), bool, optional
        The same for networks that were retrained without being compressed.
    paired, control_paired : bool
        Whether row i of `before` (for `paired`) or of `control` (for `control_paired`) belongs to the same network as
        row i of `after`. If not, or if the numbers of networks differ, the networks are treated as independent.

    Returns
    -------
    DataFrame
        Recalls, change, excess and beyond_control have the ends of a 95 % interval (`_low`, `_high`).

        - class, support.
        - recall_before, recall_after.
        - change: recall_after minus recall_before.
        - excess: change of recall minus change of accuracy.
        - recall_control, beyond_control: recall of the control, and recall_after minus recall_control. Only with a
          control.
        - p: p of beyond_control or, without a control, of change.

    Examples
    --------
    >>> label = np.repeat([0, 1], 10)
    >>> right = np.ones((1, 20), bool)
    >>> table = class_table(np.array(["a", "b"]), label, right, right & (label == 0))
    >>> table["change"].tolist(), table["p"].round(3).tolist()
    ([0.0, -1.0], [1.0, 0.002])
    """
    table = pd.DataFrame({"class": list(map(str, names)), "support": np.bincount(label)})
    table = table.assign(**_columns_without_control(label, before, after, paired, control is None))
    if control is None:
        return table
    value, bounds, p = _beyond_control(label, before, after, control, paired=control_paired)
    table = table.assign(**with_ends("recall_control", *recalls(label, control)), **with_ends(LOSS, value, bounds), p=p)
    return table[[*table.columns.drop("p"), "p"]]


def from_control(table: pd.DataFrame) -> pd.DataFrame:
    """Put the control in the place of the networks before compression in a table that has both.

    Parameters
    ----------
    table : DataFrame
        As `class_table` returns it with a control.

    Returns
    -------
    DataFrame
        recall_before and change are those from the control, with their intervals; there is no excess.

    Examples
    --------
    >>> label, right = np.repeat([0, 1], 10), np.ones((1, 20), bool)
    >>> control = right & (np.arange(20) < 15)
    >>> both = class_table(np.array(["a", "b"]), label, right, right & (label == 0), control)
    >>> from_control(both)[["recall_before", "recall_after", "change"]].to_numpy().tolist()
    [[1.0, 1.0, 0.0], [0.5, 0.0, -0.5]]
    """
    replaced = ("recall_before", "change", "excess")
    table = table.drop(columns=[name for name in table if name.startswith(replaced)])
    return table.rename(columns=lambda name: name.replace("recall_control", "recall_before").replace(LOSS, "change"))


def marked(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the classes that are shown to have lost recall.

    Parameters
    ----------
    table : DataFrame
        As `class_table` returns it, or several such tables concatenated.

    Returns
    -------
    DataFrame, in the same order
        The table with p_holm (p corrected for all rows) and damaged (whether p_holm is at most .05 and the tested
        change is below 0).

    Examples
    --------
    >>> found = marked(pd.DataFrame({"change": [0.2, -0.3, -0.1], "p": [0.01, 0.01, 0.04]}))
    >>> found["p_holm"].tolist(), found["damaged"].tolist()
    ([0.03, 0.03, 0.04], [False, True, True])
    """
    p_holm = corrected(table["p"], len(table))[1]
    return table.assign(p_holm=p_holm, damaged=(p_holm <= LEVEL) & (table[loss_column(table)] < 0))


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows of a table by loss, the largest first."""
    return table.sort_values([loss_column(table), "p"], kind="stable", ignore_index=True)


def loss_column(table: pd.DataFrame) -> str:
    """Return the name of the tested column: the change beyond the control if there is one, else the change."""
    return LOSS if LOSS in table else "change"


def _columns_without_control(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, paired: bool, with_p: bool
) -> dict[str, np.ndarray]:
    """Compute the columns that need no control."""
    change, bounds, p = _change(label, before, after, paired=paired, with_p=with_p)
    changes = _changes(label, before, after, paired)
    weights = excess_weights(_shares(label))
    excess, excess_bounds = _excess(changes, weights, changes.variances(weights), change, bounds)
    return {
        **with_ends("recall_before", *recalls(label, before)),
        **with_ends("recall_after", *recalls(label, after)),
        **with_ends("change", change, bounds),
        **with_ends("excess", excess, excess_bounds),
        "p": p,
    }


def _excess(
    changes: class_losses.Changes,
    weights: Weights,
    variances: two_way.Variances,
    change: np.ndarray,
    bounds: np.ndarray,
    level: float = LEVEL,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the excess of each class and its bounds, (2, classes), from the changes of recall and their bounds.

    If all images of a class change alike, for example because none changes, they do not show how much its change
    varies. For such a class, the squared distance from the change to each bound of the change is used in place of a
    variance: times the squared weight of the class, it is added to the squared half-width of the excess (Zou and Donner
    2008, Statistics in Medicine 27, 1693-1702).
    `variances` are those of the excess, and `level` is that of the bounds.
    """
    excess, of_each = weights @ change, each_class(len(change))
    # Moderated variances contain a part of this distance already.
    within = np.square(two_way.half_widths(changes.variances(of_each), level))
    beyond = np.maximum(np.square([change - bounds[0], bounds[1] - change]) - within, 0)
    below, above = np.where(changes.alike(of_each), beyond, 0)
    adds, subtracts = np.square(np.maximum(weights, 0)), np.square(np.minimum(weights, 0))
    half_square = np.where(variances.total > 0, np.square(two_way.half_widths(variances, level)), 0)
    low = np.sqrt(half_square + adds @ below + subtracts @ above)
    high = np.sqrt(half_square + adds @ above + subtracts @ below)
    reach = np.abs(weights) @ np.ones(len(change))  # the largest possible excess: classes lose or win all their images
    return excess, np.clip([excess - low, excess + high], -reach, reach)


class Costs(NamedTuple):
    """Losses and costs of compression for classes, relative to the control if there is one.

    Attributes
    ----------
    columns : dict of str to (classes,)
        `class_costs.LOSS_COLUMNS` and `class_costs.COST_COLUMNS`.
    worst : WorstClass
        The class with the largest cost.
    """

    columns: dict[str, np.ndarray]
    worst: class_costs.WorstClass


def costs(
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray | None = None,
    *,
    paired: bool = True,
) -> Costs:
    """Compute losses and costs of classes with their bounds, also for single networks.

    For single networks, bounds and p account for the noise of images and, if there is a control, for the effect of
    retraining alone. Bonferroni's correction makes the bounds hold jointly.

    If few images change, they show little of how much a cost varies. `cost_upper_all` is therefore at least the bound
    that these images give by themselves.

    Parameters
    ----------
    label, before, after, control
        As for `class_table`.
    paired : bool
        Whether the compressed networks are paired with their references: the control or, without one, the networks
        before compression. They are treated as independent if their numbers differ.

    Examples
    --------
    One network loses two of ten images of the first class, and one of the second:

    >>> label, right = np.repeat([0, 1], 10), np.ones((1, 20), bool)
    >>> after = np.isin(np.arange(20), [0, 1, 10], invert=True)[np.newaxis]
    >>> found = costs(label, right, after, right)
    >>> found.columns["loss"].round(2).tolist(), found.columns["cost"].round(2).tolist(), found.worst.place
    ([0.2, 0.1], [0.05, -0.05], -1)
    """
    start, weights = (before if control is None else control), excess_weights(_shares(label))
    changes = _changes(label, start, after, paired)
    if len(start) > 1 or len(after) > 1:
        return costs_of_networks(label, start, after, changes)
    variances = changes.variances(weights)
    if control is not None:
        variances = retraining.with_shift(variances, weights, label, before[0], control[0], after[0])
    found = _losses_of_one(label, before, after, control, _levels(len(weights)))
    return _costs(label, start, after, changes, variances, found)


def costs_of_networks(label: np.ndarray, start: np.ndarray, after: np.ndarray, changes: class_losses.Changes) -> Costs:
    """Compute the costs of several networks from their changes.

    Parameters
    ----------
    label : (images,), integers
    start, after : (networks, images), bool
        Whether each reference network, and each compressed network, is right about each image.
    changes : Changes
        Changes from the reference to the compressed networks, with moderated variances over networks, and variances
        over images increased by `class_losses.of_few_images`.
    """
    weights = excess_weights(_shares(label))
    found = _on_levels(label, changes, _levels(len(weights)))
    return _costs(label, start, after, changes, changes.variances(weights), found)


def _levels(classes: int) -> tuple[float, float, float]:
    """Return the levels of intervals: of each class, of joint one-sided bounds, and of joint intervals."""
    return LEVEL, 2 * LEVEL / classes, LEVEL / classes


def _costs(
    label: np.ndarray,
    start: np.ndarray,
    after: np.ndarray,
    changes: class_losses.Changes,
    variances: two_way.Variances,
    found: "Losses",
) -> Costs:
    """Compute costs from losses whose bounds are at `_levels`."""
    weights = excess_weights(_shares(label))
    excess = [
        _excess(changes, weights, variances, -found.value, -each[::-1], level)
        for each, level in zip(found.bounds, _levels(len(weights)), strict=True)
    ]
    value, ((low, high), (_, upper), joint) = -excess[0][0], [-bounds[::-1] for _, bounds in excess]
    upper = changes.raised(upper, weights, np.bincount(label), LEVEL / len(weights))
    with_coins = _with_coins(value, found.value, label, start, after)
    p = with_coins(class_costs.one_sided_p(variances, value, class_costs.of_networks(changes, weights)))
    columns = (found.value, *found.bounds[0], found.bounds[2, 0], found.upper), (value, low, high, upper, p)
    names = class_costs.LOSS_COLUMNS, class_costs.COST_COLUMNS
    named = {name: each + 0.0 for pair in zip(names, columns, strict=True) for name, each in zip(*pair, strict=True)}
    return Costs(named, _worst(changes, label, start, after, joint, with_coins, p))


def worst_class(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, control: np.ndarray | None = None
) -> class_costs.WorstClass:
    """Find the class with the largest cost in pairs of networks; parameters are as for `class_table`.

    Whether the cost of this class is shown is decided by its lower bound, which takes less memory than p of `costs` if
    there are thousands of groups in place of classes.
    """
    start, weights = (before if control is None else control), excess_weights(_shares(label))
    changes, level = _changes(label, start, after, True), LEVEL / len(weights)
    change = mean_change(changes)
    bounds = change.bounds(np.bincount(label), level)
    excess, joint = _excess(changes, weights, changes.variances(weights), change.value, bounds, level)
    with_coins = _with_coins(-excess, -change.value, label, start, after)
    return _worst(changes, label, start, after, -joint[::-1], with_coins)


def _shares(label: np.ndarray) -> np.ndarray:
    return np.bincount(label) / len(label)


def _with_coins(
    value: np.ndarray, loss: np.ndarray, label: np.ndarray, start: np.ndarray, after: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return `class_costs.with_coins` for the images of these networks, as a function of p."""
    n_changed, support = class_losses.changed_images(label, start, after), np.bincount(label)
    return partial(class_costs.with_coins, value=value, loss=loss, n_changed=n_changed, support=support)


def _worst(
    changes: class_losses.Changes,
    label: np.ndarray,
    start: np.ndarray,
    after: np.ndarray,
    joint: np.ndarray,
    with_coins: Callable[[np.ndarray], np.ndarray],
    p: np.ndarray | None = None,
) -> class_costs.WorstClass:
    """Find the class with the largest cost; lower bounds are at most 0 for classes that `with_coins` does not show."""
    weights = excess_weights(_shares(label))
    if class_costs.of_networks(changes, weights) is None:
        return class_costs.NO_CLASS
    differences = start.astype(np.int8) - after
    is_open = with_coins(np.zeros(len(weights))) > LEVEL
    upper = changes.raised(joint[1], weights, np.bincount(label), LEVEL / 2 / len(weights))
    joint = np.array([np.where(is_open, np.minimum(joint[0], 0), joint[0]), upper])
    return class_costs.worst_class(changes, weights, label=label, differences=differences, joint=joint, p=p)


def recall_changes(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean changes of recall over pairs of networks, (classes,), and their bounds, (2, classes).

    They are those of `class_table`, except that variances over networks are not moderated. p is omitted, because its
    computation takes long for hundreds of classes.
    """
    return _change(label, before, after, paired=True, with_p=False, moderated=False)[:2]


def changes_beyond_control(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, control: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute `beyond_control` of `class_table` and its bounds, and like `recall_changes` omit p and moderation."""
    return _beyond_control(label, before, after, control, with_p=False, moderated=False)[:2]


class Losses(NamedTuple):
    """Losses of recall, or of the accuracy, with their bounds.

    Attributes
    ----------
    value : (classes,)
    bounds : (levels, 2, classes)
        Lower and upper bounds at each level.
    variances : Variances, optional
        Variances of the losses; None for single networks.
    upper : (classes,)
        One-sided 95 % bounds that hold for all classes jointly.
    of_images : ImageBounds, optional
        The bounds from the images that change, below which `upper` never is; None for single networks.
    """

    value: np.ndarray
    bounds: np.ndarray
    variances: two_way.Variances | None
    upper: np.ndarray
    of_images: ImageBounds | None = None


def losses(
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray | None = None,
    *,
    paired: bool = True,
    levels: Sequence[float] = (LEVEL,),
) -> Losses:
    """Estimate the loss of recall of each class, beyond the control if there is one, and its bounds.

    Parameters
    ----------
    label, before, after, control, paired
        As for `costs`.
    levels : sequence of float
        1 minus the confidence of each interval.

    Examples
    --------
    The first network loses no image of the second class, and the second network loses all ten:

    >>> label, right = np.repeat([0, 1], 10), np.ones((2, 20), bool)
    >>> found = losses(label, right, right & (np.array([[1], [0]]) | (label == 0)))
    >>> found.value.tolist(), found.variances.networks[0][0].tolist()
    ([-0.0, 0.5], [0.0, 0.25])
    """
    start = before if control is None else control
    if len(start) == len(after) == 1:
        return _losses_of_one(label, before, after, control, levels)
    return _on_levels(label, _changes(label, start, after, paired), levels)


def _losses_of_one(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, control: np.ndarray | None, levels: Sequence[float]
) -> Losses:
    """Estimate the losses of single networks."""
    of_level = _of_single_networks(label, before, after, control)
    level = LEVEL / (label.max() + 1)
    found = {each: of_level(each) for each in {*levels, 2 * level}}
    value, bounds = found[2 * level][0], [found[each][1] for each in levels]
    n_changed = np.bincount(label, (before != after)[0] | ((before if control is None else control) != after)[0])
    at_most = unchanged_bound(np.bincount(label), level)
    upper = np.where(n_changed == 0, at_most, -found[2 * level][1][0])
    return Losses(-value, -np.array(bounds)[:, ::-1], None, upper)


def _on_levels(label: np.ndarray, changes: class_losses.Changes, levels: Sequence[float]) -> Losses:
    """Estimate the losses of several networks, with bounds at each level.

    If few images change, they show little of how much the loss varies. `upper` is therefore at least the bound that
    these images give by themselves.
    """
    change, support = mean_change(changes), np.bincount(label)
    level = LEVEL / len(support)
    bounds = [change.bounds(support, each) for each in levels]
    upper = -change.value + two_way.half_widths(change.variances, 2 * level)
    of_images = changes.image_bounds(support, level)
    if of_images is not None:
        upper = np.maximum(upper, of_images.upper)
    upper = np.minimum(upper, 1)
    return Losses(-change.value, -np.array(bounds)[:, ::-1], change.variances, upper, of_images)


def losses_on_own_images(
    label: np.ndarray, control: np.ndarray, after: np.ndarray, *, levels: Sequence[float] = (LEVEL,)
) -> Losses:
    """Compute losses, as `losses` does, of at least two networks that were each tested on their own images.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    control, after : (networks, images)
        1 if a network is right, 0 if it is wrong, and NaN if it was not tested on the image. Row i of both belongs to
        the same dense network.
    levels : sequence of float
        1 minus the confidence of each interval.

    Examples
    --------
    Each network has its own two images, and the first network loses one of them:

    >>> nan = np.nan
    >>> control = np.array([[1, 1, nan, nan], [nan, nan, 1, 1]])
    >>> losses_on_own_images(np.zeros(4, int), control, control - [1, 0, 0, 0]).value.tolist()
    [0.25]
    """
    answers, support = after - control, np.bincount(label)
    changes = class_losses.of_few_images(class_losses.on_own_images(label, answers), support)
    recalls = class_losses.on_own_images(label, (control + after) / 2).groups[0]
    moderated = class_losses.moderated(changes._replace(recalls=recalls), recalls.mean(0))
    return _on_levels(label, moderated, levels)


def accuracy_loss(
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray | None = None,
    *,
    paired: bool = True,
) -> Losses:
    """Compute the loss of accuracy and its bounds, as `losses` does for each class.

    With several networks, the variance over images is only the one within classes, as in the costs of classes, but the
    bound is at least the one in which `ImageBounds` takes all images as one class.

    Examples
    --------
    Two networks lose the same 20 of 100 images of the first class, so the variance of the loss is .5² (.2 * .8 / 99).
    Its bound is that of one network that loses these 20 of 200 images:

    >>> label, right = np.repeat([0, 1], 100), np.ones((2, 200), bool)
    >>> found = accuracy_loss(label, right, right & (np.arange(200) >= 20))
    >>> float(found.variances.images[0].round(6)), round(0.25 * 0.2 * 0.8 / 99, 6)
    (0.000404, 0.000404)
    >>> float(found.upper[0].round(4)), -float(change_interval(20, 0, 200, confidence=0.9)[0].round(4))
    (0.1404, 0.1404)
    """
    start, of_all = (before if control is None else control), np.zeros_like(label)
    if len(start) > 1 or len(after) > 1:
        return _on_levels(of_all, accuracy_changes(label, start, after, paired=paired), (LEVEL,))
    if control is None:
        return _losses_of_one(of_all, before, after, None, (LEVEL,))
    alone = retraining.changed(label, before[0], control[0])
    against = retraining.changed(label, control[0], after[0])
    value, (low, high) = retraining.accuracy_beyond_control(alone, against)
    _, (lowest, _) = retraining.accuracy_beyond_control(alone, against, 2 * LEVEL)
    has_changed = (before != after).any() or (control != after).any()
    upper = -lowest if has_changed else float(unchanged_bound(len(label), LEVEL))
    return Losses(np.array([-value]), np.array([[[-high], [-low]]]), None, np.array([upper]))


def accuracy_changes(
    label: np.ndarray, start: np.ndarray, after: np.ndarray, *, paired: bool = True
) -> class_losses.Changes:
    """Compute the change of accuracy of several networks, as `Changes` of a single class.

    Parameters
    ----------
    label : (images,), integers
    start, after : (networks, images), bool
        Whether each reference network, and each compressed network, is right about each image.
    paired : bool
        As for `costs`.
    """
    changes = class_losses.from_predictions(label, start, after, paired=paired and len(start) == len(after))
    together = class_losses.of_accuracy(changes, _shares(label))
    return class_losses.of_few_images(together, np.array([len(label)]))


def _beyond_control(
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    control: np.ndarray,
    *,
    paired: bool = True,
    with_p: bool = True,
    moderated: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `beyond_control`, its bounds, (2, classes), and p."""
    if len(after) == 1:
        return _of_single_networks(label, before, after, control)(LEVEL)
    return _change(label, control, after, paired=paired, with_p=with_p, moderated=moderated)


def _change(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, *, paired: bool, with_p: bool, moderated: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the change of recall, its bounds, (2, classes), and p."""
    if len(before) == len(after) == 1:
        return _of_single_networks(label, before, after, None)(LEVEL)
    changes = _changes(label, before, after, paired)
    change = mean_change(changes if moderated else changes._replace(scale=None))
    value, bounds = change.value, change.bounds(np.bincount(label), LEVEL)
    if not with_p:
        return value, bounds, np.full(len(value), np.nan)
    n_changed = class_losses.changed_images(label, before, after)
    # p is at least that of an exact test in which all changed images of a class change in the same direction.
    p = class_losses.p_of_either_test(changes, each_class(len(value)))
    return value, bounds, np.fmax(p, np.minimum(2.0 ** (1 - n_changed), 1))


def _of_single_networks(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, control: np.ndarray | None
) -> Callable[[float], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return a function that computes the change of single networks, its bounds and p for a level."""
    if control is None:
        return partial(retraining.change, retraining.changed(label, before[0], after[0]))
    alone = retraining.changed(label, before[0], control[0])
    return partial(retraining.beyond_control, alone, retraining.changed(label, control[0], after[0]))


class MeanChange(NamedTuple):
    """Mean changes of recall, or of other shares of images, over networks.

    Attributes
    ----------
    value : (classes,)
    variances : Variances
        Variances of the means.
    alike : (classes,), bool
        Whether a class changes alike in all networks and images, as `Changes.alike` returns it.
    """

    value: np.ndarray
    variances: two_way.Variances
    alike: np.ndarray

    def bounds(self, support: np.ndarray, level: float) -> np.ndarray:
        """Compute bounds, (2, classes), from the number of images of each class.

        If a class changes alike, they are at least as wide as the interval of one network with these changes.
        """
        half = np.where(self.variances.total > 0, two_way.half_widths(self.variances, level), np.nan)
        bounds: np.ndarray = np.clip([self.value - half, self.value + half], -1, 1)
        if self.alike.any():  # the search for the ends takes as long for no class as for ten
            n_lost, n_won = ((support * np.maximum(sign * self.value, 0))[self.alike] for sign in (-1, 1))
            low, high = change_interval(n_lost, n_won, support[self.alike], 1 - level)
            bounds[:, self.alike] = np.fmin(bounds[0, self.alike], low), np.fmax(bounds[1, self.alike], high)
        return bounds


def mean_change(changes: class_losses.Changes) -> MeanChange:
    """Compute the mean change of each class."""
    value = np.asarray(sum(group.mean(0) for group in changes.groups))
    of_each = each_class(len(value))
    return MeanChange(value, changes.variances(of_each), changes.alike(of_each))


def _changes(label: np.ndarray, before: np.ndarray, after: np.ndarray, paired: bool) -> class_losses.Changes:
    changes = class_losses.from_predictions(label, before, after, paired=paired and len(before) == len(after))
    recall = sum(np.bincount(label, side.mean(0)) for side in (before, after)) / (2 * np.bincount(label))
    return class_losses.moderated(class_losses.of_few_images(changes, np.bincount(label)), recall)


def recalls(label: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute recalls, (classes,), and their bounds, (2, classes), as in `class_table`.

    The bounds are Wilson's if there is one network, or if the estimated variances over networks and images are 0. For a
    class with few images, the interval also contains Wilson's.
    """
    support = np.bincount(label)
    answered = class_losses.of_few_images(class_losses.from_answers(label, [right.astype(float)]), support)
    estimate = class_losses.intervals(answered, each_class(len(support)))
    bounds = np.clip([estimate["low"], estimate["high"]], 0, 1)
    answers = np.bincount(label, right.mean(0))
    alike = (answers == 0) | (answers == support) | (len(right) == 1) | np.isnan(bounds[0])
    wilson = np.array(wilson_interval(answers, support))
    bounds[:, alike] = wilson[:, alike]
    # If nearly all of a few images are classified correctly, their estimated variance is often far too small.
    has_few_images = support < class_losses.FEW_IMAGES
    return estimate["value"], np.where(
        has_few_images, [np.fmin(bounds[0], wilson[0]), np.fmax(bounds[1], wilson[1])], bounds
    )


def with_ends(name: str, value: np.ndarray, bounds: Sequence[np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    """Return a dict of columns: a value and the ends of its interval."""
    return {name: value, f"{name}_low": bounds[0], f"{name}_high": bounds[1]}
