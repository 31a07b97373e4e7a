"""Padded 3x3 convolutions in bf16, one layer at a time, against torch in float64 on the same rounded numbers.

Each is compiled for what this CPU has for bf16, without its matrix unit, and for no bf16 at all: plain sums of plain
products, which any CPU has. So these tests run on all of them.
"""

import ctypes
import os
from pathlib import Path

import pytest
import torch

from pruning_study.training.native import compiler
from tests.pruning_study.training.native.test_padded_convolution import LAYERS, drawn, error, reference

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]

SOURCE = Path(__file__).with_name("bf16_convolution.cpp")
UNITS = {
    "own": "",
    "products of pairs": "-mno-amx-bf16",
    "plain": "-mno-amx-bf16 -mno-avx512bf16",
    "avx2": "-mno-amx-bf16 -mno-avx512f",
}


@pytest.fixture(params=UNITS)
def unit(request, monkeypatch):
    """Compile for a unit that multiplies bf16 numbers, if the CPU has it."""
    monkeypatch.setenv("CXX", f"{os.environ.get('CXX', 'g++')} {UNITS[request.param]}".strip())


def products(name, weight, images, gradient):
    """Return output, gradient of the input and gradient of the weights, of the compiled layer."""
    channels, filters, height, width, stride = LAYERS[name]
    rows, columns = gradient.shape[2:]
    shapes = f"Image<{channels}, {height}, {width}>, Image<{filters}, {rows}, {columns}>"
    library = ctypes.CDLL(str(compiler.library(f"Bf16Layer<{shapes}, {stride}>", SOURCE)))
    found = torch.full_like(gradient, torch.nan), torch.full_like(images, torch.nan), torch.zeros_like(weight)
    given = weight, images, gradient
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (*given, *found)]
    if not library.layer(*pointers[:3], ctypes.c_int64(len(images)), *pointers[3:]):
        pytest.skip("the system denies the matrix unit")
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_products_are_those_of_the_rounded_numbers__up_to_float32(unit, name):
    rounded = [argument.bfloat16().float() for argument in drawn(name)]
    exact = reference(name, *(argument.double() for argument in rounded))
    for found, expected in zip(products(name, *drawn(name)), exact, strict=True):
        assert error(found, expected) <= 2**-18


def test_numbers_are_rounded_to_8_binary_digits__ties_to_the_even(unit):
    """One pixel, whose first channel alone has a weight."""
    given = [257.0, 259.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 1.01 * 2**-8, -3.0, torch.inf, torch.nan]
    wanted = [256.0, 260.0, 1.0, 1 + 2**-6, 1 + 2**-7, -3.0, torch.inf, torch.nan]
    weight, images, gradient = torch.zeros(4, 5, 3, 3), torch.zeros(len(given), 5, 1, 1), torch.zeros(8, 4, 1, 1)
    weight[0, 0, 1, 1], images[:, 0, 0, 0] = 1.0, torch.tensor(given)
    output, _, _ = products("one pixel", weight, images, gradient)
    torch.testing.assert_close(output[:, 0, 0, 0], torch.tensor(wanted), rtol=0, atol=0, equal_nan=True)
