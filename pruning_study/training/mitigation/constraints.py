"""Fine-tune under constraints on each class's loss or recall, by gradient descent and ascent on the Lagrangian.

The descent trains the weights, and the ascent raises the multiplier of a class while the class violates its constraint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import Engine
from pruning_study.training.mitigation.ceag import Ceag
from pruning_study.training.mitigation.class_means import (
    ClassMeans,
    empty_buffers,
    exact_sum,
    over_buffers,
    over_images,
    remember,
)
from pruning_study.training.mitigation.constraint_names import EQUALIZED_LOSS
from pruning_study.training.mitigation.equalized_loss import EqualizedLoss
from pruning_study.training.predicted import predicted_classes

MULTIPLIERS, GAPS, STEPS = "multipliers", "gaps", "steps"


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
    """A `pruning_study.training.weighting.Weighting` whose factors follow from a constraint's Lagrangian.

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
