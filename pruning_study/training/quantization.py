"""Round weights to values that integers of few bits can represent; the weights stay float32."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pruning_study.pruning.budget import prunable


class Quantization(NamedTuple):
    """Settings for quantizing the weights of a network.

    Attributes
    ----------
    bits : int, >= 2
        Bits of a weight.
    while_training : bool
        Whether training steps compute with quantized weights; otherwise, only the final network is quantized.
    """

    bits: int
    while_training: bool


def fake_quantized(weights: Tensor, bits: int) -> Tensor:
    """Round weights to multiples of a scale, one scale per output channel.

    The scale maps the largest absolute weight of a channel to the largest integer, 2^(bits - 1) - 1. The smallest
    integer is the negative of this, and 0 stays 0. In the backward pass, the gradient passes straight through the
    rounding.

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
    scales = scales.clamp_min(torch.finfo(scales.dtype).tiny)  # in case all weights of a channel are 0
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, scales, zeros, 0, -integer, integer)


def largest_integer(bits: int) -> int:
    """Return the largest signed integer of `bits` bits."""
    return (1 << (bits - 1)) - 1


def quantized_weights(model: nn.Module, bits: int) -> dict[str, Tensor]:
    """Return the quantized weights of a model's convolutions and linear layers, the output layer included, by name."""
    return {name: _quantized_weight(model, name, bits) for name in prunable(model, output_layer=True)}


def _quantized_weight(model: nn.Module, name: str, bits: int) -> Tensor:
    weight, layer = model.get_parameter(name), model.get_submodule(name.rpartition(".")[0])
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        channels_first = fake_quantized(_with_channels_swapped(weight, layer.groups), bits)
        return _with_channels_swapped(channels_first, layer.groups)
    return fake_quantized(weight, bits)


def _with_channels_swapped(weight: Tensor, groups: int) -> Tensor:
    """Swap input and output channels within each group: [inputs, outputs / groups, ...] to [outputs, ...] and back."""
    return weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)


def at_all_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """List weights under every name of their parameters, since modules may share a parameter.

    A module has one name in the list, even if the model contains it under several names. `functional_call` must not tie
    the weights itself: it would mistake the names of one module for several modules that share a parameter, and leave
    the new weights in the model.
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
    """Quantize the weights of a model's convolutions and linear layers, in place."""
    for name, weights in quantized_weights(model, bits).items():
        model.get_parameter(name).copy_(weights)
