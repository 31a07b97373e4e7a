"""Class weights: in fine-tuning, give more weight to classes with a low recall in the dense network."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import Engine
from pruning_study.training.evaluation import Predictions


@dataclass(frozen=True)
class FixedClassWeights:
    """A `Weighting` that multiplies the loss of each image by the fixed weight of its class.

    Parameters
    ----------
    of_classes : float32 Tensor [classes]
    """

    of_classes: Tensor
    each_step = False

    def initial_state(self) -> dict[str, Tensor]:
        """Return an empty state: fixed weights need none."""
        return {}

    def factors(self, state: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the weight of each label, float32 [N]."""
        return self.of_classes.to(labels.device)[labels]

    def after_step(self, state: dict[str, Tensor], labels: Tensor, loss: Tensor, right: Tensor) -> None:
        """Do nothing: the weights are fixed."""

    def after_epoch(self, state: dict[str, Tensor], model: nn.Module, engine: Engine, validation: Examples) -> None:
        """Do nothing: the weights are fixed."""


def from_dense(dense: Predictions, labels: Tensor, classes: tuple[str, ...], power: float) -> pd.DataFrame:
    """Compute the weight of each class from the dense network's recall on validation images.

    Parameters
    ----------
    dense : Predictions
        The dense network's predictions for validation images, with at least one image of each class.
    labels : int64 Tensor [N]
        Labels of the training images.
    classes : tuple of str
    power : float, >= 0
        As in `class_weights`.

    Returns
    -------
    DataFrame
        One row per class: class, support (number of validation images), recall, weight.
    """
    metrics = dense.counts(len(classes))
    images = np.bincount(labels.cpu(), minlength=len(classes))
    weights = class_weights(metrics.confusion.diagonal(), metrics.support, images, power)
    return pd.DataFrame({"class": classes, "support": metrics.support, "recall": metrics.recall, "weight": weights})


def class_weights(right: np.ndarray, support: np.ndarray, images: np.ndarray, power: float) -> np.ndarray:
    """Return (1 / recall)^power for each class, normalised to a mean of 1 over the training images.

    The normalisation keeps the scale of the loss. If all predictions for a class's n validation images are wrong, 1 /
    (2 n) is used as its recall, so that no weight is infinite. The formula is this project's own.

    Parameters
    ----------
    right, support : (classes,), integers
        Number of correctly predicted validation images of each class, and number of all its validation images.
    images : (classes,), integers
        Number of training images of each class.
    power : float, >= 0
        Exponent; with 0 all weights are 1.

    Returns
    -------
    (classes,), float64
    """
    # Decimal numbers, because the last digits of NumPy's logarithm and exponential differ between processors.
    recalls = [Decimal(max(float(hits), 0.5)) / int(count) for hits, count in zip(right, support, strict=True)]
    logarithms = [-Decimal(power) * recall.ln() for recall in recalls]
    unscaled = [(logarithm - max(logarithms)).exp() for logarithm in logarithms]
    total = sum(weight * int(count) for weight, count in zip(unscaled, images, strict=True))
    return np.array([float(weight * int(images.sum()) / total) for weight in unscaled])


def weighting(table: pd.DataFrame) -> FixedClassWeights:
    """Return the weighting for a table of `from_dense`."""
    return FixedClassWeights(torch.tensor(table["weight"].to_numpy(), dtype=torch.float32))
