"""Factors on the loss of each training image, which methods that spare classes set."""

from typing import Protocol

from torch import Tensor, nn

from pruning_study.data.examples import Examples
from pruning_study.training.engines import Engine


class Weighting(Protocol):
    """A rule that multiplies the loss of each training image by a factor.

    A rule keeps what it learns, such as dual variables, in a state of tensors, which the training loop saves and
    resumes. The rule itself never changes.
    """

    @property
    def each_step(self) -> bool:
        """Whether the factors change after each step; otherwise they change after each epoch at most."""

    def initial_state(self) -> dict[str, Tensor]:
        """Return the state before the first step; the methods below change its tensors in place."""

    def factors(self, state: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the factors, float32 [N], of images with these labels, int64 [N].

        If `each_step` is true, the images are those of a batch; otherwise they are all training images in their order.
        """

    def after_step(self, state: dict[str, Tensor], labels: Tensor, loss: Tensor, right: Tensor) -> None:
        """Learn from a step; called only if `each_step` is true.

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
