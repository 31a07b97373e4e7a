"""Factors on the training images' losses, set by methods that protect classes."""

from typing import Protocol

from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import Engine


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
