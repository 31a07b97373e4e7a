"""Performance-weighted loss: learn the dense network's corrected predictions, with more weight on its weak images.

Meyer and Wong (2022), "A fair loss function for network pruning", in the form of their released code.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.training.distillation import Distillation
from pruning_study.training.predicted import predicted_classes

# A logit so large that, beside logits of 0, its probability is exactly 1 in single precision, and theirs 0.
_CERTAIN = 1e4


def distillation(dense: nn.Module, theta: float, gamma: float) -> Distillation:
    """Return the loss: the cross-entropy with the dense network's corrected predictions, times the image weights.

    It is written as a distillation without labels, because the divergence from the teacher differs from the
    cross-entropy only by a constant.

    Parameters
    ----------
    dense : nn.Module
        The dense network, in eval mode. It gets the training's images with their flips and crops.
    theta, gamma : float
        As `image_weights` takes them.
    """
    return Distillation(dense, 1.0, 1.0, own_targets=partial(targets, theta=theta, gamma=gamma))


def targets(
    logits: Tensor, labels: Tensor, softmax: Callable[[Tensor], Tensor], *, theta: float, gamma: float
) -> tuple[Tensor, Tensor]:
    """Return the corrected logits and the weights of images, for `pruning_study.training.distillation.Targets`."""
    return corrected(logits, labels), image_weights(softmax(logits), labels, theta, gamma)


def image_weights(probabilities: Tensor, labels: Tensor, theta: float, gamma: float) -> Tensor:
    """Return theta + (1 - theta) (1 - p)^gamma, p being the probability that the dense network gives to the label.

    Parameters
    ----------
    probabilities : Tensor [n, classes]
        Of the dense network.
    labels : int64 Tensor [n]
    theta : float, in [0, 1]
        The smallest weight, of an image with p = 1.
    gamma : float, >= 0
        How fast weights fall with p.

    Returns
    -------
    float32 Tensor [n]
    """
    doubts = (1 - probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)).clamp(min=0)
    # In double precision; rounding to single precision drops the digits in which powers differ between processors.
    weights = [theta + (1 - theta) * doubt**gamma for doubt in doubts.tolist()]
    return torch.tensor(weights, dtype=torch.float32, device=labels.device)


def corrected(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the dense network's logits or, if its prediction is wrong, logits that give the label probability 1.

    Parameters
    ----------
    logits : Tensor [n, classes]
    labels : int64 Tensor [n]
    """
    right = predicted_classes(logits) == labels
    certain = _CERTAIN * F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return torch.where(right.unsqueeze(1), logits, certain)
