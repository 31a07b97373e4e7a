import numpy as np
import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.data.examples import Normalization
from pruning_study.models import onnx_export
from pruning_study.models.checkpoints import Classifier
from pruning_study.models.onnx_quantization import Layers, layers, optimized_graph, quantized

pytestmark = pytest.mark.onnx


def exported(network, image_shape):
    return onnx_export.to_onnx(network, torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0)))


def linear(weight):
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return exported(nn.Sequential(nn.Flatten(), layer), (1, 1, len(weight[0])))


def stored(model, kind):
    """Return the arrays of a type of numbers that a model stores, single numbers left out."""
    from onnx import numpy_helper

    arrays = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    return [array for array in arrays if array.dtype == kind and array.size > 1]


@pytest.fixture(scope="module")
def lenet5():
    """LeNet5 with its normalisation, as an ONNX model, and 100 images of noise."""
    torch.manual_seed(0)
    network = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28)).eval()
    images = np.random.default_rng(0).integers(0, 256, (100, 1, 28, 28), dtype=np.uint8)
    classifier = Classifier(network, Normalization([0.3], [0.4]), tuple("abcdefghij"))
    return onnx_export.to_onnx(classifier, torch.from_numpy(images[:4])), images


def test_float16_stores_the_weights_as_numpy_casts_them_and_computes_with_these():
    weight = np.array([[1 / 3, 1e-5, -2.0], [1.0009, 0, 65504]], dtype=np.float32)
    model = quantized(linear(weight.tolist()), "float16", np.empty(0))
    (found,) = stored(model, np.float16)
    assert (found == weight.astype(np.float16)).all()
    identity = np.eye(3, dtype=np.float32).reshape(3, 1, 1, 3)
    assert (onnx_export.logits(model, identity) == weight.astype(np.float16).astype(np.float32).T).all()


def test_dynamic_int8_spreads_256_steps_from_the_smallest_weight_to_the_largest():
    from onnx import numpy_helper

    # From -1 to 1.55 a step is .01, and 0 is step 100.
    model = quantized(linear([[-1.0, 0.0, 0.013], [1.55, 0.5, -0.25]]), "dynamic-int8", np.empty(0))
    (found,) = stored(model, np.uint8)
    assert found.T.tolist() == [[0, 100, 101], [255, 150, 75]]
    numbers = [numpy_helper.to_array(tensor).item() for tensor in model.graph.initializer if not tensor.dims]
    assert 100 in numbers
    assert any(number == pytest.approx(0.01) for number in numbers)


def test_dynamic_int8_is_off_by_half_a_step_at_most():
    weight = np.random.default_rng(1).normal(size=(8, 16)).astype(np.float32)
    (found,) = stored(quantized(linear(weight.tolist()), "dynamic-int8", np.empty(0)), np.uint8)
    step = (weight.max() - weight.min()) / 255
    zero = round(-weight.min() / step)
    assert np.abs((found.T.astype(float) - zero) * step - weight).max() <= step / 2 * 1.001


def test_fixed_int8_clips_at_the_range_of_the_examples_and_dynamic_int8_does_not():
    model = linear([[1.0, 0.0], [0.0, 1.0]])
    examples = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32).reshape(2, 1, 1, 2)
    image = np.array([[3.0, 0.5]], dtype=np.float32).reshape(1, 1, 1, 2)
    fixed, dynamic = (quantized(model, name, examples) for name in ("fixed-int8", "dynamic-int8"))
    assert onnx_export.logits(fixed, image)[0] == pytest.approx([1.0, 0.5], abs=0.01)
    assert onnx_export.logits(dynamic, image)[0] == pytest.approx([3.0, 0.5], abs=0.02)


def test_lenet5_has_all_five_layers_as_integers(lenet5):
    model, images = lenet5
    assert layers(model) == Layers(0, 5)
    assert layers(quantized(model, "float16", images)) == Layers(0, 5)
    dynamic, fixed = (quantized(model, name, images) for name in ("dynamic-int8", "fixed-int8"))
    assert layers(dynamic) == layers(fixed) == Layers(5, 0)
    operators = [node.op_type for node in optimized_graph(dynamic).node]
    assert (operators.count("ConvInteger"), operators.count("DynamicQuantizeMatMul")) == (2, 3)
    operators = [node.op_type for node in optimized_graph(fixed).node]
    assert (operators.count("QLinearConv"), operators.count("QGemm")) == (2, 3)


def test_files_of_lenet5_are_as_large_as_their_weights(lenet5):
    model, images = lenet5
    whole = model.ByteSize()
    assert whole == pytest.approx(4 * 60_074, rel=0.03)
    shares = [quantized(model, name, images).ByteSize() / whole for name in ("float16", "dynamic-int8", "fixed-int8")]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.06)


@pytest.mark.parametrize("number_format", ["float16", "dynamic-int8", "fixed-int8"])
def test_two_makings_give_the_same_logits_near_those_of_float32(lenet5, number_format):
    model, images = lenet5
    before = model.SerializeToString()
    first, second = (onnx_export.logits(quantized(model, number_format, images), images) for _ in range(2))
    assert model.SerializeToString() == before
    assert (first == second).all()
    wanted = onnx_export.logits(model, images)
    assert np.abs(first - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("number_format", ["dynamic-int8", "fixed-int8"])
def test_a_layer_that_stays_in_float32_is_a_warning(number_format, caplog):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 3))
    images = np.random.default_rng(0).random((4, 1, 6, 6), dtype=np.float32)
    made = quantized(exported(network, (1, 6, 6)), number_format, images)
    assert layers(made) == Layers(2, 1)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line == f"{number_format}: 1 of 3 layers stay in float32"


def test_a_weight_that_float16_does_not_have_is_one_line():
    with pytest.raises(StudyError, match="holds a weight outside -65,504 to 65,504"):
        quantized(linear([[1.0, 70_000.0]]), "float16", np.empty(0))


def test_a_network_without_layers_to_quantize_is_one_line():
    model = exported(nn.Sequential(nn.Flatten(), nn.ReLU()), (1, 2, 2))
    with pytest.raises(
        StudyError, match="no convolution or matrix product that ONNX Runtime can quantize as dynamic-int8"
    ):
        quantized(model, "dynamic-int8", np.empty(0))


def test_a_model_that_the_quantizer_does_not_take_is_one_line():
    with pytest.raises(StudyError, match="ONNX Runtime cannot quantize the network as fixed-int8: ") as error:
        quantized(linear([[1.0, 2.0]]), "fixed-int8", np.zeros((2, 1, 1, 3), dtype=np.float32))
    assert "\n" not in str(error.value)


class Attention(nn.Module):
    """Attention of four tokens: two layers with weights, and two products of activations."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, images):
        tokens = self.first(images.flatten(1, 2))
        return self.last((tokens @ tokens.transpose(1, 2)).softmax(2) @ tokens).mean(1)


@pytest.mark.parametrize("number_format", ["dynamic-int8", "fixed-int8"])
def test_products_of_two_activations_are_no_layers(number_format, caplog):
    """Attention had two of four layers in float32, although all weights were integers."""
    model = exported(Attention(), (1, 4, 4))
    images = np.random.default_rng(0).random((4, 1, 4, 4), dtype=np.float32)
    assert layers(model) == Layers(0, 2)
    assert layers(quantized(model, number_format, images)) == Layers(2, 0)
    assert "stay in float32" not in caplog.text
