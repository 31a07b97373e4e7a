"""Estimate the loss of recall of each class, and the part beyond the loss of accuracy."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.statistics import moderation, two_way
from analysis.statistics.arithmetic import quotient, variance
from analysis.statistics.class_sums import Weights
from analysis.statistics.image_bounds import ImageBounds

# With at least this many images, quantiles of t and of the normal distribution agree within 1.3 %.
FEW_IMAGES = 100
# Share of the level that the moderated test gets if the plain test is also used; benchmarks/false_alarms.py checks it.
MODERATED_SHARE = 0.8


class Changes(NamedTuple):
    """Changes of recall of groups of networks, and their variances over images.

    Attributes
    ----------
    groups : sequence of (networks, classes)
        One group with the changes of recall, if the same networks were measured before and after. For independent
        networks, two groups: the recalls before, negated, and the recalls after.
    images, in_both : (classes,)
        Variance over images of the mean change of each class, and the part of this variance that the variance over
        networks also contains. Both are 0 if only recalls are known.
    scale : (classes,), optional
        If given, variances over networks are moderated, assuming that the true variances are proportional to `scale`.
    recalls : (networks, classes), optional
        Mean of each network's recall before and its recall after, if the same networks were measured. If recalls before
        and after have equal variance, the variance estimated for this mean is independent of the variance estimated for
        the change, so it helps to find the classes that vary more than others.
    moved, moved_square : (classes,), optional
        As in `image_bounds.ImageBounds`. None if only recalls are known.
    """

    groups: Sequence[np.ndarray]
    images: np.ndarray
    in_both: np.ndarray
    scale: np.ndarray | None = None
    recalls: np.ndarray | None = None
    moved: np.ndarray | None = None
    moved_square: np.ndarray | None = None

    def variances(self, weights: Weights) -> two_way.Variances:
        """Compute the variances of weighted sums of the classes' mean changes; weights are (sums, classes)."""
        images, in_both = (np.square(weights) @ each for each in (self.images, self.in_both))
        group_variances = [
            (variance(group @ weights.T, axis=0) / len(group), len(group) - 1)
            for group in self.groups
            if len(group) > 1
        ]
        if self.scale is not None:
            # The image noise of two groups together is not a lower bound for the variance of either group.
            least = in_both if len(group_variances) == 1 else 0.0
            scale = np.square(weights) @ self.scale
            recalls = self.recalls
            second = None if recalls is None or len(recalls) < 2 else variance(recalls @ weights.T, axis=0)
            moderated_variances = [moderation.moderated(*entry, scale, least, second) for entry in group_variances]
            return two_way.Variances(moderated_variances, images, in_both)
        return two_way.Variances(group_variances, images, in_both)

    def alike(self, weights: Weights) -> np.ndarray:
        """Return, (sums,), whether a weighted sum changes alike in all networks and images, for example not at all.

        Its variance cannot be estimated from its own changes, only from those of other classes.
        """
        return np.asarray(self._replace(scale=None).variances(weights).total == 0)

    def image_bounds(self, support: np.ndarray, level: float) -> ImageBounds | None:
        """Return the bounds of the classes' losses from their images, each at this level; None without predictions."""
        if self.moved is None or self.moved_square is None:
            return None
        loss = -np.asarray(sum(group.mean(0) for group in self.groups))
        has_others = len(support) > 1
        usual_size = quotient(support @ self.moved_square, support @ self.moved) if has_others else 0.0
        return ImageBounds(loss, self.moved, self.moved_square, support, level, self.in_both, usual_size)

    def raised(self, upper: np.ndarray, weights: Weights, support: np.ndarray, level: float) -> np.ndarray:
        """Raise upper bounds of weighted sums of losses to those from the images alone (`ImageBounds.of_sums`).

        Parameters
        ----------
        upper : (sums,)
            A bound that is NaN is replaced.
        weights : (sums, classes)
        support : (classes,)
            Number of images of each class.
        level : float
            1 minus the confidence of each bound.
        """
        of_images = self.image_bounds(support, level)
        return upper if of_images is None else np.fmax(upper, of_images.of_sums(weights))


def from_recalls(before: np.ndarray, after: np.ndarray, *, paired: bool = True) -> Changes:
    """Compute the changes from recalls alone.

    Parameters
    ----------
    before, after : (networks, classes)
    paired : bool
        Whether both arrays have the same networks, in the same order.
    """
    nothing = np.zeros(before.shape[1])
    if not paired:
        return Changes([-before, after], nothing, nothing)
    return Changes([after - before], nothing, nothing, recalls=(before + after) / 2)


def from_predictions(label: np.ndarray, before: np.ndarray, after: np.ndarray, *, paired: bool = True) -> Changes:
    """Compute the changes from predictions.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0; every class has an image.
    before, after : (networks, images), bool
        Whether each network is right about each image.
    paired : bool
        Whether both arrays have the same networks, in the same order.

    Examples
    --------
    Each class has two images. The network loses one image of the first class:

    >>> label = np.array([0, 0, 1, 1])
    >>> changes = from_predictions(label, np.array([[True] * 4]), np.array([[True, False, True, True]]))
    >>> changes.groups[0].tolist(), changes.images.tolist()
    ([[-0.5, 0.0]], [0.25, 0.0])
    """
    if not paired:
        return from_answers(label, [-before.astype(float), after.astype(float)])
    recalls = _class_means(label, (before.astype(float) + after) / 2, np.bincount(label))
    return from_answers(label, [after.astype(float) - before])._replace(recalls=recalls)


def from_answers(label: np.ndarray, answers: Sequence[np.ndarray]) -> Changes:
    """Compute `Changes` from the answers of independent groups of networks.

    The change of a class is a sum over the groups of networks. Each group adds its mean answer, over its networks and
    the images of the class; answers before compression must be negated.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0; every class has an image.
    answers : sequence of (networks, images)
        A number for each image and network, such as 1 if the network is right.

    Examples
    --------
    >>> from_answers(np.array([0, 0, 1]), [np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])]).groups[0].tolist()
    [[0.5, 1.0], [1.0, 1.0]]
    """
    support = np.bincount(label)
    groups = [_class_means(label, group, support) for group in answers]
    mean = np.asarray(sum(group.mean(0) for group in answers))
    in_both = sum(
        _image_variances(label, group - group.mean(0), support).sum(0) / (len(group) * (len(group) - 1))
        for group in answers
        if len(group) > 1
    )
    images = _image_variances(label, mean[np.newaxis], support)[0]
    moved, moved_square = _class_means(label, np.array([np.abs(mean), np.square(mean)]), support)
    return Changes(groups, images, np.zeros(len(support)) + in_both, moved=moved, moved_square=moved_square)


def changed_images(label: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Count images of each class for which the share of right networks changed from before to after, (classes,)."""
    return np.bincount(label, before.mean(0) != after.mean(0))


def on_own_images(label: np.ndarray, answers: np.ndarray) -> Changes:
    """Compute the changes of networks that were each tested on their own images, some of which may be shared.

    The variance over networks then contains the variance over images, except the part due to images that several
    networks share.

    Parameters
    ----------
    label : (images,), integers
        Class of each image, from 0.
    answers : (networks, images)
        A number for each image that the network was tested on, and NaN for the others. Each network was tested on at
        least two images of each class.

    Examples
    --------
    Each network has its own two images. The first network's recall of .5 has variance .5 / 2 over its images, and the
    second network's recall of 1 has variance 0, so the mean of both has variance .25 / 4:

    >>> nan = np.nan
    >>> changes = on_own_images(np.zeros(4, int), np.array([[1, 0, nan, nan], [nan, nan, 1, 1]]))
    >>> changes.groups[0].tolist(), changes.images.round(4).tolist(), changes.in_both.round(4).tolist()
    ([[0.5], [1.0]], [0.0625], [0.0625])
    """
    networks, has_answer = len(answers), ~np.isnan(answers)
    support = _class_sums(label, has_answer)
    means = _class_sums(label, np.where(has_answer, answers, 0)) / support
    # Contribution of each image to the mean of its class; n / (n - 1) makes the variances unbiased.
    unbiased = np.sqrt(support / (support - 1)) / support
    deviations = np.where(has_answer, answers - means[:, label], 0) * unbiased[:, label]
    mean = deviations.mean(0)
    images, in_both = _class_sums(label, np.array([np.square(mean), np.square(deviations - mean).sum(0)]))
    of_class = np.bincount(label)
    of_image = (np.where(has_answer, answers, 0) / support[:, label]).mean(0) * of_class[label]
    moved, moved_square = _class_means(label, np.array([np.abs(of_image), np.square(of_image)]), of_class)
    return Changes([means], images, in_both / (networks * (networks - 1)), moved=moved, moved_square=moved_square)


def of_accuracy(changes: Changes, share: np.ndarray) -> Changes:
    """Compute the change of accuracy from the changes of the classes, as `Changes` of a single class.

    The variance over images is only the one within classes, because new images are taken to have the same shares of
    classes. The bounds of `image_bounds` do not leave out the variance between classes, so they are too high if classes
    lose very different shares.

    Parameters
    ----------
    changes : Changes
    share : (classes,)
        Share of the test images of each class.

    Examples
    --------
    The first class loses two of its four images, and the second class loses none:

    >>> right = np.ones((1, 8), bool)
    >>> changes = from_predictions(np.repeat([0, 1], 4), right, right & (np.arange(8) > 1))
    >>> together = of_accuracy(changes, np.array([0.5, 0.5]))
    >>> together.groups[0].tolist(), together.images.round(4).tolist(), changes.images.round(4).tolist()
    ([[-0.25]], [0.0208], [0.0833, 0.0])
    """
    weights = share[np.newaxis]
    images, in_both = (np.square(weights) @ each for each in (changes.images, changes.in_both))
    moved, moved_square = (None if each is None else weights @ each for each in (changes.moved, changes.moved_square))
    groups = [group @ weights.T for group in changes.groups]
    return Changes(groups, images, in_both, moved=moved, moved_square=moved_square)


def of_few_images(changes: Changes, support: np.ndarray) -> Changes:
    """Increase variances over images for classes with few images, so that intervals are as wide as with quantiles of t.

    Otherwise, normal quantiles would make intervals too narrow, because the variance is estimated from the same few
    images.

    Parameters
    ----------
    changes : Changes
    support : (classes,)
        Number of images of each class.

    Examples
    --------
    The quantile of t with one degree of freedom is 12.706, and the normal quantile is 1.96:

    >>> changes = Changes([], np.ones(2), np.zeros(2))
    >>> of_few_images(changes, np.array([2, 100])).images.round(2).tolist(), round((12.706 / 1.96) ** 2, 1)
    ([42.03, 1.0], 42.0)
    """
    return changes._replace(images=changes.images * few_images_factor(support))


def few_images_factor(support: np.ndarray) -> np.ndarray:
    """Return the factor, (classes,), by which `of_few_images` increases variances over images."""
    from scipy.special import stdtrit  # training imports this package and must not wait for scipy

    dof = np.maximum(support - 1, 1)
    factor = np.square(stdtrit(dof, two_way.LEVEL / 2) / stdtrit(np.inf, two_way.LEVEL / 2))
    return np.asarray(np.where(support < FEW_IMAGES, factor, 1.0))


def moderated(changes: Changes, recall: np.ndarray) -> Changes:
    """Set the scale with which `moderation.moderated` shrinks variances over networks towards those of all classes.

    Parameters
    ----------
    changes : Changes
    recall : (classes,)
        Mean recall R. Because classes with recall near 1 move less, variances are assumed proportional to R (1 - R).

    Returns
    -------
    Changes
        If too few classes can vary (`moderation.enough_classes`), the scale is 0, and variances are not moderated. If a
        class cannot vary, its cost varies only because the accuracy does, and tells nothing about variances.

    Examples
    --------
    >>> recall = np.array([0.9, 1.0] + [0.5] * 9)
    >>> changes = from_recalls(recall[np.newaxis], recall[np.newaxis])
    >>> moderated(changes, recall).scale[:3].round(2).tolist()
    [0.09, 0.0, 0.25]
    """
    return changes._replace(scale=recall * (1 - recall) * moderation.enough_classes(recall))


def estimates(changes: Changes, weights: Weights, level: float = two_way.LEVEL) -> dict[str, np.ndarray]:
    """Estimate weighted sums of the classes' mean changes, with intervals and two-sided p.

    Parameters
    ----------
    changes : Changes
    weights : (sums, classes)
    level : float
        1 minus the confidence of each interval.

    Returns
    -------
    dict
        `value`, `low`, `high`, `p`, each (sums,). If the variance is 0 or unknown, the ends and p are NaN.

    Examples
    --------
    Two networks lose .1 and .3 in the first class; the quantile of t with one degree of freedom is 12.706:

    >>> changes = from_recalls(np.ones((2, 2)), np.array([[0.9, 1.0], [0.7, 1.0]]))
    >>> found = estimates(changes, np.eye(2))
    >>> found["value"].round(3).tolist(), float(found["low"][0].round(3))
    ([-0.2, 0.0], -1.471)
    """
    variances = changes.variances(weights)
    estimate = _intervals(changes, weights, variances, level)
    return {**estimate, "p": two_way.p_values(variances, estimate["value"])}


def p_of_either_test(changes: Changes, weights: Weights) -> np.ndarray:
    """Compute two-sided p of weighted sums of the classes' mean changes, by the more significant of two tests.

    One test uses moderated variances. The other uses each class's own variance or, for paired networks, its image noise
    if this is larger: moderation would hide the loss of a class that varies far less than the others. The level is
    divided between the tests (`smaller_p`), unless their variances are equal.

    Parameters
    ----------
    changes : Changes
    weights : (sums, classes)

    Returns
    -------
    (sums,)
        NaN if both variances are 0 or unknown. If a class changes alike in all networks and images, its own variance is
        0, and p is 0 if its moderated variance is above 0.

    Examples
    --------
    Three networks lose nearly all images of the first class, and the other classes move at random:

    >>> after = np.tile([[0.8, 0.1, 0.2], [0.1, 0.8, 0.7], [0.3, 0.4, 0.9]], 4)[:, :11]
    >>> after[:, 0] = 0.0, 0.01, 0.02
    >>> changes = moderated(from_recalls(np.full((3, 11), 0.8), after), np.full(11, 0.6))
    >>> both = p_of_either_test(changes, np.eye(11))
    >>> own = estimates(changes._replace(scale=None), np.eye(11))["p"]
    >>> estimates(changes, np.eye(11))["p"][0].round(4).item(), own[0].round(4).item(), both[0].round(4).item()
    (0.0017, 0.0001, 0.0003)
    """
    value = weights @ sum(group.mean(0) for group in changes.groups)
    shared, own = (each.variances(weights) for each in (changes, changes._replace(scale=None)))
    p, noisy = two_way.p_values(shared, value), _with_noise(own)
    p_own = np.where((np.asarray(noisy.total) == 0) & (value != 0), 0.0, two_way.p_values(noisy, value))
    return np.where(_are_equal(shared, own), p, smaller_p(p, p_own))


def smaller_p(moderated: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Combine p of two tests by Bonferroni: the moderated test gets four fifths of the level, the plain one a fifth.

    Examples
    --------
    >>> smaller_p(np.array([0.04, 0.04]), np.array([0.5, 0.002])).round(3).tolist()
    [0.05, 0.01]
    """
    shares = moderated / MODERATED_SHARE, plain / (1 - MODERATED_SHARE)
    return np.asarray(np.fmin(np.fmin(*shares), 1))


def _are_equal(first: two_way.Variances, second: two_way.Variances) -> np.ndarray:
    """Return for each sum whether it has the same variances over networks and degrees of freedom in both, (sums,)."""
    groups = zip(first.networks, second.networks, strict=True)
    return np.asarray(
        np.all([np.equal(a, b) for group, other in groups for a, b in zip(group, other, strict=True)], axis=0)
    )


def _with_noise(variances: two_way.Variances) -> two_way.Variances:
    """Raise variances over a single group of networks to at least the image noise that they contain.

    Two networks often change alike by chance, and then the variance estimated from them is far too small.
    """
    if len(variances.networks) != 1:
        return variances
    ((variance, dof),) = variances.networks
    return variances._replace(networks=[(np.maximum(variance, variances.in_both), dof)])


def intervals(changes: Changes, weights: Weights, level: float = two_way.LEVEL) -> dict[str, np.ndarray]:
    """Compute `estimates` without p, whose computation takes most of the time."""
    return _intervals(changes, weights, changes.variances(weights), level)


def _intervals(changes: Changes, weights: Weights, variances: two_way.Variances, level: float) -> dict[str, np.ndarray]:
    value = weights @ sum(group.mean(0) for group in changes.groups)
    half = np.where(variances.total > 0, two_way.half_widths(variances, level), np.nan)
    return {"value": value, "low": value - half, "high": value + half}


def _class_sums(label: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum values (rows, images) over each class's images, (rows, classes)."""
    return np.asarray([np.bincount(label, row) for row in values])


def _class_means(label: np.ndarray, values: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Average values (rows, images) over each class's images, (rows, classes)."""
    return np.asarray([np.bincount(label, row, len(support)) / support for row in values])


def _image_variances(label: np.ndarray, values: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Estimate the variance, over images, of each class's mean value: (rows, classes), from values (rows, images).

    For a class with a single image, the variance cannot be estimated. The square of the image's value is used instead.
    On average it is at least as large as the variance.
    """
    mean_square, mean = (_class_means(label, power, support) for power in (np.square(values), values))
    variances = quotient(np.maximum(mean_square - np.square(mean), 0), support - 1.0)
    return np.asarray(np.where(support > 1, variances, mean_square))
