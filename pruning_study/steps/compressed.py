"""Compressed runs, which store a network ready to deploy: as ONNX in a number format, without channels of zeros."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from analysis.runs import schema
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import in_layout
from pruning_study.models import onnx_export, onnx_quantization
from pruning_study.models.checkpoints import Classifier
from pruning_study.models.latency import Compared, interleaved
from pruning_study.models.plain_layers import with_plain_layers
from pruning_study.options.config import PruneConfig
from pruning_study.pruning.shrink import macs
from pruning_study.steps import logged_model, quantized, runs, shrunk
from pruning_study.steps.context import JobContext
from pruning_study.steps.identity import config_hash
from pruning_study.steps.measured import normalization_tags
from pruning_study.steps.plan import Plan, plan_training
from pruning_study.steps.runs import FinishedRun, LoadedRun, find_or_make, finished
from pruning_study.tracking import scratch
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions, from_logits
from pruning_study.training.mitigation import class_offsets

if TYPE_CHECKING:
    from onnx import ModelProto

METRICS = (schema.MODEL_BYTES, schema.MACS)


class Parent(NamedTuple):
    """The run whose network is compressed: a pruned run, or the dense run if `pruned` is None."""

    dense: LoadedRun
    pruned: FinishedRun | None

    @property
    def run(self) -> FinishedRun:
        return self.pruned or self.dense


@dataclass(frozen=True, kw_only=True)
class CompressPlan(Plan):
    """Plan of a compressed run.

    Parameters
    ----------
    options : PruneConfig
        How the network was pruned, and whether it has class offsets.
    number_format : {"float32", "float16", "dynamic-int8", "fixed-int8"}
    """

    options: PruneConfig
    number_format: str


def plan_compression(options: PruneConfig, parent: Parent, *, number_format: str, name: str) -> CompressPlan:
    """Plan the run that stores a network ready to deploy; `name` describes how the network was made."""
    params = {schema.NUMBER_FORMAT: number_format}
    return CompressPlan(
        kind=schema.COMPRESSED,
        name=name,
        params=params,
        hash=config_hash(schema.COMPRESSED, params, parent_hash=parent.run.config_hash),
        lineage={schema.PARENT_RUN_ID: parent.run.run_id},
        options=options,
        number_format=number_format,
    )


def compress(plan: CompressPlan, context: JobContext, parent: Parent) -> FinishedRun:
    """Find or make the run that stores a network ready to deploy.

    The ONNX model predicts the validation images, but no test images. If the network has class offsets, the offsets for
    each image are fitted without that image.

    Parameters
    ----------
    plan : CompressPlan
        Plan that `plan_compression` made for this parent.
    context : JobContext
    parent : Parent

    Raises
    ------
    StudyError
        If the network cannot be made smaller, written as ONNX or quantized, or if the store rejects the run.
    """
    return find_or_make(
        plan, context, lambda run: finished(run, plan, context), lambda: _compress(plan, context, parent)
    )


def onnx_model(store: Store, run_id: str) -> "ModelProto":
    """Return the ONNX model of a compressed run."""
    with store.artifact(run_id, schema.ONNX_MODEL) as path:
        return onnx_export.load(path, f"run {run_id}: {schema.ONNX_MODEL}")


def tested(store: Store, data: Dataset, run_id: str, model: "ModelProto") -> Predictions:
    """Return a compressed run's test predictions. If it has none yet, make them with its ONNX model and store them.

    Parameters
    ----------
    store : Store
    data : Dataset
        The data set of the run.
    run_id : str
    model : onnx.ModelProto
        As `onnx_model` returns it.
    """
    if not store.missing(run_id, [schema.PREDICTIONS]):
        return runs.test_predictions(store, run_id)
    logits = onnx_export.logits(model, data.test_images)
    predictions, loss = from_logits(torch.from_numpy(logits), torch.from_numpy(np.array(data.test_labels)))
    counts = predictions.counts(len(data.classes))
    recalls = zip(schema.metric_names(data.classes), counts.recall, strict=True)
    metrics = {schema.RECALL + name: float(recall) for name, recall in recalls}
    store.add_metrics(run_id, metrics | {schema.TEST_ACCURACY: predictions.accuracy, schema.TEST_LOSS: loss})
    with scratch.folder() as folder:
        predictions.save(file := Path(folder) / schema.PREDICTIONS)
        store.add(run_id, file, {})
    return predictions


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
        inputs = {onnx_export.INPUT: np.ascontiguousarray(np.resize(images, (size, *images.shape[1:])))}
        comparisons.append(interleaved(*(partial(_loaded, each, inputs) for each in (dense, model))))
    return comparisons


def _loaded(model: "ModelProto", inputs: dict[str, np.ndarray]) -> Callable[[], object]:
    """Load an ONNX model, and return a function that runs it on these inputs."""
    return partial(onnx_export.session(model, threads=1).run, [onnx_export.OUTPUT], inputs)


def _compress(plan: CompressPlan, context: JobContext, parent: Parent) -> FinishedRun:
    start = time.perf_counter()
    dense, parent_id = parent.dense, parent.run.run_id
    network = _network(plan.options.model, context, parent)
    image = torch.from_numpy(np.array(context.data.test_images[:1]))
    model = float_model = logged_model.exported(network, context)
    if plan.number_format != schema.FLOAT32:
        examples = quantized.examples(context, plan.number_format)
        model = onnx_quantization.quantized(float_model, plan.number_format, examples)
    tags = {
        schema.KIND: schema.COMPRESSED,
        schema.CONFIG_HASH: plan.hash,
        schema.ENGINE: quantized.ENGINE,
        schema.DEVICE: "cpu",
        schema.DENSE_RUN_ID: dense.run_id,
        schema.PARENT_RUN_ID: parent_id,
    }
    with context.store.run(
        plan.name,
        note=f"The network of run {parent_id}, ready to deploy: {plan.name}",
        tags=tags | normalization_tags(dense.normalization),
        params={**context.store.get(parent_id).data.params, **plan.params},
        dataset=context.mlflow_dataset,
        job_run_id=context.job_run_id,
        child=True,
    ) as run:
        predictions = _validated(plan, context, parent, model)
        predictions.save(run.folder / schema.VAL_PREDICTIONS)
        (run.folder / schema.ONNX_MODEL).write_bytes(model.SerializeToString())
        metrics = {
            schema.MODEL_BYTES: float(model.ByteSize()),
            schema.MACS: float(macs(network.network, in_layout(network.normalization(image), torch.contiguous_format))),
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


def _validated(plan: CompressPlan, context: JobContext, parent: Parent, model: "ModelProto") -> Predictions:
    """Predict the validation images with an ONNX model; the class offsets for each image are fitted on the others."""
    held_out = context.validation_indices
    logits = onnx_export.logits(model, context.data.train_images[held_out])
    if parent.pruned and plan.options.class_offsets != "none":
        context = context.normalized_as(parent.dense.normalization)
        logits = class_offsets.cross_fitted(
            logits,
            _folded(context.store, parent.pruned.run_id),
            _model(parent.pruned, plan.options, context),
            parent.dense.model,
            context.validation,
            context.engine,
            plan.options.offset_shrinkage,
        )
    return from_logits(torch.from_numpy(logits), torch.from_numpy(np.array(context.data.train_labels[held_out])))[0]


def _model(pruned: FinishedRun, options: PruneConfig, context: JobContext) -> torch.nn.Module:
    if isinstance(pruned, LoadedRun):
        return pruned.model
    store = context.store
    return runs.load(store, store.get(pruned.run_id), plan_training(options, context), context).model


def _folded(store: Store, run_id: str) -> np.ndarray:
    """Return the class offsets that were folded into the network of a run."""
    with store.artifact(run_id, schema.OFFSETS) as path:
        return pd.read_csv(path).sort_values("index")["offset"].to_numpy(float)
