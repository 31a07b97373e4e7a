"""Read a model as a stack of layers of known sizes, which the native engine can be compiled for."""

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import nn

from pruning_study.native.errors import NativeError

# Most values that a layer may compute for one image. Beyond that the CPU's caches overflow, and torch is faster.
LARGEST = 250_000
LARGEST_POOL = 11  # the headers number the pixels of a window in one byte

ImageShape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Convolution:
    """A convolution of stride 1 without padding, and the max-pool and the ReLU that follow it."""

    layer: nn.Conv2d
    input_shape: ImageShape
    output_shape: ImageShape
    pool: int = 1
    rectified: bool = False

    @property
    def read_shape(self) -> ImageShape:
        """Shape of the part of the input that the outputs depend on."""
        (height, width), (rows, columns) = self.output_shape[1:], self.layer.kernel_size
        return self.input_shape[0], height * self.pool + rows - 1, width * self.pool + columns - 1

    def __str__(self) -> str:
        shapes = f"{_image(self.input_shape)}, {_image(self.output_shape)}"
        kernel = ", ".join(str(side) for side in self.layer.kernel_size)
        return f"Convolution<{shapes}, {kernel}, {self.pool}, {_bool(self.rectified)}>"


@dataclass(frozen=True)
class Linear:
    """A linear layer, and the ReLU that follows it."""

    layer: nn.Linear
    rectified: bool = False

    @property
    def output_shape(self) -> tuple[int]:
        return (self.layer.out_features,)

    def __str__(self) -> str:
        return f"Linear<{self.layer.in_features}, {self.layer.out_features}, {_bool(self.rectified)}>"


@dataclass(frozen=True)
class Stack:
    """The layers of a model, in their order.

    Parameters
    ----------
    layers : tuple of str
        C++ type of each layer.
    parameters : dict of state-dict names to shapes
        Parameters in the order of the layers, each layer's weight before its bias.
    image_shape : (channels, height, width)
    classes : int
    """

    layers: tuple[str, ...]
    parameters: dict[str, torch.Size]
    image_shape: ImageShape
    classes: int

    @property
    def network(self) -> str:
        """C++ type of the whole network."""
        return f"Network<{', '.join(self.layers)}>"


def read(model: nn.Module, image_shape: ImageShape) -> Stack:
    """Return a model as a stack of layers.

    Parameters
    ----------
    model : nn.Module
        An `nn.Sequential`, or a module whose method `stack` returns an `nn.Sequential` of its own layers that computes
        the same.
    image_shape : (channels, height, width)

    Returns
    -------
    Stack

    Raises
    ------
    NativeError
        If the model is not such a stack, or has a layer that the headers do not support.
    """
    layers = _cropped(_layers(_sequential(model), image_shape))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parameters = [parameter for item in layers for parameter in item.layer.parameters()]
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise NativeError("layers of the model share weights")
    if names.keys() != {id(parameter) for parameter in parameters}:
        raise NativeError("the model has parameters outside its stack of layers")
    for parameter in parameters:
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu" or not parameter.requires_grad:
            raise NativeError(f"{names[id(parameter)]} is not a trainable float32 parameter on the cpu")
    last = layers[-1]
    if not isinstance(last, Linear):
        raise NativeError("the last layer of the model is not linear")
    return Stack(
        tuple(str(item) for item in layers),
        {names[id(parameter)]: parameter.shape for parameter in parameters},
        image_shape,
        last.layer.out_features,
    )


def _sequential(model: nn.Module) -> nn.Sequential:
    stack = model if type(model) is nn.Sequential else getattr(model, "stack", lambda: None)()
    if not isinstance(stack, nn.Sequential):
        raise NativeError(f"{type(model).__name__} is no nn.Sequential and has no method `stack` that returns one")
    for module in (*model.modules(), *stack.modules()):
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        if any(hooks) or "forward" in vars(module):
            raise NativeError(f"a hook changes what {type(module).__name__} does")
    return stack


def _layers(modules: nn.Sequential, image_shape: ImageShape) -> list[Convolution | Linear]:
    layers: list[Convolution | Linear] = []
    for module in modules:
        last = layers[-1] if layers else None
        if type(module) is nn.Conv2d:
            layers.append(_convolution(module, last.output_shape if last else image_shape))
        elif type(module) is nn.Linear:
            layers.append(_linear(module, last.output_shape if last else image_shape))
        elif type(module) is nn.ReLU and last:
            layers[-1] = replace(last, rectified=True)
        elif type(module) is nn.MaxPool2d and isinstance(last, Convolution) and last.pool == 1:
            # A ReLU before the pool and a ReLU after it give the same result and the same gradient.
            layers[-1] = _pooled(last, module)
        elif not (type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)):
            raise NativeError(f"it does not know {module} at its place in the model")
    if not layers:
        raise NativeError("the model has no layers")
    return layers


def _convolution(layer: nn.Conv2d, input_shape: ImageShape | tuple[int]) -> Convolution:
    if len(input_shape) == 1:
        raise NativeError("a convolution follows a linear layer")
    plain = layer.stride == layer.dilation == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), "valid")
    if not plain or layer.bias is None:
        raise NativeError(f"it knows only convolutions of stride 1, with bias, without padding, and not {layer}")
    _check_inputs(layer, layer.in_channels, input_shape[0])
    height, width = (side - kernel + 1 for side, kernel in zip(input_shape[1:], layer.kernel_size, strict=True))
    return Convolution(layer, input_shape, _bounded((layer.out_channels, height, width)))


def _linear(layer: nn.Linear, input_shape: ImageShape | tuple[int]) -> Linear:
    if layer.bias is None:
        raise NativeError(f"it knows only linear layers with bias, and not {layer}")
    _check_inputs(layer, layer.in_features, prod(input_shape))
    _bounded((layer.in_features, 1, 1))
    return Linear(layer)


def _check_inputs(layer: nn.Module, taken: int, given: int) -> None:
    # A model may change its images before they enter the stack. The library does not, and would read beyond their end.
    if taken != given:
        raise NativeError(f"{layer} takes {taken}, and is given {given}")


def _pooled(convolution: Convolution, pool: nn.MaxPool2d) -> Convolution:
    size, stride = (value if isinstance(value, tuple) else (value,) * 2 for value in (pool.kernel_size, pool.stride))
    plain = (pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices) == (0, 1, False, False)
    if not plain or size != stride or size[0] != size[1] or size[0] > LARGEST_POOL:
        raise NativeError(
            f"it knows only square max-pools whose stride is their size, at most {LARGEST_POOL}, and not {pool}"
        )
    filters, height, width = convolution.output_shape
    return replace(convolution, output_shape=_bounded((filters, height // size[0], width // size[0])), pool=size[0])


def _bounded(shape: ImageShape) -> ImageShape:
    channels, height, width = shape
    if min(shape) < 1:
        raise NativeError("an image is too small for the layers")
    if channels * height * width > LARGEST:
        raise NativeError(f"a layer of the model has more than {LARGEST:,} values for an image")
    return shape


def _cropped(layers: list[Convolution | Linear]) -> list[Convolution | Linear]:
    """Shrink each convolution by the rows and columns that nothing reads, because a later pool drops them."""
    for index in range(len(layers) - 1, 0, -1):
        here, before = layers[index], layers[index - 1]
        if isinstance(here, Convolution) and isinstance(before, Convolution):
            layers[index] = replace(here, input_shape=here.read_shape)
            layers[index - 1] = replace(before, output_shape=here.read_shape)
    return layers


def _image(shape: ImageShape) -> str:
    return f"Image<{', '.join(str(side) for side in shape)}>"


def _bool(value: bool) -> str:
    return str(value).lower()
