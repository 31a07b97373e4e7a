import sys

import numpy as np
import pytest
import torch
from torch import nn

from analysis.common.errors import StudyError
from pruning_study import models
from pruning_study.data.examples import Normalization
from pruning_study.models import onnx_export
from pruning_study.models.checkpoints import Classifier
from tests.error_lines import refused


class Branching(nn.Module):
    """A network whose next step depends on the values of the images."""

    def forward(self, images):
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


class Stacking(nn.Module):
    """A network whose method `stack` returns only a part of its layers."""

    def __init__(self):
        super().__init__()
        self.part, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.stack()(images).mean((2, 3)))

    def stack(self):
        return nn.Sequential(self.part, nn.ReLU())


class Looping(nn.Module):
    """A network that can only be traced for one number of images."""

    def forward(self, images):
        return torch.stack([image.flatten() for image in images])


def test_a_missing_package_is_a_usage_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with refused("output", r"onnxruntime: pip install 'pruning-study\[onnx\]'"):
        onnx_export.check_installed(option="output")


@pytest.mark.onnx
class TestToOnnx:
    def test_gives_the_logits_worked_out_by_hand_for_any_number_of_images(self):
        import onnxruntime

        linear = nn.Linear(4, 2)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0]]))
            linear.bias.copy_(torch.tensor([0.0, 10]))
        network = Classifier(nn.Sequential(nn.Flatten(), linear), Normalization([0.2], [0.4]), ("dark", "light"))
        model = onnx_export.to_onnx(network, torch.zeros(1, 1, 2, 2, dtype=torch.uint8), {"classes": "dark, light"})
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        # A black pixel is (0 - .2) / .4 = -.5 once it is normalised, and a white one 2.
        pixels = np.array([0, 0, 0, 0, 255, 255, 255, 255, 255, 0, 0, 0], dtype=np.uint8).reshape(3, 1, 2, 2)
        logits = np.array([[-2, 9.5], [8, 12], [0.5, 12]], dtype=np.float32)
        np.testing.assert_allclose(session.run(["logits"], {"images": pixels})[0], logits, rtol=1e-6)
        np.testing.assert_allclose(session.run(["logits"], {"images": pixels[:1]})[0], logits[:1], rtol=1e-6)
        assert [(part.domain, part.version) for part in model.opset_import] == [("", onnx_export.OPSET)]
        assert {part.key: part.value for part in model.metadata_props} == {"classes": "dark, light"}
        assert b".py" not in model.SerializeToString()

    @pytest.mark.parametrize("name", ["resnet20", "torchvision:squeezenet1_1"])
    def test_of_a_built_in_network_gives_torchs_logits(self, name):
        network = models.build(name, num_classes=10, in_channels=3, image_size=(32, 32)).eval()
        images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        onnx_export.check_same(onnx_export.to_onnx(network, images[:2]), network, images)

    def test_of_a_network_whose_stack_is_a_part_of_it_gives_its_logits(self):
        network, images = Stacking().eval(), torch.rand(5, 1, 6, 6)
        onnx_export.check_same(onnx_export.to_onnx(network, images[:2]), network, images)

    @pytest.mark.parametrize(("network", "reason"), [(Branching(), "data-dependent"), (Looping(), "Constraints")])
    def test_of_a_network_that_cannot_be_traced_is_one_line_of_error_and_no_other_output(self, network, reason, capfd):
        with pytest.raises(StudyError, match=f"^the network cannot be written as ONNX: .*{reason}") as error:
            onnx_export.to_onnx(network, torch.rand(2, 1, 2, 2))
        assert "\n" not in str(error.value)
        assert capfd.readouterr() == ("", "")


@pytest.mark.onnx
def test_a_model_of_other_weights_is_not_the_same():
    network, other = nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Hardtanh(-1, 0.999))
    images = torch.ones(2, 1, 2, 2)
    model = onnx_export.to_onnx(network, images)
    onnx_export.check_same(model, network, images)
    with pytest.raises(StudyError, match=r"ONNX Runtime and torch differ by 0.001; at most 0.0001"):
        onnx_export.check_same(model, other, images)


@pytest.mark.onnx
class TestLoad:
    @pytest.mark.attack
    def test_an_onnx_file_whose_weights_are_in_another_file__is_refused(self, tmp_path):
        import onnx

        model = onnx_export.to_onnx(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.ones(2, 1, 2, 2))
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        assert onnx_export.load(path, "here").SerializeToString() == model.SerializeToString()
        weight = model.graph.initializer[0]
        onnx.external_data_helper.set_external_data(weight, "/etc/passwd")
        weight.ClearField("raw_data")
        path.write_bytes(model.SerializeToString())
        with pytest.raises(StudyError, match=r"here: not a complete ONNX model .*weights in other files"):
            onnx_export.load(path, "here")


@pytest.mark.onnx
def test_lenet5_is_written_with_its_convolutions_and_gives_torchs_logits():
    network = models.build("lenet5", num_classes=10, in_channels=1, image_size=(28, 28)).eval()
    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model = onnx_export.to_onnx(network, images[:2])
    assert [node.op_type for node in model.graph.node if node.op_type in ("Conv", "Gemm")] == 2 * ["Conv"] + 3 * [
        "Gemm"
    ]
    onnx_export.check_same(model, network, images)
