"""Performance-weighted loss: images on which the dense network does badly count more, and its predictions are learned.

Meyer and Wong (2022), "A fair loss function for network pruning", in the form of their released code.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.training.distillation import Distillation
from pruning_study.training.predicted import predicted_classes

# A logit beside logits of 0 whose probability is 1, and theirs exactly 0, in single precision.
_CERTAIN = 1e4


def distillation(dense: nn.Module, theta: float, gamma: float) -> Distillation:
    """Return the loss: the cross-entropy with the corrected predictions of the dense network, times the weights.

    It is told as a distillation by the teacher's predictions alone, whose divergence differs from the cross-entropy by
    a constant.

    Parameters
    ----------
    dense : nn.Module
        The dense network, in eval mode. It is given the images as the training gives them, flips and crops included.
    theta, gamma : float
        As `image_weights` takes them.
    """
    return Distillation(dense, 1.0, 1.0, own_targets=partial(targets, theta=theta, gamma=gamma))


def targets(
    logits: Tensor, labels: Tensor, softmax: Callable[[Tensor], Tensor], *, theta: float, gamma: float
) -> tuple[Tensor, Tensor]:
    """Return the corrected logits and the weights of images, as `pruning_study.training.distillation.Targets` says."""
    return corrected(logits, labels), image_weights(softmax(logits), labels, theta, gamma)


def image_weights(probabilities: Tensor, labels: Tensor, theta: float, gamma: float) -> Tensor:
    """Return theta + (1 - theta) (1 - p)^gamma, p being the probability that the dense network gives to the label.

    Parameters
    ----------
    probabilities : Tensor [n, classes]
        Of the dense network.
    labels : int64 Tensor [n]
    theta : float, in [0, 1]
        The least weight, of an image of which the dense network is certain.
    gamma : float, >= 0
        How fast weights fall with p.

    Returns
    -------
    float32 Tensor [n]
    """
    doubts = (1 - probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)).clamp(min=0)
    # In double precision, of which single precision drops the digits in which powers differ between processors.
    weights = [theta + (1 - theta) * doubt**gamma for doubt in doubts.tolist()]
    return torch.tensor(weights, dtype=torch.float32, device=labels.device)


def corrected(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the dense network's logits, and where its prediction is wrong, logits that are certain of the label.

    Parameters
    ----------
    logits : Tensor [n, classes]
    labels : int64 Tensor [n]
    """
    right = predicted_classes(logits) == labels
    certain = _CERTAIN * F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return torch.where(right.unsqueeze(1), logits, certain)
