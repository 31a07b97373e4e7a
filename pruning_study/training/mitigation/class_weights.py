"""Class weights: in fine-tuning, images of classes that the dense network recalls badly count more."""

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
    """A `Weighting` that multiplies the loss of each image by the weight of its class, which never changes.

    Parameters
    ----------
    of_classes : float32 Tensor [classes]
    """

    of_classes: Tensor
    each_step = False

    def initial_state(self) -> dict[str, Tensor]:
        """Return no state: nothing is learnt."""
        return {}

    def factors(self, state: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the weight of each label, float32 [N]."""
        return self.of_classes.to(labels.device)[labels]

    def after_step(self, state: dict[str, Tensor], labels: Tensor, loss: Tensor, right: Tensor) -> None:
        """Learn nothing."""

    def after_epoch(self, state: dict[str, Tensor], model: nn.Module, engine: Engine, validation: Examples) -> None:
        """Learn nothing."""


def from_dense(dense: Predictions, labels: Tensor, classes: tuple[str, ...], power: float) -> pd.DataFrame:
    """Return the weight of each class, from the dense network's recall on validation images.

    Parameters
    ----------
    dense : Predictions
        Of the dense network, for validation images, of which every split has at least one of each class.
    labels : int64 Tensor [N]
        Labels of the training images.
    classes : tuple of str
    power : float, >= 0
        As `class_weights` takes it.

    Returns
    -------
    DataFrame
        class, support (its validation images), recall, weight; in the order of the classes.
    """
    metrics = dense.counts(len(classes))
    images = np.bincount(labels.cpu(), minlength=len(classes))
    weights = class_weights(metrics.confusion.diagonal(), metrics.support, images, power)
    return pd.DataFrame({"class": classes, "support": metrics.support, "recall": metrics.recall, "weight": weights})


def class_weights(right: np.ndarray, support: np.ndarray, images: np.ndarray, power: float) -> np.ndarray:
    """Return (1 / recall)^power for each class, divided by the mean of this over the training images.

    The mean factor over the training images is therefore 1, so that the loss keeps its scale. If none of a class's n
    validation images is right, its recall counts as 1 / (2 n), so that no weight is infinite. The formula is this
    project's own.

    Parameters
    ----------
    right, support : (classes,), integers
        Validation images of each class, those that are predicted right and all of them.
    images : (classes,), integers
        Training images of each class.
    power : float, >= 0
        With 0 all weights are 1.

    Returns
    -------
    (classes,), float64
    """
    # In decimal numbers, since NumPy's logarithm and exponential differ between processors in the last digit.
    recalls = [Decimal(max(float(hits), 0.5)) / int(count) for hits, count in zip(right, support, strict=True)]
    logarithms = [-Decimal(power) * recall.ln() for recall in recalls]
    unscaled = [(logarithm - max(logarithms)).exp() for logarithm in logarithms]
    total = sum(weight * int(count) for weight, count in zip(unscaled, images, strict=True))
    return np.array([float(weight * int(images.sum()) / total) for weight in unscaled])


def weighting(table: pd.DataFrame) -> FixedClassWeights:
    """Return the weighting by a table of `from_dense`."""
    return FixedClassWeights(torch.tensor(table["weight"].to_numpy(), dtype=torch.float32))
