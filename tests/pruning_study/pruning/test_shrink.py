"""Networks without the channels that no layer reads."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models.plain_layers import with_plain_layers
from pruning_study.pruning.budget import prunable
from pruning_study.pruning.pruners import PRUNERS
from pruning_study.pruning.shrink import macs, shrink

pytestmark = pytest.mark.structured


def built(name, channels, side):
    torch.manual_seed(0)
    network = models.build(name, num_classes=10, in_channels=channels, image_size=(side, side))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # an unread channel is not 0 behind it
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return with_plain_layers(network, (channels, side, side)).eval()


def images(channels=3, side=32):
    return torch.randn(6, channels, side, side, generator=torch.Generator().manual_seed(1))


def prune(network, pruner, sparsity):
    weights = [network.get_parameter(name).detach() for name in prunable(network)]
    record = PRUNERS[pruner]
    kept = round(sum(map(torch.numel, weights)) * (1 - sparsity))
    for weight, mask in zip(weights, record.masks([record.score(weight) for weight in weights], kept), strict=True):
        weight.mul_(mask)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def same(network, smaller, given):
    with torch.no_grad():
        return torch.allclose(network(given), smaller(given), atol=1e-5)


class Attention(nn.Module):
    """A block of attention with one head, whose queries, keys and values one layer makes, and two linear layers."""

    def __init__(self):
        super().__init__()
        self.patches, self.qkv, self.proj = nn.Conv2d(3, 4, 16, stride=16), nn.Linear(4, 12), nn.Linear(4, 4)
        self.fc1, self.fc2, self.head = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        query, key, value = self.qkv(tokens).reshape(len(tokens), -1, 3, 4).unbind(2)
        tokens = tokens + self.proj(F.scaled_dot_product_attention(query, key, value))
        return self.head((tokens + self.fc2(F.gelu(self.fc1(tokens)))).mean(1))


def test_hidden_units_of_a_transformer_go_and_attention_stays():
    torch.manual_seed(0)
    network = Attention().eval()
    with torch.no_grad():
        network.fc2.weight[:, [1, 4]] = 0
        network.proj.weight[:, 0] = 0
    smaller = shrink(network, images()).network
    assert (smaller.fc1.out_features, smaller.fc2.in_features, smaller.qkv.out_features) == (4, 4, 12)
    assert parameters(network) - parameters(smaller) == 2 * (4 + 1 + 4)
    assert same(network, smaller, images())


def test_a_parameter_outside_layers_is_no_warning(recwarn):
    """A vision transformer adds such a parameter to its tokens, and a search would warn of it for each chain."""
    network = Attention().eval()
    network.patches = nn.Sequential(network.patches, Position())
    shrink(network, images())
    assert not [warning for warning in recwarn if "Unwrapped" in str(warning.message)]


class Position(nn.Module):
    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.ones(1, 4, 2, 2))

    def forward(self, tokens):
        return tokens + self.place


def test_lenet5_by_hand():
    """A channel between the convolutions, one of 25 pixels between them and the first linear layer, 2 units after it.

    One pixel of another channel is not read either, and stays.
    """
    network = built("lenet5", 1, 28)
    _, conv2, fc1, fc2, _ = (layer for layer in network if hasattr(layer, "weight"))
    with torch.no_grad():
        conv2.weight[:, 2] = 0
        fc1.weight[:, 75:100] = 0
        fc1.weight[:, 0] = 0
        fc2.weight[:, [5, 7]] = 0
    smaller, zeroed, left = shrink(network, images(1, 28))
    assert [layer.weight.shape[:2] for layer in smaller if hasattr(layer, "weight")] == [
        *((5, 1), (15, 5)),
        *((118, 375), (84, 118), (10, 84)),
    ]
    assert (zeroed, left) == (1 + 26 + 2, 1)
    assert (parameters(network), parameters(smaller)) == (60_074, 50 + 690 + 44_368 + 9_996 + 850)
    image = images(1, 28)[:1]
    assert macs(network, image) == 26**2 * 54 + 11**2 * 864 + 48_000 + 10_080 + 840
    assert macs(smaller, image) == 26**2 * 45 + 11**2 * 15 * 45 + 375 * 118 + 118 * 84 + 840
    assert same(network, smaller, images(1, 28))


class ProjectedAttention(nn.Module):
    """Three queries of four numbers each, and five keys and values of other lengths."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=6, vdim=7, batch_first=True)

    def forward(self, image):
        query, key, value = (image.new_zeros(1, *shape) for shape in ((3, 4), (5, 6), (5, 7)))
        return self.attention(query, key, value=value)[0]


def test_the_products_of_attention_are_those_of_its_four_projections():
    products = 3 * 4 * 4 + 5 * 6 * 4 + 5 * 7 * 4 + 3 * 4 * 4  # of queries, keys, values and outputs
    assert macs(ProjectedAttention(), torch.zeros(1, 1, 2, 2)) == products


@pytest.mark.parametrize("name", ["resnet20", "resnet32"])
def test_a_residual_network_loses_channels_inside_its_blocks(name):
    """Of the channels between the convolutions of a block 0.7 go, and none of those that shortcuts carry on."""
    network = built(name, 3, 32)
    prune(network, "l1-structured", sparsity=0.7)
    smaller, zeroed, left = shrink(network, images())
    inside = carried = 0
    for before, after in zip(network.modules(), smaller.modules(), strict=True):
        if hasattr(before, "conv2"):
            channels = before.conv2.in_channels
            assert after.conv1.out_channels == after.conv2.in_channels == round(0.3 * channels)
            assert after.conv1.in_channels == before.conv1.in_channels
            inside += channels - round(0.3 * channels)
            carried += before.conv1.in_channels - round(0.3 * before.conv1.in_channels)
    assert zeroed - left == inside
    assert left == carried + 2  # and two of three colours
    assert same(network, smaller, images())


def test_behind_shortcuts_that_are_convolutions_channels_go_too():
    network = built("wrn16-4", 3, 32)
    prune(network, "linf-structured", sparsity=0.7)
    smaller, *_ = shrink(network, images())
    assert smaller.conv1.out_channels < 16
    assert parameters(smaller) < 0.3 * parameters(network)
    assert same(network, smaller, images())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        x = self.first(x)
        return self.fc(self.third(F.relu(self.second(x) + x)).mean((2, 3)))


def test_a_channel_of_a_residual_sum_goes_where_no_layer_reads_it():
    torch.manual_seed(0)
    network = Residual()
    with torch.no_grad():
        network.second.weight[:, [1, 3]] = 0
        network.third.weight[:, 1] = 0
    smaller, zeroed, left = shrink(network, images(side=4))
    assert [smaller.first.out_channels, smaller.second.in_channels, smaller.second.out_channels] == [3, 3, 3]
    assert (smaller.third.in_channels, zeroed, left) == (3, 3, 1)
    assert same(network, smaller, images(side=4))


def test_channels_that_a_shortcut_pads_stay():
    """ResNet-20 pads 16 channels to 32: the third is the eleventh behind it, and torch-pruning does not see that."""
    network = built("resnet20", 3, 32)
    with torch.no_grad():
        for stage in network[3:6]:
            for block in stage:
                block.conv1.weight[:, 2] = 0
    smaller, zeroed, left = shrink(network, images())
    assert zeroed == left == 9
    assert parameters(smaller) == parameters(network)


class Concatenated(nn.Module):
    """Channels of several layers side by side, normalised and read together, as in a DenseNet."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(9, 6, 1)
        self.of_two, self.of_three = nn.BatchNorm2d(9), nn.BatchNorm2d(15)
        self.fc = nn.Linear(15, 2)

    def forward(self, x):
        x = self.first(x)
        x = torch.cat([x, self.second(F.relu(x))], 1)
        x = torch.cat([x, self.third(F.relu(self.of_two(x)))], 1)
        return self.fc(F.relu(self.of_three(x)).mean((2, 3)))


def test_channels_go_from_the_middle_of_a_concatenation():
    torch.manual_seed(0)
    network = Concatenated().eval()
    with torch.no_grad():
        for norm in (network.of_two, network.of_three):
            for values in (norm.weight, norm.bias, norm.running_mean):
                values.uniform_(0.5, 1.5)
        network.second.weight[:, 1] = 0
        network.third.weight[:, [1, 5, 7]] = 0
        network.fc.weight[:, [1, 5, 7, 10, 14]] = 0
    smaller, zeroed, left = shrink(network, images(side=4))
    layers = smaller.first, smaller.second, smaller.third
    assert [layer.out_channels for layer in layers] == [3, 3, 4]
    assert [smaller.of_two.num_features, smaller.of_three.num_features, smaller.fc.in_features] == [6, 10, 10]
    assert (zeroed, left) == (9, 0)
    assert same(network, smaller, images(side=4))


class Backwards(nn.Module):
    """Calls its layers in another order than it has them in, and one of them never."""

    def __init__(self):
        super().__init__()
        self.second, self.first, self.third = nn.Conv2d(4, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
        self.spare = nn.Linear(7, 7)

    def forward(self, x):
        return self.third(F.relu(self.second(F.relu(self.first(x))))).mean((2, 3))


def test_layers_in_any_order_lose_all_at_once():
    """Without its first output, the second layer no longer reads the first output of the first layer."""
    network = Backwards()
    with torch.no_grad():
        network.third.weight[:, 0] = 0
        network.second.weight[1:, 0] = 0
    smaller, zeroed, left = shrink(network, images(side=4))
    assert (smaller.first.out_channels, smaller.second.out_channels) == (3, 3)
    assert (zeroed, left) == (1, 0)
    assert parameters(shrink(smaller, images(side=4)).network) == parameters(smaller)
    assert same(network, smaller, images(side=4))


def test_a_layer_that_is_never_called_stays_as_it_is():
    network = Backwards()
    with torch.no_grad():
        network.spare.weight.zero_()
    smaller, zeroed, left = shrink(network, images(side=4))
    assert (zeroed, left, parameters(smaller)) == (0, 0, parameters(network))


def test_channels_that_become_unread_on_the_way_do_not_count():
    """Without its first output, the first layer no longer reads two of the images' three channels."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(80, 2))
    with torch.no_grad():
        network[2].weight[:, 0] = 0
        network[0].weight[1:, 1:] = 0
    smaller, zeroed, left = shrink(network, images(side=4))
    assert (smaller[0].out_channels, zeroed, left) == (3, 1, 0)


def test_of_channels_that_are_all_unread_one_stays():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(32, 2)).eval()
    nn.init.zeros_(network[1].weight)
    smaller, *_ = shrink(network, images(side=4))
    assert smaller[0].out_channels == smaller[1].in_channels == 1
    assert same(network, smaller, images(side=4))


def test_nothing_is_removed_from_a_network_that_reads_everything():
    network = built("resnet20", 3, 32)
    smaller, zeroed, left = shrink(network, images())
    assert (zeroed, left, parameters(smaller)) == (0, 0, 269_722)


class Normalized(nn.Sequential):
    """Normalises over all channels, so that one that is not read changes the others."""

    def forward(self, x):
        first, *rest = self
        x = first(x)
        x = F.layer_norm(x, x.shape[1:])
        for layer in rest:
            x = layer(x)
        return x


def test_a_smaller_network_with_other_outputs_is_one_line():
    network = Normalized(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(32, 2))
    with torch.no_grad():
        network[1].weight[:, 0] = 0
    with pytest.raises(StudyError, match="cannot be made smaller: its outputs would differ by") as error:
        shrink(network, images(side=4))
    assert "\n" not in str(error.value)


def test_a_network_that_does_not_call_its_layers_is_one_line():
    network = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
    with pytest.raises(StudyError, match="cannot be made smaller") as error:
        shrink(network, images(1, 28))
    assert "\n" not in str(error.value)


class Uncalled(Backwards):
    def forward(self, x):
        return F.linear(super().forward(x).repeat(1, 4)[:, :7], self.spare.weight)


def test_a_layer_that_is_computed_without_calling_it_is_named():
    with pytest.raises(StudyError, match="uses the weight of layer spare without calling the layer"):
        shrink(Uncalled(), images(side=4))


def head(channels):
    return nn.Conv2d(channels, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)


class Tied(nn.Module):
    """The second and third convolution share a weight, so that all of the first three have the same channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(channels, 4, 1) for channels in (1, 4, 4))
        self.c.weight = self.b.weight
        self.d, self.fc = nn.Conv2d(4, 3, 1), nn.Linear(3, 2)

    def forward(self, images):
        return self.fc(self.d(F.relu(self.c(F.relu(self.b(F.relu(self.a(images))))))).mean((2, 3)))


IN_GROUPS = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3, groups=2), nn.ReLU(), *head(6)
DEPTHWISE = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), *head(8)
GROUP_NORM = nn.Conv2d(1, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), *head(8)
TRANSPOSED = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 6, 2), nn.ReLU(), *head(6)


# Before and after, each layer with its biases: of 8 and 6 channels in two groups, 4 and 2 (1 of 3 in each) are left; of
# 8 depthwise, 4; of 4 groups of a GroupNorm, 2, which are 4 channels; of 4 and 6 around a transposed convolution, 2 and
# 3; of 4 tied, 2.
@pytest.mark.parametrize(
    ("network", "unread", "before", "after"),
    [
        (
            nn.Sequential(*IN_GROUPS),
            {"2": (slice(None), [0, 1]), "4": (slice(None), [0, 1, 3, 4])},
            80 + 6 * (4 * 9 + 1) + 14 + 6,
            40 + 2 * (2 * 9 + 1) + 6 + 6,
        ),
        (nn.Sequential(*DEPTHWISE), {"4": (slice(None), [0, 2, 3, 7])}, 80 + 16 + 80 + 18 + 6, 40 + 8 + 40 + 10 + 6),
        (nn.Sequential(*GROUP_NORM), {"3": (slice(None), [0, 1, 4, 5])}, 80 + 16 + 18 + 6, 40 + 8 + 10 + 6),
        (
            nn.Sequential(*TRANSPOSED),
            {"2": [1, 2], "4": (slice(None), [0, 3, 5])},
            40 + 96 + 6 + 14 + 6,
            20 + 24 + 3 + 8 + 6,
        ),
        (
            Tied(),
            {"b": (slice(None), [0, 2]), "d": (slice(None), [0, 2])},
            8 + 16 + 4 + 4 + 15 + 8,
            4 + 4 + 2 + 2 + 9 + 8,
        ),
    ],
    ids=["in groups", "depthwise", "normalised in groups", "transposed", "tied"],
)
def test_channels_that_layers_couple_go_together(network, unread, before, after):
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        for layer, inputs in unread.items():
            network.get_submodule(layer).weight[inputs] = 0
    given = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    smaller = shrink(network, given).network
    assert (parameters(network), parameters(smaller)) == (before, after)
    assert macs(smaller, given[:1]) < macs(network, given[:1])
    assert same(network, smaller, given)
