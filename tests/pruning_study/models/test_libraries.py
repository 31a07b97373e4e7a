import sys
import types

import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models import libraries
from pruning_study.training.recipe_values import recipe_of
from tests.error_lines import refused

SIZES = {"num_classes": 7, "in_channels": 3, "image_size": (64, 64)}


@pytest.mark.parametrize(
    ("name", "parameters"),
    # The numbers of torchvision's documentation, for the 1,000 classes of ImageNet
    [("resnet18", 11_689_512), ("mobilenet_v3_small", 2_542_856), ("squeezenet1_1", 1_235_496)],
)
def test_a_network_of_torchvision_has_its_published_number_of_parameters(name, parameters):
    network = models.build(f"torchvision:{name}", **{**SIZES, "num_classes": 1000})
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "densenet121", "mobilenet_v3_small"])
def test_images_of_another_number_of_channels_get_a_first_convolution_of_their_own(name):
    """All other weights are as many, and there is no weight for a channel that no image has."""
    grey = models.build(f"torchvision:{name}", **{**SIZES, "in_channels": 1})
    colour = models.build(f"torchvision:{name}", **SIZES)
    assert grey(torch.zeros(2, 1, 64, 64)).shape == (2, 7)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (grey, colour)]
    first = next(module for module in colour.modules() if isinstance(module, nn.Conv2d))
    assert counts[1] - counts[0] == first.weight.numel() * 2 // 3


def test_a_vision_transformer_is_made_for_the_size_of_the_images():
    with torch.device("meta"):
        network = libraries.network("torchvision:vit_b_16", **SIZES)
    assert network.encoder.pos_embedding.shape == (1, 1 + 4 * 4, 768)
    with pytest.raises(StudyError, match="takes square images"):
        models.factory("torchvision:vit_b_16")(num_classes=7, in_channels=3, image_size=(32, 64))


def test_a_network_with_further_classifiers_trains_with_one():
    network = models.build("torchvision:googlenet", **SIZES).train()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet19", "torchvision has no network 'resnet19' .* did you mean resnet1"),
        ("torchvision:fcn_resnet50", "torchvision has no network 'fcn_resnet50'"),
        ("torchvision:", "torchvision has no network ''"),
        ("torchvision:maxvit_t", "fails on images of shape .*; --image-size makes images larger"),
    ],
)
def test_a_name_that_a_library_cannot_make_is_one_line(name, message):
    with refused("model", message):
        models.build(name, **{**SIZES, "image_size": (20, 20)})


def test_resnet34_is_said_to_be_torchvisions_and_that_there_is_resnet20():
    with pytest.raises(
        StudyError, match=r"'resnet34' is not a model: did you mean torchvision:resnet34, or resnet20\?"
    ):
        models.check_name("resnet34")
    with pytest.raises(StudyError, match=r"'vgg16' is not a model: did you mean torchvision:vgg16\?"):
        models.check_name("vgg16")


def test_networks_of_libraries_are_built_in_and_import_paths_are_not():
    assert models.is_built_in("torchvision:resnet18")
    assert models.is_built_in("timm:resnet18")
    assert not models.is_built_in("torchvision.models:resnet18")
    assert not models.is_built_in("torchvision")
    assert models.source_digest("torchvision:resnet18") is None
    assert recipe_of("torchvision:resnet18") == "lenet5"


def test_without_timm_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(StudyError, match=r"timm:resnet18 needs the package timm: pip install 'pruning-study\[timm\]'"):
        models.build("timm:resnet18", **SIZES)


class TestTimm:
    """The functions of timm that are called, with the signatures and the behaviour that timm 1.0.31 has."""

    @pytest.fixture(autouse=True)
    def timm(self, monkeypatch):
        def create_model(name, pretrained=False, *, num_classes, in_chans, **sizes):
            assert name in ("convnet", "transformer")
            assert not pretrained
            side = sizes.pop("img_size")[0] if name == "transformer" else 8
            assert not sizes  # a convolutional network of timm fails on img_size
            return nn.Sequential(
                nn.Conv2d(in_chans, 2, side), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, num_classes)
            )

        module = types.SimpleNamespace(
            create_model=create_model,
            is_model=lambda name: name in ("convnet", "transformer"),
            list_models=lambda: ["convnet", "transformer"],
            get_pretrained_cfg=lambda name: types.SimpleNamespace(fixed_input_size=name == "transformer"),
        )
        monkeypatch.setitem(sys.modules, "timm", module)

    @pytest.mark.parametrize(("name", "side"), [("convnet", 8), ("transformer", 64)])
    def test_is_given_classes_channels_and_the_size_where_it_takes_one(self, name, side):
        network = models.build(f"timm:{name}", **{**SIZES, "in_channels": 1})
        assert network[0].weight.shape == (2, 1, side, side)
        assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 7)

    @pytest.mark.parametrize("name", ["convnot", "hf-hub:some/model", "local-dir:/tmp", ""])
    def test_a_name_that_timm_would_download_or_does_not_have_is_refused(self, name):
        with pytest.raises(StudyError, match="timm has no network"):
            models.build(f"timm:{name}", **SIZES)
