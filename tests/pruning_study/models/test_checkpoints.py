import argparse
import json
import os
import random
import struct
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.options.config import TrainConfig
from pruning_study.steps.loaded import load_context
from tests.error_lines import refused
from tests.memory_limit import memory_limit


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
                "fc3.bias has shape .* it is for 1,000 classes, and the data have 10; replace the last",
            ),
            ({"in_channels": 3}, "conv1.weight has shape .* it is for images of 3 channels; save the data's images"),
            ({"image_size": (32, 32)}, r"fc1.weight has shape \(120, 576\), where the model has \(120, 400\)$"),
        ],
    )
    def test_for_other_classes_or_channels_says_what_to_do(self, lenet5, arguments, message):
        sizes = {"num_classes": 10, "in_channels": 1, "image_size": (28, 28), **arguments}
        weights = models.build("lenet5", **sizes).state_dict()
        with pytest.raises(StudyError, match=message):
            checkpoints.load_weights(lenet5, weights, "mine", 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc1.bias"), r"fc1.bias has shape none \(it is missing\)"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra has shape .* no such weight"),
        (lambda state: state.update({"conv1.bias": torch.zeros(7)}), r"conv1.bias has shape \(7,\), .* \(6,\)"),
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


@pytest.mark.attack
def test_a_safetensors_file_of_another_program__is_called_no_checkpoint(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"classes": json.dumps(["x"])})
    with pytest.raises(StudyError, match=r"not a checkpoint of this project: .* image_shape"):
        checkpoints.classifier(tmp_path / "a.safetensors", "ID")


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
    assert "has shape none (it is missing)" in message_of(deeper)
    assert "no such weight" in message_of(checkpoint(tmp_path, resnet.state_dict()))
    assert "where the model has" in message_of(checkpoint(tmp_path, resnet.state_dict()), "planted:net")


@pytest.mark.attack
@pytest.mark.parametrize("lost", ["mean", "std", "classes", "image_shape", "model"])
def test_a_checkpoint_whose_metadata_lack_a_key__is_one_line_that_names_it(tmp_path, lenet5, lost):
    message = message_of(checkpoint(tmp_path, lenet5.state_dict(), **{lost: None}))
    assert lost in message


def test_a_checkpoint_without_mean_and_std_is_no_assertion(tmp_path, lenet5):
    assert "lack mean and std" in message_of(checkpoint(tmp_path, lenet5.state_dict(), mean=None, std=None))


@pytest.mark.attack
@pytest.mark.parametrize(
    "shape",
    [
        "[1, 1000000000, 1000000000]",
        "[1000000000, 28, 28]",
        "[3, 40000, 40000]",
        "[1, 2000, 2000]",
        "[1, -28, 28]",
        "[1, 0, 28]",
        "[1, 5, 5]",
        "[1, 28]",
        "[1, 28, 28, 28]",
        "[1, 28.0, 28]",
        "[true, 28, 28]",
        "[1, null, 28]",
        "28",
        "x",
        "",
        "[" * 100_000,
        f"[1, 28, {'9' * 4000}]",
        f"[1, 28, {'9' * 5000}]",
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_a_checkpoint_with_an_absurd_image_shape__takes_no_memory_and_is_refused(tmp_path, lenet5, name, shape):
    weights = lenet5.state_dict()
    path = checkpoint(tmp_path, weights, model=name, image_shape=shape)
    with memory_limit(100), pytest.raises(StudyError) as error:
        checkpoints.classifier(path, "ID")
    assert len(str(error.value)) < 1000


@pytest.mark.attack
@pytest.mark.parametrize(
    "classes",
    ['"abcdefghij"', '{"a": 1, "b": 2}', "[1, 2]", '["a"]', "[]", "10", '["a", null]', json.dumps(list("abc")), "{"],
)
def test_classes_of_another_number_or_that_are_no_texts__are_refused(tmp_path, lenet5, classes):
    message = message_of(checkpoint(tmp_path, lenet5.state_dict(), classes=classes))
    assert "classes" in message or "(10,), where the model has (3,)" in message


@pytest.mark.attack
def test_half_a_million_claimed_classes__take_no_memory(tmp_path, lenet5):
    path = checkpoint(tmp_path, lenet5.state_dict(), classes=json.dumps(["a"] * 500_000, separators=(",", ":")))
    with memory_limit(120):
        assert "where the model has (500000,)" in message_of(path)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.full((6,), float("nan")), "conv1.bias holds NaN or infinite weights"),
        (torch.full((6,), float("-inf")), "conv1.bias holds NaN or infinite weights"),
        (torch.full((6,), 1e300, dtype=torch.float64), "conv1.bias holds NaN or infinite weights"),
        (torch.ones(6, dtype=torch.complex64), "dtype torch.complex64, not torch.float32"),
        (torch.ones(6, dtype=torch.int64), "dtype torch.int64, not torch.float32"),
        (torch.ones(6, dtype=torch.bool), "dtype torch.bool, not torch.float32"),
        (torch.ones(6).to(torch.float8_e4m3fn), "dtype torch.float8_e4m3fn, not torch.float32"),
        (torch.ones([1] * 60), "where the model has (6,)"),
        (torch.full((6,), 3e38), "NaN or infinite logits"),
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


@pytest.mark.attack
def test_a_tensor_whose_name_has_terminal_escapes_and_lines__is_shown_without_them(tmp_path, lenet5):
    weights = lenet5.state_dict() | {"a\x1b[2J\nTraceback\r\u202e" + "b" * 10_000: torch.zeros(1)}
    assert "no such weight" in message_of(checkpoint(tmp_path, weights))


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
GIANT = {"dtype": "F32", "shape": [2**34], "data_offsets": [0, 2**36]}
HEADERS = {
    "longer than the file": (b"{}", 10**6, b""),
    "of 2^60 bytes": (b"{}", 2**60, b""),
    "of 5 MB": (b"{" + b" " * 5_000_000 + b"}", None, b""),
    "overlapping offsets": (json.dumps({"a": TENSOR, "b": TENSOR}).encode(), None, bytes(4)),
    "a name twice": (
        json.dumps({"a": TENSOR})[:-1].encode() + b', "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        None,
        bytes(8),
    ),
    "no UTF-8": (b'{"\xff": 1}', None, b""),
    "metadata that are no text": (b'{"__metadata__": {"a": 1}}', None, b""),
    "no JSON": (b"hello", None, b""),
    "deep JSON": (b"[" * 100_000, None, b""),
    "an unknown type": (json.dumps({"a": TENSOR | {"dtype": "F33"}}).encode(), None, bytes(4)),
    "a type that torch lacks": (
        json.dumps({"a": TENSOR | {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}).encode(),
        None,
        bytes(3),
    ),
    "a negative shape": (json.dumps({"a": TENSOR | {"shape": [-1]}}).encode(), None, bytes(4)),
    "a product that overflows": (json.dumps({"a": TENSOR | {"shape": [2**40, 2**40]}}).encode(), None, bytes(4)),
    "bytes that no tensor has": (json.dumps({"a": TENSOR}).encode(), None, bytes(100)),
    "nothing": (b"", None, b""),
}


@pytest.mark.attack
@pytest.mark.parametrize("fault", HEADERS)
def test_a_safetensors_header_that_lies__is_one_line_and_takes_no_memory(tmp_path, fault):
    header, length, data = HEADERS[fault]
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    del header
    with memory_limit(100), pytest.raises(StudyError, match=r"not a complete safetensors file \(.+\)$") as error:
        checkpoints.load(path)
    assert str(error.value).isprintable()


@pytest.mark.attack
def test_a_sparse_file_that_claims_a_tensor_of_64_gigabytes__takes_no_memory(tmp_path, lenet5):
    header = json.dumps({"conv1.weight": GIANT}).encode()
    with (tmp_path / "giant.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**36)
    with memory_limit(100), pytest.raises(StudyError, match="not a complete safetensors file"):
        checkpoints.load(tmp_path / "giant.safetensors")


@pytest.mark.attack
def test_a_pipe_a_device_or_a_folder_as_weights__is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", "/dev/full"):
        with pytest.raises(StudyError, match="it is a folder or a device"):
            checkpoints.load(type(tmp_path)(path))


@pytest.mark.slow
@pytest.mark.attack
def test_4000_checkpoints_with_seeded_random_damage__load_or_are_refused_in_one_line(tmp_path):
    """Most damage hits the header, where every byte counts."""
    draw = random.Random(0)
    path = checkpoint(tmp_path, {"conv1.bias": torch.zeros(6), "count": torch.zeros(3, dtype=torch.int64)})
    sound = path.read_bytes()
    messages, loaded = [], 0
    with memory_limit(200):
        for _ in range(4000):
            path.unlink()  # since to write over a file is slow on some file systems
            path.write_bytes(damaged(sound, draw))
            try:
                checkpoints.load(path)
                loaded += 1
                checkpoints.classifier(path, "ID")
            except StudyError as error:
                messages.append(str(error))
    assert all(message.isprintable() and len(message) < 1000 for message in messages)
    assert loaded > 100


def damaged(sound, draw):
    """Return bytes with one to four faults: other bytes, doubled, lost or moved parts, larger and smaller numbers."""
    content = bytearray(sound)
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(content)) if draw.random() < 0.3 else draw.randrange(min(len(content), 400))
        end = min(start + draw.choice((1, 1, 1, 2, 8, 40)), len(content))
        part = bytes(content[start:end])
        content[start:end] = draw.choice(
            (
                draw.randbytes(len(part)),
                bytes(byte ^ (1 << draw.randrange(8)) for byte in part),
                part * 2,
                b"",
                bytes(draw.choice(b'0123456789-.,:[]{}"\\eE') for _ in part),
                draw.choice((b"99999999999999999999", b"-1", b"null", b"\xff\xfe", b"\\ud800", b"[" * 2000)),
            )
        )
        if not content:
            return b""
    return bytes(content)


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
