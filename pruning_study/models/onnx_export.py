"""Export a network as an ONNX model, and compare the two."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.common import imports
from analysis.common.errors import StudyError, first_line
from pruning_study.models.checkpoints import Classifier
from pruning_study.models.plain_layers import with_plain_layers

if TYPE_CHECKING:
    from onnx import ModelProto

# The extra `onnx`
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# Version of ONNX's operator set. ONNX Runtime 1.17 and newer support it.
OPSET = 20
INPUT = "images"
OUTPUT = "logits"
# Largest difference between logits that counts as rounding, relative to the largest absolute logit if that is above 1.
TOLERANCE = 1e-4
# Number of images that ONNX Runtime processes at a time
BATCH_SIZE = 128


def check_installed(*, option: str | None = None) -> None:
    """Check that the packages of the extra `onnx` are installed, without importing them.

    Raises
    ------
    StudyError
        If a package is missing. The message explains how to install it.
    """
    imports.check_installed("onnx", {name: name for name in PACKAGES}, option=option)


def to_onnx(module: nn.Module, example: Tensor, properties: Mapping[str, str] = MappingProxyType({})) -> "ModelProto":
    """Convert a network to an ONNX model, which accepts batches of any size.

    Parameters
    ----------
    module : nn.Module
        Network to convert, which is not changed.
    example : Tensor [N, ...]
        Images to trace the network with. The ONNX model accepts images of the same dtype and size.
    properties : mapping of str
        Strings to keep in the model, such as the names of the classes.

    Returns
    -------
    onnx.ModelProto
        Model with the input `images` and the output `logits`, and without paths of this machine.

    Raises
    ------
    StudyError
        If torch cannot trace the network, or if ONNX has no operator for a part of it.
    """
    import onnx

    # torch would treat a batch size of 1 as a constant.
    images = torch.cat([example, example])[: max(2, len(example))].cpu()
    shapes = {INPUT: {0: torch.export.Dim("batch")}}
    try:
        with quiet():
            traced = torch.export.export(
                _with_plain_layers(_for_export(module), images.shape[1:]),
                (images,),
                dynamic_shapes=tuple(shapes.values()),
                strict=False,
            )
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
    except Exception as error:  # raised by the network, or by torch if tracing fails
        raise StudyError(f"the network cannot be written as ONNX: {first_line(error)}") from error
    _remove_origins(model)
    onnx.helper.set_model_props(model, dict(properties))
    return model


def load(path: Path, where: str) -> "ModelProto":
    """Read an ONNX model, whose weights must all be in the file.

    Parameters
    ----------
    path : Path
    where : str
        Name of the file in error messages.

    Raises
    ------
    StudyError
        If the file is damaged, or if its model refers to other files, which an untrusted model could abuse.
    """
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors have no common class
        raise StudyError(f"{where}: not a complete ONNX model ({first_line(error)})") from error
    if any(tensor.external_data for tensor in model.graph.initializer) or not model.graph.node:
        raise StudyError(f"{where}: not a complete ONNX model (it has no operators, or weights in other files)")
    return model


def opset(model: "ModelProto") -> int:
    """Return the version of ONNX's operator set that a model uses, or 0 if it names none."""
    return next((part.version for part in model.opset_import if part.domain in ("", "ai.onnx")), 0)


def logits(model: "ModelProto", images: np.ndarray) -> np.ndarray:
    """Compute the logits [N, classes] with ONNX Runtime, a batch at a time.

    Parameters
    ----------
    model : onnx.ModelProto
    images : array [N, ...]

    Raises
    ------
    StudyError
        If ONNX Runtime cannot run the model.
    """
    try:
        running = session(model)
        parts = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
        return np.concatenate([running.run([OUTPUT], {INPUT: np.ascontiguousarray(part)})[0] for part in parts])
    except Exception as error:  # ONNX Runtime's own errors have no common class
        raise StudyError(f"ONNX Runtime cannot run the network: {first_line(error)}") from error


def check_same(model: "ModelProto", module: nn.Module, images: Tensor) -> None:
    """Check that an ONNX model gives the same logits as the network it was exported from.

    Parameters
    ----------
    model : onnx.ModelProto
        As `to_onnx` returns it.
    module : nn.Module
    images : Tensor [N, ...]

    Raises
    ------
    StudyError
        If ONNX Runtime cannot run the model, or if a logit differs by more than rounding (`TOLERANCE`).
    """
    with torch.no_grad():
        wanted = _for_export(module)(images.cpu()).numpy()
    outputs = logits(model, images.cpu().numpy())
    difference, allowed = np.abs(outputs - wanted).max(), TOLERANCE * max(1.0, np.abs(wanted).max())
    if not difference <= allowed:
        raise StudyError(
            f"the logits of ONNX Runtime and torch differ by {difference:.2g}; at most {allowed:.2g} is allowed"
        )


def _for_export(module: nn.Module) -> nn.Module:
    """Return a copy of a module on the CPU, in eval mode."""
    return copy.deepcopy(module).cpu().eval()


def _with_plain_layers(module: nn.Module, image_shape: Sequence[int]) -> nn.Module:
    """Replace a network, or the network in a `Classifier`, by its plain layers if it has any."""
    if isinstance(module, Classifier):
        module.network = with_plain_layers(module.network, image_shape)
        return module
    return with_plain_layers(module, image_shape)


def session(model: "ModelProto", *, threads: int | None = None, optimized: Path | None = None) -> Any:
    """Return an ONNX Runtime session that runs a model on the CPU.

    Parameters
    ----------
    model : onnx.ModelProto
    threads : int, optional
        Number of threads; by default as many as torch uses.
    optimized : Path, optional
        File to write the model to after ONNX Runtime has optimised it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warnings
    if optimized:
        options.optimized_model_filepath = str(optimized)
    options.intra_op_num_threads = threads or torch.get_num_threads()
    # Waiting threads must not keep a core from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the output, warnings and logs of torch and ONNX Runtime, which can be hundreds of lines."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _remove_origins(model: "ModelProto") -> None:
    """Remove torch's notes on which source lines define each part: the notes contain paths of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
