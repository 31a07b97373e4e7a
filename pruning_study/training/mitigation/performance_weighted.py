"""Performance-weighted loss: learn the dense network's corrected predictions, weighted by its doubt in the labels.

Meyer and Wong (2022), "A fair loss function for network pruning", as implemented in their released code.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning_study.training.distillation import Distillation
from pruning_study.training.predicted import predicted_classes

# A logit whose probability in single precision is exactly 1 if all other logits are 0.
_CERTAIN = 1e4


def distillation(dense: nn.Module, theta: float, gamma: float) -> Distillation:
    """Return the loss: cross-entropy with the dense network's corrected predictions, times the image weights.

    The loss is expressed as a distillation without labels, because the divergence from the teacher differs from this
    cross-entropy only by a constant.

    Parameters
    ----------
    dense : nn.Module
        Dense network, in eval mode. Its inputs are the training images, augmented as in training.
    theta, gamma : float
        As in `image_weights`.
    """
    return Distillation(dense, 1.0, 1.0, own_targets=partial(targets, theta=theta, gamma=gamma))


def targets(
    logits: Tensor, labels: Tensor, softmax: Callable[[Tensor], Tensor], *, theta: float, gamma: float
) -> tuple[Tensor, Tensor]:
    """Return the corrected logits and the image weights; a `pruning_study.training.distillation.Targets`."""
    return corrected(logits, labels), image_weights(softmax(logits), labels, theta, gamma)


def image_weights(probabilities: Tensor, labels: Tensor, theta: float, gamma: float) -> Tensor:
    """Return theta + (1 - theta) (1 - p)^gamma, with p the dense network's probability of the label.

    Parameters
    ----------
    probabilities : Tensor [n, classes]
        Class probabilities of the dense network.
    labels : int64 Tensor [n]
    theta : float, in [0, 1]
        Smallest weight, for p = 1.
    gamma : float, >= 0
        Exponent: the larger, the faster weights decrease with p.

    Returns
    -------
    float32 Tensor [n]
    """
    doubts = (1 - probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)).clamp(min=0)
    # Powers are computed in double precision; rounding to float32 drops the digits that differ between processors.
    weights = [theta + (1 - theta) * doubt**gamma for doubt in doubts.tolist()]
    return torch.tensor(weights, dtype=torch.float32, device=labels.device)


def corrected(logits: Tensor, labels: Tensor) -> Tensor:
    """Replace the logits of each image that the dense network predicts wrongly, so that its label has probability 1.

    Parameters
    ----------
    logits : Tensor [n, classes]
    labels : int64 Tensor [n]
    """
    right = predicted_classes(logits) == labels
    certain = _CERTAIN * F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return torch.where(right.unsqueeze(1), logits, certain)
