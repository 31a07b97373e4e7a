"""Initial weights that every machine draws alike."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn

from pruning_study import models
from pruning_study.models import initial_weights


def test_quantiles_are_those_of_the_standard_normal_distribution():
    """The tails too: the function changes at 0.075 and at 1.4e-11."""
    shares = [0.5, 0.025, 0.975, 0.0749, 0.0751, 0.001, 1e-10, 1e-13, 1 - 1e-9]
    expected = [NormalDist().inv_cdf(share) for share in shares]
    assert initial_weights.normal_quantile(np.array(shares)) == pytest.approx(expected, rel=2e-7)


def test_quantiles_of_half_a_distribution_mirror_those_of_the_other():
    shares = np.arange(1, 64) / 128
    mirrored = -initial_weights.normal_quantile(1 - shares)
    np.testing.assert_array_equal(initial_weights.normal_quantile(shares), mirrored)


def test_drawn_numbers_have_mean_0_variance_1_and_kurtosis_3():
    torch.manual_seed(0)
    numbers = initial_weights.normal((200_000,))
    moments = [numbers.mean(), numbers.square().mean(), numbers.pow(4).mean()]
    assert [moment.item() for moment in moments] == pytest.approx([0, 1, 3], abs=0.05)


def test_weights_of_a_resnet_have_the_deviation_of_he_et_al():
    torch.manual_seed(0)
    resnet = models.build("resnet20", num_classes=10, in_channels=3, image_size=(32, 32))
    layer = resnet.layer3[2].conv2  # 36,864 weights of 64 x 9 inputs
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)


@pytest.mark.parametrize("layer", [lambda: nn.Linear(1600, 120), lambda: nn.Conv2d(3, 6, 3)], ids=["linear", "conv"])
def test_uniform_weights_are_those_of_torch_up_to_the_last_bit(layer):
    torch.manual_seed(3)
    torchs = layer()
    torch.manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        own = layer()
    initial_weights.draw_uniform(own)
    for name, values in torchs.named_parameters():
        torch.testing.assert_close(own.get_parameter(name), values, rtol=2**-22, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "bias", "first", "last"),
    [
        ("lenet5", "fc3.bias", "-0x1.471aac0000000p-9", "0x1.d725d40000000p-9"),
        ("resnet20", "fc.bias", "-0x1.a1de780000000p-1", "0x1.7221000000000p-7"),
    ],
)
def test_the_first_weight_and_the_last_bias_of_seed_0_are_these_on_every_machine(name, bias, first, last):
    torch.manual_seed(0)
    network = models.build(name, num_classes=10, in_channels=1, image_size=(28, 28))
    drawn = network.conv1.weight.flatten()[0], network.get_parameter(bias)[-1]
    assert [value.item().hex() for value in drawn] == [first, last]
