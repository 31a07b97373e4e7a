"""Runs that store a network ready to deploy, as ONNX: quantized ones, and those of `compress`, with fewer channels."""

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from mlflow.entities import Run

from analysis.runs import schema
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import Normalization
from pruning_study.models import onnx_export, onnx_quantization
from pruning_study.models.checkpoints import Classifier
from pruning_study.models.latency import Compared, interleaved, latency
from pruning_study.models.plain_layers import with_plain_layers
from pruning_study.options.config import PruneConfig
from pruning_study.pruning.shrink import macs
from pruning_study.steps import logged_model, runs, shrunk
from pruning_study.steps.compared import write_comparison
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.identity import config_hash
from pruning_study.steps.measured import known_tags, normalization_tags, write_predictions
from pruning_study.steps.plan import Plan, plan_training
from pruning_study.steps.runs import DenseRun, FinishedRun, LoadedRun, find_or_make, finished
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions, from_logits
from pruning_study.training.mitigation import class_offsets

if TYPE_CHECKING:
    from onnx import ModelProto

QUANTIZED_METRICS = (schema.MODEL_BYTES, f"{schema.LATENCY}one", f"{schema.LATENCY}batch")
COMPRESSED_METRICS = (schema.MODEL_BYTES, schema.MACS)


class Quantizable(NamedTuple):
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


class Parent(NamedTuple):
    """The run whose network is compressed: a pruned run, or the dense run if `pruned` is None."""

    dense: LoadedRun
    pruned: FinishedRun | None

    @property
    def run(self) -> FinishedRun:
        return self.pruned or self.dense


@dataclass(frozen=True, kw_only=True)
class DeployPlan(Plan):
    """Plan of a quantized or a compressed run.

    Parameters
    ----------
    number_format : {"float32", "float16", "dynamic-int8", "fixed-int8"}
    """

    number_format: str

    @property
    def command(self) -> str:
        return f"pruning-study quantize {self.lineage[schema.PARENT_RUN_ID]} --number-format {self.number_format}"


def plan_quantization(parent: Quantizable, number_format: str, *, force: bool) -> DeployPlan:
    """Plan the run that stores a parent's network in a number format."""
    params = {**parent.run.data.params, schema.NUMBER_FORMAT: number_format}
    return DeployPlan(
        kind=schema.QUANTIZED,
        name=f"{number_format} {(parent.run.info.run_name or '').removeprefix('dense ')}",
        params=params,
        hash=config_hash(schema.QUANTIZED, params, parent.loaded.config_hash),
        force=force,
        # Several runs may have the parent's settings, and their networks may differ in the last digits.
        lineage={schema.PARENT_RUN_ID: parent.loaded.run_id},
        number_format=number_format,
    )


def plan_compression(parent: Parent, *, number_format: str, name: str) -> DeployPlan:
    """Plan the run that stores a network ready to deploy; `name` describes how the network was made."""
    params = {schema.NUMBER_FORMAT: number_format}
    return DeployPlan(
        kind=schema.COMPRESSED,
        name=name,
        params=params,
        hash=config_hash(schema.COMPRESSED, params, parent_hash=parent.run.config_hash),
        lineage={schema.PARENT_RUN_ID: parent.run.run_id},
        number_format=number_format,
    )


def quantize(plan: DeployPlan, context: JobContext, parent: Quantizable) -> FinishedRun:
    """Find or make the run that stores a parent's network in a number format.

    Raises
    ------
    StudyError
        If the network cannot be written as ONNX or cannot be quantized, or if the store rejects the run.
    """
    return find_or_make(
        plan, context, lambda run: finished(run, plan, context), lambda: _quantize(plan, context, parent)
    )


def compress(plan: DeployPlan, context: JobContext, parent: Parent, options: PruneConfig) -> FinishedRun:
    """Find or make the run that stores a network ready to deploy.

    The ONNX model predicts the validation images, but no test images. If the network has class offsets, the offsets for
    each image are fitted without that image.

    Parameters
    ----------
    plan : DeployPlan
        Plan that `plan_compression` made for this parent.
    context : JobContext
    parent : Parent
    options : PruneConfig
        How the network was pruned, and whether it has class offsets.

    Raises
    ------
    StudyError
        If the network cannot be made smaller, written as ONNX or quantized, or if the store rejects the run.
    """
    return find_or_make(
        plan, context, lambda run: finished(run, plan, context), lambda: _compress(plan, context, parent, options)
    )


def export(context: Context, parent: LoadedRun) -> "ModelProto":
    """Return the network of a run as a float32 ONNX model, before quantization."""
    return logged_model.exported(Classifier(parent.model, parent.normalization, context.data.classes), context)


def tested(store: Store, data: Dataset, run_id: str, model: "ModelProto") -> Predictions:
    """Return a compressed run's test predictions. If it has none yet, make them with its ONNX model and store them.

    Parameters
    ----------
    store : Store
    data : Dataset
        The data set of the run.
    run_id : str
    model : onnx.ModelProto
        As `logged_model.stored` returns it.
    """
    if not store.missing(run_id, [schema.PREDICTIONS]):
        return runs.test_predictions(store, run_id)
    predictions, loss = _predict(model, data.test_images, data.test_labels)
    counts = predictions.counts(len(data.classes))
    recalls = zip(schema.metric_names(data.classes), counts.recall, strict=True)
    metrics = {schema.RECALL + name: float(recall) for name, recall in recalls}
    store.add_metrics(run_id, metrics | {schema.TEST_ACCURACY: predictions.accuracy, schema.TEST_LOSS: loss})
    with tempfile.TemporaryDirectory() as folder:
        predictions.save(file := Path(folder) / schema.PREDICTIONS)
        store.add(run_id, file, {})
    return predictions


def measured(context: Context, model: "ModelProto") -> dict[str, float]:
    """Return metrics of a model's size, and of its latency on one thread for an image and for a batch."""
    metrics: dict[str, float] = {schema.MODEL_BYTES: model.ByteSize()}
    for batch_name, count in (("one", 1), ("batch", onnx_export.BATCH_SIZE)):
        times = latency(_loaded(model, context.data.test_images[:count]))
        name = f"{schema.LATENCY}{batch_name}"
        metrics |= {name: times.median, f"{name}_low": times.low, f"{name}_high": times.high}
    return metrics


def compared(dense: "ModelProto", model: "ModelProto", images: np.ndarray, batches: Sequence[int]) -> list[Compared]:
    """Measure the latencies of two ONNX models on one thread, in alternation, for each batch size.

    Parameters
    ----------
    dense, model : onnx.ModelProto
    images : array [N, ...]
        In the shape of the models' inputs; repeated to fill a larger batch.
    batches : sequence of int
    """
    comparisons = []
    for size in batches:
        batch = np.resize(images, (size, *images.shape[1:]))
        comparisons.append(interleaved(*(partial(_loaded, each, batch) for each in (dense, model))))
    return comparisons


def _loaded(model: "ModelProto", images: np.ndarray) -> Callable[[], object]:
    """Load an ONNX model, and return a function that runs it on these images."""
    inputs = {onnx_export.INPUT: np.ascontiguousarray(images)}
    return partial(onnx_export.session(model, threads=1).run, [onnx_export.OUTPUT], inputs)


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


def _in_format(model: "ModelProto", number_format: str, context: Context) -> "ModelProto":
    """Return a float32 model in a number format; only `fixed-int8` needs training images, to calibrate."""
    if number_format == schema.FLOAT32:
        return model
    images, labels = context.data.train_images, context.data.train_labels
    is_fixed = number_format == schema.FIXED_INT8
    examples = images[calibrating(context.train_indices, labels)] if is_fixed else images[:0]
    return onnx_quantization.quantized(model, number_format, examples)


def _predict(model: "ModelProto", images: np.ndarray, labels: np.ndarray) -> tuple[Predictions, float]:
    return from_logits(torch.from_numpy(onnx_export.logits(model, images)), torch.from_numpy(np.array(labels)))


def _run(
    plan: DeployPlan,
    context: JobContext,
    dense: DenseRun,
    normalization: Normalization,
    note: str,
    tags: Mapping[str, str],
    params: Mapping[str, str],
) -> AbstractContextManager[Writer]:
    """Open the run of a plan, with the tags that both kinds have and those given."""
    how = {schema.KIND: plan.kind, schema.ENGINE: "onnxruntime", schema.DEVICE: "cpu"}
    return context.store.run(
        plan.name,
        note=note,
        tags={**how, schema.DENSE_RUN_ID: dense.run_id, **plan.lineage, **normalization_tags(normalization), **tags},
        params=dict(params),
        dataset=context.mlflow_dataset,
        job_run_id=context.job_run_id,
        child=True,
    )


def _quantize(plan: DeployPlan, context: JobContext, parent: Quantizable) -> FinishedRun:
    start = time.perf_counter()
    parent_run, dense = parent.loaded, parent.loaded.dense
    model = _in_format(parent.model(), plan.number_format, context)
    note = f"The network of run {parent_run.run_id} with weights of {plan.number_format}"
    tags = known_tags(plan, context)
    with _run(plan, context, dense, parent_run.normalization, note, tags, plan.params) as run:
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


def _compress(plan: DeployPlan, context: JobContext, parent: Parent, options: PruneConfig) -> FinishedRun:
    start = time.perf_counter()
    dense, parent_id = parent.dense, parent.run.run_id
    network = _network(options.model, context, parent)
    model = _in_format(logged_model.exported(network, context), plan.number_format, context)
    note = f"The network of run {parent_id}, ready to deploy: {plan.name}"
    params = {**context.store.get(parent_id).data.params, **plan.params}
    tags = {schema.CONFIG_HASH: plan.hash}
    with _run(plan, context, dense.dense, dense.normalization, note, tags, params) as run:
        predictions = _validated(options, context, parent, model)
        predictions.save(run.folder / schema.VAL_PREDICTIONS)
        (run.folder / schema.ONNX_MODEL).write_bytes(model.SerializeToString())
        image = shrunk.example_images(network.normalization, context, 1)
        metrics = {
            schema.MODEL_BYTES: float(model.ByteSize()),
            schema.MACS: float(macs(network.network, image)),
            schema.PARAMETERS: float(sum(parameter.numel() for parameter in network.network.parameters())),
            schema.VAL_ACCURACY: predictions.accuracy,
        }
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    return FinishedRun(run.run_id, plan.hash, is_reused=False, metrics=metrics)


def _network(name: str, context: JobContext, parent: Parent) -> Classifier:
    """Return the network to write as ONNX; for a pruned run, the smaller network that gives the same logits."""
    if parent.pruned:
        return shrunk.shrunk(context.store, name, context, context.store.get(parent.pruned.run_id)).smaller
    dense = parent.dense
    network = with_plain_layers(copy.deepcopy(dense.model).cpu(), context.data.image_shape)
    return Classifier(network, dense.normalization, context.data.classes)


def _validated(options: PruneConfig, context: JobContext, parent: Parent, model: "ModelProto") -> Predictions:
    """Predict the validation images with an ONNX model; the class offsets for each image are fitted on the others."""
    held_out = context.validation_indices
    images, labels = context.data.train_images[held_out], context.data.train_labels[held_out]
    if not parent.pruned or options.class_offsets == "none":
        return _predict(model, images, labels)[0]
    context = context.normalized_as(parent.dense.normalization)
    logits = class_offsets.cross_fitted(
        onnx_export.logits(model, images),
        _folded(context.store, parent.pruned.run_id),
        _model(parent.pruned, options, context),
        parent.dense.model,
        context.validation,
        context.engine,
        schema.FIXED["offset_shrinkage"],
    )
    return from_logits(torch.from_numpy(logits), torch.from_numpy(np.array(labels)))[0]


def _model(pruned: FinishedRun, options: PruneConfig, context: JobContext) -> torch.nn.Module:
    if isinstance(pruned, LoadedRun):
        return pruned.model
    store = context.store
    return runs.load(store, store.get(pruned.run_id), plan_training(options, context), context).model


def _folded(store: Store, run_id: str) -> np.ndarray:
    """Return the class offsets that were folded into the network of a run."""
    with store.artifact(run_id, schema.OFFSETS) as path:
        return pd.read_csv(path).sort_values("index")["offset"].to_numpy(float)
