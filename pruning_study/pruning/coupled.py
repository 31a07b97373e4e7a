"""Find channels that must be removed together, by torch-pruning's dependency graph and the groups inside layers."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch_pruning import DependencyGraph
    from torch_pruning._helpers import GroupItem
    from torch_pruning.dependency import Group

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
_OUTPUTS, _INPUTS = "outputs", "inputs"
_End = tuple[str, str]  # name of a module, and whether its outputs or inputs are meant


class Coupling(NamedTuple):
    """Units of a network's channels: the channels of a unit are removed together or not at all.

    Attributes
    ----------
    outputs : dict of str to int64 Tensors (channels,)
        By module name: the units of the output channels of convolutions, linear layers and norms.
    inputs : dict of str to int64 Tensors (channels,)
        By module name: the units of the input channels of convolutions and linear layers, except depthwise
        convolutions.
    stays : bool Tensor (units,)
        Whether a unit must be kept.
    """

    outputs: dict[str, Tensor]
    inputs: dict[str, Tensor]
    stays: Tensor


def couple(network: nn.Module, image: Tensor) -> Coupling:
    """Find the channels of a network that must be removed together.

    torch-pruning traces the channels from layer to layer. Groups inside layers couple further channels. All groups of a
    convolution must keep equally many channels, so the channels at the same position in each group form a unit. The
    channels of a group of GroupNorm form a unit too. Layers that share a weight share its channels. A unit is always
    kept if torch-pruning does not find all layers that make and read the unit, or if the unit contains channels of the
    images or of the network's output.

    Parameters
    ----------
    network : nn.Module
        Network in eval mode. Only layers that it calls as modules are found.
    image : Tensor (1, channels, height, width)

    Raises
    ------
    ValueError
        If the network uses the weight of a layer without calling the layer.
    """
    import torch_pruning

    with warnings.catch_warnings():  # about parameters outside layers, whose channels are kept
        warnings.filterwarnings("ignore", "Unwrapped parameters", UserWarning)
        graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=(image,))
    modules = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, (*LAYERS, *_NORMS)) and module in graph.module2node
    }
    _check_called(network, image, modules.values())
    channels = {end: count for name, module in modules.items() for end, count in _ends(name, module).items()}
    starts = dict(zip(channels, torch.tensor([0, *channels.values()]).cumsum(0).tolist(), strict=False))
    places = {end: torch.arange(starts[end], starts[end] + count) for end, count in channels.items()}
    pairs, stays = _arrivals(graph, modules, places)
    pairs += _within_modules(modules, places)
    units = _components(pairs, sum(channels.values()))
    unit_stays = torch.zeros(int(units.max()) + 1, dtype=torch.bool)
    unit_stays[units[stays]] = True
    outputs, inputs = (
        {name: units[at] for (name, side), at in places.items() if side == which} for which in (_OUTPUTS, _INPUTS)
    )
    return Coupling(outputs, inputs, unit_stays)


def is_depthwise(module: nn.Module) -> bool:
    """Return whether a module is a convolution with equal numbers, above 1, of groups, input and output channels."""
    if not isinstance(module, nn.modules.conv._ConvNd):
        return False
    return module.groups == module.in_channels == module.out_channels > 1


def is_transposed(module: nn.Module) -> bool:
    """Return whether a module is a transposed convolution, whose weights are inputs x outputs, not outputs x inputs."""
    return isinstance(module, nn.modules.conv._ConvTransposeNd)


def inputs_second(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Swap axes 0 and 1 of the weights of transposed convolutions, whose input channels are on axis 0.

    A second call undoes the first.
    """
    transposed = {f"{name}.weight" for name, module in model.named_modules() if is_transposed(module)}
    return {
        name: tensor.transpose(0, 1).contiguous() if name in transposed else tensor for name, tensor in tensors.items()
    }


def by_group(layer: nn.Module) -> Tensor:
    """Return a layer's weights as (groups, outputs of a group, inputs of a group, pixels of the kernel)."""
    weight: Tensor = layer.weight.detach()  # type: ignore[operator]
    groups: int = getattr(layer, "groups", 1)
    if is_transposed(layer):
        return weight.view(groups, len(weight) // groups, weight.shape[1], -1).transpose(1, 2)
    return weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)


def cut(network: nn.Module, coupling: Coupling, stays: Tensor) -> None:
    """Remove units of channels from a network, in place.

    Parameters
    ----------
    network : nn.Module
    coupling : Coupling
        Coupling of this network.
    stays : bool Tensor (units,)
        Whether to keep each unit.
    """
    import torch_pruning

    pruners = torch_pruning.DependencyGraph()
    shared: dict[nn.Parameter, list[nn.Module]] = {}
    for name in coupling.outputs:
        module = network.get_submodule(name)
        if isinstance(module, LAYERS):
            shared.setdefault(module.weight, []).append(module)  # type: ignore[arg-type]
        pruner = pruners.get_pruner_of_module(module)
        if isinstance(module, nn.GroupNorm):
            module.num_groups -= int((~stays[coupling.outputs[name]]).sum()) * module.num_groups // module.num_channels
        pruner.prune_out_channels(module, _gone(coupling.outputs[name], stays))
        if name in coupling.inputs:
            pruner.prune_in_channels(module, _gone(coupling.inputs[name], stays))
    for first, *others in shared.values():
        for layer in others:
            layer.weight = first.weight


def _gone(units: Tensor, stays: Tensor) -> list[int]:
    gone: list[int] = torch.nonzero(~stays[units]).flatten().tolist()
    return gone


def _ends(name: str, module: nn.Module) -> dict[_End, int]:
    """Count a module's output channels, and its input channels unless it is a norm or a depthwise convolution."""
    if isinstance(module, nn.Linear):
        return {(name, _OUTPUTS): module.out_features, (name, _INPUTS): module.in_features}
    if isinstance(module, nn.modules.conv._ConvNd):
        outputs = {(name, _OUTPUTS): module.out_channels}
        return outputs if is_depthwise(module) else {**outputs, (name, _INPUTS): module.in_channels}
    return {(name, _OUTPUTS): module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features}  # type: ignore[dict-item]


def _check_called(network: nn.Module, image: Tensor, called: Iterable[nn.Module]) -> None:
    """Raise a ValueError if a network uses the weight of a layer without calling the layer."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LAYERS)}
    gradients = torch.autograd.grad(
        network(image).sum(), [layer.weight for layer in layers.values()], allow_unused=True
    )
    weights = {id(module.weight) for module in called}
    for (name, layer), gradient in zip(layers.items(), gradients, strict=True):
        if gradient is not None and id(layer.weight) not in weights:
            raise ValueError(f"it uses the weight of layer {name} without calling the layer")


def _arrivals(
    graph: DependencyGraph, modules: Mapping[str, nn.Module], places: Mapping[_End, Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Return tensors (2, pairs) of channels that torch-pruning couples, and the channels that must be kept."""
    names = {module: name for name, module in modules.items()}
    pairs, stays, written = [], [], []
    for name, module in modules.items():
        if not isinstance(module, LAYERS):
            continue
        outputs = places[name, _OUTPUTS]
        group = graph.get_pruning_group(
            module, graph.get_pruner_of_module(module).prune_out_channels, idxs=list(range(len(outputs)))
        )
        understood = _is_understood(graph, group)
        for item in group:
            target = item.dep.target.module
            if target not in names:
                continue
            at = places[names[target], _INPUTS if _reads(graph, item) else _OUTPUTS]
            indices, roots = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
            indices, roots = indices[indices < len(at)], roots[indices < len(at)]
            pairs.append(torch.stack([outputs[roots], at[indices]]))
            written.append(at[indices])
            if not understood:
                stays.append(at[indices])
    unwritten = torch.ones(sum(map(len, places.values())), dtype=torch.bool)
    unwritten[torch.cat(written)] = False
    return pairs, torch.cat([*stays, torch.nonzero(unwritten).flatten()])


def _reads(graph: DependencyGraph, item: GroupItem) -> bool:
    """Return whether the layer of an item has the item's channels as its inputs."""
    module = item.dep.target.module
    return (
        isinstance(module, LAYERS)
        and not is_depthwise(module)
        and bool(graph.is_in_channel_pruning_fn(item.dep.handler))
    )


def _is_understood(graph: DependencyGraph, group: Group) -> bool:
    """Return whether a group has all output channels of its layers and all readers of these channels.

    A reading layer, and a norm before it, may have other channels too, as after a concatenation. If attention splits
    queries, keys and values, torch-pruning finds the readers of only some channels, or lists channels that the reader
    does not have.
    """
    from torch_pruning.ops import OPTYPE

    read: set[int] = set()
    for item in group:
        module = item.dep.target.module
        if isinstance(module, nn.Parameter) or item.dep.target.type == OPTYPE.OUTPUT or not _is_known(module):
            return False
        if _reads(graph, item):
            if max(item.idxs) >= _ends("", module)["", _INPUTS]:
                return False
            read.update(item.root_idxs)
        elif isinstance(module, LAYERS) and sorted(item.idxs) != list(range(_ends("", module)["", _OUTPUTS])):
            return False  # as after a shortcut that pads channels
    return read == set(group[0].idxs)


def _is_known(module: nn.Module) -> bool:
    """Return whether torch-pruning can remove channels from a module correctly.

    torch-pruning cuts a grouped transposed convolution along the wrong axis, and treats any convolution with one output
    per group as depthwise.
    """
    groups = getattr(module, "groups", 1)
    if isinstance(module, nn.modules.conv._ConvNd) and groups > 1 and not is_depthwise(module):
        return not is_transposed(module) and module.out_channels > groups
    return isinstance(module, (*LAYERS, *_NORMS)) or getattr(module, "weight", None) is None


def _within_modules(modules: Mapping[str, nn.Module], places: Mapping[_End, Tensor]) -> list[Tensor]:
    """Return tensors (2, pairs) of channels that are coupled by groups or by a weight that layers share."""
    pairs = []
    shared: defaultdict[tuple[int, str], list[Tensor]] = defaultdict(list)
    for (name, side), at in places.items():
        module = modules[name]
        if isinstance(module, nn.GroupNorm):
            of_groups = at.view(module.num_groups, -1)
            pairs.append(torch.stack([of_groups, of_groups[:, :1].expand_as(of_groups)]).flatten(1))
        if isinstance(module, LAYERS):
            shared[id(module.weight), side].append(at)
            if not is_depthwise(module):
                of_groups = at.view(getattr(module, "groups", 1), -1)
                pairs.append(torch.stack([of_groups, of_groups[:1].expand_as(of_groups)]).flatten(1))
    return pairs + [torch.stack([first, at]) for first, *others in shared.values() for at in others]


def _components(pairs: Sequence[Tensor], places: int) -> Tensor:
    """Label each channel with the number of its connected component, given pairs of channels."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = torch.cat(list(pairs), 1).numpy()
    graph = coo_array((first >= 0, (first, second)), shape=(places, places))
    _, numbers = connected_components(graph, directed=False)
    return torch.from_numpy(numbers).long()
