"""Quantized weights against grids worked out by hand, and training with them against autograd."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn, tensor

from pruning_study.data.examples import Examples, generator, shuffled
from pruning_study.training import loop
from pruning_study.training.callbacks import Teacher
from pruning_study.training.distillation import Distillation
from pruning_study.training.engines import Torch
from pruning_study.training.evaluation import loss_and_accuracy
from pruning_study.training.loop import fit, ignore
from pruning_study.training.quantization import Quantization, fake_quantized, quantize
from pruning_study.training.recipes import Hyperparameters, Phase
from pruning_study.training.resumption import TrainingState
from pruning_study.training.setup import TrainingSetup

PLAN = Hyperparameters((Phase(3, 0.05),), 16, 0.9, 0.01, "none")


def examples(count, seed):
    images = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    return Examples(images, (images.mean((1, 2, 3)) > 0).long())


TRAIN, VALIDATION = examples(70, 0), examples(30, 1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))


def setup(bits=None, *, while_training=True, plan=PLAN, **settings):
    if bits:
        plan = replace(plan, quantization=Quantization(bits, while_training))
    engine = Torch(weight_bits=bits if while_training else None)
    given = {"seed": 0, "stream": "fine-tuning", "black": torch.zeros(1), "engine": engine, **settings}
    return TrainingSetup(TRAIN, VALIDATION, plan, **given)


def trained(bits=None, saved=None, on_epoch=ignore, **settings):
    model = network()
    fitted = fit(model, setup(bits, **settings), saved=saved, on_epoch=on_epoch)
    return model, fitted


def weights_of(model):
    return nn.utils.parameters_to_vector(model.parameters())


def assert_on_grid(weights, bits):
    """Each output channel has integers of so many bits times its scale, the largest of which it reaches."""
    most = 2 ** (bits - 1) - 1
    for channel in weights.detach().flatten(1):
        integers = channel / channel.abs().max() * most
        torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-4)
        assert len(integers.round().unique()) <= 2**bits - 1


@pytest.mark.parametrize(
    ("bits", "weights", "wanted"),
    [
        # The scale is 1: integers from -7 to 7, a half to the even integer.
        (4, [7.0, -6.6, 2.4, 0.5, 1.5, -0.4], [7.0, -7.0, 2.0, 0.0, 2.0, 0.0]),
        # The scale is 1/4.
        (4, [-1.75, 0.3, 0.15, 0.0], [-1.75, 0.25, 0.25, 0.0]),
        (2, [1.0, 0.6, -0.4, -0.9], [1.0, 1.0, 0.0, -1.0]),
        (8, [127.0, -126.4, 63.6, 0.25], [127.0, -126.0, 64.0, 0.0]),
        (4, [0.0, 0.0], [0.0, 0.0]),
        (4, [1e-45, 0.0], [0.0, 0.0]),  # smaller than any scale
    ],
)
def test_weights_are_rounded_to_integers_times_a_scale(bits, weights, wanted):
    assert fake_quantized(tensor([weights]), bits)[0].tolist() == wanted


def test_each_output_channel_has_its_own_scale():
    channels = tensor([[7.0, 1.4], [0.7, 0.14]]).view(2, 2, 1, 1)
    torch.testing.assert_close(fake_quantized(channels, 4).flatten(1), tensor([[7.0, 1.0], [0.7, 0.1]]))


@pytest.mark.parametrize("groups", [1, 2])
def test_each_output_channel_of_a_transposed_convolution_has_its_own_scale(groups):
    """Its weights have the inputs first, so each input channel had a scale of its own."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, groups=groups), nn.Flatten(), nn.Linear(6, 2))
    before = model[0].weight.detach().clone()
    quantize(model, 4)
    for values, originals in zip(model[0].weight.chunk(groups), before.chunk(groups), strict=True):
        assert_on_grid(values.transpose(0, 1), 4)
        largest = originals.transpose(0, 1).flatten(1).abs().amax(1)
        steps = largest.view(1, -1, 1, 1) / 7
        assert ((values - originals).abs() <= 0.5001 * steps).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_channel_has_at_most_as_many_values_as_integers_with_a_negative(bits):
    weights = 2 * torch.rand(3, 20_000, generator=torch.Generator().manual_seed(0)) - 1
    quantized = fake_quantized(weights, bits)
    assert [len(channel.unique()) for channel in quantized] == [2**bits - 1] * 3
    steps = weights.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    assert ((quantized - weights).abs() <= 0.5001 * steps).all()


def test_the_gradient_passes_straight_through():
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    weights[1] = 0  # a channel that is pruned as a whole, and may regrow
    weights.requires_grad_()
    factors = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    (fake_quantized(weights, 4) * factors).sum().backward()
    assert torch.equal(weights.grad, factors)


def test_a_network_is_quantized_but_for_biases_and_batchnorm():
    model, before = network(), network().state_dict()
    quantize(model, 4)
    for name, values in model.state_dict().items():
        if name in ("0.weight", "4.weight"):
            assert_on_grid(values, 4)
        else:
            assert torch.equal(values, before[name])


def test_steps_are_those_of_sgd_by_the_gradient_at_the_quantized_weights():
    """The reference has two networks: autograd differentiates the quantized one, and the steps change the other."""
    plan = replace(PLAN, phases=(Phase(1, 0.05),))
    model, weights, on_grid = network(), network(), network()
    fit(model, setup(4, plan=plan))
    velocity = [torch.zeros_like(p) for p in weights.parameters()]
    on_grid.train()
    for images, labels in map(TRAIN.batch, shuffled(TRAIN, 16, generator(0, "fine-tuning"))):
        with torch.no_grad():
            for p, q in zip(weights.parameters(), on_grid.parameters(), strict=True):
                q.copy_(p)
        quantize(on_grid, 4)
        grads = torch.autograd.grad(F.cross_entropy(on_grid(images), labels), list(on_grid.parameters()))
        with torch.no_grad():
            for p, g, v in zip(weights.parameters(), grads, velocity, strict=True):
                g = g + 0.01 * p
                v.mul_(0.9).add_(g)
                p.sub_(0.05 * (g + 0.9 * v))
    quantize(weights, 4)
    torch.testing.assert_close(dict(model.named_parameters()), dict(weights.named_parameters()))
    torch.testing.assert_close(dict(model.named_buffers()), dict(on_grid.named_buffers()))


class Tied(nn.Module):
    """A network with a layer under two names, and one with its weights; both share their gradient."""

    def __init__(self):
        super().__init__()
        self.layer, self.twin, self.last = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 2)
        self.twin.weight = self.layer.weight
        self.layers = nn.Sequential(nn.Flatten(), self.layer, nn.ReLU(), self.twin)

    def forward(self, images):
        return self.last(self.layers(images))


def test_layers_that_share_weights_share_quantized_ones():
    torch.manual_seed(0)
    model, on_grid = Tied(), Tied()
    before = copy.deepcopy(model.state_dict())
    on_grid.load_state_dict(before)
    quantize(on_grid, 4)
    torch.testing.assert_close(Torch(weight_bits=4).logits(model, TRAIN.images), on_grid(TRAIN.images))
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert model.layer.weight is model.twin.weight
    fit(model, setup(4, plan=replace(PLAN, phases=(Phase(1, 0.05),))))
    assert not torch.equal(model.layer.weight, before["layer.weight"])
    assert all(parameter.is_leaf for parameter in model.parameters())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("end", [{}, {"decay": "cosine"}, {"average_epochs": 2}])
@pytest.mark.parametrize("while_training", [True, False])
def test_the_network_that_is_kept_is_on_the_grid(bits, end, while_training):
    model, _ = trained(bits, plan=replace(PLAN, **end), while_training=while_training)
    assert_on_grid(model[0].weight, bits)
    assert_on_grid(model[4].weight, bits)


def test_the_loss_that_chooses_the_epoch_is_of_the_quantized_network():
    seen = []
    model, fitted = trained(3, on_epoch=lambda epoch, metrics: seen.append(metrics["val_loss"]))
    loss, _ = loss_and_accuracy(model, VALIDATION, Torch())
    assert seen[fitted.best_epoch - 1] == min(seen) == pytest.approx(loss, rel=1e-5)


def test_after_training_is_the_same_training_with_its_weights_rounded():
    plain, _ = trained()
    after, _ = trained(4, while_training=False)
    assert not torch.equal(weights_of(after), weights_of(plain))
    quantize(plain, 4)
    assert torch.equal(weights_of(after), weights_of(plain))
    assert not torch.allclose(weights_of(trained(4)[0]), weights_of(plain), atol=1e-3)


def test_without_an_epoch_the_weights_are_rounded():
    model, wanted = network(), network()
    fit(model, setup(4, while_training=False, plan=replace(PLAN, phases=())))
    quantize(wanted, 4)
    assert torch.equal(weights_of(model), weights_of(wanted))


@pytest.mark.parametrize("while_training", [True, False])
def test_the_teacher_keeps_its_own_weights(while_training):
    teacher = network().eval()
    callback = Teacher(Distillation(teacher, 0.5, 1.0))
    callback.start(setup(2, while_training=while_training), network(), TrainingState())
    with torch.no_grad():
        own, rounded = teacher(TRAIN.images), Torch(weight_bits=2).logits(teacher, TRAIN.images)
    torch.testing.assert_close(callback.distillation.logits, own)
    assert not torch.allclose(rounded, own, atol=0.01)


@pytest.mark.parametrize("while_training", [True, False])
def test_pruned_weights_stay_0(while_training):
    random = torch.Generator().manual_seed(0)
    masks = {"0.weight": torch.rand(4, 1, 3, 3, generator=random) > 0.5}
    masks["4.weight"] = torch.rand(2, 64, generator=random) > 0.9
    masks["0.weight"][1] = False  # a channel that is pruned as a whole
    model, _ = trained(8, masks=masks, while_training=while_training)
    for name, mask in masks.items():
        assert not model.get_parameter(name)[~mask].any()
        assert model.get_parameter(name)[mask].any()


@pytest.mark.parametrize("last", [1, 2])
def test_a_killed_training_goes_on_to_the_same_result(tmp_path, monkeypatch, caplog, last):
    class KilledError(Exception):
        pass

    def kill(epoch, metrics):
        if epoch > last:
            raise KilledError

    whole, _ = trained(4)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    saved = tmp_path / "training.safetensors"
    with pytest.raises(KilledError):
        trained(4, saved, kill)
    with caplog.at_level("INFO"):
        again, _ = trained(4, saved)
    assert f"continues after epoch {last}" in caplog.text
    assert torch.equal(weights_of(again), weights_of(whole))


def test_a_saved_training_is_not_taken_for_one_of_other_bits():
    assert len({Torch(weight_bits=bits).identity for bits in (None, 4, 8)}) == 3
