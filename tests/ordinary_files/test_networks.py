"""Files of weights and functions of models as people have them."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models import checkpoints
from pruning_study.options.config import TrainConfig
from pruning_study.steps import given_zeros
from pruning_study.steps.settings import TrainSetting


def weights_of(tmp_path, change):
    """Return a file of the weights of a LeNet5 after a change of each layer's weight."""
    torch.manual_seed(0)
    model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            change(layer)
    checkpoints.save(tmp_path / "w.safetensors", model.state_dict())
    return tmp_path / "w.safetensors"


def prune_layer(layer):
    prune.l1_unstructured(layer, "weight", 0.8)


def prune_and_remove(layer):
    prune_layer(layer)
    prune.remove(layer, "weight")


@torch.no_grad()
def quantize_to_four_bits(layer):
    step = layer.weight.abs().amax() / 7
    layer.weight.copy_((layer.weight / step).round() * step)


def setting(tiny_npz, weights, **options):
    return TrainSetting(TrainConfig(dataset=str(tiny_npz), weights=weights, **options))


@pytest.mark.parametrize("change", [prune_and_remove, prune_layer], ids=["masks removed", "masks stored"])
def test_weights_that_are_pruned_already_are_refused_or_counted_if_asked(tmp_path, tiny_npz, change):
    """Pruned at ratio 1.5, their zeros counted as kept: the realised ratio was said to be 1.50, and nothing changed."""
    weights = weights_of(tmp_path, change)
    with pytest.raises(
        StudyError, match=r"weights are exactly 0 in .*, as of a network that is pruned already.*--count"
    ):
        setting(tiny_npz, weights).model  # noqa: B018
    weight = setting(tiny_npz, weights, count_zeros=True).model.conv1.weight
    assert (weight == 0).float().mean() == pytest.approx(0.8, abs=0.02)


def test_quantised_weights_are_no_pruned_ones(tmp_path, tiny_npz):
    model = setting(tiny_npz, weights_of(tmp_path, quantize_to_four_bits)).model
    assert min((layer.weight == 0).float().mean() for layer in model.modules() if isinstance(layer, nn.Linear)) > 0.05


def test_a_layer_that_begins_at_0_is_not_pruned():
    weight = torch.randn(8, 20)
    weight[:, ::2] = 0
    assert given_zeros.is_pruned(weight, torch.ones(8, 20))
    assert not given_zeros.is_pruned(weight, torch.zeros(8, 20))


def masked(num_classes, in_channels):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 8), nn.Linear(8, num_classes))
    prune_layer(model[1])
    return model


def normed(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 8), parametrizations.weight_norm(nn.Linear(8, num_classes)))


def spectral(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.utils.spectral_norm(nn.Linear(144, 8)), nn.Linear(8, num_classes))


@pytest.mark.parametrize(
    ("function", "layer", "line"),
    [
        ("masked", "1", r'prune.remove\(layer, "weight"\)'),
        ("normed", "2", r'parametrize.remove_parametrizations\(layer, "weight"\)'),
        ("spectral", "1", r"remove_spectral_norm\(layer\)"),
    ],
)
def test_weights_that_a_model_computes_are_refused_with_the_line_that_removes_them(function, layer, line):
    """They were left unpruned without a word."""
    with pytest.raises(StudyError, match=rf"its layer {layer} is computed .*get_submodule\('{layer}'\); torch.*{line}"):
        models.build(f"{__name__}:{function}", num_classes=3, in_channels=1, image_size=(12, 12))
