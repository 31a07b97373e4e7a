"""Filters of networks whose channels go together: in groups, depthwise, normalised together, transposed or shared.

Each network is pruned and shrunk. The numbers of parameters are counted by hand.
"""

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common.errors import StudyError
from pruning_study.pruning import budget, coupled_filters, filters
from pruning_study.pruning.pruners import PRUNERS
from pruning_study.pruning.shrink import macs, shrink
from pruning_study.training.loop import apply_masks

IMAGE = torch.zeros(1, 1, 6, 6)


def head(channels):
    return nn.Conv2d(channels, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)


def in_groups():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3, groups=2), nn.ReLU(), *head(6))


def depthwise():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), *head(8))


def group_norm():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), *head(8))


def transposed():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 6, 2), nn.ReLU(), *head(6))


class Tied(nn.Module):
    """The second and third convolution share a weight, so that all of the first three have the same channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(channels, 4, 1) for channels in (1, 4, 4))
        self.c.weight = self.b.weight
        self.d, self.fc = nn.Conv2d(4, 3, 1), nn.Linear(3, 2)

    def forward(self, images):
        return self.fc(self.d(F.relu(self.c(F.relu(self.b(F.relu(self.a(images))))))).mean((2, 3)))


def found(network, keep=()):
    names = budget.prunable(network, keep=keep)
    return coupled_filters.removable(network, IMAGE, names, calls=network)


def trained(network):
    """Give a network numbers that are neither 0 nor 1, so that nothing is equal by chance."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


def halved(network, keep=()):
    """Return a network whose filters with the smaller half of the norms are 0, and their masks."""
    of_network = found(network, keep)
    theta = {name: network.get_parameter(name).detach() for name in budget.prunable(network, keep=keep)}
    made = filters.weights(of_network, theta)
    numbers = [count // 2 for count in of_network.numbers.values()]
    pruner = PRUNERS["l1-filter"]
    kept = pruner.masks([pruner.score(theta=made[layer]) for layer in of_network.numbers], numbers)
    masks = filters.masks(of_network, dict(zip(of_network.numbers, kept, strict=True)))
    masked = copy.deepcopy(network)
    apply_masks(masked, masks)
    return masked, masks


# Before and after, each layer with its biases: of 8 and 6 channels in two groups, 4 and 2 (1 of 3 in each) are left; of
# 8 depthwise, 4; of 4 groups of a GroupNorm, 2, which are 4 channels; of 4 and 6 around a transposed convolution, 2 and
# 3; of 4 tied, 2.
HALVED = [
    (in_groups, (80 + 6 * (4 * 9 + 1) + 14 + 6), (40 + 2 * (2 * 9 + 1) + 6 + 6), {"0.weight": 4, "2.weight": 3}),
    (depthwise, (80 + 16 + 80 + 18 + 6), (40 + 8 + 40 + 10 + 6), {"0.weight": 8}),
    (group_norm, (80 + 16 + 18 + 6), (40 + 8 + 10 + 6), {"0.weight": 4}),
    (transposed, (40 + 96 + 6 + 14 + 6), (20 + 24 + 3 + 8 + 6), {"0.weight": 4, "2.weight": 6}),
    (Tied, (8 + 16 + 4 + 4 + 15 + 8), (4 + 4 + 2 + 2 + 9 + 8), {"a.weight": 4}),
]


@pytest.mark.structured
@pytest.mark.parametrize(
    ("make", "before", "after", "numbers"), HALVED, ids=lambda value: getattr(value, "__name__", "")
)
class TestHalved:
    def test_the_smaller_network_gives_the_outputs_of_the_masked_one(self, make, before, after, numbers):
        masked, _ = halved(trained(make()))
        images = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
        smaller = shrink(masked, images).network
        torch.testing.assert_close(smaller(images), masked(images))
        assert (size(masked), size(smaller)) == (before, after)
        assert macs(smaller, images[:1]) < macs(masked, images[:1])

    def test_masks_and_removed_count_what_goes(self, make, before, after, numbers):
        network = trained(make())
        of_network = found(network)
        assert of_network.numbers == numbers
        assert filters.removed(of_network, {name: count // 2 for name, count in numbers.items()}) == before - after
        assert sum(int((~mask).sum()) for mask in halved(network)[1].values()) == before - after

    def test_feature_maps_are_those_of_all_channels_of_a_filter(self, make, before, after, numbers):
        network = trained(make())
        of_network = found(network)
        with filters.feature_maps(network, of_network) as maps, torch.no_grad():
            network(torch.randn(3, 1, 6, 6))
        assert {name: of_layer.shape[:2] for name, of_layer in maps.items()} == {
            name: (3, count) for name, count in numbers.items()
        }


class Beside(nn.Module):
    """A depthwise convolution, and a plain one of which our own rule knows that its channels can go."""

    def __init__(self):
        super().__init__()
        self.depthwise, self.plain = nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 1)
        self.first, self.last, self.fc = nn.Conv2d(1, 4, 1), nn.Conv2d(6, 2, 1), nn.Linear(2, 2)

    def forward(self, images):
        return self.fc(self.last(F.relu(self.plain(self.depthwise(F.relu(self.first(images)))))).mean((2, 3)))


@pytest.mark.structured
def test_beside_a_depthwise_convolution_plain_ones_go_too():
    network = trained(Beside())
    assert found(network).numbers == {"first.weight": 4, "plain.weight": 6}
    assert found(network).is_coupled
    masked, _ = halved(network)
    images = torch.randn(3, 1, 6, 6)
    torch.testing.assert_close(shrink(masked, images).network(images), masked(images))


@pytest.mark.structured
def test_a_kept_layer_keeps_the_channels_that_it_makes_reads_or_passes_on():
    assert found(trained(Beside()), keep=["depthwise"]).numbers == {"plain.weight": 6}
    with pytest.raises(StudyError, match="no convolution whose channels can be removed"):
        found(trained(transposed()), keep=["2"])


@pytest.mark.structured
def test_channels_that_one_group_normalises_are_one_filter():
    """Of one group none can go: without a channel, the mean of all others would be another one."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(1, 8), nn.ReLU(), *head(8)).eval()
    with pytest.raises(StudyError, match=r"no convolution whose channels can be removed, .* as mp"):
        found(network)


class Shuffled(nn.Module):
    """Exchanges channels between the groups, which torch-pruning does not see."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 3, 1)
        self.fc = nn.Linear(3, 2)

    def forward(self, images):
        x = self.a(images)
        x = x.view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
        return self.fc(self.c(F.relu(self.b(x))).mean((2, 3)))


@pytest.mark.structured
def test_a_network_that_torch_pruning_does_not_follow_is_one_line():
    with pytest.raises(StudyError, match=r"cannot follow the channels of Shuffled, which has .* in groups") as error:
        found(trained(Shuffled()))
    assert str(error.value).endswith("choose a pruner of single weights, such as mp")
    assert "\n" not in str(error.value)


def test_without_torch_pruning_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(StudyError, match=r"channels of transposed convolutions .* pip install .*structured.* as mp"):
        found(trained(transposed()))


def test_without_torch_pruning_other_channels_go_and_a_line_says_so(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 3, 1), *head(3)).eval()
    of_network = found(network)
    assert (of_network.numbers, of_network.is_coupled) == ({"0.weight": 4}, False)
    assert "now only channels that these layers do not couple are removed" in caplog.text
