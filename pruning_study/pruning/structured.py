"""Structured pruning: score a layer's channels, and make masks that keep or prune whole input channels.

The input channels of a weight tensor are on axis 1, and all weights of an input channel have the same score. The
filters, which make the output channels, are on axis 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pruning_study.pruning.masks import exact_k
from pruning_study.pruning.scores import random

if TYPE_CHECKING:
    from torch import Generator, Tensor


def l1_norm(theta: Tensor) -> Tensor:
    """Score channels by the sum of |theta|, like `torch.nn.utils.prune.ln_structured` with n=1, dim=1.

    Parameters
    ----------
    theta : Tensor, (outputs, inputs, ...)
        Trained weights.

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> l1_norm(tensor([[3.0, -1.0], [-4.0, 2.0]])).tolist()
    [[7.0, 3.0], [7.0, 3.0]]
    """
    return _norm(theta, 1)


def l2_norm(theta: Tensor) -> Tensor:
    """Score channels by the root of the sum of theta^2, like `ln_structured` with n=2, dim=1.

    Parameters
    ----------
    theta : as in `l1_norm`

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> l2_norm(tensor([[3.0, 0.0], [-4.0, 2.0]])).tolist()
    [[5.0, 2.0], [5.0, 2.0]]
    """
    return _norm(theta, 2)


def linf_norm(theta: Tensor) -> Tensor:
    """Score channels by the largest |theta|, like `ln_structured` with n=inf, dim=1.

    Parameters
    ----------
    theta : as in `l1_norm`

    Returns
    -------
    Tensor, shaped as `theta`

    Examples
    --------
    >>> from torch import tensor
    >>> linf_norm(tensor([[3.0, -1.0], [-4.0, 2.0]])).tolist()
    [[4.0, 2.0], [4.0, 2.0]]
    """
    return _norm(theta, math.inf)


def random_channel(theta: Tensor, *, generator: Generator) -> Tensor:
    """Score channels at random, uniformly, like `torch.nn.utils.prune.random_structured` with dim=1.

    PyTorch's function also prunes the channels with the smallest uniform random numbers, but draws other numbers.

    Parameters
    ----------
    theta : Tensor, (outputs, inputs, ...)
        Trained weights; only their shape matters.
    generator : torch.Generator
        Random generator seeded by the run's seed.

    Returns
    -------
    Tensor, shaped as `theta`, in [0, 1)

    Examples
    --------
    >>> import torch
    >>> scores = random_channel(torch.zeros(2, 3), generator=torch.Generator().manual_seed(0))
    >>> bool((scores[0] == scores[1]).all()), len(set(scores[0].tolist()))
    (True, 3)
    """
    channels = theta.new_empty(1, theta.shape[1], *[1] * (theta.dim() - 2))
    return random(channels, generator=generator).expand(theta.shape)


def filter_l1_norm(theta: Tensor) -> Tensor:
    """Score filters by the sum of |theta| over their weights (Li et al. 2017).

    Parameters
    ----------
    theta : Tensor, (filters, inputs, ...)
        Trained weights of a convolution.

    Returns
    -------
    Tensor (filters,)

    Examples
    --------
    >>> from torch import tensor
    >>> filter_l1_norm(tensor([[[[3.0, -1.0]]], [[[-4.0, 2.0]]]])).tolist()
    [4.0, 6.0]
    """
    return _sums(theta.abs().flatten(1)).to(theta.dtype)


def largest_channels(scores: Sequence[Tensor], k: int, candidates: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Make one layer's mask: keep the input channels with the largest scores; in a tie, those with the lowest indices.

    Parameters
    ----------
    scores : sequence of one Tensor, (outputs, inputs, ...)
    k : int, >= 0
        Number of weights to keep, rounded down to whole channels. If there are fewer candidates, all are kept.
    candidates : sequence of one bool Tensor, shaped as `scores`, optional
        True for the weights to choose from; all by default. A channel is a candidate if any of its weights is.

    Returns
    -------
    list of one bool Tensor, True where kept, shaped as `scores`

    Raises
    ------
    StudyError
        If a score is NaN or infinite.

    Examples
    --------
    >>> from torch import tensor
    >>> largest_channels([tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])], k=4)[0].tolist()
    [[True, False, True], [True, False, True]]
    """
    (score,) = scores
    channel_size = score.numel() // score.shape[1]
    remaining = None if candidates is None else [candidates[0].transpose(0, 1).flatten(1).any(1)]
    (channels,) = exact_k([score.transpose(0, 1).flatten(1)[:, 0]], k // channel_size, remaining)
    mask = channels.view(1, -1, *[1] * (score.dim() - 2)).expand(score.shape)
    return [mask.clone() if candidates is None else mask & candidates[0]]


def _norm(theta: Tensor, order: float) -> Tensor:
    sizes = theta.abs().transpose(0, 1).flatten(1)
    if order == 1:
        norm = _sums(sizes)
    elif order == 2:
        norm = _sums(sizes.double().square()).sqrt()
    else:
        norm = sizes.amax(1)
    return norm.to(theta.dtype).view(1, -1, *[1] * (theta.dim() - 2)).expand(theta.shape)


def _sums(values: Tensor) -> Tensor:
    """Sum each row from left to right, in float64, because the order of torch's sum depends on the processor."""
    import numpy as np
    import torch

    running = np.add.accumulate(values.double().cpu().numpy(), axis=1)
    return torch.from_numpy(running[:, -1].copy()).to(values.device)
