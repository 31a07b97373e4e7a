"""Write a network as an ONNX model, and compare the two."""

import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.runs.errors import StudyError, first_line

if TYPE_CHECKING:
    from onnx import ModelProto

# The extra `onnx`
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# Version of ONNX's operators. ONNX Runtime knows it from 1.17 on.
OPSET = 20
INPUT = "images"
OUTPUT = "logits"
# Largest difference between two logits that are equal but for rounding; of logits above 1, as a share of the largest.
TOLERANCE = 1e-4


def check_installed(*, option: str | None = None) -> None:
    """Check that the packages of the extra `onnx` are there, without importing them.

    Raises
    ------
    StudyError
        If one is missing. The error says how to install it.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise StudyError(
            f"it needs {', '.join(missing)}: pip install 'pruning-study[onnx]', or pip install -e '.[onnx]' in a "
            "copy of the project",
            option=option,
        )


def to_onnx(module: nn.Module, example: Tensor, properties: Mapping[str, str] = MappingProxyType({})) -> "ModelProto":
    """Return a network as an ONNX model that takes any number of images at once.

    Parameters
    ----------
    module : nn.Module
        It is not changed.
    example : Tensor [N, ...]
        Images as the network takes them. The model takes the same type of numbers and the same size.
    properties : mapping of str
        Texts to keep in the model, such as the names of the classes.

    Returns
    -------
    onnx.ModelProto
        With the input `images` and the output `logits`, and without the names of this machine's files.

    Raises
    ------
    StudyError
        If torch cannot trace the network, or if ONNX has no operator for a part of it.
    """
    import onnx

    # torch takes a number of 1 for a constant.
    images = torch.cat([example, example])[: max(2, len(example))].cpu()
    shapes = {INPUT: {0: torch.export.Dim("batch")}}
    try:
        with _quiet():
            traced = torch.export.export(_for_export(module), (images,), dynamic_shapes=tuple(shapes.values()))
            program = torch.onnx.export(
                traced,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=shapes,
            )
            model = program.model_proto  # type: ignore[union-attr]
    except Exception as error:  # whatever a network raises, or torch where it cannot follow it
        raise StudyError(f"the network cannot be written as ONNX: {first_line(error)}") from error
    _remove_origins(model)
    onnx.helper.set_model_props(model, dict(properties))
    return model


def check_same(model: "ModelProto", module: nn.Module, images: Tensor) -> None:
    """Check that an ONNX model gives the logits of the network that it was made from.

    Parameters
    ----------
    model : onnx.ModelProto
        As `to_onnx` returns it.
    module : nn.Module
    images : Tensor [N, ...]

    Raises
    ------
    StudyError
        If ONNX Runtime cannot run the model, or if a logit differs by more than `TOLERANCE`.
    """
    with torch.no_grad():
        wanted = _for_export(module)(images.cpu()).numpy()
    try:
        given = _session(model).run([OUTPUT], {INPUT: images.cpu().numpy()})[0]
    except Exception as error:  # ONNX Runtime's own errors have no common class
        raise StudyError(f"ONNX Runtime cannot run the network: {first_line(error)}") from error
    difference, allowed = np.abs(given - wanted).max(), TOLERANCE * max(1.0, np.abs(wanted).max())
    if not difference <= allowed:
        raise StudyError(f"the logits of ONNX Runtime differ from torch's by {difference:.2g}, above {allowed:.2g}")


def _for_export(module: nn.Module) -> nn.Module:
    """Return a copy of a module on the CPU, in eval mode."""
    return copy.deepcopy(module).cpu().eval()


def _session(model: "ModelProto") -> Any:
    """Return an inference session that uses as many threads as torch does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait do not keep a core from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch prints, warns of and logs while it traces a network, which can be hundreds of lines."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _remove_origins(model: "ModelProto") -> None:
    """Remove torch's notes of the source lines that each part comes from: they hold paths of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
