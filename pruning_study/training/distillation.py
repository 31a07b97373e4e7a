"""Knowledge distillation: fine-tuning on the soft predictions of the dense network (Hinton et al. 2015)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Softmax: TypeAlias = Callable[[Tensor], Tensor]
# Computes the target logits and a factor on the loss of each image, float32 [n], from a teacher's logits [n, classes],
# the labels [n] of the images and an engine's softmax.
Targets: TypeAlias = Callable[[Tensor, Tensor, Softmax], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Distillation:
    """A teacher network, and the weight of its predictions in the loss.

    Parameters
    ----------
    teacher : nn.Module
        The network before pruning; it is not trained.
    weight : float, in [0, 1]
        Weight of the teacher's term in the loss; the labels' term has weight 1 - `weight`.
    temperature : float, > 0
        Softmax temperature: the logits of both networks are divided by it.
    logits : Tensor [N, classes], optional
        The teacher's logits for all training images, precomputed if images are not augmented.
    own_targets : callable, optional
        Computes target logits to use instead of the teacher's logits (see `Targets`).
    """

    teacher: nn.Module
    weight: float
    temperature: float
    logits: Tensor | None = None
    own_targets: Targets | None = None

    def teacher_logits(self, batch: Tensor, images: Tensor) -> Tensor:
        """Return the teacher's logits for a batch.

        Parameters
        ----------
        batch : int64 Tensor [n]
            Indices of the images among the training images.
        images : Tensor [n, C, H, W]
            The network's input images, augmented or not.

        Returns
        -------
        Tensor [n, classes]
        """
        if self.logits is not None:
            return self.logits.index_select(0, batch)
        with torch.no_grad():
            logits: Tensor = self.teacher.eval()(images)
        return logits

    def targets(
        self, teacher_logits: Tensor, labels: Tensor, weights: Tensor | None, softmax: Softmax
    ) -> tuple[Tensor, Tensor | None]:
        """Return the target logits, and each image's factor on its loss, multiplied by the image's weight in `weights`.

        Parameters
        ----------
        teacher_logits : Tensor [n, classes]
        labels : int64 Tensor [n]
        weights : float32 Tensor [n], optional
        softmax : callable
            The engine's `probabilities`.

        Returns
        -------
        logits : Tensor [n, classes]
        factors : float32 Tensor [n], or None if all are 1
        """
        if self.own_targets is None:
            return teacher_logits, weights
        logits, factors = self.own_targets(teacher_logits, labels, softmax)
        return logits, factors if weights is None else factors * weights

    def loss(self, scores: Tensor, labels: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the mean of (1 - w) CE(labels, scores) + w T^2 KL(softmax(teacher / T) || softmax(scores / T)).

        Here w is `weight`, and T is `temperature`. The gradient of KL scales with 1 / T^2, so the factor T^2 keeps the
        gradients of the teacher's term and of the labels' term comparable.

        Parameters
        ----------
        scores, teacher_logits : Tensor [n, classes]
            Logits of the network and of the teacher.
        labels : int64 Tensor [n]

        Returns
        -------
        Tensor, a scalar
        """
        student, teacher = (F.log_softmax(logits / self.temperature, dim=1) for logits in (scores, teacher_logits))
        divergence = F.kl_div(student, teacher, log_target=True, reduction="batchmean") * self.temperature**2
        return (1 - self.weight) * F.cross_entropy(scores, labels) + self.weight * divergence

    def image_losses(self, scores: Tensor, labels: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the losses of the images, [n]; their mean is `loss`."""
        student, teacher = (F.log_softmax(logits / self.temperature, dim=1) for logits in (scores, teacher_logits))
        divergences = F.kl_div(student, teacher, log_target=True, reduction="none").sum(1) * self.temperature**2
        return (1 - self.weight) * F.cross_entropy(scores, labels, reduction="none") + self.weight * divergences
