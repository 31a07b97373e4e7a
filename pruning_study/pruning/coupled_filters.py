"""Find the removable filters of networks with grouped or transposed convolutions, GroupNorm, or shared weights."""

import copy
import importlib.util
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from analysis.common import imports
from analysis.common.errors import StudyError, first_line
from pruning_study.pruning import filters
from pruning_study.pruning.coupled import LAYERS, Coupling, couple, cut, is_depthwise, is_transposed
from pruning_study.pruning.filters import NONE, Filters, Tie

log = logging.getLogger(__name__)
_OPTION = "pruner"
_SAME = 1e-4  # largest difference between outputs that counts as rounding, relative to the largest output


def removable(model: nn.Module, images: Tensor, names: Sequence[str], *, calls: nn.Module) -> Filters:
    """Find the removable filters, as `filters.removable` does, or with torch-pruning if layers couple channels.

    Channels are coupled by grouped or transposed convolutions, GroupNorm, and layers that share a weight. A filter that
    torch-pruning finds is a unit of `coupled`, which may be several channels. If torch-pruning is missing, fails
    or finds no filters, those of `filters.removable` are returned.

    Parameters
    ----------
    model, images, names
        As for `filters.removable`.
    calls : nn.Module
        A network with the same layers as the model, which calls each layer as a module.

    Raises
    ------
    StudyError
        If no filter can be removed.
    """
    if not (kinds := _coupled_kinds(calls)):
        return filters.removable(model, images, names, calls=calls)
    refusal = None
    try:
        if (found := _followed(model, images, names, calls, kinds)).numbers:
            return found
    except StudyError as error:
        refusal = error
    try:
        found = filters.removable(model, images, names, calls=calls)
    except StudyError as error:
        raise refusal or error from None
    if refusal:
        _warn_once(f"{refusal}; now only channels that these layers do not couple are removed")
    return found


@cache
def _warn_once(message: str) -> None:
    log.warning("%s", message)


def _coupled_kinds(network: nn.Module) -> str:
    """Name the kinds of layers in a network that couple channels; empty if there are none."""
    modules = [module for _, module in network.named_modules(remove_duplicate=False)]
    convolutions = [module for module in modules if isinstance(module, nn.modules.conv._ConvNd)]
    kinds = {
        "convolutions in groups": any(layer.groups > 1 for layer in convolutions),
        "transposed convolutions": any(isinstance(layer, nn.modules.conv._ConvTransposeNd) for layer in convolutions),
        "GroupNorm": any(isinstance(module, nn.GroupNorm) for module in modules),
        "convolutions that share a weight": len({id(layer.weight) for layer in convolutions}) < len(convolutions),
    }
    return " and ".join(kind for kind, is_there in kinds.items() if is_there)


def _followed(model: nn.Module, images: Tensor, names: Sequence[str], calls: nn.Module, kinds: str) -> Filters:
    """Find the removable filters by torch-pruning's groups, and test that half of them can be removed."""
    if importlib.util.find_spec("torch_pruning") is None:
        raise StudyError(
            f"removing channels of {kinds} needs torch-pruning: {imports.pip_line('structured')}; or choose a pruner "
            "of single weights, such as mp",
            option=_OPTION,
        )
    parameters = {id(parameter): name for name, parameter in model.named_parameters()}
    try:
        coupling = couple(copy.deepcopy(calls).eval(), images)
        places = list(_places(calls, coupling, parameters))
        found = _filters(places, coupling, names)
        difference = _difference(found, places, coupling, calls, images, parameters) if found.numbers else 0.0
    except Exception as error:  # raised by the network, or by torch-pruning if tracing fails
        raise _refusal(model, kinds, first_line(error)) from error
    if not difference <= _SAME:
        raise _refusal(model, kinds, f"without half of the channels, the outputs differ by {100 * difference:.2g} %")
    return found


def _refusal(model: nn.Module, kinds: str, reason: str) -> StudyError:
    return StudyError(
        f"torch-pruning cannot follow the channels of {type(model).__name__}, which has {kinds} ({reason}): choose "
        "a pruner of single weights, such as mp",
        option=_OPTION,
    )


class _Place(NamedTuple):
    """Units along an axis of a parameter, the parameter's role (see `Tie`), and whether it is a layer's weight."""

    name: str
    shape: torch.Size
    axis: int
    units: Tensor
    role: str
    is_weight: bool


def _places(network: nn.Module, coupling: Coupling, parameters: Mapping[int, str]) -> Iterator[_Place]:
    """Yield the channel axes of all modules' parameters, in the order of the network."""
    for module_name, outputs in coupling.outputs.items():
        module: Any = network.get_submodule(module_name)
        weight, bias, is_layer = module.weight, module.bias, isinstance(module, LAYERS)
        if weight is not None:
            name, axis = parameters[id(weight)], int(is_transposed(module))
            role = "makes" if module_name in coupling.inputs else "scales"
            yield _Place(name, weight.shape, axis, outputs, role, is_layer)
            if not is_depthwise(module) and is_layer:
                inputs = coupling.inputs[module_name]
                of_group = inputs[: len(inputs) // getattr(module, "groups", 1)]
                yield _Place(name, weight.shape, 1 - axis, of_group, "reads", is_layer)
        if bias is not None:
            yield _Place(parameters[id(bias)], bias.shape, 0, outputs, "scales", False)


def _filters(places: Sequence[_Place], coupling: Coupling, names: Collection[str]) -> Filters:
    """Find the removable filters: families of units that convolutions make, in which any unit can be removed."""
    found = Filters({}, {}, {}, {}, is_coupled=True)
    for family in _families(places):
        if len(family) < 2 or coupling.stays[sorted(family)].any():
            continue
        numbers = torch.full((len(coupling.stays),), NONE)
        numbers[sorted(family)] = torch.arange(len(family))
        here = [place for place in places if (numbers[place.units] != NONE).any()]
        counts = [numbers[place.units][numbers[place.units] != NONE].bincount(minlength=len(family)) for place in here]
        makers = [place for place in here if place.role == "makes"]
        if (
            all((count == count[0]).all() for count in counts)
            and all(place.name in names for place in here if place.is_weight)
            and len(makers[0].shape) > 2  # a convolution
        ):
            _add(found, makers[0].name, here, numbers, len(family))
    return found


def _families(places: Sequence[_Place]) -> list[set[int]]:
    """Group units into sets; the units of a set are made by the same layers."""
    families: list[set[int]] = []
    for place in places:
        if place.role == "makes":
            family = set(place.units.tolist())
            joined = [other for other in families if other & family]
            families = [other for other in families if not other & family] + [family.union(*joined)]
    return sorted(families, key=min)


def _add(found: Filters, layer: str, places: Sequence[_Place], numbers: Tensor, count: int) -> None:
    found.numbers[layer] = count
    for place in places:
        ties = found.ties.setdefault(place.name, [])
        if (layer, place.axis) in [(tie.layer, tie.axis) for tie in ties]:
            continue  # another layer shares the weight
        found.shapes[place.name] = place.shape
        ties.append(Tie(layer, place.axis, numbers[place.units], place.role))
        if place.role == "reads":
            found.readers.setdefault(layer, place.name)


def _difference(
    found: Filters,
    places: Sequence[_Place],
    coupling: Coupling,
    network: nn.Module,
    images: Tensor,
    parameters: Mapping[int, str],
) -> float:
    """Compare the outputs with half of the filters removed and with the same filters set to 0.

    The result is the largest difference, divided by the largest output.
    """
    kept = {layer: torch.arange(count) % 2 == 0 for layer, count in found.numbers.items()}
    masks, stays = filters.masks(found, kept), torch.ones_like(coupling.stays)
    for place in places:
        for tie in found.ties.get(place.name, ()):
            if (tie.axis, tie.role) == (place.axis, "makes"):
                stays[place.units] = kept[tie.layer][tie.filters]
    masked, smaller = (copy.deepcopy(network).eval() for _ in range(2))
    image = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for whole, copied in zip(network.parameters(), masked.parameters(), strict=True):
            if (name := parameters[id(whole)]) in masks:
                copied.mul_(masks[name])
        cut(smaller, coupling, stays)
        outputs, of_smaller = masked(image), smaller(image)
    return float((outputs - of_smaller).abs().max() / outputs.abs().max().clamp_min(1e-30))
