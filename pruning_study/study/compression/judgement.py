"""A chain's bytes, multiply-accumulates or latency, and its losses; how many validation images limits need."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.common.errors import StudyError
from analysis.common.printable import shortened
from analysis.compare.comparison import Comparison
from analysis.runs import schema
from analysis.statistics import limits as class_limits
from analysis.statistics.hypothesis_tests import LEVEL
from analysis.statistics.image_bounds import unchanged_bound
from analysis.statistics.limits import Limits

POINTS = 100
_MOST_IMAGES = 10**6
_LEAST_IMAGES = 2  # from a single image, the variance of a network's recall over images cannot be estimated
_OF_EACH = "images of each class"
_FRACTION = "--validation-fraction"
SIDES = {"before": "dense", "control": "control", "after": "compressed"}  # fields of `Sides` -> in words


class Judgement(NamedTuple):
    """The cost of a chain, and its losses on validation images, measured against the control.

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
        The loss of that class, and its one-sided 95 % bound, which holds for all classes together.
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


class Sides(NamedTuple):
    """Whether the dense, control and compressed networks predict each image right: bool arrays (networks, images)."""

    before: np.ndarray
    control: np.ndarray
    after: np.ndarray


def losses(classes: Sequence[str], label: np.ndarray, sides: Sides) -> pd.DataFrame:
    """Return the losses of accuracy and of each class, measured against the control, as in `Comparison.losses`."""
    return Comparison(classes, label, sides._asdict()).losses


class Validated(NamedTuple):
    """The indices of validation images, and whether dense, control and compressed networks predict each image right."""

    images: np.ndarray
    before: np.ndarray
    control: np.ndarray
    after: np.ndarray


def losses_on_validation(classes: Sequence[str], label: np.ndarray, networks: Sequence[Validated]) -> pd.DataFrame:
    """Return mean losses over networks, each with validation images of its own, in a table as `losses` returns it.

    Parameters
    ----------
    classes : sequence of str
    label : (images,), integers
        Class of each training image; `Validated.images` are indices into this array.
    networks : sequence of Validated
    """
    if len(networks) == 1:
        (one,) = networks
        sides = Sides(*(side[np.newaxis] for side in (one.before, one.control, one.after)))
        return losses(classes, label[one.images], sides)
    image_numbers = np.unique(np.concatenate([network.images for network in networks]))
    control, after = (np.full((len(networks), len(image_numbers)), np.nan) for _ in range(2))
    for row, network in enumerate(networks):
        places = np.searchsorted(image_numbers, network.images)
        control[row, places], after[row, places] = network.control, network.after
    return class_limits.losses_on_own_images(list(classes), label[image_numbers], control, after)


def worst(table: pd.DataFrame) -> pd.Series:
    """Return the row of the class whose loss has the largest upper bound; the first row, the accuracy, is skipped."""
    return table.loc[table["upper"].iloc[1:].idxmax()]


def judge(table: pd.DataFrame, accuracy: float, cost: float, model_bytes: int, macs: int, run_id: str) -> Judgement:
    """Return a chain's cost and losses; `table` is as `losses` returns it."""
    whole, worst_class = table.iloc[0], worst(table)
    return Judgement(
        cost=cost,
        model_bytes=model_bytes,
        macs=macs,
        accuracy=accuracy,
        accuracy_loss=float(whole["loss"]),
        accuracy_loss_upper=float(whole["upper"]),
        worst_class=str(worst_class["name"]),
        class_loss=float(worst_class["loss"]),
        class_loss_upper=float(worst_class["upper"]),
        run_id=run_id,
    )


def images_needed(limit: float, classes: int = 1) -> int:
    """Return the number of images per class that rule out a loss of `limit` if the network loses none of them.

    If none of n images is lost, the bound is 1 - level^(1 / n), with a level of .05 divided by the number of classes.

    Examples
    --------
    .97^98 is .0505 and .97^99 is .049; with ten classes .97^174 is .00499:

    >>> images_needed(0.03), images_needed(0.03, classes=10)
    (99, 174)
    """
    if not limit > 0:
        return _MOST_IMAGES
    return min(math.ceil(math.log(LEVEL / classes) / math.log1p(-limit)), _MOST_IMAGES)


def least_bound(images: int, classes: int = 1) -> float:
    """Return the upper bound of the loss of a class with this many images if the network loses none of them."""
    return float(unchanged_bound(images, LEVEL / classes))


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
        If even a network that loses no image might be beyond a limit. The error tells how many images are enough.
    """
    fewest = int(np.argmin(held_out))
    option = f"train a network with {_FRACTION}" if is_trained else _FRACTION
    of_class, of_all = least_bound(int(held_out[fewest]), len(classes)), least_bound(int(held_out.sum()))
    if not of_class < limits.class_loss:
        raise StudyError(
            f"{POINTS * limits.class_loss:g} points cannot be checked: class {shortened(classes[fewest])} has "
            f"{held_out[fewest]:,} validation images. Even if no prediction changes, the class's loss may still be "
            f"{_up(of_class)}. "
            + _how_to_have(images_needed(limits.class_loss, len(classes)), int(images[fewest]), _OF_EACH, option)
            + f", or a limit of {_up(of_class)}",
            option="max_class_loss",
        )
    if not of_all < limits.accuracy_loss:
        raise StudyError(
            f"{POINTS * limits.accuracy_loss:g} points cannot be checked: there are {held_out.sum():,} validation "
            f"images. Even if no prediction changes, the loss of accuracy may still be {_up(of_all)}. "
            + _how_to_have(images_needed(limits.accuracy_loss), int(images.sum()), "images", option)
            + f", or a limit of {_up(of_all)}",
            option="max_accuracy_loss",
        )


def check_each_network(held_out: np.ndarray, images: np.ndarray, classes: Sequence[str]) -> None:
    """Check that each of several networks has enough validation images of each class for `losses_on_validation`.

    Parameters
    ----------
    held_out : (networks, classes), integers
        Number of validation images of each class in each network.
    images, classes
        As for `check_images`.

    Raises
    ------
    StudyError
        If a network has fewer than two validation images of a class.
    """
    in_one = held_out.min(0)
    fewest = int(np.argmin(in_one))
    if in_one[fewest] < _LEAST_IMAGES:
        raise StudyError(
            f"losses over several networks need at least {_LEAST_IMAGES} validation {_OF_EACH} in each network, but "
            f"class {shortened(classes[fewest])} has {in_one[fewest]}. "
            f"{_how_to_have(_LEAST_IMAGES, int(images[fewest]), _OF_EACH)}",
            option="seed",
        )


def _how_to_have(needed: int, images: int, what: str, option: str = _FRACTION) -> str:
    percent = math.ceil(100 * needed / images) if needed < images else 100
    how = f"{option} {percent / 100:g}" if percent < 100 else "more images"
    return f"Give {needed:,} {what} for validation ({how})"


def _up(share: float) -> str:
    """Return a bound in points, rounded up, so that it never looks smaller than the limit that it exceeds."""
    return f"{math.ceil(1000 * share) / 10:g} points"
