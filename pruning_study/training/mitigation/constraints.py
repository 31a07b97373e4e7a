"""Fine-tune under constraints on each class's loss or recall, by gradient descent and ascent on the Lagrangian.

The descent trains the weights, and the ascent raises the multiplier of a class while the class violates its constraint.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple, Protocol

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import Engine
from pruning_study.training.mitigation.constraint_names import EQUALIZED_LOSS
from pruning_study.training.predicted import predicted_classes

MULTIPLIERS, GAPS, STEPS = "multipliers", "gaps", "steps"
MEMORY = 40
VALUES, SEEN = "buffered_values", "buffered_images"
TOLERANCE = 0.01  # of `Ceag`


class ClassMeans(NamedTuple):
    """Mean of a value, such as the loss, over the images of each class.

    Parameters
    ----------
    each : float32 Tensor [classes]
        Means of the classes, meaningless if `has_mean` is False.
    overall : float32 Tensor []
    has_mean : bool Tensor [classes]
        Whether a class has enough images for a mean.
    """

    each: Tensor
    overall: Tensor
    has_mean: Tensor


class Constraint(Protocol):
    """Constraints, one per class, on a mean over the class's images."""

    def values(self, loss: Tensor, right: Tensor) -> Tensor:
        """Return the value of each image, [n], that the constraint averages, given the image's loss and correctness."""

    def gaps(self, means: ClassMeans) -> Tensor:
        """Return the gap between each class and the constraint's target, [classes]."""

    def violations(self, gaps: Tensor) -> Tensor:
        """Return the change of each multiplier in a dual step of size 1, [classes], before clipping at 0."""

    def pull(self, multipliers: Tensor, gaps: Tensor) -> Tensor:
        """Return the weight of each class's term L_c - L (class loss minus mean loss) in the Lagrangian, [classes]."""


def image_factors(labels: Tensor, pull: Tensor) -> Tensor:
    """Return a factor for each image, such that the mean of factor times loss is the Lagrangian.

    Let L be the mean loss over the n images, L_c the mean loss over the n_c images of class c, and v_c the pull of
    class c. Up to constants, the Lagrangian is L + sum_c v_c (L_c - L), where c runs over the classes in `labels`. It
    equals the mean of factor times loss if an image of class y has the factor 1 + v_y n / n_y - sum_c v_c.

    Parameters
    ----------
    labels : int64 Tensor [n]
        Labels of a batch, or of all training images.
    pull : Tensor [classes]

    Returns
    -------
    float32 Tensor [n]
    """
    counts = torch.bincount(labels, minlength=len(pull))
    there = pull.where(counts > 0, 0.0)
    return (1 + there * len(labels) / counts.clamp(min=1) - exact_sum(there))[labels].float()


@dataclass(frozen=True)
class Constrained:
    """A `pruning_study.training.callbacks.Weighting` whose factors follow from a constraint's Lagrangian.

    Parameters
    ----------
    constraint : Constraint
    sizes : int64 Tensor [classes], > 0
        Number of training images of each class.
    step : float, >= 0
        Size of a dual step.
    epoch_steps : int
        Training steps in an epoch.
    each_step : bool
        If true, make a dual step after each training step, on the latest training images of each class; otherwise, make
        one after each epoch, on the validation images.
    first : int
        Training step, counted from 0, at which the constraint begins: the first step with the final masks.
    """

    constraint: Constraint
    sizes: Tensor
    step: float
    epoch_steps: int
    each_step: bool = True
    first: int = 0

    def initial_state(self) -> dict[str, Tensor]:
        """Return multipliers and gaps of 0, with empty buffers if the constraint is on training images."""
        classes, device = len(self.sizes), self.sizes.device
        zeros = torch.zeros(classes, device=device)
        state = {MULTIPLIERS: zeros, GAPS: zeros.clone(), STEPS: torch.zeros((), dtype=torch.int64)}
        return state | (empty_buffers(classes, device) if self.each_step else {})

    def factors(self, state: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the images' factors at the current multipliers; see `image_factors`."""
        return image_factors(labels, self.constraint.pull(state[MULTIPLIERS], state[GAPS]))

    def after_step(self, state: dict[str, Tensor], labels: Tensor, loss: Tensor, right: Tensor) -> None:
        """Make a dual step for the classes whose buffer is full, if the constraint has begun."""
        if self._begun(state, 1):
            remember(state, labels, self.constraint.values(loss, right))
            self._ascend(state, over_buffers(state, self.sizes))

    def after_epoch(self, state: dict[str, Tensor], model: nn.Module, engine: Engine, validation: Examples) -> None:
        """Make a dual step if the constraint is on validation images and has begun."""
        if not self.each_step and self._begun(state, self.epoch_steps):
            scores = engine.logits(model, validation.images)
            loss = engine.cross_entropies(scores, validation.labels)
            values = self.constraint.values(loss, predicted_classes(scores) == validation.labels)
            self._ascend(state, over_images(validation.labels, values, len(self.sizes)))

    def _begun(self, state: dict[str, Tensor], steps: int) -> bool:
        """Count further training steps, and return whether the constraint has begun."""
        state[STEPS] += steps
        return int(state[STEPS]) > self.first

    def _ascend(self, state: dict[str, Tensor], means: ClassMeans) -> None:
        gaps = self.constraint.gaps(means)
        ascended = (state[MULTIPLIERS] + self.step * self.constraint.violations(gaps)).clamp(min=0)
        state[MULTIPLIERS].copy_(ascended.where(means.has_mean, state[MULTIPLIERS]))
        state[GAPS].copy_(gaps.where(means.has_mean, state[GAPS]))


def measured(name: str, dense: nn.Module, images: Examples, engine: Engine, classes: int) -> Constraint:
    """Return a constraint by name; `ceag` compares with the dense network's recalls on the constraint's images.

    Parameters
    ----------
    name : {"ceag", "equalized-loss"}
    dense : nn.Module
    images : Examples
        Images for the constraint, at least one per class.
    engine : Engine
    classes : int
    """
    if name == EQUALIZED_LOSS:
        return EqualizedLoss()
    right = predicted_classes(engine.logits(dense, images.images)) == images.labels
    return Ceag(over_images(images.labels, right, classes))


def multipliers(state: dict[str, Tensor], classes: Sequence[str]) -> pd.DataFrame:
    """Tabulate the last multiplier of each class, and the gap at its last dual step.

    Parameters
    ----------
    state : dict of str to Tensors
    classes : sequence of str

    Returns
    -------
    DataFrame
        Columns: class, multiplier, gap.
    """
    return pd.DataFrame({"class": classes, "multiplier": state[MULTIPLIERS].tolist(), "gap": state[GAPS].tolist()})


@dataclass(frozen=True)
class Ceag:
    """Constrained excess accuracy gaps: (dense R_c - R_c) - (dense A - A) <= tolerance.

    R_c is the recall of class c, and A the accuracy. The method is that of Hashemizadeh, Ramirez et al. (2024),
    "Balancing act: constraining disparate impact in sparse models", Algorithm 1.

    Because recall has no gradient, the weights are trained on losses instead. Let L_c be the mean loss of class c, and
    L the mean loss of all images. Up to a constant, the term of class c in the Lagrangian is lambda_c (L_c - L), with
    the multiplier lambda_c. The dual step lambda_c <- max(0, lambda_c + step (gap_c - tolerance)) uses the recalls:
    gap_c is the left side of the constraint. The paper calls the constraints on losses proxy constraints.

    Parameters
    ----------
    dense : ClassMeans
        Recalls and accuracy of the dense network on the images used for the constraint.
    """

    dense: ClassMeans

    def values(self, loss: Tensor, right: Tensor) -> Tensor:
        """Return whether the prediction of each image is correct."""
        return right

    def gaps(self, means: ClassMeans) -> Tensor:
        """Return each class's drop in recall minus the drop in accuracy, given the recalls of the pruned network."""
        return (self.dense.each - means.each) - (self.dense.overall - means.overall)

    def violations(self, gaps: Tensor) -> Tensor:
        """Return each gap minus the tolerance."""
        return gaps - TOLERANCE

    def pull(self, multipliers: Tensor, gaps: Tensor) -> Tensor:
        """Return the multipliers unchanged."""
        return multipliers


class EqualizedLoss:
    """The constraint L_c = L, for the mean losses L_c of class c and L of all images.

    The method is that of Tran, Fioretto, Kim and Naidu (2022), "Pruning has a disparate impact on model accuracy",
    Equation 8, as implemented in the released code of Hashemizadeh et al. (2024), who compare with it.

    For the method of multipliers, the paper refers to Fioretto et al. (2020), "Lagrangian duality for constrained deep
    learning": the term of class c in the Lagrangian is lambda_c |L_c - L|, and a dual step increases lambda_c by the
    step size times |L_c - L|. So multipliers never decrease. The gradient of |L_c - L| is that of L_c - L, times the
    sign of the gap.
    """

    def values(self, loss: Tensor, right: Tensor) -> Tensor:
        """Return the loss of each image."""
        return loss

    def gaps(self, means: ClassMeans) -> Tensor:
        """Return the loss of each class minus the mean loss."""
        return means.each - means.overall

    def violations(self, gaps: Tensor) -> Tensor:
        """Return the absolute gap of each class."""
        return gaps.abs()

    def pull(self, multipliers: Tensor, gaps: Tensor) -> Tensor:
        """Return the multipliers with the signs of the gaps: training raises a class loss that is below the mean."""
        return multipliers * gaps.sign()


# Sums are computed exactly and rounded once, because the order in which torch adds values depends on the processor.


def over_images(labels: Tensor, values: Tensor, classes: int) -> ClassMeans:
    """Return class means over all given images; a class has a mean if it has an image.

    Parameters
    ----------
    labels : int64 Tensor [n]
    values : Tensor [n]
    classes : int
    """
    counts = torch.bincount(labels, minlength=classes)
    sums = values.new_tensor([exact_sum(values[labels == label]) for label in range(classes)], dtype=torch.float64)
    overall = values.new_tensor(exact_sum(values) / len(labels), dtype=torch.float32)
    return ClassMeans((sums / counts.clamp(min=1)).float(), overall, counts > 0)


def empty_buffers(classes: int, device: torch.device) -> dict[str, Tensor]:
    """Return empty buffers for the latest values of each class in training batches.

    These are the replay buffers of Hashemizadeh et al. (2024), with the size that their released code uses.
    """
    return {
        VALUES: torch.zeros(classes, MEMORY, device=device),
        SEEN: torch.zeros(classes, dtype=torch.int64, device=device),
    }


def remember(buffers: dict[str, Tensor], labels: Tensor, values: Tensor) -> None:
    """Put the values of a batch into the buffers of their classes, replacing the oldest values.

    Parameters
    ----------
    buffers : dict of str to Tensors
        Buffers from `empty_buffers`, updated in place.
    labels : int64 Tensor [n]
    values : Tensor [n]
    """
    seen = buffers[SEEN]
    members = F.one_hot(labels, len(seen))
    counts = members.sum(0)
    rank = members.cumsum(0).gather(1, labels[:, None])[:, 0] - 1  # among the images of the class, from 0
    fits = rank >= counts[labels] - MEMORY
    slots = (seen[labels] + rank) % MEMORY
    buffers[VALUES][labels[fits], slots[fits]] = values[fits].float()
    seen += counts


def over_buffers(buffers: dict[str, Tensor], sizes: Tensor) -> ClassMeans:
    """Return the mean of each class whose buffer is full, with the mean of these means, weighted by size, as `overall`.

    Buffers have the same length, so the weights make `overall` a mean over images. It is NaN until a buffer is full.

    Parameters
    ----------
    buffers : dict of str to Tensors
        Buffers from `empty_buffers`.
    sizes : int64 Tensor [classes], > 0
        Number of training images of each class.
    """
    has_mean = buffers[SEEN] >= MEMORY
    each = buffers[VALUES].new_tensor([exact_sum(values) / MEMORY for values in buffers[VALUES]])
    # Classes of equal size get weights of 1, with which the mean is the plain one to the last bit.
    weights = (sizes // math.gcd(*sizes.tolist()))[has_mean].tolist()
    overall = math.fsum(map(mul, weights, each[has_mean].tolist())) / sum(weights) if weights else math.nan
    return ClassMeans(each, each.new_tensor(overall), has_mean)


def exact_sum(values: Tensor) -> float:
    """Return the exact sum of values, rounded once."""
    return math.fsum(values.tolist())
