"""Padded 3x3 convolutions of the native engine, one layer at a time, against torch in float64."""

import ctypes
from pathlib import Path

import pytest
import torch
from torch.nn.grad import conv2d_input, conv2d_weight

from pruning_study.training.native import compiler

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]

SOURCE = Path(__file__).with_name("padded_convolution.cpp")
IMAGES = 19  # no multiple of the images that lie in a register

# channels, filters, height, width, stride
LAYERS = {
    "a stage's first": (3, 16, 32, 32, 1),
    "no tile divides the channels": (13, 19, 9, 12, 1),
    "odd sides": (16, 16, 7, 5, 1),
    "many channels": (64, 64, 8, 8, 1),
    "a stage's others": (32, 32, 16, 16, 1),
    "one channel": (1, 1, 6, 6, 1),
    "one pixel": (5, 4, 1, 1, 1),
    "a row": (6, 7, 1, 3, 1),
    "stride 2": (16, 32, 16, 16, 2),
    "stride 2, odd sides": (13, 9, 9, 7, 2),
    "stride 2, one pixel": (3, 2, 1, 1, 2),
    "stride 2, odd by even": (5, 6, 7, 10, 2),
    "stride 2, one channel": (1, 3, 2, 3, 2),
}


def products(name, weight, images, gradient, *, mask=None, all_learn=False, asked=True):
    """Return output, gradient of the input (None unless asked) and gradient of the weights, of the compiled layer."""
    channels, filters, height, width, stride = LAYERS[name]
    rows, columns = gradient.shape[2:]
    shapes = f"Image<{channels}, {height}, {width}>, Image<{filters}, {rows}, {columns}>"
    library = ctypes.CDLL(str(compiler.library(f"PaddedConvolution<{shapes}, {stride}>", SOURCE)))
    output = torch.full_like(gradient, torch.nan)
    input_gradient = torch.full_like(images, torch.nan) if asked else None
    weight_gradient = torch.zeros_like(weight)
    pointer = ctypes.c_void_p
    library.layer(
        *(pointer(weight.data_ptr()), pointer(mask.data_ptr() if mask is not None else None), ctypes.c_bool(all_learn)),
        *(pointer(images.data_ptr()), pointer(gradient.data_ptr()), ctypes.c_int64(len(images))),
        *(pointer(output.data_ptr()), pointer(input_gradient.data_ptr() if asked else None)),
        pointer(weight_gradient.data_ptr()),
    )
    return output, input_gradient, weight_gradient


def reference(name, weight, images, gradient):
    """Return what `products` does, in the precision of the arguments."""
    stride = LAYERS[name][-1]
    return (
        torch.nn.functional.conv2d(images, weight, stride=stride, padding=1),
        conv2d_input(images.shape, weight, gradient, stride=stride, padding=1),
        conv2d_weight(images, weight.shape, gradient, stride=stride, padding=1),
    )


def drawn(name):
    """Return weights, images and a gradient of the outputs."""
    channels, filters, height, width, stride = LAYERS[name]
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(filters, channels, 3, 3, generator=random) / (9 * channels) ** 0.5
    images = torch.randn(IMAGES, channels, height, width, generator=random)
    sides = (height + stride - 1) // stride, (width + stride - 1) // stride
    return weight, images, torch.randn(IMAGES, filters, *sides, generator=random)


def error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("name", LAYERS)
def test_output_and_gradients_are_at_most_twice_as_far_from_float64_as_torch_is(name):
    arguments = drawn(name)
    exact = reference(name, *(argument.double() for argument in arguments))
    for found, torchs, expected in zip(products(name, *arguments), reference(name, *arguments), exact, strict=True):
        assert error(found, expected) <= 2 * max(error(torchs, expected), 2**-24)


MASKS = {"none": 0.0, "one": -1.0, "few": 0.1, "a half": 0.5}  # shares of weights that are left, or one weight


@pytest.mark.parametrize("all_learn", [False, True])
@pytest.mark.parametrize("left", MASKS)
@pytest.mark.parametrize("name", ["no tile divides the channels", "stride 2, odd sides", "stride 2, odd by even"])
def test_with_a_mask_pruned_weights_count_nothing_and_have_a_gradient_only_where_all_learn(name, left, all_learn):
    weight, *arguments = drawn(name)
    random = torch.Generator().manual_seed(1)
    mask = (torch.rand(weight.shape, generator=random) < MASKS[left]).float()
    if left == "one":
        mask.view(-1)[weight.numel() // 2] = 1
    masked = weight * mask
    output, input_gradient, weight_gradient = products(name, masked, *arguments, mask=mask, all_learn=all_learn)
    exact = reference(name, masked.double(), *(argument.double() for argument in arguments))
    if not all_learn:
        weight_gradient, exact = weight_gradient * mask, (*exact[:2], exact[2] * mask)
    for found, expected in zip((output, input_gradient, weight_gradient), exact, strict=True):
        assert (found - expected).norm() <= 1e-6 * expected.norm()


def test_the_gradient_of_a_first_layers_input_need_not_be_found():
    name = "a stage's first"
    weight, images, gradient = drawn(name)
    _, found, weight_gradient = products(name, weight, images, gradient, asked=False)
    assert found is None
    torch.testing.assert_close(weight_gradient, products(name, weight, images, gradient)[2], rtol=0, atol=0)
