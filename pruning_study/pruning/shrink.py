"""Shrink a network after its input channels have been pruned: remove the channels that no layer reads any more."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError, first_line
from pruning_study.pruning.coupled import LAYERS, Coupling, by_group, couple, cut, is_transposed

# Largest difference between logits that counts as rounding, relative to the largest absolute logit if that is above 1.
TOLERANCE = 1e-5


class Shrunk(NamedTuple):
    """A smaller network, the number of input channels whose weights were all 0, and how many of these remain."""

    network: nn.Module
    zeroed_channels: int
    remaining_channels: int


def shrink(network: nn.Module, images: Tensor) -> Shrunk:
    """Remove the output channels that no layer reads, with their parameters.

    A channel is removed if every layer that reads it has only weights of 0 for it. Its biases, norms and depthwise
    weights are removed too. The same holds for a channel of a residual sum. Channels that must be removed together (see
    `coupled`) are removed if all of them can be. Channels of the images, channels that a shortcut pads, and at least
    one channel of each layer are kept.

    Parameters
    ----------
    network : nn.Module
        Network on the CPU, which is not changed. Only channels of layers that it calls as modules are found.
    images : Tensor (images, channels, height, width)
        Images of the shape that the network takes. The first is used to trace the layers, and all to compare the
        outputs.

    Returns
    -------
    Shrunk

    Raises
    ------
    StudyError
        If the layers cannot be traced, or if the smaller network gives different outputs.
    """
    whole, smaller = (copy.deepcopy(network).eval() for _ in range(2))
    try:
        coupling = couple(smaller, images[:1])
        stays = _read(smaller, coupling)
        zeroed = {name: ~_used(smaller.get_submodule(name)) for name in coupling.inputs}
        n_left = sum(int((unused & stays[coupling.inputs[name]]).sum()) for name, unused in zeroed.items())
        cut(smaller, coupling, stays)
        with torch.no_grad():
            wanted, outputs = whole(images), smaller(images)
        difference, allowed = float((outputs - wanted).abs().max()), TOLERANCE * max(1.0, float(wanted.abs().max()))
    except Exception as error:  # raised by the network, or by torch-pruning if tracing fails
        raise StudyError(f"the network cannot be made smaller: {first_line(error)}") from error
    if not difference <= allowed:
        raise StudyError(
            f"the network cannot be made smaller: its outputs would differ by {difference:.2g}; at most {allowed:.2g} "
            "is allowed"
        )
    return Shrunk(smaller, sum(int(unused.sum()) for unused in zeroed.values()), n_left)


def macs(network: nn.Module, image: Tensor) -> int:
    """Count the multiply-accumulates of a network's convolutions, linear layers and projections of attention.

    Parameters
    ----------
    network : nn.Module
        Network that calls its layers as modules.
    image : Tensor (1, channels, height, width)
        The image for which they are counted.

    Examples
    --------
    The convolution computes 2 channels of 4 pixels with 9 weights each, and the linear layer 3 units with 8 each:

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> macs(network, torch.zeros(1, 1, 4, 4))
    96
    """
    counted: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = inputs[0] if is_transposed(layer) else output
        counted.append(places.numel() * layer.weight[0].numel())  # type: ignore[index]

    def count_projections(
        layer: nn.MultiheadAttention, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: object
    ) -> None:
        tensors = dict(zip(("query", "key", "value"), inputs, strict=False)) | named
        query, key, value = (tensors[name].numel() for name in ("query", "key", "value"))
        counted.append(layer.embed_dim * (query + key + value + query))  # the last is the projection of the output

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, LAYERS)]
    hooks += [
        # It uses the weights of its projections without calling them as modules.
        layer.register_forward_hook(count_projections, with_kwargs=True)
        for layer in network.modules()
        if isinstance(layer, nn.MultiheadAttention)
    ]
    with torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def _read(network: nn.Module, coupling: Coupling) -> Tensor:
    """Return a mask of the units to keep: units that must stay or that a layer reads, and at least one per layer."""
    layers = {name: network.get_submodule(name) for name in coupling.inputs}
    stays = torch.ones_like(coupling.stays)
    while True:  # repeat, because a layer that loses outputs may read fewer inputs
        now = coupling.stays.clone()
        for name, layer in layers.items():
            now[coupling.inputs[name][_used(layer, stays[coupling.outputs[name]])]] = True
        for units in (coupling.outputs[name] for name in layers):
            now[units[0]] |= not now[units].any()
        if torch.equal(now, stays):
            return stays
        stays = now


def _used(layer: nn.Module, outputs: Tensor | None = None) -> Tensor:
    """Return a mask of the input channels with a nonzero weight for any output channel, or for any of `outputs`."""
    weights = by_group(layer) != 0
    if outputs is not None:
        weights &= outputs.view(len(weights), -1, 1, 1)
    return weights.any(3).any(1).flatten()
