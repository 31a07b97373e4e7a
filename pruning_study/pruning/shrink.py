"""Remove the channels that no layer reads from a network, which are left after input channels have been pruned."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError, first_line
from pruning_study.pruning.coupled import LAYERS, Coupling, by_group, couple, cut, is_transposed

# Largest difference between logits that counts as rounding; if logits are above 1, as a share of the largest.
TOLERANCE = 1e-5


class Shrunk(NamedTuple):
    """A smaller network, how many input channels of its layers were all 0 before, and how many of these are left."""

    network: nn.Module
    zeroed_channels: int
    remaining_channels: int


def shrink(network: nn.Module, images: Tensor) -> Shrunk:
    """Remove the output channels of layers that no other layer reads, with what belongs to them.

    A channel is removed if each layer that reads it has only weights of 0 for it. The biases, norms and depthwise
    weights of the channel are removed too. A channel of a residual sum is removed if every layer that reads the sum has
    only weights of 0 for it, and channels that go together (`coupled`) are removed if all of them can be. Channels that
    a shortcut pads, and those of the images, stay.

    Parameters
    ----------
    network : nn.Module
        On the CPU. It is not changed. Only channels of layers that it calls as modules are found.
    images : Tensor (images, channels, height, width)
        As the network takes them: its layers are followed with the first, and the outputs compared on all.

    Returns
    -------
    Shrunk

    Raises
    ------
    StudyError
        If the layers cannot be followed, or if the smaller network gives other outputs.
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
    except Exception as error:  # whatever a network raises, or torch-pruning where it cannot follow it
        raise StudyError(f"the network cannot be made smaller: {first_line(error)}") from error
    if not difference <= allowed:
        raise StudyError(
            f"the network cannot be made smaller: its outputs would differ by {difference:.2g}, above {allowed:.2g}"
        )
    return Shrunk(smaller, sum(int(unused.sum()) for unused in zeroed.values()), n_left)


def macs(network: nn.Module, image: Tensor) -> int:
    """Return the number of multiply-accumulates of a network's convolutions and linear layers for an image.

    Parameters
    ----------
    network : nn.Module
        It calls its layers as modules.
    image : Tensor (1, channels, height, width)

    Examples
    --------
    Four pixels of 2 channels from 9 weights each, and 3 units from 8 inputs each:

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> macs(network, torch.zeros(1, 1, 4, 4))
    96
    """
    counted: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = inputs[0] if is_transposed(layer) else output
        counted.append(places.numel() * layer.weight[0].numel())  # type: ignore[index]

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, LAYERS)]
    with torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def _read(network: nn.Module, coupling: Coupling) -> Tensor:
    """Return the units that stay: those that have to, and those of which a layer reads a channel."""
    layers = {name: network.get_submodule(name) for name in coupling.inputs}
    stays = torch.ones_like(coupling.stays)
    while True:  # since a layer that loses outputs may read fewer inputs
        now = coupling.stays.clone()
        for name, layer in layers.items():
            now[coupling.inputs[name][_used(layer, stays[coupling.outputs[name]])]] = True
        for units in (coupling.outputs[name] for name in layers):
            now[units[0]] |= not now[units].any()
        if torch.equal(now, stays):
            return stays
        stays = now


def _used(layer: nn.Module, outputs: Tensor | None = None) -> Tensor:
    """Find the input channels of a layer that have a weight other than 0, to one of `outputs` if given."""
    weights = by_group(layer) != 0
    if outputs is not None:
        weights &= outputs.view(len(weights), -1, 1, 1)
    return weights.any(3).any(1).flatten()
