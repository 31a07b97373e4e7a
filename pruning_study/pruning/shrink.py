"""Remove for real the channels that no layer reads, which is what pruning input channels leaves behind."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from analysis.common.errors import StudyError, first_line

if TYPE_CHECKING:
    from torch_pruning import DependencyGraph
    from torch_pruning.dependency import Group

# Largest difference between two logits that are equal but for rounding; of logits above 1, as a share of the largest.
TOLERANCE = 1e-5
_READERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Shrunk(NamedTuple):
    """A smaller network, how many input channels of its layers were all 0 before, and how many of these are left."""

    network: nn.Module
    zeroed_channels: int
    remaining_channels: int


def shrink(network: nn.Module, images: Tensor) -> Shrunk:
    """Remove the output channels of layers that no other layer reads, with what belongs to them.

    A channel goes where its input channel in each layer that reads it is 0. With it go the biases and the BatchNorm of
    the channel. The channels of a residual sum go where every layer that reads the sum has a 0 there. Left alone are
    channels that a shortcut pads, those of convolutions in groups, and those of the images.

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
    import torch_pruning

    whole, smaller = (copy.deepcopy(network).eval() for _ in range(2))
    try:
        with warnings.catch_warnings():  # on parameters outside layers; the outputs are compared below
            warnings.filterwarnings("ignore", "Unwrapped parameters", UserWarning)
            graph = torch_pruning.DependencyGraph().build_dependency(smaller, example_inputs=images[:1])
        zeroed = {layer: ~_used(layer) for layer in _followed(graph, smaller, images[:1])}
        before = _count(zeroed)
        # Again until nothing goes, for a layer without some outputs may read less.
        while sum(_remove_unread(graph, layer, zeroed) for layer in reversed(zeroed)):
            pass
        with torch.no_grad():
            wanted, outputs = whole(images), smaller(images)
        difference, allowed = float((outputs - wanted).abs().max()), TOLERANCE * max(1.0, float(wanted.abs().max()))
    except Exception as error:  # whatever a network raises, or torch-pruning where it cannot follow it
        raise StudyError(f"the network cannot be made smaller: {first_line(error)}") from error
    if not difference <= allowed:
        raise StudyError(
            f"the network cannot be made smaller: its outputs would differ by {difference:.2g}, above {allowed:.2g}"
        )
    return Shrunk(smaller, before, _count(zeroed))


def macs(network: nn.Module, image: Tensor) -> int:
    """Return the products of a weight and an input (multiply-accumulates) that convolutions and linear layers compute.

    Parameters
    ----------
    network : nn.Module
        It calls its layers as modules.
    image : Tensor (1, channels, height, width)

    Examples
    --------
    Four pixels of each of 2 channels, from 9 weights each, and then 8 inputs of 3 units:

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> macs(network, torch.zeros(1, 1, 4, 4))
    96
    """
    counted: list[int] = []

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        counted.append(output.numel() * layer.weight[0].numel())  # type: ignore[index]

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, _READERS)]
    with torch.no_grad():
        network.eval()(image)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def _followed(graph: DependencyGraph, network: nn.Module, image: Tensor) -> list[nn.Module]:
    """Return the layers that a network calls.

    Raises
    ------
    ValueError
        If it computes with the weight of a layer, and does not call that layer.
    """
    layers = {name: module for name, module in network.named_modules() if isinstance(module, _READERS)}
    weights = [layer.weight for layer in layers.values()]
    gradients = torch.autograd.grad(network(image).sum(), weights, allow_unused=True)
    for (name, layer), gradient in zip(layers.items(), gradients, strict=True):
        if gradient is not None and layer not in graph.module2node:
            raise ValueError(f"it computes with the weight of layer {name}, and does not call the layer")
    return [layer for layer in layers.values() if layer in graph.module2node]


def _remove_unread(graph: DependencyGraph, layer: nn.Module, zeroed: dict[nn.Module, Tensor]) -> bool:
    """Remove the output channels of a layer that no layer reads, and return whether there were any.

    What goes also goes from `zeroed`, which says for each layer which of its input channels were all 0 at first.
    """
    import torch_pruning

    remove = (
        torch_pruning.prune_linear_out_channels
        if isinstance(layer, nn.Linear)
        else torch_pruning.prune_conv_out_channels
    )
    group = graph.get_pruning_group(layer, remove, idxs=list(range(len(layer.weight))))  # type: ignore[arg-type]
    if not _is_understood(graph, group):
        return False
    unread = ~_read(graph, group, len(layer.weight))  # type: ignore[arg-type]
    if unread.all():
        unread[0] = False
    if not unread.any():
        return False
    group = graph.get_pruning_group(layer, remove, idxs=torch.nonzero(unread).flatten().tolist())
    for reader, channels, _ in _reads(graph, group):
        stays = torch.ones(len(zeroed[reader]), dtype=torch.bool)
        stays[channels] = False
        zeroed[reader] = zeroed[reader][stays]
    group.prune()
    return True


def _is_understood(graph: DependencyGraph, group: Group) -> bool:
    """Return whether a group has all channels that its convolutions and linear layers make, and layers read them all.

    A layer that reads them, and BatchNorm before it, may have other channels too, as behind a concatenation. Where
    attention takes queries, keys and values apart, torch-pruning knows the readers of a part of the channels alone, or
    names channels that the reader does not have.
    """
    read: set[int] = set()
    for item, layer in zip(group, _layers(group), strict=True):
        dependency, indices = item
        is_read = graph.is_in_channel_pruning_fn(dependency.handler) and isinstance(layer, _READERS)
        if is_read:
            if max(indices) >= layer.weight.shape[1]:  # type: ignore[index]
                return False
            read.update(item.root_idxs)
        if getattr(layer, "weight", None) is None:
            continue
        if not isinstance(layer, (*_READERS, *_BATCH_NORMS)) or getattr(layer, "groups", 1) > 1:
            return False
        writes_only = isinstance(layer, _READERS) and not is_read
        if writes_only and sorted(indices) != list(range(len(layer.weight))):  # as behind a shortcut that pads channels
            return False
    return read == set(group[0].idxs)


def _read(graph: DependencyGraph, group: Group, channels: int) -> Tensor:
    """Return which output channels of a group's first layer any layer reads."""
    read = torch.zeros(channels, dtype=torch.bool)
    for reader, inputs, outputs in _reads(graph, group):
        read[torch.tensor(outputs)[_used(reader)[inputs]]] = True
    return read


def _reads(graph: DependencyGraph, group: Group) -> Iterator[tuple[nn.Module, list[int], list[int]]]:
    """Yield each layer that reads a group, its input channels, and the first layer's output channels that these are."""
    for item, layer in zip(group, _layers(group), strict=True):
        if isinstance(layer, _READERS) and graph.is_in_channel_pruning_fn(item.dep.handler):
            yield layer, item.idxs, item.root_idxs


def _layers(group: Group) -> Iterator[nn.Module]:
    return (item.dep.target.module for item in group)


def _used(layer: nn.Module) -> Tensor:
    """Return which input channels of a layer have a weight other than 0."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight.detach().transpose(0, 1).flatten(1).any(1)


def _count(channels: dict[nn.Module, Tensor]) -> int:
    return sum(int(chosen.sum()) for chosen in channels.values())
