"""Train the network of a plan, and write its run: evaluation, artifacts, tags and metrics."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH
from torch import nn

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.data.examples import Normalization
from pruning_study.models import checkpoints
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.plan import Plan, TrainPlan
from pruning_study.steps.runs import DenseRun, LoadedRun
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions, predict
from pruning_study.training.loop import Fit
from pruning_study.training.setup import TrainingSetup


class Trained(NamedTuple):
    """A network trained for a run, what its evaluation found, and the writer of the run's further artifacts."""

    run: Writer
    made: LoadedRun
    fit: Fit
    predictions: Predictions
    val_predictions: Predictions


Train: TypeAlias = Callable[[Writer, Path], tuple[nn.Module, Fit]]


def write_run(
    plan: TrainPlan,
    context: JobContext,
    parent: LoadedRun | None,
    *,
    note: str,
    train: Train,
    describe: Callable[[Trained], dict[str, float]],
) -> LoadedRun:
    """Train the network of a plan, and write its run.

    Parameters
    ----------
    plan : TrainPlan
    context : JobContext
    parent : LoadedRun, optional
        The run that is pruned; None for a dense run, which also gets the gradient of its loss.
    note : str
        A phrase that describes the run, without a full stop.
    train : function
        Makes the network, and saves its training in a file from which it can be resumed.
    describe : function
        Writes what only this kind of run has, and returns the metrics of it.

    Raises
    ------
    StudyError
        If training diverges, or if the store rejects the run.
    """
    start = time.perf_counter()
    saved = context.store.saved_training(plan.hash, force=plan.force)
    lineage = {schema.DENSE_RUN_ID: parent.dense.run_id, schema.PARENT_RUN_ID: parent.run_id} if parent else {}
    with context.store.run(
        plan.name,
        note=note,
        tags=run_tags(plan, context) | lineage,
        params=dict(plan.params),
        dataset=context.mlflow_dataset,
        job_run_id=context.job_run_id,
        child=parent is not None,
    ) as run:
        model, fitted = train(run, saved)
        if fitted.best_epoch:
            run.metrics({schema.BEST_EPOCH: fitted.best_epoch, schema.IMAGES_PER_SECOND: fitted.images_per_second})
        gradient = None if parent else context.engine.gradient(model, context.train)
        if gradient:
            checkpoints.save(run.folder / schema.GRADIENT, gradient)
        predictions, val_predictions, metrics = _write_evaluation(run, plan, context, model)
        made = LoadedRun(
            run_id=run.run_id,
            config_hash=plan.hash,
            is_reused=False,
            metrics=metrics,
            model=model,
            normalization=context.normalization,
            masks=fitted.masks,
            gradient=gradient,
            iteration=parent.iteration + 1 if parent else 0,
            dense=parent.dense if parent else DenseRun(run.run_id, dict(plan.params), predictions, val_predictions),
        )
        metrics |= describe(Trained(run, made, fitted, predictions, val_predictions))
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    saved.unlink(missing_ok=True)
    return made


def training_setup(plan: TrainPlan, context: Context) -> TrainingSetup:
    """Return the setup of a plan's training on all training images, without masks or callbacks."""
    return TrainingSetup(
        context.train,
        context.validation,
        plan.hyperparameters,
        seed=plan.options.seed,
        stream=plan.stream,
        black=context.normalization.black,
        engine=context.engine_of(plan.hyperparameters),
        released_selection=context.test if plan.options.protocol_record.selects_on_test else None,
    )


def _write_evaluation(
    run: Writer, plan: TrainPlan, context: Context, model: nn.Module
) -> tuple[Predictions, Predictions, dict[str, float]]:
    """Write predictions and weights; return the predictions of test and validation images, and the final metrics."""
    test, validation = (predict(model, part, context.engine) for part in (context.test, context.validation))
    metrics = write_predictions(run, plan.name, context.data.classes, test, validation)
    checkpoints.save(
        run.folder / schema.CHECKPOINT,
        model.state_dict(),
        checkpoints.describe(plan.options.model, context.data.classes, context.data.image_shape, context.normalization),
    )
    return test[0], validation[0], metrics


def write_predictions(
    run: Writer,
    name: str,
    classes: tuple[str, ...],
    test: tuple[Predictions, float],
    validation: tuple[Predictions, float],
) -> dict[str, float]:
    """Write a run's predictions, per-class table and confusion matrix, and return its final metrics.

    Parameters
    ----------
    run : Writer
    name : str
        The run's name.
    classes : tuple of str
    test, validation : tuple of Predictions and float
        Predictions and mean loss for the test images, and for the validation images.

    Raises
    ------
    StudyError
        If a loss is NaN or infinite.
    """
    (predictions, test_loss), (val_predictions, val_loss) = test, validation
    if not (np.isfinite(test_loss) and np.isfinite(val_loss)):
        raise StudyError(f"{name}: the loss on test or validation images is NaN or infinite")
    counts = predictions.counts(len(classes))
    predictions.save(run.folder / schema.PREDICTIONS)
    val_predictions.save(run.folder / schema.VAL_PREDICTIONS)
    csv_text.write(per_class_table(predictions, classes), run.folder / schema.PER_CLASS)
    csv_text.write(confusion_table(predictions, classes), run.folder / schema.CONFUSION, index=True)
    metrics = {schema.TEST_ACCURACY: predictions.accuracy, schema.TEST_LOSS: test_loss}
    for name, recall, support in zip(schema.metric_names(classes), counts.recall, counts.support, strict=True):
        metrics |= {schema.RECALL + name: float(recall), schema.SUPPORT + name: float(support)}
    return metrics


def per_class_table(predictions: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return a table with a row for each class: class, index, support, recall, precision, f1."""
    counts = predictions.counts(len(classes))
    columns = {name: getattr(counts, name) for name in ("support", "recall", "precision", "f1")}
    return pd.DataFrame({"class": classes, "index": range(len(classes)), **columns})


def confusion_table(predictions: Predictions, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the confusion matrix: numbers of images, rows by true class, columns by predicted class."""
    counts = predictions.counts(len(classes))
    return pd.DataFrame(counts.confusion, pd.Index(classes, name="class"), classes)


def run_tags(plan: TrainPlan, context: JobContext) -> dict[str, str]:
    """Return the tags that every trained run has."""
    engine = context.engine_of(plan.hyperparameters)
    how = {schema.ENGINE: engine.name, schema.DEVICE: context.device, schema.ARITHMETIC: engine.arithmetic}
    is_control = plan.params.get(schema.PRUNER) == schema.CONTROL
    what = {schema.KIND: plan.kind, schema.NETWORK: "control" if is_control else plan.kind}
    return what | how | known_tags(plan, context) | normalization_tags(context.normalization)


def known_tags(plan: Plan, context: JobContext) -> dict[str, str]:
    """Return the tags that tell an analysis what a run is: cell, classes, command and study; and its hash."""
    classes = json.dumps(context.data.classes)
    tags = {schema.CONFIG_HASH: plan.hash, schema.CELL: schema.cell(plan.params), schema.COMMAND: plan.command}
    tags |= {schema.CLASS_NAMES: classes} if len(classes) <= MAX_TAG_VAL_LENGTH else {}
    return tags | ({schema.STUDY_NAME: context.study} if context.study else {})


def normalization_tags(normalization: Normalization) -> dict[str, str]:
    """Return the tags that record the normalisation of the images."""
    return {
        schema.NORMALIZATION_MEAN: json.dumps(normalization.mean),
        schema.NORMALIZATION_STD: json.dumps(normalization.std),
    }
