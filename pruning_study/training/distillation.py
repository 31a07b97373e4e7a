"""Fine-tuning against the soft predictions of the dense network (Hinton et al. 2015)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Distillation:
    """A teacher, and how much it counts beside the labels.

    Parameters
    ----------
    teacher : nn.Module
        The dense network; it is not trained.
    weight : float, in [0, 1]
        Of the teacher's part; the labels' has the rest.
    temperature : float, > 0
        That both networks' logits are divided by.
    logits : Tensor [N, classes], optional
        The teacher's, of all training images, where these are always the same.
    """

    teacher: nn.Module
    weight: float
    temperature: float
    logits: Tensor | None = None

    def of(self, batch: Tensor, images: Tensor) -> Tensor:
        """The teacher's logits of a batch: the indices of its images, and the images as the network is given them."""
        if self.logits is not None:
            return self.logits.index_select(0, batch)
        with torch.no_grad():
            return self.teacher.eval()(images)

    def loss(self, scores: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """(1 - w) CE(labels, scores) + w T^2 KL(softmax(wanted / T) || softmax(scores / T)), the mean over images.

        T^2 keeps the gradient of the teacher's part, which falls with T^2, beside that of the labels'.

        Parameters
        ----------
        scores, wanted : Tensor [n, classes]
            Logits of the network and of the teacher.
        labels : int64 Tensor [n]
        """
        own, soft = (F.log_softmax(logits / self.temperature, dim=1) for logits in (scores, wanted))
        of_teacher = F.kl_div(own, soft, log_target=True, reduction="batchmean") * self.temperature**2
        return (1 - self.weight) * F.cross_entropy(scores, labels) + self.weight * of_teacher
