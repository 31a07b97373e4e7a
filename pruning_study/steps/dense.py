"""Find dense runs in the tracking store, or train their networks."""

import copy
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.rendering.formats import markdown_line
from analysis.runs import schema
from pruning_study.data.datasets import class_characteristics
from pruning_study.models import checkpoints
from pruning_study.pruning import budget
from pruning_study.steps.context import JobContext
from pruning_study.steps.identity import ARTIFACTS
from pruning_study.steps.measured import (
    confusion_table,
    log_fit,
    run_tags,
    training_setup,
    write_evaluation,
)
from pruning_study.steps.plan import TrainPlan
from pruning_study.steps.runs import DenseRun, LoadedRun, find_or_make, load
from pruning_study.training.loop import fit
from pruning_study.training.recipes import Hyperparameters


def train(plan: TrainPlan, context: JobContext) -> LoadedRun:
    """Find the dense run of a plan in the store, or train its network.

    Parameters
    ----------
    plan : TrainPlan
    context : JobContext

    Raises
    ------
    StudyError
        If training diverges, or if the store rejects the run.
    """
    return find_or_make(plan, context, None, read=_read, make=_train)


def _read(run: Run, plan: TrainPlan, context: JobContext) -> LoadedRun:
    if missing := context.store.missing(run.info.run_id, ARTIFACTS[schema.DENSE]):
        raise StudyError(f"it lacks {', '.join(missing)}")
    return load(context.store, run, plan, context)


def _train(plan: TrainPlan, context: JobContext, parent: None) -> LoadedRun:
    from pruning_study.steps import pictures  # matplotlib takes a second to import, and found runs need no pictures

    start = time.perf_counter()
    saved = context.store.saved_training(plan.hash, force=plan.force)
    model = copy.deepcopy(context.model).to(context.device)
    weights, classes = plan.options.weights, context.data.classes
    origin = f", weights of {weights.name}" if weights else ""
    note = f"{plan.options.model} trained on {plan.dataset}{origin}"
    with context.store.run(
        plan.name,
        note=note,
        tags=run_tags(plan, context),
        params=dict(plan.params),
        dataset=context.mlflow_dataset,
        job_run_id=context.job_run_id,
        child=False,
    ) as run:
        if not weights:
            log_fit(run, fit(model, training_setup(plan, context), saved=saved, on_epoch=run.epoch))
        gradient = context.engine.gradient(model, context.train)
        predictions, val_predictions, metrics = write_evaluation(run, plan, context, model)
        run.note(markdown_line(f"{_outcome(metrics, classes)}. {note}"))
        checkpoints.save(run.folder / schema.GRADIENT, gradient)
        characteristics = class_characteristics(context.data, context.train_indices)
        csv_text.write(characteristics, run.folder / schema.CLASS_CHARACTERISTICS)
        title = f"{plan.name}: accuracy {predictions.accuracy:.3f}"
        pictures.confusion(confusion_table(predictions, classes), title).savefig(run.folder / schema.CONFUSION_PICTURE)
        metrics |= _gradient_norms(plan.hyperparameters, model, gradient, context.unused)
        run.metrics(metrics | {schema.DURATION: time.perf_counter() - start})
    saved.unlink(missing_ok=True)
    return LoadedRun(
        run_id=run.run_id,
        config_hash=plan.hash,
        is_reused=False,
        metrics=metrics,
        model=model,
        normalization=context.normalization,
        masks={},
        gradient=gradient,
        iteration=0,
        dense=DenseRun(run.run_id, dict(plan.params), predictions, val_predictions),
    )


def _gradient_norms(
    training: Hyperparameters, model: nn.Module, gradient: Mapping[str, Tensor], unused: Sequence[str]
) -> dict[str, float]:
    """Return the norms of the objective's gradient and of its two parts, or {} if no weight is prunable.

    Parameters
    ----------
    training : Hyperparameters
    model : nn.Module
        The trained network.
    gradient : mapping of state-dict names to Tensors
        The gradient of the data loss.
    unused : sequence of str
        Parameters that the forward pass never uses.

    Returns
    -------
    dict of metric names to norms over all prunable weights
    """
    try:
        names = budget.prunable(model, unused=unused)
    except StudyError:
        return {}
    data = torch.cat([gradient[name].double().flatten() for name in names])
    theta = torch.cat([model.get_parameter(name).detach().double().flatten() for name in names])
    penalty = training.weight_decay * training.penalty_gradient(theta)
    norms = {
        schema.GRADIENT_NORM: data + penalty,
        schema.DATA_GRADIENT_NORM: data,
        schema.PENALTY_GRADIENT_NORM: penalty,
    }
    # The squares are summed exactly, because torch adds in an order that depends on the processor.
    return {name: math.sqrt(math.fsum(part.square().tolist())) for name, part in norms.items()}


def _outcome(metrics: Mapping[str, float], classes: Sequence[str]) -> str:
    """Describe a network's accuracy, and the class with the lowest recall."""
    recalls = [metrics[schema.RECALL + name] for name in schema.metric_names(classes)]
    weakest = int(np.argmin(recalls))
    accuracy, recall = (f"{100 * value:.1f} %" for value in (metrics[schema.TEST_ACCURACY], recalls[weakest]))
    return f"accuracy {accuracy}, weakest class: {classes[weakest]} {recall}"
