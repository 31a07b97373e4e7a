import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_study import models
from pruning_study.data.examples import Examples
from pruning_study.training.gradients import data_gradient, mean_gradient, sampled_gradient


@pytest.fixture
def train():
    random = torch.Generator().manual_seed(0)
    return Examples(torch.randn(300, 3, 12, 12, generator=random), torch.randint(0, 4, (300,), generator=random))


@pytest.fixture
def model(train):
    """A ResNet whose running statistics are not those of any batch."""
    torch.manual_seed(0)
    model = models.build("resnet20", num_classes=4, in_channels=3, image_size=(12, 12))
    model.train()
    model(2 * train.images[:50] + 1)
    return model.eval()


def sampled(model, train, **arguments):
    settings = {"batches": 2, "mode": "train", "batch_size": 32, "augmentation": "none", "black": torch.zeros(3)}
    return sampled_gradient(model, train, mean_gradient, **{**settings, "seed": 1, **arguments})


@pytest.mark.slow
def test_is_that_of_the_mean_loss_over_the_whole_set_in_eval_mode(model, train):
    model, train = model.double(), Examples(train.images.double(), train.labels)
    given = data_gradient(model, train)
    F.cross_entropy(model.eval()(train.images), train.labels).backward()
    wanted = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert given.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(given[name], gradient, rtol=1e-9, atol=1e-12)


def test_single_precision_is_within_1e_5_of_double():
    random = torch.Generator().manual_seed(0)
    train = Examples(torch.randn(300, 1, 28, 28, generator=random), torch.randint(0, 10, (300,), generator=random))
    torch.manual_seed(0)
    model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
    single = data_gradient(model, train)
    double = data_gradient(model.double(), Examples(train.images.double(), train.labels))
    for name, gradient in double.items():
        assert (single[name] - gradient).norm() < 1e-5 * gradient.norm()


def test_a_gradient_in_bfloat16_is_summed_in_single_precision():
    """A sum over 400 batches in bfloat16 lost several per cent, because it has eight bits."""
    random = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, 5, generator=random), torch.zeros(8, dtype=torch.long)) for _ in range(400)]
    torch.manual_seed(0)
    model = Bfloat16(5, 3)
    given = mean_gradient(model, batches, 3200, training=False)
    for name, gradient in given.items():
        wanted = sum(mean_gradient(model, [batch], 3200, training=False)[name].double() for batch in batches)
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=1e-7)


class Bfloat16(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes, dtype=torch.bfloat16)

    def forward(self, images):
        return super().forward(images.bfloat16()).float()


def test_leaves_batchnorm_and_the_model_as_they_were(model, train):
    before = copy.deepcopy(model.state_dict())
    data_gradient(model, train)
    sampled(model, train, mode="train", augmentation="flip-crop")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_train_mode_uses_the_statistics_of_the_batch(model, train):
    first = sampled(model, train, mode="train")["conv1.weight"]
    assert not torch.allclose(first, sampled(model, train, mode="eval")["conv1.weight"])


def test_all_batches_in_eval_mode_are_the_whole_set(model, train):
    whole, parts = data_gradient(model, train), sampled(model, train, batches=None, mode="eval")
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5)


def test_some_batches_are_seeded_and_augmented_in_train_mode_only(model, train):
    def conv(**arguments):
        return sampled(model, train, **arguments)["conv1.weight"]

    assert torch.equal(conv(), conv())
    assert not torch.equal(conv(), conv(seed=2))
    assert not torch.equal(conv(), conv(augmentation="flip-crop"))
    assert torch.equal(conv(mode="eval"), conv(mode="eval", augmentation="flip-crop"))


def test_a_parameter_that_the_loss_does_not_reach_has_gradient_0(train):
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 4))
    model.unused = nn.Parameter(torch.ones(3))
    assert data_gradient(model, train)["unused"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("gradient_of", [data_gradient, partial(sampled, mode="eval")], ids=["all", "sampled"])
def test_a_frozen_parameter_has_the_gradient_that_it_has_without_freezing(train, gradient_of):
    """It had gradient 0, so all its weights were tied, and pruned by their position."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.ReLU(), nn.Linear(8, 4))
    wanted = gradient_of(model, train)
    model[1].requires_grad_(False)
    gradient = gradient_of(model, train)
    assert all(torch.equal(gradient[name], value) for name, value in wanted.items())
    assert wanted["1.weight"].any()
    assert not model[1].weight.requires_grad
