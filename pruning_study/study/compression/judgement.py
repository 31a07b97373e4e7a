"""A chain's bytes, multiply-accumulates or latency, and its losses; how many validation images limits need."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.runs import schema
from analysis.statistics import losses
from analysis.statistics.limits import Limits, rounded_up, smallest_limit
from analysis.statistics.losses import Spread

POINTS = 100
_MOST_IMAGES = 10**6
_OF_EACH = "images of each class"
_FRACTION = "--validation-fraction"


class Judgement(NamedTuple):
    """The cost of a chain, and its losses on validation images since the dense network.

    Attributes
    ----------
    cost : float
        Quantity to minimise: bytes, multiply-accumulates, or latency as a share of the dense network's latency.
    model_bytes, macs : int
    accuracy : float
    accuracy_loss, accuracy_loss_upper : float
        Loss of accuracy, and its one-sided 95 % bound.
    worst_class : str
        The class whose loss has the largest upper bound.
    class_loss, class_loss_upper : float
        The loss of that class, and its one-sided 95 % bound.
    run_id : str
    """

    cost: float
    model_bytes: int
    macs: int
    accuracy: float
    accuracy_loss: float
    accuracy_loss_upper: float
    worst_class: str
    class_loss: float
    class_loss_upper: float
    run_id: str

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers as metrics of a trial's run."""
        return {
            schema.TRIAL_COST: self.cost,
            schema.MODEL_BYTES: self.model_bytes,
            schema.MACS: self.macs,
            schema.VAL_ACCURACY: self.accuracy,
            schema.VAL_ACCURACY_LOSS: self.accuracy_loss,
            schema.VAL_ACCURACY_LOSS_UPPER: self.accuracy_loss_upper,
            schema.VAL_CLASS_LOSS: self.class_loss,
            schema.VAL_CLASS_LOSS_UPPER: self.class_loss_upper,
        }


class Validated(NamedTuple):
    """The indices of validation images, and whether the dense and the compressed network predict each image right."""

    images: np.ndarray
    before: np.ndarray
    after: np.ndarray


def losses_on_validation(label: np.ndarray, networks: Sequence[Validated]) -> tuple[Spread, Spread]:
    """Return the losses of classes and of the accuracy, as means over networks with validation images of their own.

    Parameters
    ----------
    label : (images,), integers
        Class of each training image; `Validated.images` are indices into this array.
    networks : sequence of Validated
    """
    image_numbers = np.unique(np.concatenate([network.images for network in networks]))
    difference = np.full((len(networks), len(image_numbers)), np.nan)
    for row, network in zip(difference, networks, strict=True):
        row[np.searchsorted(image_numbers, network.images)] = network.before.astype(float) - network.after
    label = label[image_numbers]
    return losses.spread(label, difference), losses.accuracy(label, difference)


def worst_losses(classes: Sequence[str], of_classes: Spread, of_accuracy: Spread) -> dict[str, Any]:
    """Return the fields of `Judgement` on losses, from those of the classes and of the accuracy."""
    worst = of_classes.may_lose_most()
    return {
        "accuracy_loss": float(of_accuracy.value[0]),
        "accuracy_loss_upper": float(of_accuracy.upper()[0]),
        "worst_class": str(classes[worst]),
        "class_loss": float(of_classes.value[worst]),
        "class_loss_upper": float(of_classes.upper()[worst]),
    }


def images_needed(limit: float) -> int:
    """Return the number of images that show that a network keeps a limit if none of its predictions changes.

    Examples
    --------
    2.706 / (87 + 2.706) is .0302, and 2.706 / (88 + 2.706) is .0298:

    >>> images_needed(0.03)
    88
    """
    return int((smallest_limit(np.arange(1, _MOST_IMAGES)) >= limit).sum()) + 1


def check_images(
    held_out: np.ndarray, images: np.ndarray, classes: Sequence[str], limits: Limits, *, is_trained: bool = False
) -> None:
    """Check that the validation images are enough to show that a network keeps to the limits.

    Parameters
    ----------
    held_out, images : (classes,), integers
        Number of validation images of each class, and number of the images from which they are drawn; equal if no
        option can change the split.
    classes : sequence of str
    limits : Limits
    is_trained : bool
        Whether the network exists already, so that another fraction of validation images takes another network.

    Raises
    ------
    StudyError
        If not even an unchanged network is shown to keep a limit. The error tells how many images are enough.
    """
    fewest = int(np.argmin(held_out))
    option = f"train a network with {_FRACTION}" if is_trained else _FRACTION
    of_class, of_all = map(float, smallest_limit(np.array([held_out[fewest], held_out.sum()])))
    if not of_class < limits.class_loss:
        raise StudyError(
            f"{POINTS * limits.class_loss:g} points cannot be checked: class {shortened(classes[fewest])} has "
            f"{held_out[fewest]:,} validation images. Even if no prediction changes, the class's loss may still be "
            f"{rounded_up(of_class)} points. "
            + _how_to_have(images_needed(limits.class_loss), int(images[fewest]), _OF_EACH, option)
            + f", or a limit of {rounded_up(of_class)} points",
            option="max_class_loss",
        )
    if not of_all < limits.accuracy_loss:
        raise StudyError(
            f"{POINTS * limits.accuracy_loss:g} points cannot be checked: there are {held_out.sum():,} validation "
            f"images. Even if no prediction changes, the loss of accuracy may still be {rounded_up(of_all)} points. "
            + _how_to_have(images_needed(limits.accuracy_loss), int(images.sum()), "images", option)
            + f", or a limit of {rounded_up(of_all)} points",
            option="max_accuracy_loss",
        )


def _how_to_have(needed: int, images: int, what: str, option: str = _FRACTION) -> str:
    percent = math.ceil(100 * needed / images) if needed < images else 100
    how = f"{option} {percent / 100:g}" if percent < 100 else "more images"
    return f"Give {needed:,} {what} for validation ({how})"
