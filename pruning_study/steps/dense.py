"""Dense runs: found in the tracking store, or trained."""

import copy
import logging
import time
from dataclasses import dataclass

import numpy as np
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.runs import schema
from analysis.runs.errors import StudyError
from pruning_study.models import checkpoints
from pruning_study.steps import pictures
from pruning_study.steps.identity import DENSE_ARTIFACTS, dense_hash
from pruning_study.steps.measured import (
    confusion_table,
    final_metrics,
    fit_setting,
    log_fit,
    run_tags,
    write_evaluation,
)
from pruning_study.steps.settings import TrainSetting
from pruning_study.tracking.store import Store
from pruning_study.training.evaluation import Predictions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dense:
    """A dense model and all that pruning it needs.

    Parameters
    ----------
    run_id : str
    found : bool
        Whether it was there already.
    config_hash : str
    params : dict of str
    metrics : dict of float
        Final ones.
    model : nn.Module
    gradient : dict of state-dict names to Tensors
        Of the data loss, over the whole training set, in eval mode.
    predictions, val_predictions : Predictions
    """

    run_id: str
    found: bool
    config_hash: str
    params: dict[str, str]
    metrics: dict[str, float]
    model: nn.Module
    gradient: dict[str, Tensor]
    predictions: Predictions
    val_predictions: Predictions


def train(store: Store, job_run_id: str, setting: TrainSetting) -> Dense:
    """The dense model of a setting: found in the store, or trained.

    Parameters
    ----------
    store : Store
    job_run_id : str
        The job that asks for it.
    setting : TrainSetting

    Raises
    ------
    StudyError
        Where training diverges, or the store does not take the run.
    """
    config_hash = dense_hash(setting.params)
    with store.making(config_hash):
        for run in [] if setting.config.force else store.find(config_hash):
            try:
                if missing := store.missing(run.info.run_id, DENSE_ARTIFACTS):
                    raise StudyError(f"it lacks {', '.join(missing)}")
                return load_dense(store, run, setting)
            except StudyError as error:
                log.warning("dense run %s cannot be used, and is made again: %s", run.info.run_id, error)
        return _train(store, job_run_id, setting, config_hash)


def load_dense(store: Store, run: Run, setting: TrainSetting) -> Dense:
    """A dense run's model and artifacts; the setting takes over its normalisation.

    Raises
    ------
    StudyError
        Where an artifact is missing, does not load, or does not fit the setting's model or data.
    """
    run_id = run.info.run_id
    if run.data.params.get(schema.DATASET_DIGEST) != setting.data.digest:
        raise StudyError(
            f"{setting.data.source} does not hold the images of dense run {run_id}: give --dataset, --data-dir and "
            "--image-size as for that run"
        )
    if run.data.params.get(schema.MODEL_DIGEST) != setting.params.get(schema.MODEL_DIGEST):
        raise StudyError(f"the source of {setting.config.model} has changed since dense run {run_id}")
    with store.artifact(run_id, schema.CHECKPOINT) as path:
        weights, metadata = checkpoints.load(path)
        normalization = checkpoints.normalization(metadata, str(path), setting.data.image_shape[0])
    model = copy.deepcopy(setting.model)
    checkpoints.load_weights(model, weights, f"dense run {run_id}")
    with store.artifact(run_id, schema.GRADIENT) as path:
        gradient, _ = checkpoints.load(path)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    if {name: tensor.shape for name, tensor in gradient.items()} != shapes:
        raise StudyError(f"dense run {run_id}: {schema.GRADIENT} is not of this model")
    predictions = {}
    for name, labels in (
        (schema.PREDICTIONS, setting.data.test_labels),
        (schema.VAL_PREDICTIONS, setting.data.train_labels[setting.validation_indices]),
    ):
        with store.artifact(run_id, name) as path:
            predictions[name] = Predictions.load(path)
        if not np.array_equal(predictions[name].label, labels):
            raise StudyError(f"dense run {run_id}: {name} is not of these data")
    if normalization:
        setting.normalization = normalization
    return Dense(
        run_id=run_id,
        found=True,
        config_hash=run.data.tags.get(schema.CONFIG_HASH, run_id),
        params=dict(run.data.params),
        metrics=final_metrics(run.data.metrics),
        model=model.to(setting.device),
        gradient={name: tensor.to(setting.device) for name, tensor in gradient.items()},
        predictions=predictions[schema.PREDICTIONS],
        val_predictions=predictions[schema.VAL_PREDICTIONS],
    )


def _train(store: Store, job_run_id: str, setting: TrainSetting, config_hash: str) -> Dense:
    start = time.perf_counter()
    saved = store.saved_training(config_hash)
    model = copy.deepcopy(setting.model).to(setting.device)
    weights = setting.config.weights
    note = f"{setting.config.model} trained on {setting.data.name}" + (
        f", weights of {weights.name}" if weights else ""
    )
    with store.run(
        setting.name,
        note=note,
        tags=run_tags(schema.DENSE, config_hash, setting),
        params=setting.params,
        dataset=setting.mlflow_dataset,
        job_run_id=job_run_id,
        child=False,
    ) as run:
        if not weights:
            log_fit(run, fit_setting(setting, model, setting.schedule, "dense", saved, run.epoch))
        gradient = setting.engine.gradient(model, setting.train)
        predictions, val_predictions, metrics = write_evaluation(run, setting, model)
        checkpoints.save(run.folder / schema.GRADIENT, gradient)
        title = f"{setting.name}: accuracy {predictions.accuracy:.3f}"
        pictures.confusion(confusion_table(predictions, setting.data.classes), title).savefig(
            run.folder / schema.CONFUSION_PICTURE
        )
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    saved.unlink(missing_ok=True)
    return Dense(run.run_id, False, config_hash, setting.params, metrics, model, gradient, predictions, val_predictions)
