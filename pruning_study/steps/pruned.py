"""Train and prune: each found in the tracking store, or made."""

import copy
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.runs import schema
from analysis.runs.errors import StudyError
from analysis.statistics import intensification
from pruning_study.models import checkpoints
from pruning_study.pruning.schedules import Masks, Ramp
from pruning_study.steps import pictures, selection
from pruning_study.steps.settings import PruneSetting, TrainSetting
from pruning_study.tracking.store import Store, Writer
from pruning_study.training.distillation import Distillation
from pruning_study.training.evaluation import Predictions, both_right, predict
from pruning_study.training.loop import Fit, OnEpoch, fit, ignore
from pruning_study.training.recipes import Schedule

# Counts up where a step's results change for the same settings, so that older runs are not taken for them. Runs of
# before there were schedules lack two params and so have another hash: they are read as one-shot, and made again.
STEP_VERSIONS = {schema.DENSE: 1, schema.PRUNED: 1}
PER_EPOCH = {schema.TRAIN_LOSS, schema.VAL_LOSS, schema.VAL_ACCURACY}
RUN_ONLY = {schema.DURATION, schema.IMAGES_PER_SECOND, schema.BEST_EPOCH}
ARTIFACTS = (
    schema.CHECKPOINT,
    schema.PREDICTIONS,
    schema.VAL_PREDICTIONS,
    schema.PER_CLASS,
    schema.CONFUSION,
)
DENSE_ARTIFACTS = (*ARTIFACTS, schema.GRADIENT, schema.CONFUSION_PICTURE)
PRUNED_ARTIFACTS = (*ARTIFACTS, schema.MASK, schema.RECALL_PICTURE)

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


@dataclass(frozen=True)
class Pruned:
    """A pruned run.

    Parameters
    ----------
    run_id : str
    found : bool
        Whether it was there already.
    ratio : float
    metrics : dict of float
        Final ones.
    """

    run_id: str
    found: bool
    ratio: float
    metrics: dict[str, float]


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
        metrics=_final(run.data.metrics),
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
        tags=_tags(schema.DENSE, config_hash, setting),
        params=setting.params,
        dataset=setting.mlflow_dataset,
        job_run_id=job_run_id,
        child=False,
    ) as run:
        if not weights:
            _log_fit(run, _fit(setting, model, setting.schedule, "dense", saved, run.epoch))
        gradient = setting.engine.gradient(model, setting.train)
        predictions, val_predictions, metrics = _evaluate(run, setting, model)
        checkpoints.save(run.folder / schema.GRADIENT, gradient)
        title = f"{setting.name}: accuracy {predictions.accuracy:.3f}"
        pictures.confusion(confusion_table(predictions, setting.data.classes), title).savefig(
            run.folder / schema.CONFUSION_PICTURE
        )
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    saved.unlink(missing_ok=True)
    return Dense(run.run_id, False, config_hash, setting.params, metrics, model, gradient, predictions, val_predictions)


def prune(store: Store, job_run_id: str, setting: PruneSetting, dense: Dense, ratio: float) -> Pruned:
    """The dense model pruned at a ratio, and fine-tuned where it has epochs for it: found in the store, or made.

    Parameters
    ----------
    store : Store
    job_run_id : str
        The job that asks for it.
    setting : PruneSetting
    dense : Dense
    ratio : float
        One of the setting's.

    Raises
    ------
    StudyError
        Where scores are not finite, fine-tuning diverges, or the store does not take the run.
    """
    params = setting.pruned_params(dense.params, ratio)
    config_hash = pruned_hash(params, dense.config_hash)
    with store.making(config_hash):
        for run in [] if setting.config.force else store.find(config_hash):
            # The same settings may have made several dense runs: one that is asked for by its id is the one meant.
            if setting.config.dense_run_id and run.data.tags.get(schema.DENSE_RUN_ID) != dense.run_id:
                continue
            if missing := store.missing(run.info.run_id, PRUNED_ARTIFACTS):
                log.warning("pruned run %s lacks %s, and is made again", run.info.run_id, ", ".join(missing))
                continue
            return Pruned(run.info.run_id, True, ratio, _final(run.data.metrics))
        return _prune(store, job_run_id, setting, dense, ratio, params, config_hash)


def _prune(
    store: Store,
    job_run_id: str,
    setting: PruneSetting,
    dense: Dense,
    ratio: float,
    params: dict[str, str],
    config_hash: str,
) -> Pruned:
    start = time.perf_counter()
    saved = store.saved_training(config_hash)
    name = setting.pruned_name(ratio)
    fine_tuned = " and fine-tuned" if setting.fine_tuning.epochs else ""
    with store.run(
        name,
        note=f"Dense run {dense.run_id}, pruned by {setting.method} at ratio {ratio:g}{fine_tuned}",
        tags=_tags(schema.PRUNED, config_hash, setting) | {schema.DENSE_RUN_ID: dense.run_id},
        params=params,
        dataset=setting.mlflow_dataset,
        job_run_id=job_run_id,
        child=True,
    ) as run:
        model, fitted = _pruned(setting, dense, ratio, saved, run.epoch)
        _log_fit(run, fitted)
        predictions, val_predictions, metrics = _evaluate(run, setting, model)
        checkpoints.save(run.folder / schema.MASK, fitted.masks)
        pruned = sum(int((~mask).sum()) for mask in fitted.masks.values())
        metrics[schema.REALIZED_RATIO] = setting.budget.total / (setting.budget.total - pruned)
        metrics |= _distortion(dense, predictions, val_predictions, setting.data.classes)
        pictures.recall_change(
            per_class_table(dense.predictions, setting.data.classes),
            per_class_table(predictions, setting.data.classes),
            accuracy=(dense.predictions.accuracy, predictions.accuracy),
            alpha=metrics.get(schema.ALPHA, np.nan),
            title=name,
        ).savefig(run.folder / schema.RECALL_PICTURE)
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    saved.unlink(missing_ok=True)
    return Pruned(run.run_id, False, ratio, metrics)


def trial(setting: PruneSetting, dense: Dense, ratio: float) -> Predictions:
    """What the model that `prune` makes predicts for the validation images; no run, and no test image.

    Parameters
    ----------
    setting : PruneSetting
    dense : Dense
    ratio : float

    Raises
    ------
    StudyError
        Where scores are not finite, or fine-tuning diverges.
    """
    model, _ = _pruned(setting, dense, ratio)
    return predict(model, setting.validation, setting.engine)[0]


def pruning_masks(setting: PruneSetting, dense: Dense, ratio: float) -> Masks:
    """Which weights are kept from the start: all that ever are, where pruning is not gradual.

    Parameters
    ----------
    setting : PruneSetting
    dense : Dense
    ratio : float

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept, for every prunable weight

    Raises
    ------
    StudyError
        Where a score is NaN or infinite.
    """
    theta = {name: dense.model.get_parameter(name).detach() for name in setting.prunable}
    return selection.select(setting, dense.model, theta, setting.kept_numbers(ratio)[0], gradient=dense.gradient)


def _pruned(
    setting: PruneSetting, dense: Dense, ratio: float, saved: Path | None = None, on_epoch: OnEpoch = ignore
) -> tuple[nn.Module, Fit]:
    """The dense model pruned, at once or gradually, and fine-tuned."""
    model = copy.deepcopy(dense.model)
    config = setting.config
    ramp = distillation = None
    if config.is_gradual:
        ramp = Ramp(config.ramp_steps, setting.kept_numbers(ratio), partial(selection.select, setting), config.regrow)
    if config.distill:
        distillation = Distillation(dense.model, config.distill, config.temperature)
    fitted = _fit(
        setting,
        model,
        setting.fine_tuning,
        "fine-tuning",
        saved,
        on_epoch,
        masks=pruning_masks(setting, dense, ratio),
        ramp=ramp,
        distillation=distillation,
    )
    return model, fitted


def _fit(
    setting: TrainSetting,
    model: nn.Module,
    schedule: Schedule,
    stream: str,
    saved: Path | None,
    on_epoch: OnEpoch,
    **pruning: Any,
) -> Fit:
    if saved and setting.config.force:
        saved.unlink(missing_ok=True)
    return fit(
        model,
        setting.train,
        setting.validation,
        schedule,
        seed=setting.config.seed,
        stream=stream,
        black=setting.normalization.black,
        engine=setting.engine,
        released_selection=setting.test if setting.released else None,
        saved=saved,
        on_epoch=on_epoch,
        **pruning,
    )


def _log_fit(run: Writer, fitted: Fit) -> None:
    if fitted.best_epoch:
        run.metrics({schema.BEST_EPOCH: fitted.best_epoch, schema.IMAGES_PER_SECOND: fitted.images_per_second})


def _evaluate(
    run: Writer, setting: TrainSetting, model: nn.Module
) -> tuple[Predictions, Predictions, dict[str, float]]:
    """Write the artifacts that dense and pruned runs share; their predictions and final metrics."""
    predictions, test_loss = predict(model, setting.test, setting.engine)
    val_predictions, val_loss = predict(model, setting.validation, setting.engine)
    if not (np.isfinite(test_loss) and np.isfinite(val_loss)):
        raise StudyError(f"{setting.name}: the loss on test or validation images is NaN or infinite")
    classes = setting.data.classes
    counts = intensification.class_metrics(predictions.label, predictions.predicted, len(classes))
    checkpoints.save(
        run.folder / schema.CHECKPOINT,
        model.state_dict(),
        checkpoints.describe(setting.config.model, classes, setting.data.image_shape, setting.normalization),
    )
    predictions.save(run.folder / schema.PREDICTIONS)
    val_predictions.save(run.folder / schema.VAL_PREDICTIONS)
    per_class_table(predictions, classes).to_csv(run.folder / schema.PER_CLASS, index=False)
    confusion_table(predictions, classes).to_csv(run.folder / schema.CONFUSION)
    metrics = {schema.TEST_ACCURACY: predictions.accuracy, schema.TEST_LOSS: test_loss}
    for name, recall, support in zip(schema.metric_names(classes), counts.recall, counts.support, strict=True):
        metrics |= {schema.RECALL + name: float(recall), schema.SUPPORT + name: float(support)}
    return predictions, val_predictions, metrics


def _distortion(
    dense: Dense, predictions: Predictions, val_predictions: Predictions, classes: tuple[str, ...]
) -> dict[str, float]:
    """Alpha on test and validation images, where defined, and the share of each class right before and after."""
    shares = both_right(dense.predictions, predictions, len(classes))
    slopes = {
        schema.ALPHA: _alpha(dense.predictions, predictions, len(classes)),
        schema.VAL_ALPHA: _alpha(dense.val_predictions, val_predictions, len(classes)),
    }
    return {name: slope for name, slope in slopes.items() if np.isfinite(slope)} | {
        schema.BOTH_RIGHT + name: float(share) for name, share in zip(schema.metric_names(classes), shares, strict=True)
    }


def _alpha(before: Predictions, after: Predictions, classes: int) -> float:
    balances = (
        intensification.recall_balance(
            intensification.class_metrics(part.label, part.predicted, classes).recall, part.accuracy
        )
        for part in (before, after)
    )
    return float(intensification.alpha(*balances))


def per_class_table(predictions: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Columns class, index, support, recall, precision, f1; a row for each class."""
    counts = intensification.class_metrics(predictions.label, predictions.predicted, len(classes))
    columns = {name: getattr(counts, name) for name in ("support", "recall", "precision", "f1")}
    return pd.DataFrame({"class": classes, "index": range(len(classes)), **columns})


def confusion_table(predictions: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Numbers of images, rows by true class, columns by predicted class."""
    counts = intensification.class_metrics(predictions.label, predictions.predicted, len(classes))
    return pd.DataFrame(counts.confusion, pd.Index(classes, name="class"), classes)


def dense_hash(params: Mapping[str, str]) -> str:
    """The config hash of a dense run with these params."""
    return _config_hash(schema.DENSE, params)


def pruned_hash(params: Mapping[str, str], dense_hash: str) -> str:
    """The config hash of a pruned run with these params, of the dense run with that hash."""
    return _config_hash(schema.PRUNED, params, upstream=dense_hash)


def _config_hash(kind: str, params: Mapping[str, str], upstream: str = "") -> str:
    content = {"kind": kind, "version": STEP_VERSIONS[kind], "upstream": upstream, "params": dict(params)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _tags(kind: str, config_hash: str, setting: TrainSetting) -> dict[str, str]:
    return {
        schema.KIND: kind,
        schema.CONFIG_HASH: config_hash,
        schema.ENGINE: setting.engine.name,
        schema.DEVICE: setting.device,
        schema.NORMALIZATION_MEAN: json.dumps(setting.normalization.mean),
        schema.NORMALIZATION_STD: json.dumps(setting.normalization.std),
    }


def _final(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in PER_EPOCH | RUN_ONLY}
