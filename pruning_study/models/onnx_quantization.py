"""Quantize ONNX models: weights to float16, or weights and activations to 8-bit integers.

The formats `dynamic-int8` and `fixed-int8` turn weights and activations into uint8. ONNX Runtime multiplies int8 by
uint8 faster on some CPUs, but the sums of these products overflow on CPUs without VNNI instructions, so a model's
results would depend on the CPU.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.common.errors import StudyError, first_line
from analysis.runs import schema
from pruning_study.models.onnx_export import INPUT, quiet, session

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

# Operators with weights, as exported and as fused by ONNX Runtime.
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
FUSED = {"FusedConv", "FusedGemm", "FusedMatMul"}
# Their integer counterparts.
INTEGER = {
    *("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    *("QLinearConv", "QLinearMatMul", "QGemm"),
}
CALIBRATION_IMAGES = 100

log = logging.getLogger(__name__)


class Layers(NamedTuple):
    """Numbers of convolutions and products with weights that ONNX Runtime computes in integers, and in floats."""

    integer: int
    floating: int


def quantized(model: "ModelProto", weight_dtype: str, examples: np.ndarray) -> "ModelProto":
    """Quantize a copy of a model.

    Parameters
    ----------
    model : onnx.ModelProto
        Model as returned by `onnx_export.to_onnx`. It is not changed.
    weight_dtype : {"float16", "dynamic-int8", "fixed-int8"}
    examples : array [N, ...]
        Calibration images, used only by `fixed-int8`, which measures the range of each activation on them.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    StudyError
        If a weight is too large for float16, if ONNX Runtime cannot quantize the model, or if it would compute all
        layers of an integer model in floats.
    """
    import onnx

    copied = onnx.ModelProto.FromString(model.SerializeToString())
    if weight_dtype == schema.FLOAT16:
        return _float16(copied)
    # ONNX Runtime transposes weights, which would make the shapes stored here wrong.
    copied.graph.ClearField("value_info")
    integer = {schema.DYNAMIC_INT8: _dynamic_int8, schema.FIXED_INT8: _fixed_int8}[weight_dtype]
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            integer(copied, examples, Path(folder, "model.onnx"))
            quantized_model = onnx.load(Path(folder, "model.onnx"))
    except Exception as error:  # the quantizer's own errors have no common class
        raise StudyError(f"ONNX Runtime cannot quantize the network as {weight_dtype}: {first_line(error)}") from error
    integers, floats = layers(quantized_model)
    if not integers:
        raise StudyError(
            f"the network has no convolution or matrix product that ONNX Runtime can quantize as {weight_dtype}"
        )
    if floats:
        log.warning("%s: %s of %s layers stay in float32", weight_dtype, floats, integers + floats)
    return quantized_model


def layers(model: "ModelProto") -> Layers:
    """Count the convolutions and matrix products with weights of a model after ONNX Runtime has optimised it."""
    graph = optimized_graph(model)
    constants = {tensor.name for tensor in graph.initializer}
    weights = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}  # no scales or biases
    operators = []
    for node in graph.node:
        inputs = set(node.input)
        if weights & inputs:
            operators.append(node.op_type)
            if inputs <= constants:  # weights in another number format
                constants.update(node.output)
                weights.update(node.output)
    return Layers(sum(name in INTEGER for name in operators), sum(name in WEIGHTED | FUSED for name in operators))


def optimized_graph(model: "ModelProto") -> "GraphProto":
    """Return the graph of a model after ONNX Runtime has optimised it."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        session(model, optimized=Path(folder, "model.onnx"))
        return onnx.load(Path(folder, "model.onnx")).graph


def _float16(model: "ModelProto") -> "ModelProto":
    """Store the weights and biases of convolutions and linear layers as float16, to be cast to float32 before use."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    weights = {name for node in graph.node if node.op_type in WEIGHTED for name in node.input[1:]}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in weights or tensor.data_type != TensorProto.FLOAT:
            continue
        with np.errstate(over="ignore"):
            values = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(values).all():
            raise StudyError(f"{tensor.name} holds a weight outside -65,504 to 65,504, the range of float16")
        stored = f"{tensor.name}.float16"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values, stored))
    nodes = [*casts, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)
    return model


def _dynamic_int8(model: "ModelProto", examples: np.ndarray, output: Path) -> None:
    """Quantize weights; activations will be quantized at run time, by their range in each batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(model, output, weight_type=QuantType.QUInt8)


def _fixed_int8(model: "ModelProto", examples: np.ndarray, output: Path) -> None:
    """Quantize weights channel by channel, and activations by their range over the examples."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class CalibrationImages(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images: Iterator[np.ndarray] = iter(np.split(examples, len(examples)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            return None if image is None else {INPUT: image}

    quantize_static(
        model,
        output,
        CalibrationImages(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
        per_channel=True,
    )
