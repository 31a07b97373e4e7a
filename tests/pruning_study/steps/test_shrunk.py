"""`--shrink` of `prune`, `iterate` and `export`."""

import sys

import numpy as np
import pytest
import torch

import pruning_study
from pruning_study.models import onnx_export
from pruning_study.options.config import ExportConfig
from tests.error_lines import refused
from tests.stored_runs import runs

# Of 6, 400 and 120 channels 3, 220 and 66 are kept at sparsity 0.45. What stands between the two convolutions goes, and
# so does what stands between the linear layers. Pixels between a convolution and a linear layer stay.
PARAMETERS = (3 * 9 + 3) + (16 * 27 + 16) + (66 * 400 + 66) + (84 * 66 + 84) + 850
MACS = 26**2 * 27 + 11**2 * 16 * 27 + 66 * 400 + 84 * 66 + 840


UNCALLED = """
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.first, self.last = nn.Conv2d(in_channels, 4, 3), nn.Linear(4, num_classes)

    def forward(self, x):
        return F.linear(self.first(x).mean((2, 3)), self.last.weight)
"""

COUPLED = """
from torch import nn

def net(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, stride=2), nn.GroupNorm(4, 8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1, groups=2), nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 2), nn.ReLU(),
        nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes),
    )
"""


@pytest.fixture
def command(run_command, tiny_npz, store_uri):
    def run(name, *arguments, code=0):
        result = run_command(name, *arguments, "--dataset", tiny_npz)
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture
def prune(command):
    options = (
        "--pruner",
        "l1-structured",
        "--sparsity",
        0.45,
        "--epochs",
        1,
        "--fine-tune-epochs",
        1,
        "--control",
        "none",
    )
    return lambda *arguments: command("prune", *options, *arguments)


@pytest.mark.parametrize("name", ["prune", "iterate"])
def test_without_the_extra_is_one_line_before_anything_is_made(command, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    output = command(name, "--shrink", "true", code=2)
    assert "--shrink: it needs torch-pruning: pip install 'pruning-study[structured]'" in " ".join(output.split())
    assert not runs(status=None)


def test_the_smaller_network_needs_a_file():
    with refused("shrink", "the smaller network is written to a file: name it"):
        ExportConfig(shrink="true")


@pytest.mark.structured
def test_size_and_time_are_shown_and_logged_with_the_run_and_its_job(prune):
    lines = prune("--shrink", "true").splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("shrunk"))
    before, after = (line.split() for line in lines[head + 2 : head + 4])
    assert before[:3] == ["before", "60,074", "199,968"]
    assert after[2:4] == [f"{PARAMETERS:,}", f"{MACS:,}"] == ["33,422", "103,308"]
    assert after[-3:] == ["57", "of", "237"]
    (pruned,) = runs("pruned")
    for run in (pruned, runs("job")[0]):
        metrics = run.data.metrics
        assert (metrics["unshrunk/parameters"], metrics["shrunk/parameters"]) == (60_074, PARAMETERS)
        assert (metrics["unshrunk/macs"], metrics["shrunk/macs"]) == (199_968, MACS)
        assert (metrics["unshrunk/zeroed_channels"], metrics["shrunk/zeroed_channels"]) == (237, 180)
        for which in ("unshrunk/latency_ms", "shrunk/latency_ms"):
            assert 0 < metrics[f"{which}_low"] <= metrics[which] <= metrics[f"{which}_high"]


@pytest.mark.structured
@pytest.mark.parametrize("typed", [("prune", "--ratio", 1.5), ("iterate",)])
def test_a_network_that_cannot_be_followed_is_one_line_before_anything_is_made(command, typed, tmp_path, monkeypatch):
    (tmp_path / "uncalled_net.py").write_text(UNCALLED)
    monkeypatch.syspath_prepend(tmp_path)
    output = command(*typed, "--model", "uncalled_net:Net", "--epochs", 1, "--shrink", "true", code=2)
    assert "--shrink: the network cannot be made smaller" in " ".join(output.split())
    assert not runs(status=None)


@pytest.mark.structured
def test_channels_in_groups_and_of_transposed_convolutions_go(command, tmp_path, monkeypatch):
    """At sparsity 0.45 the layers in two groups and the transposed one keep 4 of 8 inputs, and the last 2 of 4."""
    (tmp_path / "coupled_net.py").write_text(COUPLED)
    monkeypatch.syspath_prepend(tmp_path)
    typed = ("prune", "--model", "coupled_net:net", "--epochs", 1, "--fine-tune-epochs", 1, "--control", "none")
    command(*typed, "--pruner", "l1-structured", "--sparsity", 0.45, "--shrink", "true")
    metrics = runs("pruned")[0].data.metrics
    assert metrics["unshrunk/zeroed_channels"] == 4 + 4 + 2
    assert metrics["shrunk/zeroed_channels"] < 4 + 4 + 2


@pytest.mark.structured
def test_a_run_that_exists_is_measured_too(prune):
    prune()
    assert "shrunk/parameters" not in runs("pruned")[0].data.metrics
    assert "33,422" in prune("--shrink", "true")
    (pruned,) = runs("pruned")
    assert (pruned.info.status, pruned.data.metrics["shrunk/parameters"]) == ("FINISHED", PARAMETERS)


@pytest.mark.structured
def test_iterations_are_shown_below_each_other(command):
    """Of 6 channels 5 are left and then 4, of 120 channels 96 and 77."""
    output = command("iterate", *("--pruner", "l2-structured", "--iterations", 3, "--epochs", 1, "--shrink", "true"))
    rows = [line.split() for line in output.splitlines() if line.startswith("iteration ") and " of " in line]
    assert [row[:3] for row in rows] == [["iteration", "1", "48,280"], ["iteration", "2", "38,911"]]
    assert [row[-3] for row in rows] == ["25", "45"]


@pytest.mark.structured
@pytest.mark.onnx
def test_the_smaller_network_is_exported_and_gives_the_same_logits(prune, command, tiny, tmp_path):
    prune()
    run_id = runs("pruned")[0].info.run_id
    output = command("export", run_id, "--shrink", "true", "--output", tmp_path / "small.onnx")
    assert "zeroed channels: 237, of which 180 could not be removed" in output
    model = onnx_export.load(tmp_path / "small.onnx", "small.onnx")
    assert sum(np.prod(tensor.dims) for tensor in model.graph.initializer) == pytest.approx(PARAMETERS, abs=20)
    images = np.ascontiguousarray(tiny["test_images"].transpose(0, 3, 1, 2))
    with torch.no_grad():
        wanted = pruning_study.load_model(run_id)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(onnx_export.logits(model, images), wanted, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.structured
@pytest.mark.onnx
def test_a_quantized_network_is_not_made_smaller(prune, command, tmp_path):
    prune()
    command("quantize", runs("pruned")[0].info.run_id, "--number-format", "float16")
    run_id = runs("quantized")[0].info.run_id
    output = command("export", run_id, "--shrink", "true", "--output", tmp_path / "small.onnx", code=1)
    assert "is not a finished dense or pruned run (kind quantized" in output
