"""Find dense runs in the tracking store, or train their networks."""

import copy
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mlflow.entities import Run
from torch import Tensor, nn

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.rendering.formats import markdown_line
from analysis.runs import schema
from pruning_study.data.datasets import class_characteristics
from pruning_study.pruning import budget
from pruning_study.steps.context import JobContext
from pruning_study.steps.measured import Trained, confusion_table, training_setup, write_run
from pruning_study.steps.plan import TrainPlan
from pruning_study.steps.runs import LoadedRun, find_or_make, load
from pruning_study.tracking.writer import Writer
from pruning_study.training.loop import Fit, fit
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

    def read(run: Run) -> LoadedRun:
        return load(context.store, run, plan, context)

    def make() -> LoadedRun:
        weights, model = plan.options.weights, copy.deepcopy(context.model).to(context.device)
        note = f"{plan.options.model} trained on {plan.dataset}{f', weights of {weights.name}' if weights else ''}"

        def fitted(run: Writer, saved: Path) -> tuple[nn.Module, Fit]:
            if weights:
                return model, Fit(0, math.nan, {})
            return model, fit(model, training_setup(plan, context), saved=saved, on_epoch=run.epoch)

        return write_run(plan, context, None, note=note, train=fitted, describe=partial(_describe, plan, context, note))

    return find_or_make(plan, context, read, make)


def _describe(plan: TrainPlan, context: JobContext, note: str, trained: Trained) -> dict[str, float]:
    """Describe a dense run in a sentence, a table and a picture, and return the norms of its gradient."""
    from pruning_study.steps import pictures  # matplotlib takes a second to import, and found runs need no pictures

    run, made, classes = trained.run, trained.made, context.data.classes
    run.note(markdown_line(f"{_outcome(made.metrics, classes)}. {note}"))
    csv_text.write(
        class_characteristics(context.data, context.train_indices), run.folder / schema.CLASS_CHARACTERISTICS
    )
    title = f"{plan.name}: accuracy {trained.predictions.accuracy:.3f}"
    figure = pictures.confusion(confusion_table(trained.predictions, classes), title)
    figure.savefig(run.folder / schema.CONFUSION_PICTURE)
    assert made.gradient is not None
    return _gradient_norms(plan.hyperparameters, made.model, made.gradient, context.unused)


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
