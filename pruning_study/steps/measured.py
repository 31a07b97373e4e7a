"""Train a setting's model, and measure and write what every run holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.runs import schema
from analysis.statistics import class_metrics
from pruning_study.data.examples import Examples, Normalization
from pruning_study.models import checkpoints
from pruning_study.steps.settings import TrainSetting
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions, predict
from pruning_study.training.loop import Fit, OnEpoch, TrainingSetup, fit
from pruning_study.training.recipes import Hyperparameters

PER_EPOCH = {schema.TRAIN_LOSS, schema.VAL_LOSS, schema.VAL_ACCURACY}
RUN_ONLY = {schema.DURATION, schema.IMAGES_PER_SECOND, schema.BEST_EPOCH}


def fit_setting(
    setting: TrainSetting,
    model: nn.Module,
    hyperparameters: Hyperparameters,
    stream: str,
    saved_training: Path | None,
    on_epoch: OnEpoch,
    *,
    train: Examples | None = None,
    **pruning: Any,
) -> Fit:
    """Train a model in place on a setting's examples.

    Parameters
    ----------
    setting : TrainSetting
    model : nn.Module
    hyperparameters : Hyperparameters
    stream, saved_training, on_epoch
        As `TrainingSetup` and `fit` take them.
    train : Examples, optional
        The images to train on; all of the setting by default.
    pruning
        Masks, ramp and distillation, as `TrainingSetup` takes them.
    """
    if saved_training and setting.config.force:
        saved_training.unlink(missing_ok=True)
    return fit(
        model, training_of(setting, hyperparameters, stream, train, **pruning), saved=saved_training, on_epoch=on_epoch
    )


def training_of(
    setting: TrainSetting,
    hyperparameters: Hyperparameters,
    stream: str,
    train: Examples | None = None,
    **pruning: Any,
) -> TrainingSetup:
    """Return a training on a setting's examples; parameters as of `fit_setting`."""
    return TrainingSetup(
        setting.train if train is None else train,
        setting.validation,
        hyperparameters,
        seed=setting.config.seed,
        stream=stream,
        black=setting.normalization.black,
        engine=setting.engine_of(hyperparameters),
        released_selection=setting.test if setting.training.protocol.selects_on_test else None,
        **pruning,
    )


def log_fit(run: Writer, fitted: Fit) -> None:
    """Log which epoch was kept and how fast the training was, unless there was none."""
    if fitted.best_epoch:
        run.metrics({schema.BEST_EPOCH: fitted.best_epoch, schema.IMAGES_PER_SECOND: fitted.images_per_second})


def write_evaluation(
    run: Writer, setting: TrainSetting, model: nn.Module
) -> tuple[Predictions, Predictions, dict[str, float]]:
    """Write the artifacts that every trained run has, and return its predictions and final metrics.

    Returns
    -------
    predictions, val_predictions : Predictions
        For the test images and for the validation images.
    metrics : dict of float

    Raises
    ------
    StudyError
        If a loss is NaN or infinite.
    """
    test, validation = (predict(model, part, setting.engine) for part in (setting.test, setting.validation))
    metrics = write_predictions(run, setting, test, validation)
    checkpoints.save(
        run.folder / schema.CHECKPOINT,
        model.state_dict(),
        checkpoints.describe(
            setting.config.model, setting.data.classes, setting.data.image_shape, setting.normalization
        ),
    )
    return test[0], validation[0], metrics


def write_predictions(
    run: Writer, setting: TrainSetting, test: tuple[Predictions, float], validation: tuple[Predictions, float]
) -> dict[str, float]:
    """Write a run's predictions and what follows from them, and return its final metrics.

    Parameters
    ----------
    run : Writer
    setting : TrainSetting
    test, validation : tuple of Predictions and float
        For the test images and for the validation images, each with the mean loss.

    Raises
    ------
    StudyError
        If a loss is NaN or infinite.
    """
    (predictions, test_loss), (val_predictions, val_loss) = test, validation
    if not (np.isfinite(test_loss) and np.isfinite(val_loss)):
        raise StudyError(f"{setting.name}: the loss on test or validation images is NaN or infinite")
    classes = setting.data.classes
    counts = class_metrics.class_metrics(predictions.label, predictions.predicted, len(classes))
    predictions.save(run.folder / schema.PREDICTIONS)
    val_predictions.save(run.folder / schema.VAL_PREDICTIONS)
    csv_text.write(per_class_table(predictions, classes), run.folder / schema.PER_CLASS)
    csv_text.write(confusion_table(predictions, classes), run.folder / schema.CONFUSION, index=True)
    metrics = {schema.TEST_ACCURACY: predictions.accuracy, schema.TEST_LOSS: test_loss}
    for name, recall, support in zip(schema.metric_names(classes), counts.recall, counts.support, strict=True):
        metrics |= {schema.RECALL + name: float(recall), schema.SUPPORT + name: float(support)}
    return metrics


def per_class_table(predictions: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return a row for each class: class, index, support, recall, precision, f1."""
    counts = class_metrics.class_metrics(predictions.label, predictions.predicted, len(classes))
    columns = {name: getattr(counts, name) for name in ("support", "recall", "precision", "f1")}
    return pd.DataFrame({"class": classes, "index": range(len(classes)), **columns})


def confusion_table(predictions: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return numbers of images, rows by true class, columns by predicted class."""
    counts = class_metrics.class_metrics(predictions.label, predictions.predicted, len(classes))
    return pd.DataFrame(counts.confusion, pd.Index(classes, name="class"), classes)


def run_tags(kind: str, config_hash: str, setting: TrainSetting, hyperparameters: Hyperparameters) -> dict[str, str]:
    """Return the tags that every trained run has; the hyperparameters are those of its training."""
    engine = setting.engine_of(hyperparameters)
    how = {schema.ENGINE: engine.name, schema.DEVICE: setting.device, schema.ARITHMETIC: engine.arithmetic}
    return {schema.KIND: kind, schema.CONFIG_HASH: config_hash} | how | normalization_tags(setting.normalization)


def normalization_tags(normalization: Normalization) -> dict[str, str]:
    """Return the tags that say how images were normalised."""
    return {
        schema.NORMALIZATION_MEAN: json.dumps(normalization.mean),
        schema.NORMALIZATION_STD: json.dumps(normalization.std),
    }


def final_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return a run's metrics, except those of single epochs and those about how the run was made."""
    return {name: value for name, value in metrics.items() if name not in PER_EPOCH | RUN_ONLY}
