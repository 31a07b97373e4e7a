"""Filters that can be removed, in small networks whose channels a reader can follow."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models.plain_layers import with_plain_layers
from pruning_study.pruning import budget, filters
from pruning_study.training.loop import apply_masks

IMAGE = torch.zeros(1, 1, 6, 6)


def plain():
    """Two convolutions of 4 and 3 filters, of which a linear layer reads 2x2 pixels of each of the 3."""
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2)).eval()


class Residual(nn.Module):
    """A block whose sum three convolutions share; only the channels inside it are its own."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.outer = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, images):
        x = self.stem(images)
        return self.fc((x + self.outer(F.relu(self.inner(x)))).mean((2, 3)))


class Tokens(nn.Module):
    """A transformer's two linear layers for each of four patches; all channels of the convolution are summed."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(1, 6, 3, stride=3), nn.LayerNorm(6)
        self.fc1, self.fc2, self.head = nn.Linear(6, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = tokens + self.fc2(F.gelu(self.fc1(self.norm(tokens))))
        return self.head(tokens.mean(1))


class Shared(nn.Module):
    """Three convolutions that read each other, the second and third of which may share a weight, and a last one."""

    def __init__(self, *, one_weight=False, one_layer=False):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(channels, 3, 1) for channels in (1, 3, 3))
        self.d, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)
        if one_weight:
            self.c.weight = self.b.weight
        if one_layer:
            self.c = self.b

    def forward(self, images):
        return self.fc(self.d(F.relu(self.c(F.relu(self.b(F.relu(self.a(images))))))).mean((2, 3)))


class Gated(nn.Module):
    """What the second convolution makes is multiplied by whether the first makes more than 0, so that it is no NaN."""

    def __init__(self, *, gated=True):
        super().__init__()
        self.a, self.b, self.c, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 5, 1), nn.Linear(5, 2)
        self.gated = gated

    def forward(self, images):
        y = self.a(images)
        gate = (y > 0).float() if self.gated else 1.0
        return self.fc(self.c(self.b(F.relu(y)) * gate).mean((2, 3)))


def found(network, image=IMAGE):
    names = budget.prunable(network)
    return filters.removable(network, image, names, calls=with_plain_layers(network, image.shape[1:]))


class TestRemovable:
    def test_filters_of_a_plain_network_and_what_goes_with_them(self):
        of_plain = found(plain())
        assert of_plain.numbers == {"0.weight": 4, "3.weight": 3}
        ties = {name: [(tie.layer, tie.axis) for tie in ties] for name, ties in of_plain.ties.items()}
        assert ties == {
            "0.weight": [("0.weight", 0)],
            "0.bias": [("0.weight", 0)],
            "1.weight": [("0.weight", 0)],
            "1.bias": [("0.weight", 0)],
            "3.weight": [("0.weight", 1), ("3.weight", 0)],
            "3.bias": [("3.weight", 0)],
            "6.weight": [("3.weight", 1)],
        }
        assert of_plain.ties["6.weight"][0].filters.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert of_plain.readers == {"0.weight": "3.weight", "3.weight": "6.weight"}

    def test_a_shortcut_keeps_its_width(self):
        assert found(Residual().eval()).numbers == {"inner.weight": 6}

    def test_of_a_resnet_the_channels_inside_the_blocks(self):
        resnet = models.build("resnet20", num_classes=10, in_channels=1, image_size=(8, 8)).eval()
        numbers = found(resnet, torch.zeros(1, 1, 8, 8)).numbers
        assert list(numbers) == [f"layer{stage}.{block}.conv1.weight" for stage in (1, 2, 3) for block in range(3)]
        assert list(numbers.values()) == [16] * 3 + [32] * 3 + [64] * 3

    def test_layers_that_a_network_computes_with_otherwise(self):
        lenet = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28)).eval()
        assert found(lenet, torch.zeros(1, 1, 28, 28)).numbers == {"conv1.weight": 6, "conv2.weight": 16}

    def test_a_filter_that_the_output_layer_reads_stays(self):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(12, 2))
        assert list(found(network.eval()).numbers) == ["0.weight"]

    def test_neither_a_transposed_convolution_nor_what_it_reads(self):
        """Its weights are inputs x outputs: a mask of as many filters would lie along the wrong axis."""
        convolutions = nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 4)
        assert list(found(nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(2, 2)).eval()).numbers) == ["2.weight"]

    def test_hidden_units_between_linear_layers_where_no_convolution_is_left(self):
        network = Tokens().eval()
        units = found(network)
        assert units.numbers == {"fc1.weight": 5}
        assert sorted(units.ties) == ["fc1.bias", "fc1.weight", "fc2.weight"]
        # A unit has 6 weights and a bias, and 6 weights read it: two of five are 26 parameters.
        assert filters.removed(units, {"fc1.weight": 3}) == 26
        kept = torch.tensor([True, False, True, True, False])
        masks = filters.masks(units, {"fc1.weight": kept})
        assert masks["fc2.weight"].all(0).tolist() == kept.tolist()
        with filters.feature_maps(network, units) as maps:
            network(torch.randn(3, 1, 6, 6))
        assert maps["fc1.weight"].shape == (3, 5, 4)  # what four tokens have of each unit

    def test_layers_that_share_a_weight_or_are_called_twice_stay(self):
        assert list(found(Shared().eval()).numbers) == ["a.weight", "b.weight", "c.weight"]
        for shared in (Shared(one_weight=True), Shared(one_layer=True)):
            with pytest.raises(StudyError, match="no convolution whose channels can be removed"):
                found(shared.eval())

    def test_a_gate_that_nan_does_not_show(self):
        assert list(found(Gated(gated=False).eval()).numbers) == ["a.weight", "b.weight"]
        assert list(found(Gated().eval()).numbers) == ["b.weight"]

    @pytest.mark.attack
    @pytest.mark.parametrize(
        "layers",
        [
            [nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 2)],
            [nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 2)],
            [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(16, 2)],
            [nn.Conv2d(1, 4, 3), nn.GroupNorm(1, 4), nn.Conv2d(4, 2, 4), nn.Flatten()],
        ],
        ids=["no convolution", "read by the output layer", "groups", "normalised together"],
    )
    def test_a_network_without_channels_to_remove__is_an_error_of_one_line(self, layers):
        network = nn.Sequential(*layers).eval()
        with pytest.raises(
            StudyError, match=r"no convolution whose channels can be removed, .*: choose .* as mp"
        ) as error:
            found(network)
        assert "\n" not in str(error.value)

    def test_the_network_stays_as_it_was(self):
        network = plain()
        before = copy.deepcopy(network.state_dict())
        found(network)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        assert network(torch.randn(2, 1, 6, 6)).isfinite().all()


class TestMasks:
    def test_what_goes_with_the_second_of_three_filters(self):
        of_plain = found(plain())
        kept = {"0.weight": torch.tensor([True] * 4), "3.weight": torch.tensor([True, False, True])}
        masks = filters.masks(of_plain, kept)
        assert masks["3.weight"].flatten(1).all(1).tolist() == [True, False, True]
        assert masks["3.bias"].tolist() == [True, False, True]
        assert masks["6.weight"][0].int().tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
        assert all(masks[name].all() for name in ("0.weight", "0.bias", "1.weight", "1.bias"))

    def test_removed_counts_what_masks_remove(self):
        """One filter of each: 9 + 1 + 2 and 3 x 9 readers; 36 + 1 less the 9 that both remove, and 4 x 5 readers."""
        of_plain = found(plain())
        numbers = {"0.weight": 3, "3.weight": 2}
        assert filters.removed(of_plain, numbers) == (9 + 1 + 2 + 27) + (36 + 1 - 9 + 20)
        kept = {name: torch.arange(of_plain.numbers[name]) < number for name, number in numbers.items()}
        assert sum(int((~mask).sum()) for mask in filters.masks(of_plain, kept).values()) == 87

    def test_removed_channels_give_the_outputs_of_zeroed_ones(self):
        """Half of the filters of a ResNet-20 are left out of smaller layers by indexing, and zeroed in the whole."""
        network = models.build("resnet20", num_classes=4, in_channels=1, image_size=(8, 8)).eval()
        images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        for parameter in network.parameters():  # a BatchNorm whose shift is not 0 as at first
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1), std=0.3)
        smaller = copy.deepcopy(network)
        of_resnet = found(network, images[:1])
        kept = {name: torch.arange(number) % 2 == 0 for name, number in of_resnet.numbers.items()}
        apply_masks(network, filters.masks(of_resnet, kept))
        for name, stays in kept.items():
            block = smaller.get_submodule(name.removesuffix(".conv1.weight"))
            block.conv1.weight = nn.Parameter(block.conv1.weight[stays])
            block.conv2.weight = nn.Parameter(block.conv2.weight[:, stays])
            for part in ("weight", "bias", "running_mean", "running_var"):
                whole = getattr(block.bn1, part)[stays]
                setattr(block.bn1, part, nn.Parameter(whole) if part in ("weight", "bias") else whole)
        torch.testing.assert_close(network(images), smaller(images))
        size = sum(parameter.numel() for parameter in smaller.parameters())
        half = {name: number // 2 for name, number in of_resnet.numbers.items()}
        assert size == sum(parameter.numel() for parameter in network.parameters()) - filters.removed(of_resnet, half)


def test_feature_maps_are_what_the_next_layer_reads():
    network = plain()
    images = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    with filters.feature_maps(network, found(network)) as maps:
        network(images)
    first = network[:3](images)
    assert torch.equal(maps["0.weight"], first.flatten(2))  # (2, 4, 16)
    assert torch.equal(maps["3.weight"], network[3:5](first).flatten(2))  # (2, 3, 4), read as 12 numbers


class TestShares:
    layers = ("layer1.0.conv1.weight", "layer2.0.conv1.weight", "layer3.0.conv1.weight")

    def test_of_resnet56_as_printed(self):
        """.5, .4 and .3 of the stages at 3.33, in proportion beyond, and the same share at 1.75."""
        for ratio in (3.33, 8.27, 19.11):
            assert list(filters.shares("resnet56", self.layers, ratio).values()) == [1.0, 0.4 / 0.5, 0.3 / 0.5]
        assert set(filters.shares("resnet56", self.layers, 1.75).values()) == {1.0}

    def test_of_others_the_same_in_all(self):
        assert set(filters.shares("resnet20", self.layers, 8.27).values()) == {1.0}
