"""Weights on a grid of few values, which integers of few bits can store. Their numbers stay float32."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruning_study.pruning.budget import prunable


class Quantization(NamedTuple):
    """How the weights of a network are quantised.

    Attributes
    ----------
    bits : int, >= 2
        Bits of a weight.
    while_training : bool
        Whether training steps already compute with the quantised weights, or only the network that is kept has them.
    """

    bits: int
    while_training: bool


def fake_quantized(weights: Tensor, bits: int) -> Tensor:
    """Return weights rounded to multiples of a scale, one for each output channel.

    The scale makes the largest absolute weight of a channel the largest integer of so many bits, 2^(bits - 1) - 1. The
    smallest one is its negative, so that 0 stays 0. In the backward pass the rounding counts as no change: the gradient
    passes straight through.

    Parameters
    ----------
    weights : float32 Tensor [output channels, ...]
    bits : int, >= 2

    Returns
    -------
    float32 Tensor, shaped as `weights`

    Examples
    --------
    >>> from torch import tensor
    >>> fake_quantized(tensor([[7.0, -2.4, 0.4], [0.0, 0.875, -1.75]]), 4).tolist()
    [[7.0, -2.0, 0.0], [0.0, 1.0, -1.75]]
    """
    integer = largest_integer(bits)
    scales = weights.detach().flatten(1).abs().amax(1) / integer
    scales = scales.clamp_min(torch.finfo(scales.dtype).tiny)  # a channel may be pruned as a whole
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, scales, zeros, 0, -integer, integer)


def largest_integer(bits: int) -> int:
    """Return the largest integer of so many bits, of which one is the sign."""
    return (1 << (bits - 1)) - 1


def quantized_weights(model: nn.Module, bits: int) -> dict[str, Tensor]:
    """Return the quantised weights of a model's convolutions and linear layers, the last one included, by name."""
    return {name: fake_quantized(model.get_parameter(name), bits) for name in prunable(model, output_layer=True)}


def at_all_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of some parameters for each module that has such a parameter: modules may share one.

    A module has one name here, even if the model has it under several. `functional_call` by itself takes them for
    modules that share a parameter, and then leaves the weights in the model.
    """
    of_parameter = {model.get_parameter(name): values for name, values in weights.items()}
    return {
        f"{prefix}.{name}".removeprefix("."): of_parameter[parameter]
        for prefix, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter in of_parameter
    }


@torch.no_grad()
def quantize(model: nn.Module, bits: int) -> None:
    """Put the weights of a model's convolutions and linear layers on their grid, in place."""
    for name, weights in quantized_weights(model, bits).items():
        model.get_parameter(name).copy_(weights)
