"""The layers of a network's method `stack` take its place only if they compute the same."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_study import models
from pruning_study.models.plain_layers import with_plain_layers

SHAPE = (1, 8, 8)


class Network(nn.Module):
    """A convolution, a leaky ReLU, mean pooling and a linear layer."""

    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)

    def forward(self, images):
        return self.head(F.leaky_relu(self.a(images), 0.5).mean((2, 3)))

    def layers(self, slope=0.5):
        return nn.Sequential(self.a, nn.LeakyReLU(slope), nn.AdaptiveAvgPool2d(1), nn.Flatten(), self.head)


class Equivalent(Network):
    def stack(self):
        return self.layers()


class Part(Network):
    def stack(self):
        return nn.Sequential(self.a, nn.LeakyReLU(0.5))


class Different(Network):
    def stack(self):
        return self.layers(slope=0)


class DifferentBeforeAZero(Different):
    """The weights of the last layer are 0, so that the logits are the same at first."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)


class Copied(Network):
    def stack(self):
        return copy.deepcopy(self.layers())


class TakingImages(Network):
    def stack(self, images):
        return self.a(images)


class Attribute(Network):
    def __init__(self):
        super().__init__()
        self.stack = self.layers()


def test_equivalent_layers_take_the_place_of_a_network_in_eval_mode():
    network = Equivalent()
    plain = with_plain_layers(network, SHAPE)
    assert [plain[0], plain[-1]] == [network.a, network.head]
    assert not plain.training


@pytest.mark.parametrize("kind", [Part, Different, DifferentBeforeAZero, Copied, TakingImages, Attribute, Network])
def test_a_network_whose_stack_is_something_else_stays_as_it_is(kind):
    network = kind()
    assert with_plain_layers(network, SHAPE) is network
    assert network.training


@pytest.mark.parametrize("name", ["lenet5", "lenet5-half", "lenet5-double", "resnet20", "resnet110"])
def test_built_in_networks_are_replaced_whatever_the_state_of_the_random_generators(name):
    network = models.build(name, num_classes=10, in_channels=3, image_size=(13, 10))
    state = torch.get_rng_state()
    assert isinstance(with_plain_layers(network, (3, 13, 10)), nn.Sequential)
    assert torch.equal(torch.get_rng_state(), state)
