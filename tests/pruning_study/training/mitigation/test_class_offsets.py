import copy

import numpy as np
import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.data.examples import Examples
from pruning_study.training.engines import TORCH
from pruning_study.training.mitigation import class_offsets
from tests.error_lines import refused

CLASSES = ("cat", "dog", "shoe")
SHAPE = (1, 4, 4)
ENOUGH = np.array([40, 40, 40])


def network(*layers, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), *(layers or (nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)))).eval()


def examples():
    torch.manual_seed(0)
    return Examples(torch.randn(300, *SHAPE), torch.arange(300) % 3)


def test_folded_offsets_give_the_predictions_of_added_ones():
    dense, pruned, validation = network(), network(seed=1), examples()
    before = TORCH.logits(pruned, validation.images)
    table = class_offsets.fold(pruned, dense, validation, TORCH, CLASSES, shrinkage=1.0)
    after = TORCH.logits(pruned, validation.images)
    added = before + torch.tensor(table["offset"].to_numpy(), dtype=torch.float32)
    assert table["offset"].abs().min() > 0
    assert torch.allclose(after, added, atol=1e-6)
    assert torch.equal(after.argmax(1), added.argmax(1))
    assert table["class"].tolist() == list(CLASSES)


def test_a_network_equal_to_its_dense_one_stays_as_it_is():
    dense, same, validation = network(), network(), examples()
    table = class_offsets.fold(same, dense, validation, TORCH, CLASSES, shrinkage=1.0)
    assert table["offset"].tolist() == [0, 0, 0]
    assert all(map(torch.equal, same.parameters(), dense.parameters()))


def test_held_out_logits_are_those_of_the_other_folds():
    dense, pruned, validation = network(), network(seed=1), examples()
    plain = TORCH.logits(pruned, validation.images)
    adjusted = class_offsets.held_out_logits(pruned, dense, validation, TORCH, 1.0)
    added = (adjusted - plain).numpy().round(4)
    assert len(np.unique(added, axis=0)) == 5


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_models_of_this_project_take_offsets(name):
    model = models.build(name, num_classes=3, in_channels=1, image_size=(28, 28))
    class_offsets.check(model, (1, 28, 28), ENOUGH, CLASSES)


def test_a_pooled_convolution_takes_offsets():
    layers = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    class_offsets.check(nn.Sequential(*layers).eval(), SHAPE, ENOUGH, CLASSES)


# As SqueezeNet ends.
POOLED = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([nn.Linear(16, 8), nn.Linear(8, 3, bias=False)], "output layer of Sequential, 2, has no bias"),
        ([nn.Linear(16, 3), nn.ReLU()], "the bias of 1, .* is not simply added to the logits"),
        ([nn.Linear(16, 3), nn.BatchNorm1d(3)], "the bias of 1, .* is not simply added to the logits"),
        ([nn.Unflatten(1, SHAPE), POOLED, nn.Flatten()], "the bias of 2.0, .* is not simply added to the logits"),
        ([nn.Linear(16, 3), nn.Linear(3, 2), nn.ConstantPad1d((0, 1), 0)], "2 outputs for 3 classes"),
    ],
)
def test_a_network_without_a_place_for_offsets_is_one_line(layers, said):
    with refused("class_offsets", said):
        class_offsets.check(network(*layers), SHAPE, ENOUGH, CLASSES)


def test_offsets_that_a_trained_layer_would_change_leave_the_network_as_it_is():
    torch.manual_seed(0)
    dense = network(nn.Linear(16, 3), nn.BatchNorm1d(3, affine=False))
    dense[2].running_var.fill_(4)
    pruned = copy.deepcopy(dense)
    with torch.no_grad():
        pruned[1].bias += torch.tensor([1.0, 0, 0])
    state = copy.deepcopy(pruned.state_dict())
    with pytest.raises(StudyError, match=r"the bias of 1, .* is not simply added to the logits"):
        class_offsets.fold(pruned, dense, examples(), TORCH, CLASSES, shrinkage=1.0)
    assert all(torch.equal(value, state[name]) for name, value in pruned.state_dict().items())


def test_a_class_with_too_few_validation_images_is_one_line():
    with pytest.raises(StudyError, match=r"class 'dog' has 39 images, .* give at least 40"):
        class_offsets.check(network(), SHAPE, np.array([40, 39, 40]), CLASSES)
