"""Read a model as a stack of layers of known sizes, for which the native engine can be compiled."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import nn

from analysis.common.errors import first_line
from pruning_study.models.plain_layers import returned_stack
from pruning_study.training.native import layers
from pruning_study.training.native.layers import Convolution, ImageShape, Linear, NativeError, Unit

Layer = Convolution | Linear | Unit
Module = TypeVar("Module", bound=nn.Module)

BLOCK = {"conv1": nn.Conv2d, "bn1": nn.BatchNorm2d, "conv2": nn.Conv2d, "bn2": nn.BatchNorm2d}


@dataclass(frozen=True)
class BatchNorm:
    """Settings of a BatchNorm layer besides its parameters.

    Parameters
    ----------
    name : str
        Name of the layer in the model.
    channels, pixels : int
        Number of channels, and of pixels per channel of an image.
    epsilon, momentum : float
    """

    name: str
    channels: int
    pixels: int
    epsilon: float
    momentum: float


@dataclass(frozen=True)
class Stack:
    """The layers of a model, in order.

    Parameters
    ----------
    layers : tuple of str
        C++ type of each layer.
    parameters : dict of state-dict names to shapes
        Parameters in the order of the layers, each layer's weight before its bias.
    normalizations : tuple of BatchNorm
        The BatchNorm layers of the model.
    multiplications : int
        Number of multiplications in the forward pass of an image.
    image_shape : (channels, height, width)
    classes : int
    """

    layers: tuple[str, ...]
    parameters: dict[str, torch.Size]
    normalizations: tuple[BatchNorm, ...]
    multiplications: int
    image_shape: ImageShape
    classes: int

    @property
    def network(self) -> str:
        """C++ type of the whole network."""
        if self.normalizations:
            return f"ResidualNetwork<{', '.join((self.layers[-1], *self.layers[:-1]))}>"
        return f"Network<{', '.join(self.layers)}>"

    @property
    def running(self) -> dict[str, torch.Size]:
        """Names and shapes of the running statistics, in the order of the layers."""
        return {
            f"{layer.name}.{kind}": torch.Size([layer.channels])
            for layer in self.normalizations
            for kind in ("running_mean", "running_var")
        }


def read(model: nn.Module, image_shape: ImageShape) -> Stack:
    """Read a model as a stack of layers.

    Parameters
    ----------
    model : nn.Module
        An `nn.Sequential`, or a module whose method `stack` returns an equivalent `nn.Sequential` of its own layers.
    image_shape : (channels, height, width)

    Returns
    -------
    Stack

    Raises
    ------
    NativeError
        If the model is not such a stack, or has unsupported layers, of which the message shows the first.
    """
    sequential = _sequential(model)
    modules = list(_flat(sequential))
    module_names = {id(module): name for name, module in model.named_modules()}
    is_residual = any(type(module) is nn.BatchNorm2d or _is_block(module) for module in modules)
    stack: list[Layer] = _residual(modules, image_shape) if is_residual else _plain(modules, image_shape)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = [parameter for item in stack for module in item.modules for parameter in module.parameters()]
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise NativeError("layers of the model share weights")
    if names.keys() != {id(parameter) for parameter in parameters}:
        raise NativeError("the model has parameters outside its stack of layers")
    for parameter in parameters:
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu" or not parameter.requires_grad:
            raise NativeError(f"{names[id(parameter)]} is not a trainable float32 parameter on the cpu")
    last = stack[-1]
    if not isinstance(last, Linear):
        raise NativeError("the last layer of the model is not linear")
    return Stack(
        tuple(str(item) for item in stack),
        {names[id(parameter)]: parameter.shape for parameter in parameters},
        tuple(_normalization(item, module_names) for item in stack if isinstance(item, Unit)),
        sum(item.multiplications for item in stack),
        image_shape,
        last.layer.out_features,
    )


def _sequential(model: nn.Module) -> nn.Sequential:
    stack = model if type(model) is nn.Sequential else _returned_stack(model)
    if type(stack) is not nn.Sequential:
        raise NativeError(
            f"{type(model).__name__} is no nn.Sequential and has no method `stack` that returns an nn.Sequential"
        )
    for module in (*model.modules(), *stack.modules()):
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        if any(hooks) or "forward" in vars(module):
            raise NativeError(f"a hook changes what {type(module).__name__} does")
    return stack


def _returned_stack(model: nn.Module) -> object:
    try:
        return returned_stack(model)
    except Exception as error:
        raise NativeError(f"the method `stack` of {type(model).__name__} fails: {first_line(error)}") from error


def _flat(stack: nn.Sequential) -> Iterator[nn.Module]:
    for module in stack:
        if type(module) is nn.Sequential:
            yield from _flat(module)
        else:
            yield module


def _plain(modules: list[nn.Module], image_shape: ImageShape) -> list[Layer]:
    """Read the layers of a stack without BatchNorm."""
    stack: list[Convolution | Linear] = []
    for module in modules:
        _add(stack, module, image_shape)
    if not stack:
        raise NativeError("the model has no layers")
    return [*_cropped(stack)]


def _add(stack: list[Convolution | Linear], module: nn.Module, image_shape: ImageShape) -> None:
    last = stack[-1] if stack else None
    if type(module) is nn.Conv2d:
        stack.append(layers.convolution(module, last.output_shape if last else image_shape))
    elif type(module) is nn.Linear:
        stack.append(layers.linear(module, last.output_shape if last else image_shape))
    elif type(module) is nn.ReLU and last:
        stack[-1] = replace(last, rectified=True)
    elif type(module) is nn.MaxPool2d and isinstance(last, Convolution) and last.pool == 1:
        # A ReLU before the pool and a ReLU after it give the same result and the same gradient.
        stack[-1] = layers.pooled(last, module)
    elif not (type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)):
        raise _unknown(module)


def _cropped(stack: list[Convolution | Linear]) -> list[Convolution | Linear]:
    """Shrink the output of each convolution by the rows and columns that a later pool drops."""
    for index in range(len(stack) - 1, 0, -1):
        here, before = stack[index], stack[index - 1]
        if isinstance(here, Convolution) and isinstance(before, Convolution):
            stack[index] = replace(here, input_shape=here.read_shape)
            stack[index - 1] = replace(before, output_shape=here.read_shape)
    return stack


def _residual(modules: list[nn.Module], image_shape: ImageShape) -> list[Layer]:
    """Read the layers of a network with BatchNorm: units, blocks, mean pooling, a linear layer."""
    rest = deque(modules)
    units: list[Unit] = []

    def shape() -> ImageShape:
        return units[-1].output_shape if units else image_shape

    def take(kind: type[Module]) -> Module:
        if not rest:
            raise NativeError("the last layer of the model is not linear")
        module = rest.popleft()
        if not isinstance(module, kind) or type(module) is not kind:
            raise _unknown(module, f", where {kind.__name__} should be")
        return module

    while rest and type(rest[0]) is not nn.AdaptiveAvgPool2d:
        if _is_block(rest[0]):
            units += _block(rest.popleft(), shape(), is_first=not units)
        else:
            units.append(_unit(take(nn.Conv2d), take(nn.BatchNorm2d), shape()))
            take(nn.ReLU)
    pool, flatten, last = take(nn.AdaptiveAvgPool2d), take(nn.Flatten), take(nn.Linear)
    if not units or pool.output_size not in (1, (1, 1)):
        raise _unknown(pool)
    if (flatten.start_dim, flatten.end_dim) != (1, -1):
        raise _unknown(flatten)
    if rest:
        raise _unknown(rest[0])
    return [*units, layers.linear(last, (shape()[0],))]


def _unit(convolution: nn.Conv2d, normalization: nn.BatchNorm2d, shape: ImageShape) -> Unit:
    output_shape = layers.padded_shape(convolution, shape)
    layers.check_normalization(normalization, output_shape[0])
    return Unit(convolution, normalization, shape, output_shape)


def _is_block(module: nn.Module) -> bool:
    """Return whether a module has the layers of a residual block with two convolutions."""
    children = {name: type(child) for name, child in module.named_children() if name in BLOCK}
    return list(children.items()) == list(BLOCK.items())


def _block(block: nn.Module, shape: ImageShape, *, is_first: bool) -> list[Unit]:
    conv1, bn1, conv2, bn2 = (getattr(block, name) for name in BLOCK)
    first = _unit(conv1, bn1, shape)
    second = _unit(conv2, bn2, first.output_shape)
    for name, child in block.named_children():
        for leaf in (module for module in child.modules() if not list(module.children())):
            if name not in BLOCK and type(leaf) not in (nn.ReLU, nn.Identity, nn.Sequential):
                raise _unknown(leaf)
    if is_first:
        raise NativeError("a residual block needs a convolution with BatchNorm and ReLU before it")
    layers.check_shortcut(shape, second.output_shape, conv1.stride[0] * conv2.stride[0])
    return [first, replace(second, source=shape)]


def _unknown(module: nn.Module, wanted: str = "") -> NativeError:
    layer = type(module).__name__ if list(module.children()) else module
    return NativeError(f"it does not support {layer} at its place in the model{wanted}")


def _normalization(unit: Unit, names: dict[int, str]) -> BatchNorm:
    layer, (channels, height, width) = unit.normalization, unit.output_shape
    assert layer.momentum is not None
    return BatchNorm(names[id(layer)], channels, height * width, layer.eps, layer.momentum)
