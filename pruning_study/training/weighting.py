"""Factors on the loss of each training image, as methods that spare classes set them."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import Engine, Outcomes


class Weighting(Protocol):
    """A rule that multiplies the loss of each training image by a factor.

    What a rule learns during the training, such as dual variables, lives in a state of tensors. The training loop holds
    this state, and saves and resumes it. The rule itself never changes.
    """

    @property
    def each_step(self) -> bool:
        """Whether the factors change at each step, by what the step saw; else they change after each epoch at most."""

    def initial_state(self) -> dict[str, Tensor]:
        """Return the state before the first step; the methods below change its tensors in place."""

    def weights(self, state: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the factors, float32 [N], of images with these labels, int64 [N].

        The images are those of a batch where `each_step`, else all training images in their order.
        """

    def after_step(self, state: dict[str, Tensor], labels: Tensor, loss: Tensor, right: Tensor) -> None:
        """Learn from a step, where `each_step`; else this is never called.

        Parameters
        ----------
        state : dict of str to Tensors
        labels : int64 Tensor [N]
            Labels of the batch.
        loss : float32 Tensor [N]
            Cross-entropy of each image before the step, without its factor.
        right : bool Tensor [N]
            Whether the image's label had the largest logit before the step.
        """

    def after_epoch(self, state: dict[str, Tensor], model: nn.Module, engine: Engine, validation: Examples) -> None:
        """Learn from the model after an epoch, on the validation images."""


class Factors:
    """The factors of an epoch's images, which a rule may set again after each step, by what it learnt from the step.

    Parameters
    ----------
    weighting : Weighting, optional
        Without it no image has a factor, and nothing is learnt.
    state : dict of str to Tensors
        The rule's state, changed in place.
    labels : int64 Tensor [N]
        Labels of all training images.

    Attributes
    ----------
    weights : float32 Tensor [N], optional
    outcomes : Outcomes, optional
        Where the rule learns from each step.
    """

    weights: Tensor | None = None
    outcomes: Outcomes | None = None

    def __init__(self, weighting: Weighting | None, state: dict[str, Tensor], labels: Tensor) -> None:
        self._weighting, self._state, self._labels = weighting, state, labels
        if weighting and weighting.each_step:
            self.weights = torch.zeros(labels.shape, device=labels.device)
            self.outcomes = Outcomes(torch.zeros_like(self.weights), torch.zeros_like(labels, dtype=torch.bool))
        elif weighting:
            self.weights = weighting.weights(state, labels)

    def following(self, batches: Sequence[Tensor]) -> Callable[[int], None] | None:
        """Set the factors of the first batch, and return what is to be called after each step; None if nothing is.

        Parameters
        ----------
        batches : sequence of int64 Tensors
            Indices of the images of each batch that is trained on next.
        """
        weighting, weights, outcomes = self._weighting, self.weights, self.outcomes
        if not weighting or weights is None or outcomes is None:
            return None

        def set_factors(batch: Tensor) -> None:
            weights[batch] = weighting.weights(self._state, self._labels[batch])

        def stepped(number: int) -> None:
            batch = batches[number]
            weighting.after_step(self._state, self._labels[batch], outcomes.loss[batch], outcomes.right[batch])
            if number + 1 < len(batches):
                set_factors(batches[number + 1])

        set_factors(batches[0])
        return stepped
