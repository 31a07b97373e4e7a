"""Given weights of a network that has the classes in another order."""

import json

import pytest
import torch
from torch import nn

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


def order_of(tmp_path, names, classes):
    return given_classes.output_order(tmp_path / "w.safetensors", {}, written(tmp_path, names), classes)


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


def test_a_weights_file_may_name_the_order_and_a_text_file_overrides_it(tmp_path, tiny_npz, weights):
    """A checkpoint of this project names its classes; their order was ignored, so the accuracy was below chance."""
    plain = setting(tiny_npz, weights)
    classes, images = plain.context.data.classes, torch.rand(4, 1, 28, 28)
    checkpoints.save(weights, plain.context.model.state_dict(), {"classes": json.dumps(classes[::-1])})
    named, overridden = setting(tiny_npz, weights), setting(tiny_npz, weights, written(tmp_path, classes))
    with torch.no_grad():
        wanted, reordered, kept = (each.context.model.eval()(images) for each in (plain, named, overridden))
    torch.testing.assert_close(reordered, wanted.flip(1))
    torch.testing.assert_close(kept, wanted)
    assert named.params["weights_digest"] != overridden.params["weights_digest"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            json.dumps([*"abcdefghij"]),
            "w.safetensors has 'a', .*the data have 'T-shirt/top', .*, and give --class-names",
        ),
        ("10", "w.safetensors names the classes '10', not a list .*, and give --class-names"),
    ],
)
def test_a_weights_file_for_other_classes_is_refused(tiny_npz, weights, classes, message):
    checkpoints.save(weights, checkpoints.load(weights)[0], {"classes": classes})
    with refused("weights", message):
        setting(tiny_npz, weights)


def test_numbers_in_a_weights_file_are_no_names_of_classes(tiny_npz, weights):
    plain = setting(tiny_npz, weights).context
    checkpoints.save(weights, plain.model.state_dict(), {"classes": json.dumps(CLASSES)})
    assert list(setting(tiny_npz, weights).context.output_order) == []


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
        order_of(tmp_path, names, CLASSES)


def test_names_are_the_same_in_either_form_of_unicode(tmp_path):
    """A file system may give a folder's name decomposed, and an editor the same name composed."""
    decomposed, composed = "a\u0308rzte", "\u00e4rzte"
    for names, classes in (([composed, "b"], ["b", decomposed]), ([decomposed, "b"], ["b", composed])):
        assert order_of(tmp_path, names, classes) == [1, 0]


def test_spaces_around_a_name_do_not_matter(tmp_path):
    assert order_of(tmp_path, ["b ", "a b "], ["a b ", "b"]) == [1, 0]


def test_a_network_with_other_outputs_is_refused():
    with pytest.raises(StudyError, match="the last layer, 0, has 5 outputs for 2 classes"):
        given_classes.put_in_order(nn.Sequential(nn.Linear(3, 5)), [1, 0], (1, 1, 3))


class TwoHeads(nn.Module):
    """A network with two heads: their mean is its output, as in a distilled DeiT, or the second is auxiliary."""

    def __init__(self, share):
        super().__init__()
        self.head, self.second, self.share = nn.Linear(3, 4), nn.Linear(3, 4), share

    def forward(self, images):
        features = images.flatten(1)
        return (1 - self.share) * self.head(features) + self.share * self.second(features)


def with_norm(scale):
    norm = nn.BatchNorm1d(4)
    norm.running_var.copy_(torch.tensor(scale))
    return nn.Sequential(nn.Flatten(), nn.Linear(3, 4), norm).eval()


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (lambda: TwoHeads(0.5), "second"),
        (lambda: TwoHeads(0), "second"),
        (lambda: with_norm([1.0, 2.0, 3.0, 4.0]), "1"),
    ],
    ids=["mean of two heads", "auxiliary head", "normalised logits"],
)
def test_a_network_whose_logits_are_not_the_outputs_of_its_last_layer_is_refused(network, layer):
    """Some outputs were reordered and others were not, so the accuracy fell to that of a scrambled network."""
    torch.manual_seed(0)
    with refused("class_names", f"are not the outputs of {layer} alone, .*: define the output layer last, or"):
        given_classes.put_in_order(network(), [2, 0, 3, 1], (1, 1, 3))


def test_a_step_that_treats_all_outputs_alike_may_follow():
    torch.manual_seed(0)
    network = with_norm([2.0] * 4)
    images = torch.randn(5, 1, 1, 3)
    with torch.no_grad():
        before = network(images)
        given_classes.put_in_order(network, [2, 0, 3, 1], (1, 1, 3))
        torch.testing.assert_close(network(images), before[:, [2, 0, 3, 1]])
