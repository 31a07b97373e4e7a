"""Callbacks of the training loop: mask changes, a teacher, and factors on the images' losses."""

from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.pruning.schedules import Ramp
from pruning_study.pruning.sparse_training import Exchange
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import Engine, Outcomes, Steps
from pruning_study.training.resumption import TrainingState, zeros
from pruning_study.training.setup import Callback, TrainingSetup


class MaskChanges(Callback):
    """Change the masks at some batches, for gradual pruning or sparse training.

    Parameters
    ----------
    schedule : Ramp or Exchange
    """

    def __init__(self, schedule: Ramp | Exchange) -> None:
        self.schedule = schedule

    @property
    def changes(self) -> Collection[int]:
        """Batches from which new masks apply; the first masks apply from batch 0."""
        return self.schedule.kept_numbers

    def start(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Allocate tensors for the values of pruned weights, if the schedule may restore pruned weights."""
        if self.schedule.regrow and not state.withheld:
            state.withheld = zeros(model)

    def before_steps(
        self, training: TrainingSetup, model: nn.Module, state: TrainingState, steps: Steps, batch: int
    ) -> Steps:
        """Change the masks if the schedule has a change at this batch."""
        trains_pruned = self.schedule.trains_pruned_at(batch)
        if batch and batch in self.schedule.kept_numbers:
            state.masks = self.schedule.follow(model, state.masks, state.withheld, batch)
            if not trains_pruned:
                state.forget_pruned()
        return replace(steps, masks=state.masks, withheld=state.withheld if trains_pruned else None)


class Teacher(Callback):
    """Train a network on the predictions of a teacher.

    Parameters
    ----------
    distillation : Distillation
    """

    def __init__(self, distillation: Distillation) -> None:
        self.distillation = distillation

    def start(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Compute the teacher's logits once, if no augmentation changes the images."""
        if not training.augments:
            # The engine may quantize weights in training, but the teacher's weights must not be quantized.
            logits = training.engine.with_weight_bits(None).logits(self.distillation.teacher, training.train.images)
            self.distillation = replace(self.distillation, logits=logits)

    def before_steps(
        self, training: TrainingSetup, model: nn.Module, state: TrainingState, steps: Steps, batch: int
    ) -> Steps:
        """Add the teacher's term to the loss."""
        return replace(steps, distillation=self.distillation)


class Weighting(Protocol):
    """A rule that multiplies the loss of each training image by a factor.

    A rule keeps its variables, such as dual variables, in a state of tensors, which the training loop saves and
    restores. The rule itself never changes.
    """

    @property
    def each_step(self) -> bool:
        """Whether the factors may change after each step, or only after each epoch."""

    def initial_state(self) -> dict[str, Tensor]:
        """Return the initial state, whose tensors `after_step` and `after_epoch` change in place."""

    def factors(self, state: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the factors, float32 [N], on the losses of images with these labels, int64 [N].

        The images are those of a batch if `each_step` is true, otherwise all training images in order.
        """

    def after_step(self, state: dict[str, Tensor], labels: Tensor, loss: Tensor, right: Tensor) -> None:
        """Update the state after a step; called only if `each_step` is true.

        Parameters
        ----------
        state : dict of str to Tensors
        labels : int64 Tensor [N]
            Labels of the batch's images.
        loss : float32 Tensor [N]
            Cross-entropy of each image before the step, not multiplied by its factor.
        right : bool Tensor [N]
            Whether the image's label had the largest logit before the step.
        """

    def after_epoch(self, state: dict[str, Tensor], model: nn.Module, engine: Engine, validation: Examples) -> None:
        """Update the state after an epoch, from the model's outputs for the validation images."""


class Factors(Callback):
    """Multiply the loss of each image by a factor, which a rule may update after each step or epoch.

    Parameters
    ----------
    rule : Weighting
    """

    def __init__(self, rule: Weighting) -> None:
        self.rule = rule

    def start(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Create the rule's state, unless a resumed training already has one."""
        state.weighting = state.weighting or self.rule.initial_state()

    def before_steps(
        self, training: TrainingSetup, model: nn.Module, state: TrainingState, steps: Steps, batch: int
    ) -> Steps:
        """Set the factors and, if the rule's state is updated after each step, the function that updates it."""
        rule, learned, labels = self.rule, state.weighting, training.train.labels
        if not rule.each_step:
            return replace(steps, factors=rule.factors(learned, labels))
        factors = torch.zeros(labels.shape, device=labels.device)
        outcomes = Outcomes(torch.zeros_like(factors), torch.zeros_like(labels, dtype=torch.bool))

        def set_factors(images: Tensor) -> None:
            factors[images] = rule.factors(learned, labels[images])

        def stepped(number: int) -> None:
            images = steps.batches[number]
            rule.after_step(learned, labels[images], outcomes.loss[images], outcomes.right[images])
            if number + 1 < len(steps.batches):
                set_factors(steps.batches[number + 1])

        set_factors(steps.batches[0])
        return replace(steps, factors=factors, outcomes=outcomes, stepped=stepped)

    def after_epoch(self, training: TrainingSetup, model: nn.Module, state: TrainingState) -> None:
        """Let the rule update its state from the network's outputs for the validation images."""
        self.rule.after_epoch(state.weighting, model, training.engine, training.validation)
