"""Given weights of a network that has the classes in another order."""

import pytest
import torch

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models import checkpoints
from pruning_study.options.config import TrainConfig
from pruning_study.steps import given_classes
from tests.error_lines import refused
from tests.plans import planned

CLASSES = [str(label) for label in range(10)]


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))
    checkpoints.save(tmp_path / "w.safetensors", model.state_dict())
    return tmp_path / "w.safetensors"


def written(tmp_path, names):
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    return tmp_path / "names.txt"


def setting(tiny_npz, weights, class_names=None):
    return planned(TrainConfig(dataset=str(tiny_npz), weights=weights, class_names=class_names))


def test_outputs_are_put_into_the_order_of_the_data(tmp_path, tiny_npz, weights):
    plain = setting(tiny_npz, weights)
    classes = list(plain.context.data.classes)
    order = [classes[3], classes[0], *(name for name in classes if name not in (classes[3], classes[0]))]
    ordered = setting(tiny_npz, weights, written(tmp_path, order))
    images = torch.rand(4, 1, 28, 28)
    with torch.no_grad():
        before, after = (each.context.model.eval()(images) for each in (plain, ordered))
    for place, name in enumerate(order):
        torch.testing.assert_close(after[:, classes.index(name)], before[:, place])


def test_the_order_tells_networks_apart_only_where_it_is_another_one(tmp_path, tiny_npz, weights):
    plain = setting(tiny_npz, weights)
    classes = plain.context.data.classes
    assert setting(tiny_npz, weights, written(tmp_path, classes)).params == plain.params
    assert setting(tiny_npz, weights, written(tmp_path, classes[::-1])).params != plain.params


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", *CLASSES[1:]], "names.txt has 'cat', which the data lack, and the data have '0', which the file"),
        (CLASSES[1:], r"the data have '0', which .*names.txt lacks"),
        (["1", *CLASSES[1:]], "names '1' twice"),
    ],
)
def test_names_that_are_not_those_of_the_data_are_refused(tmp_path, names, message):
    with refused("class_names", message):
        given_classes.places(written(tmp_path, names), CLASSES)


def test_a_network_with_other_outputs_is_refused():
    with pytest.raises(StudyError, match="the last layer, 0, has 5 outputs for 2 classes"):
        given_classes.put_in_order(torch.nn.Sequential(torch.nn.Linear(3, 5)), [1, 0])
