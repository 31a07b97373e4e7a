import importlib
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models.resnet import BasicBlock
from pruning_study.models.wide_resnet import WideBlock as WideBlock
from pruning_study.training.native import stack
from pruning_study.training.recipe_values import recipe_of
from tests.error_lines import refused


def parameters(name, **arguments):
    return sum(parameter.numel() for parameter in models.build(name, **arguments).parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
    ],
)
def test_parameters_of_the_cifar_resnets(name, count):
    assert parameters(name, num_classes=10, in_channels=3, image_size=(32, 32)) == count


@pytest.mark.parametrize(
    ("name", "blocks", "widths", "published"),
    [
        ("wrn16-4", 2, (64, 128, 256), 2.7e6),
        ("wrn22-8", 3, (128, 256, 512), 17.2e6),
        ("wrn28-10", 4, (160, 320, 640), 36.5e6),
    ],
)
def test_parameters_of_the_wide_resnets_are_those_counted_by_hand_and_in_the_paper(name, blocks, widths, published):
    """Zagoruyko and Komodakis (2016), Tables 4 and 5; the linear layer has weights and biases for 10 classes."""
    count, before = 3 * 16 * 9, 16
    for width in widths:
        convolutions = before * width * 9 + (2 * blocks - 1) * width * width * 9
        normalizations = 2 * before + (2 * blocks - 1) * 2 * width
        count += convolutions + normalizations + before * width  # the shortcut
        before = width
    count += 2 * before + before * 10 + 10
    with torch.device("meta"):  # drawing 56 million values takes longer than building the networks
        assert parameters(name, num_classes=10, in_channels=3, image_size=(32, 32)) == count
    assert count == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("lenet5", 60_074),
        ("lenet5-half", (9 + 1) * 3 + (27 + 1) * 8 + (200 + 1) * 60 + (60 + 1) * 42 + (42 + 1) * 10),
        ("lenet5-double", (9 + 1) * 12 + (108 + 1) * 32 + (800 + 1) * 240 + (240 + 1) * 168 + (168 + 1) * 10),
        ("lenet-300-100", (784 + 1) * 300 + (300 + 1) * 100 + (100 + 1) * 10),
    ],
)
def test_parameters_of_the_lenets_which_the_native_engine_trains(name, count):
    model = models.build(name, num_classes=10, in_channels=1, image_size=(28, 28))
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert len(stack.read(model, (1, 28, 28)).parameters) == len(list(model.parameters()))


@pytest.mark.parametrize("name", ["lenet5", "lenet5-half", "lenet-300-100", "resnet20", "wrn16-4"])
@pytest.mark.parametrize("size", [(10, 10), (17, 28), (64, 64)])
def test_any_input_size_channels_and_classes(name, size):
    model = models.build(name, num_classes=7, in_channels=2, image_size=size)
    assert model(torch.zeros(3, 2, *size)).shape == (3, 7)


@pytest.mark.parametrize("size", [(28, 28), (17, 22)])
def test_lenet5_is_convolution_relu_pool_twice_then_three_linear_layers(size):
    model = models.build("lenet5", num_classes=10, in_channels=2, image_size=size).double()
    images = torch.randn(5, 2, *size, dtype=torch.float64)
    x = F.max_pool2d(F.relu(F.conv2d(images, model.conv1.weight, model.conv1.bias)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, model.conv2.weight, model.conv2.bias)), 2).flatten(1)
    expected = model.fc3(F.relu(model.fc2(F.relu(model.fc1(x)))))
    torch.testing.assert_close(model(images), expected, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    given = torch.autograd.grad(model(images).square().sum(), list(model.parameters()))
    torch.testing.assert_close(given, wanted, rtol=1e-9, atol=1e-12)


def test_option_a_shortcut_subsamples_and_pads_with_zero_channels():
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4)
    y = BasicBlock(2, 4, stride=2).shortcut(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 0].tolist() == y[0, 3].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert y[0, 1].tolist() == [[0.0, 2.0], [8.0, 10.0]]


def test_a_wide_block_activates_before_both_branches_where_it_projects_and_else_adds_its_input():
    x = torch.full((1, 2, 2, 2), -1.0)  # eval mode: batch normalization divides by 1, and the ReLU makes it 0
    projects, adds = WideBlock(2, 4, stride=2).eval(), WideBlock(2, 2, stride=1).eval()
    assert projects.shortcut.weight.shape == (4, 2, 1, 1)
    assert torch.equal(projects(x), torch.zeros(1, 4, 1, 1))
    assert torch.equal(adds(x), x)
    projects.conv2.weight.data.zero_()
    projects.shortcut.weight.data.fill_(0.5)
    torch.testing.assert_close(projects(-3 * x), torch.full((1, 4, 1, 1), 3.0), rtol=1e-4, atol=0)


def test_unknown_name_says_what_was_meant():
    with pytest.raises(StudyError, match="did you mean lenet5"):
        models.factory("lenet")


def test_too_small_an_image_is_one_line():
    with pytest.raises(StudyError, match="at least 10x10"):
        models.build("lenet5", num_classes=10, in_channels=1, image_size=(8, 8))


class FlattensByView(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(64, 2)

    def forward(self, images):
        x = self.conv(images)
        return self.fc(x.view(x.size(0), -1))


def test_channels_last_unless_the_model_cannot_take_it():
    resnet = models.build("resnet20", num_classes=2, in_channels=3, image_size=(6, 6))
    assert models.trace(resnet, (3, 6, 6)) == (torch.channels_last, ())
    assert models.trace(FlattensByView(), (3, 6, 6)) == (torch.contiguous_format, ())


class WithDroppedHeads(nn.Module):
    """Of its five layers, `head` gives the logits; `body` is used without a gradient, and `frozen` is not trained."""

    def __init__(self):
        super().__init__()
        self.body, self.frozen, self.head = nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 2)
        self.never_called, self.dropped = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, images):
        with torch.no_grad():
            features = self.body(images.flatten(1))
        self.dropped(features)
        return self.head(self.frozen(features))


def test_the_parameters_on_which_no_logit_depends_are_unused():
    layers = ("never_called", "dropped")
    assert models.trace(WithDroppedHeads(), (3, 1, 1)).unused == tuple(
        f"{layer}.{name}" for layer in layers for name in ("weight", "bias")
    )


def test_recipe_of_a_model():
    assert recipe_of("resnet56") == "resnet-cifar"
    assert recipe_of("wrn22-8") == "wide-resnet"
    assert recipe_of("lenet5") == recipe_of("resnetty:net") == "lenet5"


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    source = """
        import functools
        import torch.nn as nn
        def net(num_classes, in_channels):
            pool = nn.AdaptiveAvgPool2d(1)
            return nn.Sequential(nn.Conv2d(in_channels, 3, 3), pool, nn.Flatten(), nn.Linear(3, num_classes))
        def wrong(num_classes, in_channels):
            return net(num_classes + 1, in_channels)
        def narrow(classes):
            return net(classes, 1)
        def broken(num_classes, in_channels):
            raise ValueError("no such thing")
        number = 3
        part = functools.partial(net, num_classes=5)
    """
    (tmp_path / "own_models.py").write_text(textwrap.dedent(source))
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own_models")
class TestOwnModel:
    sizes = {"num_classes": 5, "in_channels": 2, "image_size": (9, 9)}  # noqa: RUF012

    def test_is_made(self):
        assert models.build("own_models:net", **self.sizes)(torch.zeros(1, 2, 9, 9)).shape == (1, 5)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("own_models:nothing", "cannot be imported"),
            ("no_such_module:net", "cannot be imported .*ModuleNotFoundError"),
            ("own_models:number", "not callable"),
            ("own_models:wrong", r"logits of shape \[N, 5\]"),
            ("own_models:broken", "no such thing"),
            ("own_models:narrow", r"narrow\(classes\) .*it must be def narrow\(num_classes, in_channels\)"),
            (":net", "cannot be imported"),
            ("builtins:dict", "fails on images"),
        ],
    )
    def test_that_cannot_be_used_is_one_line(self, name, message):
        with refused("model", message):
            models.build(name, **self.sizes)

    def test_may_be_a_partial(self):
        assert models.build("own_models:part", **self.sizes)(torch.zeros(1, 2, 9, 9)).shape == (1, 5)
        assert models.source_digest("own_models:part") == models.source_digest("own_models:net")

    def test_its_source_is_part_of_its_identity(self, tmp_path):
        before = models.source_digest("own_models:net")
        with (tmp_path / "own_models.py").open("a") as file:
            file.write("# changed\n")
        assert models.source_digest("own_models:net") != before
        assert models.source_digest("lenet5") is None

    def test_the_module_that_is_named_counts_beside_that_of_the_function_inside(self, tmp_path):
        made = tmp_path / "made_models.py"
        digests = []
        for classes in (1, 2):
            made.write_text(f"import own_models, functools\nnet = functools.partial(own_models.net, {classes})\n")
            sys.modules.pop("made_models", None)
            importlib.invalidate_caches()
            digests.append(models.source_digest("made_models:net"))
        assert digests[0] != digests[1]
