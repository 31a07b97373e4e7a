import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from analysis.runs.errors import StudyError
from pruning_study import models
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints


@pytest.fixture
def lenet5():
    return models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))


def test_a_checkpoint_is_a_model_that_predicts_on_bytes(lenet5, tmp_path):
    path, classes, normalization = tmp_path / "a.safetensors", tuple("abcdefghij"), Normalization([0.3], [0.4])
    checkpoints.save(path, lenet5.state_dict(), checkpoints.describe("lenet5", classes, (1, 28, 28), normalization))
    model = checkpoints.classifier(path, "ID")
    images = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(model(images), lenet5((images / 255 - 0.3) / 0.4), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(images), model(images / 255), rtol=1e-4, atol=1e-5)
    assert model.classes == classes
    assert not model.training


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 3, 28, 28),
        torch.zeros(1, 28, 28),
        torch.full((1, 1, 28, 28), 255.0),
        torch.full((1, 1, 28, 28), -0.1),
        torch.full((1, 1, 28, 28), float("nan")),
        torch.zeros(1, 1, 28, 28, dtype=torch.int64),
    ],
)
def test_images_of_another_shape_type_or_range_are_refused(lenet5, images):
    with pytest.raises(StudyError, match=r"images (have shape|should be uint8)"):
        checkpoints.Classifier(lenet5, Normalization([0.3], [0.4]), tuple("abcdefghij"))(images)


def test_tied_and_channels_last_weights_are_saved(tmp_path):
    layer = nn.Conv2d(3, 3, 2).to(memory_format=torch.channels_last)
    checkpoints.save(tmp_path / "a.safetensors", {"a": layer.weight, "b": layer.weight})
    tensors, _ = checkpoints.load(tmp_path / "a.safetensors")
    assert torch.equal(tensors["a"], layer.weight)
    assert torch.equal(tensors["b"], layer.weight)


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_a_truncated_file_is_named(lenet5, tmp_path, keep):
    path = tmp_path / "cut.safetensors"
    checkpoints.save(path, lenet5.state_dict())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StudyError, match=r"cut\.safetensors: not a complete safetensors file"):
        checkpoints.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"gone\.safetensors"):
        checkpoints.load(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc1.bias"), "fc1.bias has shape none: it is missing"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra has shape .* no such weight"),
        (lambda state: state.update({"conv1.bias": torch.zeros(7)}), r"conv1.bias has shape \(7,\), .* \(6,\)"),
        (lambda state: state["fc2.weight"].view(-1)[5].fill_(float("nan")), "fc2.weight holds NaN"),
    ],
)
def test_weights_that_do_not_fit(lenet5, change, message):
    state = {name: tensor.clone() for name, tensor in lenet5.state_dict().items()}
    change(state)
    with pytest.raises(StudyError, match=message):
        checkpoints.load_weights(lenet5, state, "my.safetensors")


class TestNormalization:
    def test_is_read_from_the_metadata(self):
        assert checkpoints.normalization({"mean": "[0.5]", "std": "[0.25]"}, "a", 1) == Normalization([0.5], [0.25])

    def test_is_none_where_there_is_none(self):
        assert checkpoints.normalization({"format": "pt"}, "a", 1) is None

    @pytest.mark.parametrize(
        "metadata",
        [
            {"mean": "[0.5]"},
            {"mean": "[0.5, 0.5]", "std": "[1]"},
            {"mean": "[0.5]", "std": "[0]"},
            {"mean": "x", "std": "y"},
            {"mean": "[NaN]", "std": "[1]"},
            {"mean": "0.5", "std": "1"},
        ],
    )
    def test_that_is_none_is_one_line(self, metadata):
        with pytest.raises(StudyError, match="mean and std as JSON lists"):
            checkpoints.normalization(metadata, "a", 1)


def test_a_foreign_file_is_no_checkpoint(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"classes": json.dumps(["x"])})
    with pytest.raises(StudyError, match=r"no checkpoint of this project: .* image_shape"):
        checkpoints.classifier(tmp_path / "a.safetensors", "ID")
