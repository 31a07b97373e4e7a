"""Files of weights and functions of models as people have them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import pruning_study
from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.models import checkpoints
from pruning_study.options.config import TrainConfig
from pruning_study.steps import given_zeros
from tests.plans import planned
from tests.stored_runs import runs


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
    return planned(TrainConfig(dataset=str(tiny_npz), weights=weights, **options))


@pytest.mark.parametrize("change", [prune_and_remove, prune_layer], ids=["masks removed", "masks stored"])
def test_weights_that_are_pruned_already_are_refused_or_counted_if_asked(tmp_path, tiny_npz, change):
    """Pruned at ratio 1.5, their zeros counted as kept: the realised ratio was said to be 1.50, and nothing changed."""
    weights = weights_of(tmp_path, change)
    with pytest.raises(
        StudyError, match=r"weights are exactly 0 in .*, as in a network that is pruned already.*--count"
    ):
        setting(tiny_npz, weights).context.model  # noqa: B018
    weight = setting(tiny_npz, weights, count_zeros=True).context.model.conv1.weight
    assert (weight == 0).float().mean() == pytest.approx(0.8, abs=0.02)


def test_quantized_weights_are_no_pruned_ones(tmp_path, tiny_npz):
    model = setting(tiny_npz, weights_of(tmp_path, quantize_to_four_bits)).context.model
    assert min((layer.weight == 0).float().mean() for layer in model.modules() if isinstance(layer, nn.Linear)) > 0.05


def test_a_layer_that_begins_at_0_is_not_pruned():
    weight = torch.randn(8, 20)
    weight[:, ::2] = 0
    assert given_zeros.is_pruned(weight, torch.ones(8, 20))
    assert not given_zeros.is_pruned(weight, torch.zeros(8, 20))


DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(64, 1568), (16, 6, 5, 5), (512, 4608)])
@pytest.mark.parametrize("is_random", [False, True], ids=["smallest", "random"])
def test_pruned_weights_of_16_bits_look_pruned_too(dtype, shape, is_random):
    """Formats of 16 bits have few numbers, so these were taken for quantized, and the ratio counted their zeros."""
    random = torch.Generator().manual_seed(0)
    weight = torch.rand(shape, generator=random) * 2 - 1
    scores = torch.rand(shape, generator=random) if is_random else weight.abs()
    stored = torch.where(scores > 0.8, weight, 0).to(dtype)
    assert given_zeros.is_pruned(stored.float(), torch.ones(shape))
    assert given_zeros.is_pruned(stored, torch.ones(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("channels", [1, 64], ids=["one scale", "a scale for each channel"])
def test_quantized_weights_of_16_bits_are_no_pruned_ones(dtype, bits, channels):
    """The weights have a long tail, so that many of them are rounded to 0."""
    weight = torch.randn(64, 1568, generator=torch.Generator().manual_seed(0)) ** 5
    step = weight.view(channels, -1).abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    stored = ((weight.view(channels, -1) / step).round() * step).view(64, 1568).to(dtype)
    assert (stored == 0).float().mean() > 0.05
    assert not given_zeros.is_pruned(stored.float(), torch.ones(64, 1568))


def masked(num_classes, in_channels):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 8), nn.Linear(8, num_classes))
    prune_layer(model[1])
    return model


def normed(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 8), parametrizations.weight_norm(nn.Linear(8, num_classes)))


def spectral(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.utils.spectral_norm(nn.Linear(144, 8)), nn.Linear(8, num_classes))


@pytest.mark.parametrize(("function", "layer"), [("masked", "1"), ("normed", "2"), ("spectral", "1")])
def test_weights_that_a_model_computes_are_refused(function, layer):
    """They were left unpruned without a word."""
    with pytest.raises(StudyError, match=rf"its layer {layer} is computed from others, and cannot be pruned: remove"):
        models.build(f"{__name__}:{function}", num_classes=3, in_channels=1, image_size=(12, 12))


def lenet5():
    torch.manual_seed(0)
    return models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28))


@pytest.mark.parametrize(
    ("ending", "wrap"),
    [
        (".ckpt", lambda state: {"state_dict": {f"model.{name}": each for name, each in state.items()}, "epoch": 3}),
        (".pth", lambda state: {"model": state, "optimizer": {"state": {}}, "epoch": 3}),
        (".pt", lambda state: {"ema": {"module": state, "decay": 0.9}, "epoch": 3}),
        (".tar", lambda state: {"epoch": 3, "net": {f"module.{name}": each for name, each in state.items()}}),
        (".pt", lambda state: {"weights": state, "epoch": 3}),
    ],
    ids=["Lightning", "model", "ema", "net", "weights"],
)
def test_a_checkpoint_of_a_training_script_is_unwrapped(tmp_path, tiny_npz, ending, wrap):
    model = lenet5()
    path = tmp_path / f"last{ending}"
    torch.save(wrap(model.state_dict()), path)
    weights = setting(tiny_npz, path).context.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "start", ["module.", "_orig_mod.module.", "module._orig_mod.", "model._orig_mod.module.model."]
)
def test_what_wrappers_put_before_names_is_left_out_in_any_nesting(start, caplog):
    model = lenet5()
    weights = {start + name: each for name, each in model.state_dict().items()}
    assert checkpoints.without_wrapper(weights, model, "mine").keys() == model.state_dict().keys()
    assert f"names start with {start}, " in caplog.text


class QuantizedTensor(torch.Tensor):
    """As the tensors that torchao and quanto put in the place of weights."""


def quantized(num_classes, in_channels):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, num_classes))
    model[1].weight = nn.Parameter(model[1].weight.detach().as_subclass(QuantizedTensor))
    return model


def softmax(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(144, num_classes), nn.Softmax(1))


class HuggingFace(nn.Linear):
    def forward(self, images):
        return SimpleNamespace(logits=super().forward(images.flatten(1)), loss=None)


def hugging_face(num_classes, in_channels):
    return HuggingFace(144, num_classes)


def hooked(num_classes, in_channels):
    model = hugging_face(num_classes, in_channels)
    model.register_forward_hook(lambda module, inputs, output: output.logits)
    return model


def built(function):
    return models.build(f"{__name__}:{function}", num_classes=3, in_channels=1, image_size=(12, 12))


def test_weights_that_are_no_plain_tensors_are_refused():
    """Pruning them ended in a traceback."""
    with pytest.raises(StudyError, match=r"its weight 1\.weight is a QuantizedTensor, .*return the model before it"):
        built("quantized")


class WithExtraState(nn.Linear):
    def get_extra_state(self):
        return {"version": 1}

    def set_extra_state(self, state):
        pass


def extra_state(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), WithExtraState(144, num_classes))


def test_a_state_that_is_no_tensor_is_refused():
    """Training ended in a traceback."""
    with pytest.raises(
        StudyError, match=r"1\._extra_state of its state dict is a dict, .*: let get_extra_state return"
    ):
        built("extra_state")


class InBfloat16(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(144 * in_channels, 8), nn.Linear(8, num_classes)).bfloat16()

    def forward(self, images):
        return self.layers(images.bfloat16()).float()


def test_a_network_in_bfloat16_is_trained_and_pruned(run_command, tiny_npz, store_uri):
    """Training ended in a traceback."""
    options = ("--model", f"{__name__}:InBfloat16", "--image-size", 12, "--epochs", 1, "--fine-tune-epochs", 1)
    result = run_command("prune", "--dataset", tiny_npz, *options, "--ratio", 2, "--control", "none")
    assert result.exit_code == 0, result.output
    weights = pruning_study.load_model(runs("pruned")[0].info.run_id, model=f"{__name__}:InBfloat16").network
    assert int((weights.layers[1].weight == 0).sum()) == 625  # half of the 1,250 parameters


def test_a_softmax_inside_a_model_is_said(caplog):
    """Training reached 31 % in place of 100 %."""
    built("softmax")
    assert "returns numbers that sum to 1 for each image, as after a softmax" in caplog.text


def test_the_output_of_hugging_face_is_refused_with_the_lines_that_unwrap_it(caplog):
    with pytest.raises(StudyError) as error:
        built("hugging_face")
    assert "output.logits)" in error.value.args[1]
    assert built("hooked")(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    assert not caplog.text


@pytest.mark.parametrize(
    ("start", "kind"), [(b"\x89PNG\r\n\x1a\n", "a PNG picture"), (b"version https://git-lfs", "a pointer of Git LFS")]
)
def test_weights_of_another_kind_are_named_by_their_first_bytes(tmp_path, start, kind):
    """The header was said to claim 727,905,341,920,923,785 bytes."""
    (tmp_path / "a.safetensors").write_bytes(start + bytes(100))
    with pytest.raises(StudyError, match=rf"not a complete safetensors file \(it begins as {kind}"):
        checkpoints.load_given(tmp_path / "a.safetensors")


@pytest.mark.parametrize("length", [640, 0x10280])
def test_a_header_whose_length_begins_as_a_pickle_does_is_read(tmp_path, length):
    """Weights whose header has 640 bytes were refused as a file of torch.save."""
    path = tmp_path / "a.safetensors"
    checkpoints.save(path, {"a": torch.zeros(1)}, {"x": ""})
    checkpoints.save(path, {"a": torch.zeros(1)}, {"x": "x" * (length - path.read_bytes()[0])})
    assert path.read_bytes()[:8] == length.to_bytes(8, "little")
    assert checkpoints.load_given(path)[0]["a"].tolist() == [0]
