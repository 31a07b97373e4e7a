import argparse
import json
import sys

import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.options.config import TrainConfig
from pruning_study.steps.loaded import load_context
from tests.error_lines import refused


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
    with pytest.raises(StudyError, match=r"images (have shape|must be uint8)"):
        checkpoints.Classifier(lenet5, Normalization([0.3], [0.4]), tuple("abcdefghij"))(images)


def test_a_classifier_exports_for_any_number_of_images_and_still_checks_them():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    classifier = checkpoints.Classifier(network, Normalization([0.3], [0.4]), ("a", "b", "c")).eval()
    images = torch.rand(5, 1, 4, 4)
    program = torch.export.export(
        classifier, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    )
    torch.testing.assert_close(program.module()(images), network((images - 0.3) / 0.4))
    with pytest.raises(StudyError, match=r"floats in \[0, 1\]"):
        classifier(images=255 * images)


def test_equal_contents_are_equal_bytes_whatever_the_order_in_which_they_are_given(tmp_path):
    tensors = {"b": torch.ones(3), "a": torch.zeros(2, 2), "c": torch.tensor([True])}
    metadata = {name: name for name in "hgfedcba"}
    paths = [tmp_path / "one", tmp_path / "other"]
    checkpoints.save(paths[0], tensors, metadata)
    checkpoints.save(paths[1], dict(reversed(tensors.items())), dict(reversed(metadata.items())))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    loaded, found = checkpoints.load(paths[0])
    assert found == metadata
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }


def test_tied_and_channels_last_weights_are_saved(tmp_path):
    layer = nn.Conv2d(3, 3, 2).to(memory_format=torch.channels_last)
    checkpoints.save(tmp_path / "a.safetensors", {"a": layer.weight, "b": layer.weight})
    tensors, _ = checkpoints.load(tmp_path / "a.safetensors")
    assert torch.equal(tensors["a"], layer.weight)
    assert torch.equal(tensors["b"], layer.weight)


@pytest.mark.attack
@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_a_truncated_checkpoint__is_named(lenet5, tmp_path, keep):
    path = tmp_path / "cut.safetensors"
    checkpoints.save(path, lenet5.state_dict())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StudyError, match=r"cut\.safetensors: not a complete safetensors file"):
        checkpoints.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"gone\.safetensors"):
        checkpoints.load(tmp_path / "gone.safetensors")


class TestGiven:
    """The user's own weights file."""

    def test_that_is_not_there_is_a_usage_error(self, tmp_path):
        with refused("weights", r"gone\.safetensors: no such file exists"):
            checkpoints.load_given(tmp_path / "gone.safetensors")

    @pytest.mark.parametrize("new", [True, False])
    def test_of_torch_save__that_may_run_code_is_not_read_and_three_lines_convert_it(
        self, lenet5, tmp_path, monkeypatch, new
    ):
        path = tmp_path / "it's.pth"
        content = {"state_dict": lenet5.state_dict(), "options": argparse.Namespace(epochs=3)}
        torch.save(content, path, _use_new_zipfile_serialization=new)
        with pytest.raises(StudyError, match=r"it's\.pth holds more than weights, and may run code when read") as error:
            checkpoints.load_given(path)
        _, *lines, last = str(error.value).splitlines()
        assert len(lines) == 3
        assert last.endswith("if the file holds a whole model, load it in your own code and save model.state_dict()")
        monkeypatch.chdir(tmp_path)
        exec("\n".join(line.strip() for line in lines), {})
        weights, _ = checkpoints.load_given(tmp_path / "it's.safetensors")
        checkpoints.load_weights(lenet5, weights, "converted")
        assert all(torch.equal(weights[name], tensor) for name, tensor in lenet5.state_dict().items())

    @pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {1: torch.zeros(1)}])
    def test_of_torch_save__without_named_tensors_is_refused(self, tmp_path, content):
        torch.save(content, tmp_path / "w.pt")
        with refused("weights", r"w\.pt: no state dict can be read from it \(it holds no tensor with a name\)"):
            checkpoints.load_given(tmp_path / "w.pt")

    def test_of_torch_save__that_is_cut_off_is_refused(self, lenet5, tmp_path):
        torch.save(lenet5.state_dict(), tmp_path / "w.pt")
        (tmp_path / "w.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:1000])
        with refused("weights", r"w\.pt: no state dict can be read from it \(.*central directory"):
            checkpoints.load_given(tmp_path / "w.pt")

    @pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "net."])
    def test_of_a_wrapped_model_fits_the_model(self, lenet5, wrapper, caplog):
        wrapped = {wrapper + name: tensor for name, tensor in lenet5.state_dict().items()}
        assert checkpoints.without_wrapper(wrapped, lenet5, "mine").keys() == lenet5.state_dict().keys()
        assert f"mine: names start with {wrapper}" in caplog.text

    def test_of_a_wrapped_model_beside_another_tensor_fits_the_model(self, lenet5, caplog):
        """Lightning also saves a loss with weights of the classes, so that not all names began alike."""
        wrapped = {f"model.{name}": tensor for name, tensor in lenet5.state_dict().items()}
        weights = {"loss.weight": torch.ones(10), **wrapped}
        assert checkpoints.without_wrapper(weights, lenet5, "mine").keys() == lenet5.state_dict().keys()
        assert caplog.messages[0].endswith("it is removed, and the other tensors are left out")

    def test_of_a_model_that_has_such_a_module_itself_is_left_as_it_is(self, caplog):
        model = nn.Module()
        model.module = nn.Linear(2, 2)
        assert checkpoints.without_wrapper(model.state_dict(), model, "mine").keys() == model.state_dict().keys()
        assert not caplog.text

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"num_classes": 1000},
                r"mine does not fit LeNet5 .* size mismatch for fc3.weight: .*\[1000, 84\].*\[10, 84\]",
            ),
            (
                {"in_channels": 3},
                "for these classes and images: size mismatch for conv1.weight",
            ),
        ],
    )
    def test_for_other_classes_or_channels_is_one_line(self, lenet5, arguments, message):
        sizes = {"num_classes": 10, "in_channels": 1, "image_size": (28, 28), **arguments}
        weights = models.build("lenet5", **sizes).state_dict()
        with pytest.raises(StudyError, match=message):
            checkpoints.load_weights(lenet5, weights, "mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc1.bias"), r'Missing key\(s\) in state_dict: "fc1.bias"'),
        (lambda state: state.update(extra=torch.zeros(1)), r'Unexpected key\(s\) in state_dict: "extra"'),
        (lambda state: state.update({"conv1.bias": torch.zeros(7)}), "size mismatch for conv1.bias: "),
        (lambda state: state["fc2.weight"].view(-1)[5].fill_(float("nan")), "fc2.weight holds NaN"),
    ],
)
def test_weights_that_do_not_fit_are_named(lenet5, change, message):
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
            {"mean": "[0.5]", "std": "[1e-300]"},
            {"mean": f"[1{'0' * 400}]", "std": "[1]"},
            {"mean": "[" * 100_000, "std": "[1]"},
            {"mean": "[[0.5]]", "std": "[1]"},
        ],
    )
    @pytest.mark.attack
    def test_a_mean_or_deviation_that_is_no_number_for_each_channel__is_one_line(self, metadata):
        with pytest.raises(StudyError, match="mean and std as JSON lists"):
            checkpoints.normalization(metadata, "a", 1)


METADATA = {
    "model": "lenet5",
    "classes": json.dumps(list("abcdefghij")),
    "image_shape": "[1, 28, 28]",
    "mean": "[0.5]",
    "std": "[0.25]",
}


def checkpoint(folder, weights, **changes):
    """Write a checkpoint of LeNet5 with changed metadata; None leaves a key out."""
    path = folder / "checkpoint.safetensors"
    metadata = {key: value for key, value in {**METADATA, **changes}.items() if value is not None}
    checkpoints.save(path, weights, metadata)
    return path


def message_of(path, *arguments):
    """Return the message with which a checkpoint is refused."""
    with pytest.raises(StudyError) as error:
        checkpoints.classifier(path, "ID", *arguments)
    message = str(error.value)
    assert message.isprintable()
    assert message.startswith("run ID: checkpoint.safetensors")
    assert len(message) < 1000
    return message


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Plant a module in the current folder that leaves a file behind when it is imported."""
    (tmp_path / "planted.py").write_text(
        "from pathlib import Path; Path('trace').touch(); from pruning_study.models.lenet import lenet5 as net"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".", str(tmp_path))])
    yield tmp_path / "trace"
    sys.modules.pop("planted", None)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("planted:net", "planted:net"),
        ("os:system", "os:system"),
        ("subprocess:call", "subprocess:call"),
        ("planted", "package.module:factory"),
        ('planted:net"); import os; ("', "package.module:factory"),
        ("planted:net\x1b[2J\n" * 10_000, "package.module:factory"),
        ("", "package.module:factory"),
    ],
    ids=range(7),
)
def test_a_checkpoint_that_names_code_of_its_own_choice__imports_nothing_and_says_what_the_user_may_type(
    planted, tmp_path, lenet5, name, shown
):
    path_before, modules_before = list(sys.path), set(sys.modules)
    message = message_of(checkpoint(tmp_path, lenet5.state_dict(), model=name))
    assert message.endswith(f'if you trust that code, type load_model("ID", model="{shown}")')
    assert not planted.exists()
    assert (sys.path, set(sys.modules)) == (path_before, modules_before)


@pytest.mark.attack
def test_a_module_in_the_current_folder_with_the_name_of_one_of_ours__is_not_imported_in_its_place(
    planted, tmp_path, lenet5
):
    (tmp_path / "pruning_study").mkdir()
    for name in ("__init__", "models", "lenet"):
        (tmp_path / "pruning_study" / f"{name}.py").write_text("from pathlib import Path; Path('trace').touch()")
    checkpoints.classifier(checkpoint(tmp_path, lenet5.state_dict()), "ID")
    assert not planted.exists()
    assert str(tmp_path) not in sys.path


def test_a_model_that_the_user_names_counts_more_than_that_of_the_checkpoint(planted, tmp_path, lenet5):
    path = checkpoint(tmp_path, lenet5.state_dict(), model="os:system")
    loaded = checkpoints.classifier(path, "ID", "planted:net")
    assert planted.exists()
    assert torch.equal(loaded.network.fc3.weight, lenet5.fc3.weight)


@pytest.mark.attack
def test_a_model_whose_source_has_changed_since_the_run__is_loaded_with_a_warning(planted, tmp_path, lenet5, caplog):
    path = checkpoint(tmp_path, lenet5.state_dict(), model="planted:net")
    checkpoints.classifier(path, "ID", "planted:net", {"model_digest": models.source_digest("planted:net")})
    assert caplog.text == ""
    checkpoints.classifier(path, "ID", "planted:net", {"model_digest": "0" * 32})
    assert "the source of planted:net has changed since run ID" in caplog.text


@pytest.mark.attack
def test_a_checkpoint_that_names_another_model_than_that_of_its_weights__is_refused(planted, tmp_path, lenet5):
    resnet = models.build("resnet20", num_classes=10, in_channels=1, image_size=(28, 28))
    deeper = checkpoint(tmp_path, resnet.state_dict(), model="resnet32")
    assert "Missing key(s)" in message_of(deeper)
    assert "Unexpected key(s)" in message_of(checkpoint(tmp_path, resnet.state_dict()))
    assert "Unexpected key(s)" in message_of(checkpoint(tmp_path, resnet.state_dict()), "planted:net")


@pytest.mark.attack
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.full((6,), float("nan")), "conv1.bias holds NaN or infinite weights"),
        (torch.full((6,), float("-inf")), "conv1.bias holds NaN or infinite weights"),
        (torch.full((6,), 1e300, dtype=torch.float64), "conv1.bias holds NaN or infinite weights"),
    ],
    ids=str,
)
def test_weights_that_are_no_finite_numbers_of_the_models_type__are_refused(tmp_path, lenet5, tensor, message):
    with torch.no_grad():
        lenet5.conv2.weight.fill_(1e6)
    assert message in message_of(checkpoint(tmp_path, lenet5.state_dict() | {"conv1.bias": tensor}))


def test_weights_of_16_or_64_bits_are_taken(tmp_path, lenet5):
    for kind in (torch.float16, torch.float64):
        weights = {name: tensor.to(kind) for name, tensor in lenet5.state_dict().items()}
        loaded = checkpoints.classifier(checkpoint(tmp_path, weights), "ID")
        torch.testing.assert_close(loaded.network.fc1.weight, lenet5.fc1.weight, rtol=1e-2, atol=1e-3)


class RandomProjection(nn.Module):
    """A network with a random projection that its state dict lacks."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.register_buffer("projection", torch.randn(16 * in_channels, 8), persistent=False)
        self.layer = nn.Linear(8, num_classes)

    def forward(self, images):
        return self.layer(images.flatten(1) @ self.projection)


def test_random_tensors_outside_the_state_dict_are_those_of_the_runs_seed(tmp_path, tiny_npz):
    name = f"{__name__}:RandomProjection"
    context = load_context(TrainConfig(dataset=str(tiny_npz), model=name, image_size=4, seed=3))
    metadata = checkpoints.describe(name, context.data.classes, (1, 4, 4), Normalization([0.3], [0.4]))
    checkpoints.save(tmp_path / "a.safetensors", context.model.state_dict(), metadata)
    for seed, is_same in (("3", True), ("4", False)):
        loaded = checkpoints.classifier(tmp_path / "a.safetensors", "ID", name, {"seed": seed})
        assert torch.equal(loaded.network.projection, context.model.projection) is is_same
