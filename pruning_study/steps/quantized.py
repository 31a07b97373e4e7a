"""Find quantized runs in the tracking store, or make them from a dense or pruned run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from mlflow.entities import Run

from analysis.runs import schema
from pruning_study.models import onnx_export, onnx_quantization
from pruning_study.models.checkpoints import Classifier
from pruning_study.models.latency import latency
from pruning_study.steps import logged_model
from pruning_study.steps.compared import write_comparison
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.identity import config_hash
from pruning_study.steps.measured import known_tags, normalization_tags, write_predictions
from pruning_study.steps.plan import Plan
from pruning_study.steps.runs import FinishedRun, LoadedRun, find_or_make, finished
from pruning_study.training.evaluation import Predictions, from_logits

if TYPE_CHECKING:
    from onnx import ModelProto

ENGINE = "onnxruntime"
METRICS = (schema.MODEL_BYTES, *(f"{schema.LATENCY}{what}" for what in ("one", "batch")))


class Parent(NamedTuple):
    """The dense or pruned run whose network is quantized.

    Parameters
    ----------
    run : mlflow.entities.Run
    loaded : LoadedRun
    model : callable
        Returns the network as a float32 ONNX model. Called only if a run has to be made.
    """

    run: Run
    loaded: LoadedRun
    model: Callable[[], "ModelProto"]


@dataclass(frozen=True, kw_only=True)
class QuantizePlan(Plan):
    """Plan of a quantized run.

    Parameters
    ----------
    weight_dtype : {"float16", "dynamic-int8", "fixed-int8"}
    """

    weight_dtype: str

    @property
    def command(self) -> str:
        return f"pruning-study quantize {self.lineage[schema.PARENT_RUN_ID]} --number-format {self.weight_dtype}"


def plan_quantization(parent: Parent, weight_dtype: str, *, force: bool) -> QuantizePlan:
    """Plan the run that stores a parent's network in a number format."""
    params = {**parent.run.data.params, schema.NUMBER_FORMAT: weight_dtype}
    return QuantizePlan(
        kind=schema.QUANTIZED,
        name=f"{weight_dtype} {(parent.run.info.run_name or '').removeprefix('dense ')}",
        params=params,
        hash=config_hash(schema.QUANTIZED, params, parent.loaded.config_hash),
        force=force,
        # Several runs may have the parent's settings, and their networks may differ in the last digits.
        lineage={schema.PARENT_RUN_ID: parent.loaded.run_id},
        weight_dtype=weight_dtype,
    )


def quantize(plan: QuantizePlan, context: JobContext, parent: Parent) -> FinishedRun:
    """Find or make the run that stores a parent's network in a number format.

    Parameters
    ----------
    plan : QuantizePlan
        Plan that `plan_quantization` made for this parent.
    context : JobContext
    parent : Parent

    Raises
    ------
    StudyError
        If the network cannot be written as ONNX or cannot be quantized, or if the store rejects the run.
    """
    return find_or_make(
        plan, context, lambda run: finished(run, plan, context), lambda: _quantize(plan, context, parent)
    )


def export(context: Context, parent: LoadedRun) -> "ModelProto":
    """Return the network of a run as a float32 ONNX model, before quantization."""
    return logged_model.exported(Classifier(parent.model, parent.normalization, context.data.classes), context)


def measured(context: Context, model: "ModelProto") -> dict[str, float]:
    """Return metrics of a model's size, and of its latency on one thread for an image and for a batch."""
    session, images = onnx_export.session(model, threads=1), context.data.test_images
    metrics: dict[str, float] = {schema.MODEL_BYTES: model.ByteSize()}
    for batch_name, count in (("one", 1), ("batch", onnx_export.BATCH_SIZE)):
        inputs = {onnx_export.INPUT: np.ascontiguousarray(images[:count])}
        median, low, high = latency(partial(session.run, [onnx_export.OUTPUT], inputs))
        metrics |= {
            f"{schema.LATENCY}{batch_name}{end}": value
            for end, value in zip(("", "_low", "_high"), (median, low, high), strict=True)
        }
    return metrics


def calibrating(train_indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the indices of the 100 training images on which `fixed-int8` calibrates its ranges.

    These are the first training images of the data set, as in Hooker et al. (2019). The first images may cover too few
    classes, for example in a folder of images sorted by class. If they cover less than half of the classes, or fewer
    than 50 of more than 100 classes, 100 evenly spaced images are used instead.

    Parameters
    ----------
    train_indices : int64 [N]
        In any order.
    labels : int64 [images]
        Labels of the data set's training images, to which the indices refer.

    Examples
    --------
    >>> calibrating(np.arange(1000), np.repeat([0, 1, 2], 334))[:3].tolist()
    [0, 10, 20]
    """
    ordered, count = np.sort(train_indices), onnx_quantization.CALIBRATION_IMAGES
    first: np.ndarray = ordered[:count]
    n_present, n_classes = len(np.unique(labels[first])), len(np.unique(labels[train_indices]))
    if n_present >= min(n_classes, len(first)) / 2:
        return first
    return np.asarray(ordered[np.arange(count) * len(ordered) // count])


def examples(context: Context, weight_dtype: str) -> np.ndarray:
    """Return the training images for calibration; none for a format that needs no calibration."""
    if weight_dtype != schema.FIXED_INT8:
        return context.data.train_images[:0]
    return context.data.train_images[calibrating(context.train_indices, context.data.train_labels)]


def _quantize(plan: QuantizePlan, context: JobContext, parent: Parent) -> FinishedRun:
    start = time.perf_counter()
    parent_run, dense, weight_dtype = parent.loaded, parent.loaded.dense, plan.weight_dtype
    model = onnx_quantization.quantized(parent.model(), weight_dtype, examples(context, weight_dtype))
    note = f"The network of run {parent_run.run_id} with weights of {weight_dtype}"
    tags = {
        schema.KIND: schema.QUANTIZED,
        schema.ENGINE: ENGINE,
        schema.DEVICE: "cpu",
        schema.DENSE_RUN_ID: dense.run_id,
        schema.PARENT_RUN_ID: parent_run.run_id,
    }
    with context.store.run(
        plan.name,
        note=note,
        tags=tags | known_tags(plan, context) | normalization_tags(parent_run.normalization),
        params=dict(plan.params),
        dataset=context.mlflow_dataset,
        job_run_id=context.job_run_id,
        child=True,
    ) as run:
        data, held_out = context.data, context.validation_indices
        test = _predict(model, data.test_images, data.test_labels)
        validation = _predict(model, data.train_images[held_out], data.train_labels[held_out])
        (run.folder / schema.ONNX_MODEL).write_bytes(model.SerializeToString())
        metrics = write_predictions(run, plan.name, data.classes, test, validation)
        of_control = [dense.predictions] if parent_run.run_id == dense.run_id else []
        metrics |= write_comparison(run, context, dense, test[0], validation[0], plan.name, note, of_control)
        metrics[schema.REALIZED_RATIO] = parent_run.metrics.get(schema.REALIZED_RATIO, 1.0)
        metrics |= measured(context, model)
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    return FinishedRun(run.run_id, plan.hash, is_reused=False, metrics=metrics)


def _predict(model: "ModelProto", images: np.ndarray, labels: np.ndarray) -> tuple[Predictions, float]:
    return from_logits(torch.from_numpy(onnx_export.logits(model, images)), torch.from_numpy(np.array(labels)))
