import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models import libraries
from pruning_study.training.recipe_values import recipe_of

NAMES = ("alexnet", "vgg11", "resnet18")


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # Convolutions of 5x5 and 3x3 pixels, with biases, and three linear layers
        (
            "alexnet",
            (3 * 25 + 1) * 64 + (64 * 25 + 1) * 192 + (192 * 9 + 1) * 384 + (384 * 9 + 1) * 256 + (256 * 9 + 1) * 256
            + (1024 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 10,
        ),
        # Simonyan and Zisserman's configuration A has 9,220,480 parameters in its eight convolutions
        ("vgg11", 9_220_480 + (512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 10),
        # 11,689,512 of torchvision for 1,000 classes, with 64x3x3x3 instead of 64x3x7x7 weights in the first layer
        ("resnet18", 11_689_512 - 3 * 64 * (49 - 9) - 513 * 990),
    ],
)  # fmt: skip
def test_parameters_are_those_counted_by_hand(name, count):
    with torch.device("meta"):
        network = models.factory(name)(num_classes=10, in_channels=3, image_size=(32, 32))
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert f"{count:,} parameters" in models.factory(name).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_all_layers_but_those_at_the_ends_are_torchvisions(name):
    """The names are the same, and the shapes of all but the first convolution and the first linear layer."""
    with torch.device("meta"):
        ours, theirs = (
            models.factory(each)(num_classes=10, in_channels=1, image_size=(28, 28)).state_dict()
            for each in (name, f"torchvision:{name}")
        )
    assert list(ours) == list(theirs)
    assert [key for key in ours if ours[key].shape != theirs[key].shape] == {
        "alexnet": ["features.0.weight", "classifier.1.weight"],
        "vgg11": ["classifier.0.weight"],
        "resnet18": ["conv1.weight"],
    }[name]


@pytest.mark.parametrize(
    ("name", "layers", "sides"),
    [
        ("alexnet", "features", {28: (28, 13, 6, 2), 32: (32, 15, 7, 3)}),
        ("vgg11", "features", {28: (28, 14, 7, 4, 2, 1), 32: (32, 16, 8, 4, 2, 1)}),
        ("resnet18", "", {28: (28, 14, 7, 4), 32: (32, 16, 8, 4)}),
    ],
)
def test_sides_of_an_image_on_its_way_through_the_network(name, layers, sides):
    with torch.device("meta"):
        model = models.factory(name)(num_classes=10, in_channels=1, image_size=(28, 28)).eval()
        seen = []
        for module in model.get_submodule(layers).modules():
            if isinstance(module, nn.Conv2d | nn.MaxPool2d):
                module.register_forward_hook(lambda module, given, made: seen.append(made.shape[-1]))
        for side, wanted in sides.items():
            seen.clear()
            assert model(torch.empty(2, 1, side, side)).shape == (2, 10)
            assert tuple(dict.fromkeys(seen)) == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"), [("alexnet", (3, 32, 32)), ("vgg11", (1, 28, 28)), ("resnet18", (1, 28, 28))]
)
def test_a_step_of_training_lowers_the_loss_and_changes_every_weight(name, shape):
    torch.manual_seed(0)
    channels, *size = shape
    model = models.build(name, num_classes=10, in_channels=channels, image_size=tuple(size)).eval()
    before = {key: tensor.clone() for key, tensor in model.named_parameters()}
    images, labels = torch.randn(4, *shape), torch.arange(4)
    losses = []
    for _ in range(2):
        loss = F.cross_entropy(model(images), labels)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weights in model.parameters():
                weights.sub_(1e-3 * weights.grad)
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert all(not torch.equal(before[key], tensor) for key, tensor in model.named_parameters())


def test_alexnet_of_torchvision_takes_grey_images_of_224_pixels():
    """61,100,840 parameters are published for 3 channels and 1,000 classes."""
    network = libraries.network("torchvision:alexnet", num_classes=10, in_channels=1, image_size=(224, 224)).eval()
    assert parameters(network) == 61_100_840 - 2 * 64 * 121 - 4097 * 990
    assert network(torch.zeros(1, 1, 224, 224)).shape == (1, 10)


def test_an_image_that_is_too_small_is_one_line_that_names_the_option():
    with pytest.raises(StudyError, match=r"alexnet fails on images of shape \(1, 8, 8\).*--image-size") as error:
        models.build("alexnet", num_classes=10, in_channels=1, image_size=(8, 8))
    assert "\n" not in str(error.value)


def test_recipes():
    assert [recipe_of(name) for name in NAMES] == ["lenet5", "lenet5", "resnet-cifar"]
