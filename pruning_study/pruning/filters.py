"""Find a network's removable filters, each with all parameters that make, scale or read its channel.

A filter is one output channel of a convolution. In a network whose convolutions have no removable channels, such as a
vision transformer, a filter is one hidden unit between two linear layers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.common.errors import StudyError, first_line
from pruning_study.pruning import budget
from pruning_study.pruning.budget import Budget

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pruning_study.pruning.masks import Masks


class Tie(NamedTuple):
    """Map from the indices along an axis of a parameter to the filters of a layer.

    Attributes
    ----------
    layer : str
        State-dict name of the filters' weights.
    axis : int
        1 if the parameter reads the filters' channels, and 0 if it makes or scales them, as biases and norms do.
    filters : int64 Tensor, one entry per index
        Filter that the index belongs to; -1 if it belongs to no filter of this layer.
    """

    layer: str
    axis: int
    filters: Tensor


class Filters(NamedTuple):
    """Removable filters of a network.

    Attributes
    ----------
    numbers : dict of state-dict names to int
        Number of filters of each layer with removable filters, in the order of the model.
    ties : dict of state-dict names to lists of Tie
        Parameters that are cut with the filters: weights, biases and BatchNorm of the layer, and the weights that read
        its output.
    shapes : dict of state-dict names to shapes
        Shapes of the parameters in `ties`.
    readers : dict of state-dict names to str
        State-dict name of the first weights that read each layer's output.
    """

    numbers: dict[str, int]
    ties: dict[str, list[Tie]]
    shapes: dict[str, torch.Size]
    readers: dict[str, str]


def removable(model: nn.Module, images: Tensor, names: Sequence[str], *, calls: nn.Module | None = None) -> Filters:
    """Find the layers whose filters can be removed without affecting other channels.

    Each channel of a convolution is set to NaN, to find the inputs of prunable layers that become NaN. The filters of a
    convolution can be removed if each of its channels reaches inputs that no other channel reaches. Linear layers are
    used only if no convolution can be pruned. The following layers are excluded:

    - layers that make the network's output;
    - layers whose channels are added to a shortcut, because the sum must keep its width;
    - grouped and transposed convolutions, and the layers that these read;
    - layers that share a weight or are called more than once;
    - layers that affect other inputs in a way that NaN does not reveal but random numbers do, as through a comparison.

    Parameters
    ----------
    model : nn.Module
        Network in eval mode.
    images : Tensor (1, channels, height, width)
        Any image of the shape that the model takes.
    names : sequence of str
        State-dict names of the prunable weights.
    calls : nn.Module, optional
        A network with the same layers, which calls each layer as a module, if the model itself does not.

    Raises
    ------
    StudyError
        If no layer has removable filters.
    """
    from torch import nn

    for kind in (nn.modules.conv._ConvNd, nn.Linear):
        filters = _removable(model, images, names, calls or model, kind)
        if filters.numbers:
            return filters
    raise StudyError(
        f"{type(model).__name__} has no convolution whose channels can be removed, and no hidden units between linear "
        "layers: choose a pruner of single weights, such as mp",
        option=_OPTION,
    )


def _removable(model: nn.Module, images: Tensor, names: Sequence[str], network: nn.Module, kind: type[Any]) -> Filters:
    """Find the removable filters of one kind of layer."""
    parameters = {id(parameter): name for name, parameter in model.named_parameters()}
    try:
        candidates = _candidates(network, images, {key for key, name in parameters.items() if name in names}, kind)
        leaks = _leaks(network, candidates, images)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise StudyError(
            f"the channels of the network cannot be traced: {first_line(error)}", option=_OPTION
        ) from error
    filters = Filters({}, {}, {}, {})
    for (layer, arrived), leak in zip(candidates, leaks, strict=True):
        if not leak:
            _add(filters, layer, arrived, parameters)
    return filters


def shares(model: str, layers: Iterable[str], ratio: float) -> dict[str, float]:
    """Return each convolution's share of filters to keep, relative to the largest such share.

    All are 1, except in ResNet-56 at ratios above 2.5. There the shares of the three stages are in proportion 5 : 4 :
    3, because Sui et al. (2021, released settings) keep .5, .4 and .3 of the filters inside the stages' blocks at the
    ratio 3.33, but .6 in all stages at 1.75. Good et al. (2022, Table 13) do not give the shares for their larger
    ratios.

    Parameters
    ----------
    model : str
        Name of the model in the registry.
    layers : iterable of state-dict names
    ratio : float
    """
    stages = _STAGES.get(model, {}) if ratio > _SAME_IN_ALL_BELOW else {}
    return {name: stages.get(name.partition(".")[0], 1.0) for name in layers}


def masks(filters: Filters, kept_filters: Mapping[str, Tensor]) -> Masks:
    """Make the masks of all parameters that are cut with the filters.

    Parameters
    ----------
    filters : Filters
    kept_filters : mapping of state-dict names to bool Tensors (filters,)
        Filters to keep in each convolution.

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept
    """
    import torch

    whole = {}
    for name, shape in filters.shapes.items():
        mask = torch.ones(shape, dtype=torch.bool, device=next(iter(kept_filters.values())).device)
        for axis, along in _along(filters, name, kept_filters).items():
            mask &= along.view([-1 if index == axis else 1 for index in range(len(shape))])
        whole[name] = mask
    return whole


def removed(filters: Filters, numbers: Mapping[str, int], names: Collection[str] | None = None) -> int:
    """Count the parameters removed if each convolution keeps a given number of filters, whichever filters it keeps.

    Parameters
    ----------
    filters : Filters
    numbers : mapping of state-dict names to int
    names : collection of str, optional
        State-dict names of the parameters to count; all by default.
    """
    import torch

    kept_filters = {name: torch.arange(filters.numbers[name]) < number for name, number in numbers.items()}
    gone = 0
    for name in filters.shapes.keys() if names is None else filters.shapes.keys() & set(names):
        shape = filters.shapes[name]
        lengths = {axis: int(along.sum()) for axis, along in _along(filters, name, kept_filters).items()}
        gone += math.prod(shape) - math.prod(lengths.get(axis, length) for axis, length in enumerate(shape))
    return gone


def numbers_at(filters: Filters, own_budget: Budget, model: str, ratio: float, option: str = "ratio") -> dict[str, int]:
    """Return the number of filters to keep in each convolution at a ratio.

    Parameters
    ----------
    filters : Filters
    own_budget : Budget
        Budget of the network.
    model : str
        Name of the model, because `shares` depend on it.
    ratio : float
    option : str
        Option that sets the amount of pruning, for the error.

    Raises
    ------
    StudyError
        If too many parameters are left even with one filter in each convolution.
    """

    def count_parameters(numbers: Mapping[str, int]) -> int:
        return own_budget.total - removed(filters, numbers)

    own_budget.check_filters(ratio, count_parameters(dict.fromkeys(filters.numbers, 1)), option)
    own_shares = shares(model, filters.numbers, ratio)
    wanted = round(own_budget.total / ratio)
    return budget.nearest_filters(filters.numbers, own_shares, count_parameters, wanted)


def weights(filters: Filters, theta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that make each filter, (filters, weights per filter), by layer.

    Parameters
    ----------
    filters : Filters
    theta : mapping of state-dict names to Tensors
        The prunable weights.
    """
    return {layer: theta[layer].flatten(1) for layer in filters.numbers}


@contextmanager
def feature_maps(model: nn.Module, filters: Filters) -> Iterator[dict[str, Tensor]]:
    """Collect the feature maps of convolutions, as the next layers read them, while the `with` block runs.

    The maps are those after BatchNorm, activation and pooling.

    Parameters
    ----------
    model : nn.Module
        Network that calls its layers as modules, and whose parameters have the names in `filters`.
    filters : Filters

    Yields
    ------
    dict of state-dict names to Tensors (images, channels, pixels), of the last batch
    """
    maps: dict[str, Tensor] = {}
    modules = {f"{name}.weight": module for name, module in model.named_modules()}

    def collect(layer: str, places: Tensor) -> Callable[..., None]:
        def hook(reader: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            maps[layer] = _by_channel(reader, inputs[0])[:, places].flatten(2)

        return hook

    hooks = []
    for layer, reader in filters.readers.items():
        tie = next(tie for tie in filters.ties[reader] if (tie.layer, tie.axis) == (layer, 1))
        hooks.append(modules[reader].register_forward_pre_hook(collect(layer, _places(tie.filters))))
    try:
        yield maps
    finally:
        for handle in hooks:
            handle.remove()


NONE, _OPTION = -1, "pruner"  # NONE stands for no filter
_SAME = 1e-4  # largest difference that counts as rounding, relative to the largest value
_STAGES = {"resnet56": {"layer1": 1.0, "layer2": 0.8, "layer3": 0.6}}
_SAME_IN_ALL_BELOW = 2.5  # ratio between 1.75, at which all stages have the same share, and 3.33


class _Path(NamedTuple):
    """Channels that reach the inputs of a module.

    Attributes
    ----------
    layers : bool Tensor (layers, inputs)
        Whether channels of each layer reach each input.
    filters : int64 Tensor (inputs,)
        The channel that reaches the input, if there is only one.
    single : bool Tensor (inputs,)
        Whether at most one channel of each layer reaches the input.
    """

    layers: Tensor
    filters: Tensor
    single: Tensor


def _is_layer(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))


def _candidates(
    network: nn.Module, images: Tensor, prunable: Collection[int], kind: type[Any]
) -> list[tuple[nn.Module, dict[Any, Tensor]]]:
    """Find the layers whose filters seem removable, and for each, which filter reaches which input of other modules.

    `prunable` holds the ids of the prunable weights.
    """
    from torch import nn

    layers: list[Any] = [module for module in network.modules() if _is_layer(module)]
    users = Counter(id(getattr(module, "weight", None)) for module in network.modules())
    paths = _follow(network, layers, images, any_tensor=kind is nn.Linear)
    candidates: list[tuple[nn.Module, dict[Any, Tensor]]] = []
    for index, layer in enumerate(layers):
        arrived = {module: path for module, path in paths.items() if path.layers[index].any()}
        whole = [layer, *filter(_is_layer, arrived)]
        if (
            isinstance(layer, kind)
            and not any(isinstance(module, nn.modules.conv._ConvTransposeNd) for module in whole)
            and all(id(module.weight) in prunable for module in whole)
            and all(getattr(module, "groups", 1) == 1 for module in whole)
            and len(whole) > 1
            and network not in arrived
            and all(module.weight is None or users[id(module.weight)] == 1 for module in (layer, *arrived))
            and all(_is_alone(path, index, len(layer.weight)) for path in arrived.values())
        ):
            alone = {module: path.filters.where(path.layers[index], NONE) for module, path in arrived.items()}
            candidates.append((layer, alone))
    return candidates


def _is_alone(path: _Path, layer: int, filters: int) -> bool:
    """Return whether all filters of a layer reach equally many inputs, each of which only one filter reaches."""
    here = path.layers[layer]
    if (path.layers[:, here].sum(0) > 1).any() or not path.single[here].all():
        return False
    each = path.filters[here].bincount(minlength=filters)
    return bool((each == each[0]).all())


def _add(all_filters: Filters, layer: nn.Module, arrived: Mapping[Any, Tensor], parameters: Mapping[int, str]) -> None:
    import torch

    own, number = parameters[id(layer.weight)], len(layer.weight)  # type: ignore[arg-type]
    all_filters.numbers[own] = number
    for module, filters in {layer: torch.arange(number), **arrived}.items():
        reads = _is_layer(module) and module is not layer
        for parameter in (module.weight,) if reads else (module.weight, module.bias):
            if id(parameter) not in parameters:  # no bias, or a BatchNorm without parameters
                continue
            name = parameters[id(parameter)]
            all_filters.shapes[name] = parameter.shape
            all_filters.ties.setdefault(name, []).append(Tie(own, int(reads), filters))
            if reads:
                all_filters.readers.setdefault(own, name)


def _along(all_filters: Filters, name: str, kept_filters: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Return a mask of the indices to keep along each axis of a parameter."""
    along: dict[int, Tensor] = {}
    for layer, axis, filters in all_filters.ties[name]:
        places = filters.to(kept_filters[layer].device)
        here = kept_filters[layer][places.clamp_min(0)] | (places == NONE)
        along[axis] = along[axis] & here if axis in along else here
    return along


def _places(filters: Tensor) -> Tensor:
    """Return the indices along an axis that belong to each filter, (filters, indices per filter)."""
    order = filters.argsort(stable=True)[int((filters == NONE).sum()) :]
    return order.view(int(filters.max()) + 1, -1)


def _by_channel(layer: nn.Module, tensor: Tensor) -> Tensor:
    """Move a layer's channels to axis 1; those of a linear layer are on the last axis."""
    from torch import nn

    return tensor.movedim(-1, 1) if isinstance(layer, nn.Linear) else tensor


def _follow(network: nn.Module, layers: Sequence[Any], images: Tensor, *, any_tensor: bool) -> dict[Any, _Path]:
    """Trace the channels of layers to the modules that they reach before another layer reads them.

    One forward pass traces all channels. The batch has an image for each layer, in which all channels of this layer are
    NaN. It also has two images for each binary digit of a channel's index: in the first, channels with the digit 1 are
    NaN, and in the second, channels with the digit 0. If only one channel reaches an input, the input is NaN in exactly
    one of the two images. A layer that would read NaN gets 0 instead. The network's output is treated as an input of
    the network itself. The channels that a linear layer reads are known if its input has two axes, or if `any_tensor`
    is true.
    """
    import torch
    from torch import nn

    digits = max((len(layer.weight) - 1).bit_length() for layer in layers)
    paths: defaultdict[Any, list[_Path]] = defaultdict(list)

    def arrive(module: nn.Module, tensor: Tensor) -> None:
        nans = (_by_channel(module, tensor) if any_tensor else tensor).isnan()
        path = _decoded(nans.flatten(2).any(2).cpu() if nans.dim() > 2 else nans.cpu(), len(layers))
        # Image tensors have their channels on axis 1; for other tensors the channel axis is unknown.
        has_channels = nans.dim() == (2 if isinstance(module, nn.Linear) else images.dim())
        has_channels = has_channels or (any_tensor and isinstance(module, nn.Linear))
        paths[module].append(path if has_channels else path._replace(single=torch.zeros_like(path.single)))

    def read(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        arrive(module, inputs[0])
        return (inputs[0].nan_to_num(0), *inputs[1:]) if _is_layer(module) else None

    def mark(module: nn.Module, _: object, output: Tensor) -> Tensor:
        channels = _by_channel(module, output) if any_tensor else output
        chosen = _marked(layers.index(module), len(layers), channels.shape[1], digits).to(output.device)
        marked = channels.masked_fill(chosen.view(*chosen.shape, *[1] * (output.dim() - 2)), math.nan)
        return marked.movedim(1, -1) if channels is not output else marked

    hooks = [layer.register_forward_hook(mark) for layer in layers]
    norms = (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    hooks += [module.register_forward_pre_hook(read) for module in (*layers, *norms)]
    try:
        with torch.no_grad():
            arrive(network, network(images.expand(len(layers) + 2 * digits, *images.shape[1:])))
    finally:
        for handle in hooks:
            handle.remove()
    return {module: calls[0] if len(calls) == 1 else _in_calls(calls) for module, calls in paths.items()}


def _in_calls(calls: Sequence[_Path]) -> _Path:
    """Merge the inputs of a module's calls into one input, for which only the layers that reach it are known."""
    import torch

    layers = torch.stack([path.layers.any(1) for path in calls]).any(0)
    return _Path(layers.unsqueeze(1), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool))


def _leaks(network: nn.Module, candidates: Sequence[tuple[Any, Mapping[Any, Tensor]]], images: Tensor) -> list[bool]:
    """Return for each layer whether its channels affect inputs that the trace missed.

    One forward pass processes a random image and two copies of it per layer: the even channels are set to 0 in the
    first copy, and the odd ones in the second. Inputs that these channels are known to reach get the values that they
    have with the original image, so any other difference is a leak.
    """
    import torch

    changed = [(layer, arrived, first) for layer, arrived in candidates for first in (0, 1)]
    leaks = torch.zeros(1 + len(changed), dtype=torch.bool)
    image = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))

    def compare(tensor: Tensor) -> None:
        difference = (tensor - tensor[:1]).abs().flatten(1).amax(1)
        leaks.logical_or_(difference > _SAME * tensor[0].abs().max())

    def silence(module: nn.Module, _: object, output: Tensor) -> Tensor:
        output = output.clone()
        for copy, (layer, _, first) in enumerate(changed, start=1):
            if layer is module:
                _by_channel(module, output)[copy, first::2] = 0
        return output

    def read(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tensor = inputs[0].clone()
        for copy, (_, arrived, first) in enumerate(changed, start=1):
            if module in arrived:
                places = (arrived[module] != NONE) & (arrived[module] % 2 == first)
                channels = _by_channel(module, tensor)
                channels[copy, places] = channels[0, places]
        compare(tensor)
        return (tensor, *inputs[1:])

    hooks = [layer.register_forward_hook(silence) for layer, _ in candidates]
    hooks += [module.register_forward_pre_hook(read) for module in network.modules() if _is_layer(module)]
    try:
        with torch.no_grad():
            compare(network(image.expand(len(leaks), *images.shape[1:])))
    finally:
        for handle in hooks:
            handle.remove()
    return leaks[1:].view(-1, 2).any(1).tolist()


def _marked(layer: int, layers: int, channels: int, digits: int) -> Tensor:
    """Choose a layer's channels to set to NaN in each image of `_follow`, bool (layers + 2 x digits, channels)."""
    import torch

    bits = (torch.arange(channels) >> torch.arange(digits).unsqueeze(1)) & 1 == 1
    whole = (torch.arange(layers) == layer).unsqueeze(1).expand(layers, channels)
    return torch.cat([whole, bits, ~bits])


def _decoded(arrived: Tensor, layers: int) -> _Path:
    """Decode which channels reach each input, given whether the input is NaN in each image of `_follow`."""
    import torch

    ones, zeros = arrived[layers:].chunk(2)
    number = (ones.long() << torch.arange(len(ones)).unsqueeze(1)).sum(0)
    return _Path(arrived[:layers], number, ~(ones & zeros).any(0))
