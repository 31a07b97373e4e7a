"""Results of the native engine are the same to the last bit, however it was compiled and whatever a process does."""

import copy

import pytest
import torch
from torch import nn

from pruning_study.data.examples import Examples, FlipCrop, generator, shuffled
from pruning_study.training.callbacks import Teacher
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import TORCH, Steps
from pruning_study.training.gradients import sampled_gradient
from pruning_study.training.native import engine as native
from pruning_study.training.native.layers import NativeError
from pruning_study.training.optimizer import Optimizer
from pruning_study.training.quantization import Quantization
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.resumption import TrainingState
from pruning_study.training.setup import TrainingSetup
from tests.pruning_study.training.native.test_residual_network import SHAPE, Small

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("own_cache")]

PLAIN_SHAPE = (2, 9, 8)


def plain():
    return nn.Sequential(
        *(nn.Conv2d(2, 5, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(45, 7), nn.ReLU(), nn.Linear(7, 3))
    )


NETWORKS = {"plain": (plain, PLAIN_SHAPE), "residual": (Small, SHAPE)}


def drawn(name, count=53):
    """Return a network and examples."""
    make, shape = NETWORKS[name]
    torch.manual_seed(4)
    model = make()
    return model, Examples(torch.randn(count, *shape), torch.randint(0, 3, (count,)))


def results(name, share_of_weights=1.0):
    """Return all that the engine computes of a network: trained weights, logits, probabilities, losses, gradients."""
    model, train = drawn(name)
    engine = native.load(model, NETWORKS[name][1])
    random = generator(0, "masks")
    masks = {
        key: torch.rand(weight.shape, generator=random) < share_of_weights
        for key, weight in model.named_parameters()
        if weight.ndim > 1 and share_of_weights < 1
    }
    optimizer = Optimizer(0.05, 0.9, 1e-3, {key: torch.zeros_like(weight) for key, weight in model.named_parameters()})
    batches = shuffled(train, 21, generator(0, "order")) * 2
    loss = engine.train_epoch(model, Steps(train, batches, optimizer, masks))
    logits = engine.logits(model, train.images)
    numbers = torch.tensor([loss, engine.cross_entropy(logits, train.labels)], dtype=torch.float64)
    tensors = [*model.state_dict().values(), logits, engine.probabilities(logits), numbers]
    return [tensor.clone() for tensor in [*tensors, *engine.gradient(model, train).values()]]


@pytest.mark.parametrize("share_of_weights", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("name", NETWORKS)
def test_registers_of_any_width_and_any_compilation_give_the_same_bits(monkeypatch, name, share_of_weights):
    expected = results(name, share_of_weights)
    for command in ("g++ -O1 -mno-avx512f", "g++ -O1 -DNATIVE_WIDTH=4", "g++ -O1 -DNATIVE_WIDTH=16"):
        monkeypatch.setenv("CXX", command)
        for given, wanted in zip(results(name, share_of_weights), expected, strict=True):
            torch.testing.assert_close(given, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_process_that_flushes_small_numbers_to_0_changes_no_bit(name):
    """Half of the smallest normal number is left of the velocity of pruned weights, whose gradient is 0."""
    model, train = drawn(name)
    engine, smallest = native.load(model, NETWORKS[name][1]), 2.0**-126
    nothing_kept = {key: torch.zeros(weight.shape, dtype=torch.bool) for key, weight in model.named_parameters()}
    velocity = {key: torch.full_like(weight, smallest) for key, weight in model.named_parameters()}
    torch.set_flush_denormal(True)
    try:
        engine.train_epoch(model, Steps(train, [torch.arange(16)], Optimizer(0.0, 0.5, 0.0, velocity), nothing_kept))
        assert torch.tensor([smallest]).div(2).item() == 0  # as it still is for all others
    finally:
        torch.set_flush_denormal(False)
    assert all(values.eq(smallest / 2).all() for values in velocity.values())


@pytest.mark.parametrize("command", ["g++ -ffast-math", "g++ -Ofast", "env g++ -O2 -fassociative-math"])
def test_a_compiler_that_is_told_to_round_otherwise__is_refused(monkeypatch, command):
    monkeypatch.setenv("CXX", command)
    with pytest.raises(NativeError, match=rf"^\$CXX has {command.split()[-1]}, "):
        native.load(plain(), PLAIN_SHAPE)


@pytest.mark.parametrize("flag", ["-ffp-contract=fast", "-fassociative-math -fno-signed-zeros -fno-trapping-math"])
def test_a_compiler_that_rounds_otherwise_without_being_told_to__is_found_by_known_numbers(monkeypatch, tmp_path, flag):
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\nexec g++ "$@" {flag}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(NativeError, match="joins or reorders"):
        native.load(plain(), PLAIN_SHAPE)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_random_batches_is_that_of_torch(name, mode):
    model, train = drawn(name)
    engine = native.load(model, NETWORKS[name][1])
    before = copy.deepcopy(model.state_dict())
    settings = {"batches": 2, "mode": mode, "batch_size": 16, "augmentation": "flip-crop", "seed": 1}
    black = torch.zeros(train.images.shape[1])
    given, wanted = (
        sampled_gradient(model, train, each.mean_gradient, **settings, black=black) for each in (engine, TORCH)
    )
    for key, values in wanted.items():
        torch.testing.assert_close(given[key], values, rtol=1e-3, atol=1e-5)
    for key, values in before.items():
        assert torch.equal(model.state_dict()[key], values)


@pytest.mark.parametrize("while_training", [True, False])
def test_a_teachers_logits_are_the_engines_own_without_quantized_weights(while_training):
    """PyTorch computed them, with rounding errors that depend on the machine."""
    teacher, train = drawn("plain")
    engine = native.load(teacher, PLAIN_SHAPE)
    plan = Hyperparameters((Phase(1, 0.05),), 16, 0.9, 0.0, "none", quantization=Quantization(2, while_training))
    own = engine.with_weight_bits(2) if while_training else engine
    callback = Teacher(Distillation(teacher, 0.5, 1.0))
    setup = TrainingSetup(train, train, plan, seed=0, stream="test", black=torch.zeros(2), engine=own)
    callback.start(setup, plain(), TrainingState())
    assert torch.equal(callback.distillation.logits, engine.logits(teacher, train.images))


@pytest.mark.parametrize("augmented", [False, True])
def test_statistics_of_batches_are_those_of_torch_and_nothing_else_changes(augmented):
    model, train = drawn("residual")
    own, engine = copy.deepcopy(model), native.load(model, SHAPE)
    for each, network in ((engine, own), (TORCH, model)):
        augment = FlipCrop(torch.zeros(3), generator(0, "flips")) if augmented else None
        each.measure_statistics(network, train, shuffled(train, 16, generator(0, "order")), augment)
    for key, values in model.state_dict().items():
        torch.testing.assert_close(own.state_dict()[key], values, rtol=1e-5, atol=1e-5)
    for key, values in model.named_parameters():
        assert torch.equal(own.get_parameter(key), values)
