"""Layers of the native engine, each made from torch modules, with its C++ type."""

from dataclasses import dataclass, replace
from math import prod

from torch import nn

# Largest number of values per image that a convolution may compute or a linear layer may read. Beyond that, the CPU's
# caches overflow, and torch is faster.
LARGEST = 250_000
LARGEST_POOL = 11  # the headers store a pixel's index in its window in one byte

ImageShape = tuple[int, int, int]  # channels, height, width


class NativeError(Exception):
    """The native engine cannot run on this machine or cannot run this model.

    The message is the reason, worded to follow a colon.
    """


class UnsupportedModelError(NativeError):
    """The native engine cannot run this model."""


@dataclass(frozen=True)
class Convolution:
    """A convolution of stride 1 without padding, and the max-pool and ReLU after it, if any."""

    layer: nn.Conv2d
    input_shape: ImageShape
    output_shape: ImageShape
    pool: int = 1
    rectified: bool = False

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return (self.layer,)

    @property
    def read_shape(self) -> ImageShape:
        """Shape of the part of the input on which the outputs depend."""
        (height, width), (rows, columns) = self.output_shape[1:], self.layer.kernel_size
        return self.input_shape[0], height * self.pool + rows - 1, width * self.pool + columns - 1

    @property
    def multiplications(self) -> int:
        return self.layer.weight.numel() * prod(self.output_shape[1:]) * self.pool**2

    def __str__(self) -> str:
        shapes = f"{_image(self.input_shape)}, {_image(self.output_shape)}"
        kernel = ", ".join(str(side) for side in self.layer.kernel_size)
        return f"Convolution<{shapes}, {kernel}, {self.pool}, {_bool(self.rectified)}>"


@dataclass(frozen=True)
class Linear:
    """A linear layer, and the ReLU after it, if any."""

    layer: nn.Linear
    rectified: bool = False

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return (self.layer,)

    @property
    def output_shape(self) -> tuple[int]:
        return (self.layer.out_features,)

    @property
    def multiplications(self) -> int:
        return self.layer.weight.numel()

    def __str__(self) -> str:
        return f"Linear<{self.layer.in_features}, {self.layer.out_features}, {_bool(self.rectified)}>"


@dataclass(frozen=True)
class Unit:
    """A padded convolution, BatchNorm, the addition of a shortcut, if any, and a ReLU.

    Parameters
    ----------
    layer : nn.Conv2d
    normalization : nn.BatchNorm2d
    input_shape, output_shape : ImageShape
    source : ImageShape, optional
        Shape of the tensor that the shortcut adds, which is the input of the previous unit. None without a shortcut.
    """

    layer: nn.Conv2d
    normalization: nn.BatchNorm2d
    input_shape: ImageShape
    output_shape: ImageShape
    source: ImageShape | None = None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return self.layer, self.normalization

    @property
    def multiplications(self) -> int:
        return self.layer.weight.numel() * prod(self.output_shape[1:])

    def __str__(self) -> str:
        shapes = f"{_image(self.input_shape)}, {_image(self.output_shape)}, {self.layer.stride[0]}"
        return f"Unit<{shapes}>" if self.source is None else f"Unit<{shapes}, {_image(self.source)}>"


def is_plain(layer: nn.Conv2d) -> bool:
    """Return whether the engine supports a convolution in stacks without BatchNorm."""
    plain = layer.stride == layer.dilation == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), "valid")
    return plain and layer.bias is not None


def is_padded(layer: nn.Conv2d) -> bool:
    """Return whether the engine supports a convolution in residual networks."""
    plain = (layer.kernel_size, layer.dilation, layer.groups, layer.padding_mode) == ((3, 3), (1, 1), 1, "zeros")
    return plain and layer.padding == (1, 1) and layer.stride in ((1, 1), (2, 2)) and layer.bias is None


def convolution(layer: nn.Conv2d, input_shape: tuple[int, ...]) -> Convolution:
    """Return a convolution layer for inputs of a shape, or raise a NativeError."""
    if len(input_shape) == 1:
        raise NativeError("a convolution follows a linear layer")
    if not is_plain(layer):
        raise NativeError(
            f"without BatchNorm it supports only convolutions of stride 1, with bias, without padding, and not {layer}"
        )
    channels, *sides = input_shape
    _check_inputs(layer, layer.in_channels, channels)
    height, width = (side - kernel + 1 for side, kernel in zip(sides, layer.kernel_size, strict=True))
    return Convolution(layer, (channels, sides[0], sides[1]), _bounded((layer.out_channels, height, width)))


def pooled(before: Convolution, pool: nn.MaxPool2d) -> Convolution:
    """Return a convolution layer with a max-pool after it, or raise a NativeError."""
    size, stride = (value if isinstance(value, tuple) else (value,) * 2 for value in (pool.kernel_size, pool.stride))
    plain = (pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices) == (0, 1, False, False)
    if not plain or size != stride or size[0] != size[1] or size[0] > LARGEST_POOL:
        raise NativeError(
            f"it supports only square max-pools whose stride is their size, at most {LARGEST_POOL}, and not {pool}"
        )
    filters, height, width = before.output_shape
    return replace(before, output_shape=_bounded((filters, height // size[0], width // size[0])), pool=size[0])


def linear(layer: nn.Linear, input_shape: tuple[int, ...]) -> Linear:
    """Return a linear layer for inputs of a shape, or raise a NativeError."""
    if layer.bias is None:
        raise NativeError(f"it supports only linear layers with bias, and not {layer}")
    _check_inputs(layer, layer.in_features, prod(input_shape))
    _bounded((layer.in_features, 1, 1))
    return Linear(layer)


def padded_shape(layer: nn.Conv2d, input_shape: ImageShape) -> ImageShape:
    """Return the output shape of a unit's convolution, or raise a NativeError."""
    if not is_padded(layer):
        raise NativeError(
            f"with BatchNorm it supports only 3x3 convolutions, padding 1, stride 1 or 2, without bias, and not {layer}"
        )
    channels, height, width = input_shape
    _check_inputs(layer, layer.in_channels, channels)
    stride = layer.stride[0]
    return _bounded((layer.out_channels, (height - 1) // stride + 1, (width - 1) // stride + 1))


def check_normalization(layer: nn.BatchNorm2d, channels: int) -> None:
    """Raise a NativeError unless the engine supports this BatchNorm layer, and it has the given number of channels."""
    if not (layer.affine and layer.track_running_stats) or layer.momentum is None:
        raise NativeError(f"it supports only BatchNorm with weights, running statistics and momentum, and not {layer}")
    _check_inputs(layer, layer.num_features, channels)


def check_shortcut(source: ImageShape, output_shape: ImageShape, stride: int) -> None:
    """Raise a NativeError if a shortcut of option A (He et al. 2016) cannot connect two shapes."""
    added = output_shape[0] - source[0]
    if added < 0 or added % 2 or stride > 2 or (added == 0 and stride != 1):
        raise NativeError(f"the shortcut cannot lead from {source[0]} channels to {output_shape[0]} at stride {stride}")


def _check_inputs(layer: nn.Module, taken: int, arriving: int) -> None:
    # A model may reshape images before its stack. The library does not, so it would read beyond the end of an image.
    if taken != arriving:
        raise NativeError(f"{layer} needs {taken} inputs, but gets {arriving}")


def _bounded(shape: ImageShape) -> ImageShape:
    channels, height, width = shape
    if min(shape) < 1:
        raise NativeError("an image is too small for the layers")
    if channels * height * width > LARGEST:
        raise NativeError(f"a layer of the model has more than {LARGEST:,} values for an image")
    return shape


def _image(shape: ImageShape) -> str:
    return f"Image<{', '.join(str(side) for side in shape)}>"


def _bool(value: bool) -> str:
    return str(value).lower()
