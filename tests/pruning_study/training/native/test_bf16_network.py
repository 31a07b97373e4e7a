"""Residual networks that the native engine trains in bf16, against torch's autocast and torch in double precision.

A library is compiled for what this CPU has for bf16, without its matrix unit, and for no bf16 at all. So these tests
run on any CPU that the native engine runs on.
"""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pruning_study import models
from pruning_study.data.examples import Examples
from pruning_study.steps.engine_choice import choose
from pruning_study.training.engines import TORCH, TORCH_BF16
from pruning_study.training.native import compiler
from pruning_study.training.native import engine as native
from pruning_study.training.native.errors import NativeError
from pruning_study.training.native.stack import read
from pruning_study.training.quantization import quantize
from tests.pruning_study.training.native.test_bf16_convolution import UNITS
from tests.pruning_study.training.native.test_residual_network import (
    SHAPE,
    Small,
    at_rest,
    errors,
    examples,
    some_masks,
    trained,
)

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]

CIFAR = (3, 32, 32)


def engine_of(model, shape=SHAPE):
    """Return the engine in bf16, whatever this CPU has for it."""
    stack = read(model, shape)
    trainer = native._library(stack.bf16_network, compiler.BF16_SOURCE)
    if "denies" in (trainer.refusal() or b"").decode():
        pytest.skip("the system denies the matrix unit")
    return native.Native(stack, native._library(stack.network, compiler.SOURCE), trainer)


@pytest.fixture(params=UNITS)
def unit(request, monkeypatch):
    """Compile for a unit that multiplies bf16 numbers, if the CPU has it."""
    monkeypatch.setenv("CXX", f"{os.environ.get('CXX', 'g++')} {UNITS[request.param]}".strip())


@pytest.fixture
def model():
    torch.manual_seed(3)
    return Small()


TRAININGS = {
    "plain": lambda model: {},
    "masks": lambda model: {"masks": some_masks(model, 0.3)},
    "masks, all learn": lambda model: {"masks": some_masks(model, 0.3), "withheld": True},
    "crops, teacher, factors": lambda model: {"augmented": True, "teacher": Small(), "weighted": True},
}


@pytest.mark.parametrize("training", TRAININGS)
def test_two_epochs_are_as_near_to_float64_as_torchs_autocast_is(unit, training):
    """Errors of six networks together: by its rounding alone, one network may be off twice as far."""
    found = []
    for seed in range(3, 9):
        torch.manual_seed(seed)
        model = Small()
        engines = engine_of(model), TORCH_BF16
        found.append(errors(model, examples(49), 32, engines=engines, **TRAININGS[training](model)))
    for name in found[0]:
        error, allowed, _ = torch.stack([of_network[name] for of_network in found]).norm(dim=0)
        assert error <= 2 * allowed, name


def test_the_step_of_resnet20_is_as_near_to_float64_as_torchs_autocast_is():
    torch.manual_seed(0)
    model = models.build("resnet20", num_classes=10, in_channels=3, image_size=CIFAR[1:])
    train = examples(19, CIFAR, 10)
    steps = [step(engine_of(model, CIFAR), model, train), step(TORCH_BF16, model, train)]
    exact = step(TORCH, model.double(), Examples(train.images.double(), train.labels))
    (ours, our_loss), (theirs, their_loss), (gradient, loss) = *steps, exact
    assert (ours - gradient).norm() <= 2 * (theirs - gradient).norm()
    assert our_loss == pytest.approx(loss, rel=5e-3)
    assert their_loss == pytest.approx(loss, rel=5e-3)


@pytest.mark.parametrize("bits", [2, 8])
def test_a_step_with_quantised_weights_has_the_loss_and_gradient_of_the_quantised_network(unit, model, bits):
    train, on_grid = examples(49), copy.deepcopy(model)
    quantize(on_grid, bits)
    gradient, loss = step(engine_of(model).with_weight_bits(bits), model, train)
    wanted, wanted_loss = step(engine_of(model), on_grid, train)
    assert loss == wanted_loss != step(engine_of(model), model, train)[1]
    assert torch.equal(gradient, wanted)


def step(engine, model, train):
    """Return the gradient of a batch's loss, which is the velocity after the first step, and the loss."""
    own, optimizer = copy.deepcopy(model), at_rest(model, weight_decay=0)
    loss = engine.train_epoch(own, train, [torch.arange(len(train))], optimizer, {})
    return torch.cat([values.flatten().double() for values in optimizer.velocity.values()]), loss


def test_the_training_loss_falls_as_torchs_does(model):
    """Labels that the mean of a channel tells: in 20 epochs the loss goes from about 1.1 to 0.15.

    At this learning rate other roundings change the end by 5 % at most; at five times as much they can double it.
    """
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (256,), generator=random)
    images = torch.randn(256, *SHAPE, generator=random)
    images[torch.arange(256), labels] += 0.4
    losses = []
    for engine in (engine_of(model), TORCH_BF16, TORCH):
        own, optimizer = copy.deepcopy(model), at_rest(model, learning_rate=0.01, weight_decay=0)
        batches = [*torch.arange(256).split(64)]
        losses.append([engine.train_epoch(own, Examples(images, labels), batches, optimizer, {}) for _ in range(20)])
    ours, theirs, float32 = torch.tensor(losses)
    assert ours[-5:].mean() < ours[0] / 2
    assert ours[-5:].mean() == pytest.approx(float32[-5:].mean().item(), rel=0.1)
    assert theirs[-5:].mean() == pytest.approx(float32[-5:].mean().item(), rel=0.1)


def test_a_filter_without_weights_whose_running_mean_is_large_is_that_of_torch(model):
    """Its output is 0 everywhere. Sums of deviations from the running mean leave a variance that may be below 0."""
    with torch.no_grad():
        model.stem_bn.running_mean.copy_(torch.tensor([12.7, -23.1, 57.3, 77.7]))
    masks = {"stem_conv.weight": torch.zeros(4, 3, 3, 3, dtype=torch.bool)}
    model.stem_conv.weight.data.zero_()
    losses, variances = [], []
    for engine in (engine_of(model), TORCH_BF16):
        own = copy.deepcopy(model)
        losses.append(engine.train_epoch(own, examples(49), [torch.arange(49)], at_rest(own), masks))
        variances.append(own.stem_bn.running_var)
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)
    torch.testing.assert_close(*variances, rtol=1e-2, atol=0)


def test_the_same_twice_is_the_same_to_the_last_bit(model):
    results = [trained(engine_of(model), model, examples(49), batch_size=32)[0] for _ in range(2)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_evaluation_and_the_gradient_for_scores_are_those_of_float32_to_the_last_bit(model):
    train = examples(37)
    bf16, float32 = engine_of(model), native.load(model, SHAPE)
    torch.testing.assert_close(bf16.logits(model, train.images), float32.logits(model, train.images), rtol=0, atol=0)
    torch.testing.assert_close(bf16.gradient(model, train), float32.gradient(model, train), rtol=0, atol=0)


def test_the_identity_names_both_libraries(model):
    own = Path(native.load(model, SHAPE)._library._name).stem
    assert re.fullmatch(f"native, arithmetic torch of {own} and [0-9a-f]+", engine_of(model).identity)


class TestRefusals:
    @pytest.fixture
    def cpu(self, monkeypatch, tmp_path):
        """Return the file from which the CPU's instruction sets are read, of a CPU without bf16."""
        file = tmp_path / "cpuinfo"
        file.write_text("model name : made up\nflags : fma avx2 avx512f amx_tile\n")
        monkeypatch.setattr(compiler, "CPU", file)
        return file

    def test_a_cpu_without_bf16_leaves_training_to_torch__and_one_line_says_why(self, cpu, model, caplog):
        for name in (None, "native"):
            assert choose(name, model, SHAPE, device="cpu", precision="bf16") is TORCH_BF16
        assert caplog.messages == ["engine torch, not native: in bf16 it needs a CPU with avx512_bf16"]

    def test_a_cpu_without_a_matrix_unit_leaves_bf16_to_torch__unless_native_is_asked_for(self, cpu, model, caplog):
        cpu.write_text(cpu.read_text().replace("amx_tile", "avx512_bf16"))
        assert choose(None, model, SHAPE, device="cpu", precision="bf16") is TORCH_BF16
        assert caplog.messages == [
            "engine torch, not native: in bf16 it is slower than torch on a CPU without amx_bf16",
        ]
        compiler.check_bf16()
        cpu.write_text(cpu.read_text().replace("avx512_bf16", "avx512_bf16 amx_bf16"))
        compiler.check_bf16(faster=True)

    def test_a_compiler_that_does_not_use_the_instructions_is_no_help(self, monkeypatch, model):
        monkeypatch.setenv("CXX", f"{os.environ.get('CXX', 'g++')} {UNITS['plain']}")
        monkeypatch.setattr(compiler, "check_bf16", lambda **_: None)
        with pytest.raises(NativeError, match="the compiler does not use the CPU's instructions for bf16"):
            native.load(model, SHAPE, "bf16")

    def test_a_system_that_denies_the_matrix_unit(self):
        """It does so where a thread has too little room for signals to keep the tiles of the unit in."""
        done = subprocess.run([sys.executable, "-c", NO_ROOM], capture_output=True, text=True)
        if "no AMX" in done.stdout:
            pytest.skip("this CPU has no AMX")
        assert done.stdout == "in bf16 it cannot be fast: the system denies this process the CPU's matrix unit (AMX)\n"


NO_ROOM = """
import ctypes
from pathlib import Path
from pruning_study.training.native import engine as native
from pruning_study.training.native.errors import NativeError
from tests.pruning_study.training.native.test_residual_network import SHAPE, Small

class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

room = ctypes.create_string_buffer(4096)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(room), 0, len(room))), None) == 0
try:
    native.load(Small(), SHAPE, "bf16")
    print("no AMX")
except NativeError as error:
    print("no AMX" if "avx512_bf16" in str(error) else error)
"""
