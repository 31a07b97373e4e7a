"""Finished runs, and the loading of one so that another step can start from it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.runs import schema
from analysis.runs.errors import StudyError
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.pruning.masks import Masks
from pruning_study.steps.measured import final_metrics
from pruning_study.steps.settings import TrainSetting
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions


@dataclass(frozen=True)
class FinishedRun:
    """A run that a step has made or found.

    Parameters
    ----------
    run_id, config_hash : str
    found : bool
        Whether the run was found in the tracking store instead of being made.
    metrics : dict of float
        Final metrics.
    """

    run_id: str
    config_hash: str
    found: bool
    metrics: dict[str, float]


@dataclass(frozen=True)
class DenseRun:
    """The dense run at the root of a chain of runs, which every later run is compared with.

    Parameters
    ----------
    run_id : str
    params : dict of str
    predictions, val_predictions : Predictions
        For the test images and for the validation images.
    """

    run_id: str
    params: dict[str, str]
    predictions: Predictions
    val_predictions: Predictions


@dataclass(frozen=True)
class LoadedRun(FinishedRun):
    """A finished run whose model is in memory: what a step needs to start from it.

    Parameters
    ----------
    model : nn.Module, on the setting's device
        Steps copy it and never change it.
    normalization : Normalization
        The one that the model was trained with.
    masks : dict of state-dict names to bool Tensors
        False where a weight is pruned already; empty for a dense run.
    gradient : dict of state-dict names to Tensors, optional
        Gradient of the data loss over the whole training set in eval mode, where the run has stored it.
    iteration : int
        Number of prunings since the dense run, this run's included.
    dense : DenseRun
    """

    model: nn.Module
    normalization: Normalization
    masks: Masks
    gradient: dict[str, Tensor] | None
    iteration: int
    dense: DenseRun


def load(store: Store, run: Run, setting: TrainSetting) -> LoadedRun:
    """Load a dense or pruned run as the parent of another step. Nothing that is given is changed.

    Parameters
    ----------
    store : Store
    run : mlflow.entities.Run
    setting : TrainSetting
        Of the same data set and model.

    Raises
    ------
    StudyError
        If an artifact is missing, does not load, or does not fit the setting's model or data.
    """
    run_id = run.info.run_id
    kind = run.data.tags.get(schema.KIND, schema.DENSE)
    former = schema.FORMERLY[schema.ITERATION]
    _check_data_and_model(run, setting)
    with store.artifact(run_id, schema.CHECKPOINT) as path:
        weights, metadata = checkpoints.load(path)
        normalization = checkpoints.normalization(metadata, str(path), setting.data.image_shape[0])
    model = copy.deepcopy(setting.model)
    checkpoints.load_weights(model, weights, f"{kind} run {run_id}")
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    tensors = _tensors(store, run_id, schema.GRADIENT if kind == schema.DENSE else schema.MASK, shapes, setting.device)
    root = run if kind == schema.DENSE else store.get(run.data.tags[schema.DENSE_RUN_ID])
    return LoadedRun(
        run_id=run_id,
        config_hash=run.data.tags.get(schema.CONFIG_HASH, run_id),
        found=True,
        metrics=final_metrics(run.data.metrics),
        model=model.to(setting.device),
        normalization=normalization or setting.normalization,
        masks={} if kind == schema.DENSE else tensors,
        gradient=tensors if kind == schema.DENSE else None,
        iteration=0 if kind == schema.DENSE else int(run.data.params.get(schema.ITERATION, former)),
        dense=_dense_run(store, root, setting),
    )


def _check_data_and_model(run: Run, setting: TrainSetting) -> None:
    run_id = run.info.run_id
    if run.data.params.get(schema.DATASET_DIGEST) != setting.data.digest:
        raise StudyError(
            f"{setting.data.source} does not hold the images of run {run_id}: give --dataset, --data-dir and "
            "--image-size as for that run"
        )
    if run.data.params.get(schema.MODEL_DIGEST) != setting.params.get(schema.MODEL_DIGEST):
        raise StudyError(f"the source of {setting.config.model} has changed since run {run_id}")


def _tensors(store: Store, run_id: str, name: str, shapes: Mapping[str, torch.Size], device: str) -> dict[str, Tensor]:
    """Read the gradient of every parameter, or the masks of some."""
    with store.artifact(run_id, name) as path:
        tensors, _ = checkpoints.load(path)
    whole = name != schema.GRADIENT or tensors.keys() == shapes.keys()
    if not whole or any(shapes.get(key) != tensor.shape for key, tensor in tensors.items()):
        raise StudyError(f"run {run_id}: {name} does not fit this model")
    return {key: tensor.to(device) for key, tensor in tensors.items()}


def _dense_run(store: Store, run: Run, setting: TrainSetting) -> DenseRun:
    run_id = run.info.run_id
    predictions = {}
    for name, labels in (
        (schema.PREDICTIONS, setting.data.test_labels),
        (schema.VAL_PREDICTIONS, setting.data.train_labels[setting.validation_indices]),
    ):
        with store.artifact(run_id, name) as path:
            predictions[name] = Predictions.load(path)
        if not np.array_equal(predictions[name].label, labels):
            raise StudyError(f"dense run {run_id}: {name} was made with other labels")
    return DenseRun(run_id, dict(run.data.params), predictions[schema.PREDICTIONS], predictions[schema.VAL_PREDICTIONS])
