"""Log the network of a finished run as an MLflow model in ONNX format, which loads without pickle and without torch."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from mlflow.entities import LoggedModel, Run
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.models import checkpoints, onnx_export
from pruning_study.steps.context import Context
from pruning_study.tracking import logged_models
from pruning_study.tracking.store import Store

if TYPE_CHECKING:
    from onnx import ModelProto

EXAMPLES = 4  # test images that are stored with the model as its input example
COMPARED = 32  # test images for which ONNX Runtime and torch are compared
LINKED = (schema.TEST_ACCURACY, schema.TEST_LOSS, schema.ALPHA, schema.RAW_SLOPE, schema.REALIZED_RATIO)


def logged(store: Store, context: Context, run: Run, model: "ModelProto") -> LoggedModel:
    """Return the MLflow model of a run's network; log it first if necessary.

    Parameters
    ----------
    store : Store
    context : Context
        Context with the data set of the run.
    run : mlflow.entities.Run
    model : onnx.ModelProto
        As `onnx_model` returns it.

    Raises
    ------
    StudyError
        If the store rejects the model.
    """
    with store.making(run.data.tags.get(schema.CONFIG_HASH, run.info.run_id)):
        return logged_models.find(store, run) or _log(store, context, run, model)


def onnx_model(store: Store, name: str, context: Context, run: Run) -> "ModelProto":
    """Return the network of a run as an ONNX model; for a quantized run, the stored model.

    Parameters
    ----------
    store : Store
    name : str
        Value of `--model`.
    context : Context
        Context with the data set of the run.
    run : mlflow.entities.Run

    Raises
    ------
    StudyError
        If the network cannot be written as ONNX, or if ONNX Runtime gives other logits than torch.
    """
    run_id = run.info.run_id
    if run.data.tags.get(schema.KIND) == schema.QUANTIZED:
        model = stored(store, run_id)
        shape = onnx_export.logits(model, np.array(context.data.test_images[:EXAMPLES])).shape
        if shape[1:] != (len(context.data.classes),):
            raise StudyError(f"run {run_id}: {schema.ONNX_MODEL} gives an output {shape}, not a logit for each class")
        return model
    with store.artifact(run_id, schema.CHECKPOINT) as path:
        return exported(checkpoints.classifier(path, run_id, name, run.data.params), context)


def stored(store: Store, run_id: str) -> "ModelProto":
    """Return the ONNX model that a quantized or compressed run stores."""
    with store.artifact(run_id, schema.ONNX_MODEL) as path:
        return onnx_export.load(path, f"run {run_id}: {schema.ONNX_MODEL}")


def exported(network: checkpoints.Classifier, context: Context) -> "ModelProto":
    """Export a network with its normalisation as an ONNX model, and check its logits against torch."""
    images = torch.from_numpy(np.array(context.data.test_images[:COMPARED]))
    model = onnx_export.to_onnx(network, images[:EXAMPLES], {"classes": json.dumps(network.classes)})
    onnx_export.check_same(model, network, images)
    return model


def _log(store: Store, context: Context, run: Run, model: "ModelProto") -> LoggedModel:
    kind, classes = run.data.tags[schema.KIND], context.data.classes
    weakest = _weakest_class(run, classes)
    return logged_models.log(
        store,
        run,
        model,
        signature=_signature(context),
        example=np.array(context.data.test_images[:EXAMPLES]),
        metadata={"classes": list(classes), schema.KIND: kind},
        tags={schema.KIND: kind, "weakest_class": classes[weakest]},
        metrics=[*LINKED, schema.RECALL + schema.metric_names(classes)[weakest]],
        dataset=context.mlflow_dataset,
    )


def loading_line(model: LoggedModel) -> str:
    """Return a line to print that tells how to load a logged model."""
    return f'through MLflow: mlflow.pyfunc.load_model("models:/{model.model_id}")'


def _signature(context: Context) -> ModelSignature:
    """Return the model's signature: unnormalised uint8 pixels as inputs, and logits as outputs."""
    pixels = TensorSpec(np.dtype("uint8"), (-1, *context.data.image_shape))
    logits = TensorSpec(np.dtype("float32"), (-1, len(context.data.classes)), onnx_export.OUTPUT)
    return ModelSignature(Schema([pixels]), Schema([logits]))


def _weakest_class(run: Run, classes: Sequence[str]) -> int:
    """Return the index of the class with the lowest recall."""
    names = schema.metric_names(classes)
    return int(np.argmin([run.data.metrics[schema.RECALL + name] for name in names]))
