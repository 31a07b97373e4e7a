"""Find pruned runs in the tracking store, or make them from a dense or pruned run."""

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import nn

from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.runs import schema
from pruning_study.data.datasets import Dataset
from pruning_study.data.examples import number_of_batches
from pruning_study.models import checkpoints
from pruning_study.options.config import PruneConfig
from pruning_study.pruning.masks import Masks
from pruning_study.pruning.pruners import PRUNERS
from pruning_study.pruning.schedules import Ramp
from pruning_study.pruning.scores import magnitude
from pruning_study.pruning.sparse_training import Exchange
from pruning_study.steps import selection, timing
from pruning_study.steps.compared import write_comparison
from pruning_study.steps.context import Context, JobContext
from pruning_study.steps.controls import without_training
from pruning_study.steps.measured import Trained, training_setup, write_run
from pruning_study.steps.plan import PrunePlan, Pruning
from pruning_study.steps.runs import FinishedRun, LoadedRun, find_or_make, finished
from pruning_study.tracking.writer import Writer
from pruning_study.training.callbacks import Factors, MaskChanges, Teacher, Weighting
from pruning_study.training.distillation import Distillation
from pruning_study.training.evaluation import Predictions, from_logits, predict
from pruning_study.training.loop import Fit, OnEpoch, fit, ignore
from pruning_study.training.mitigation import (
    class_offsets,
    class_weights,
    constraint_names,
    constraints,
    data_quotas,
    performance_weighted,
)
from pruning_study.training.setup import Callback

log = logging.getLogger(__name__)

Train: TypeAlias = Callable[[PrunePlan, Context, LoadedRun, Path | None, OnEpoch], tuple[nn.Module, Fit]]


def prune(
    plan: PrunePlan, context: JobContext, parent: LoadedRun, announce: Callable[[], None] | None = None
) -> FinishedRun:
    """Find or make the run that prunes a parent's model and fine-tunes it.

    A run that was pruned from a parent other than `parent` is not found, even if both parents have the same settings.

    Parameters
    ----------
    plan : PrunePlan
        Plan at the wanted ratio, for any parent; `plan_for` turns it into the plan for this parent.
    context : JobContext
    parent : LoadedRun
        A dense run, or a pruned run whose remaining weights are pruned further.
    announce : callable, optional
        Called before the run is made; not called if the run is found.

    Returns
    -------
    FinishedRun ; a LoadedRun if the run was made by this call.

    Raises
    ------
    StudyError
        If scores are not finite, if fine-tuning diverges, or if the store rejects the run.
    """
    plan = plan_for(plan, context, parent)

    def make() -> FinishedRun:
        if announce:
            announce()
        return write_pruned(
            plan, context, parent, note=description(plan.pruning, plan.ratio, parent.run_id), train=prune_and_fit
        )

    return find_or_make(plan, context, lambda run: finished(run, plan, context), make)


def plan_for(plan: PrunePlan, context: Context, parent: LoadedRun) -> PrunePlan:
    """Plan the run that prunes a parent's model at the ratio of a plan; raise the errors of `Pruning.at`."""
    parent_masks = None if plan.pruning.filters else weights_left(plan, parent)
    plan = plan.pruning.at(
        plan.ratio,
        parent.dense.params,
        parent.config_hash,
        iteration=parent.iteration + 1,
        remaining=_count(parent_masks) if parent_masks else None,
        images=len(_fine_tuning_indices(plan, context, parent)),
    )
    # Several dense runs may have the same settings; only runs that were pruned from this one are compared with it.
    return replace(plan, lineage={schema.PARENT_RUN_ID: parent.run_id})


def description(pruning: Pruning, ratio: float, parent_id: str) -> str:
    """Describe the run that prunes the model of another run, in a phrase without a full stop."""
    how = " and fine-tuned" if pruning.hyperparameters.epochs else ""
    if pruning.options.starts_anew:
        how = " while it was trained again" if pruning.times else ""
    return f"Run {parent_id}, pruned by {pruning.method} at ratio {ratio:g}{how}"


def write_pruned(plan: PrunePlan, context: JobContext, parent: LoadedRun, *, note: str, train: Train) -> LoadedRun:
    """Make a pruned run.

    Parameters
    ----------
    plan : PrunePlan
    context : JobContext
    parent : LoadedRun
    note : str
        A phrase that describes the run, without a full stop.
    train : function
        Prunes and trains a network for the run, given the context with the parent's normalisation.
    """
    context = context.normalized_as(parent.normalization)

    def fitted(run: Writer, saved: Path) -> tuple[nn.Module, Fit]:
        model, fitted = train(plan, context, parent, saved, run.epoch)
        if plan.options.class_offsets != "none":
            csv_text.write(_fold_offsets(plan.options, context, parent, model), run.folder / schema.OFFSETS)
        return model, fitted

    describe = partial(_describe, plan, context, parent, note)
    return write_run(plan, context, parent, note=note, train=fitted, describe=describe)


def _describe(plan: PrunePlan, context: JobContext, parent: LoadedRun, note: str, trained: Trained) -> dict[str, float]:
    """Write what pruning and mitigations did, and the comparison with the dense network; return the metrics."""
    run, masks, options, pruning = trained.run, trained.fit.masks, plan.options, plan.pruning
    if pruning.constraint_step:
        table = constraints.multipliers(trained.fit.weighting, context.data.classes)
        csv_text.write(table, run.folder / schema.MULTIPLIERS)
    if options.class_weights != "none":
        csv_text.write(_class_weights(options, context, parent), run.folder / schema.WEIGHTS)
    checkpoints.save(run.folder / schema.MASK, masks)
    _warn_of_emptied_layers(plan, masks)
    of_control = without_training(pruning, parent.dense.predictions)
    metrics = {schema.REALIZED_RATIO: _realized_ratio(pruning.budget.total, masks)} | write_comparison(
        run, context, parent.dense, trained.predictions, trained.val_predictions, plan.name, note, of_control
    )
    if len(plan.kept_numbers) == 1 and not options.starts_anew and "grad" in pruning.pruner.needs:
        metrics[schema.MP_OVERLAP] = _mp_overlap(plan, parent, masks)
    return metrics


def trial(plan: PrunePlan, context: Context, parent: LoadedRun) -> Predictions:
    """Predict the validation images with the model that `prune` would make, without making a run or using test images.

    The class offsets for each image are fitted without that image.

    Parameters
    ----------
    plan, context, parent
        As in `prune`.

    Raises
    ------
    StudyError
        If scores are not finite, or if fine-tuning diverges.
    """
    context, options = context.normalized_as(parent.normalization), plan.options
    model, _ = prune_and_fit(plan_for(plan, context, parent), context, parent)
    if options.class_offsets == "none":
        return predict(model, context.validation, context.engine)[0]
    logits = class_offsets.held_out_logits(
        model, parent.model, context.validation, context.engine, schema.FIXED["offset_shrinkage"]
    )
    return from_logits(logits, context.validation.labels.cpu())[0]


def pruning_masks(plan: PrunePlan, context: Context, parent: LoadedRun) -> Masks:
    """Return the masks that fine-tuning starts with; they are final unless pruning is gradual.

    Parameters
    ----------
    plan : PrunePlan
    context : Context
    parent : LoadedRun

    Returns
    -------
    dict of state-dict names to bool Tensors, True where kept, for every prunable weight
        If filters are pruned, the dict also has masks of biases and BatchNorm parameters.

    Raises
    ------
    StudyError
        If a score is NaN or infinite.
    """
    theta = {name: parent.model.get_parameter(name).detach() for name in plan.pruning.prunable}
    if plan.pruning.filters:
        return selection.select_filters(plan, context, parent.model, theta)
    parent_masks = weights_left(plan, parent)
    n_kept = plan.kept_numbers[0]
    if parent_masks and n_kept == _count(parent_masks):
        return parent_masks
    return selection.select(plan.pruning, context, parent.model, theta, n_kept, parent_masks, gradient=parent.gradient)


def prune_and_fit(
    plan: PrunePlan, context: Context, parent: LoadedRun, saved: Path | None = None, on_epoch: OnEpoch = ignore
) -> tuple[nn.Module, Fit]:
    """Prune a copy of the parent's model and fine-tune it, or prune its initial weights while they are trained."""
    options = plan.options
    if options.starts_anew:
        return _prune_while_training(plan, context, parent, saved, on_epoch)
    model = copy.deepcopy(parent.model)
    setup = replace(
        training_setup(plan, context),
        train=context.training(_fine_tuning_indices(plan, context, parent)),
        masks=pruning_masks(plan, context, parent),
        callbacks=_callbacks(plan, context, parent),
    )
    return model, fit(model, setup, saved=saved, on_epoch=on_epoch)


def _callbacks(plan: PrunePlan, context: Context, parent: LoadedRun) -> list[Callback]:
    """Return the callbacks of fine-tuning."""
    callbacks: list[Callback] = []
    if plan.options.is_gradual:
        choose, parent_masks = partial(selection.select, plan.pruning, context), weights_left(plan, parent)
        callbacks.append(MaskChanges(Ramp(plan.kept_numbers, choose, plan.pruning.regrow, parent_masks)))
    if distillation := _distillation(plan.options, parent.model):
        callbacks.append(Teacher(distillation))
    if rule := _weighting(plan, context, parent):
        callbacks.append(Factors(rule))
    return callbacks


def _distillation(options: PruneConfig, teacher: nn.Module) -> Distillation | None:
    """Return the distillation loss with the network before pruning as the teacher, if the options ask for one.

    The teacher is the dense network, unless a pruned run is pruned further.
    """
    if options.performance_weighted != "none":
        theta, gamma = map(float, options.performance_weighted.split(","))
        return performance_weighted.distillation(teacher, theta, gamma)
    return Distillation(teacher, options.distill, schema.FIXED["temperature"]) if options.distill else None


def _weighting(plan: PrunePlan, context: Context, parent: LoadedRun) -> Weighting | None:
    """Return the rule that weights the losses of images, if the options ask for one."""
    options = plan.options
    if options.class_weights != "none" and options.class_weight_power:
        return class_weights.weighting(_class_weights(options, context, parent))
    if not plan.pruning.constraint_step:
        return None
    each_step, classes = options.constraint_images == constraint_names.TRAIN, len(context.data.classes)
    images = context.train if each_step else context.validation
    return constraints.Constrained(
        constraints.measured(options.constraint, parent.model, images, context.engine, classes),
        torch.bincount(context.train.labels, minlength=classes),
        plan.pruning.constraint_step,
        epoch_steps=number_of_batches(len(context.train), plan.hyperparameters.batch_size),
        each_step=each_step,
        first=max(plan.kept_numbers) if options.is_gradual else 0,
    )


def _class_weights(options: PruneConfig, context: Context, parent: LoadedRun) -> pd.DataFrame:
    dense, power = parent.dense.val_predictions, options.class_weight_power
    return class_weights.from_dense(dense, context.train.labels, context.data.classes, power)


def _fold_offsets(options: PruneConfig, context: Context, parent: LoadedRun, model: nn.Module) -> pd.DataFrame:
    return class_offsets.fold(
        model,
        parent.model,
        context.validation,
        context.engine,
        context.data.classes,
        schema.FIXED["offset_shrinkage"],
    )


def _fine_tuning_indices(plan: PrunePlan, context: Context, parent: LoadedRun) -> np.ndarray:
    recall = parent.dense.val_predictions.counts(len(context.data.classes)).recall
    return fine_tuning_indices(plan.pruning, context, recall, is_given=parent.dense.is_given)


def fine_tuning_indices(
    pruning: Pruning, context: Context, recall: np.ndarray, *, is_given: bool = False
) -> np.ndarray:
    """Return the indices of the training images that `--data-quotas` keeps for fine-tuning.

    Without that option, return the indices of all training images. Pruning scores use all of them in either case.

    Parameters
    ----------
    pruning : Pruning
    context : Context
    recall : (classes,)
        Recall of each class by the dense network on validation images.
    is_given : bool
        Whether the weights of the dense network were given.

    Raises
    ------
    StudyError
        If no image of a class is kept, or if fine-tuning on the kept images has fewer steps than the options need.
    """
    options, data = pruning.options, context.data
    if options.data_quotas == "none":
        return context.train_indices
    indices = data_quotas.chosen(
        *(data.train_labels, context.train_indices, recall, schema.FIXED["data_density"]),
        seed=options.seed,
        classes=data.classes,
        remedy=_other_validation_images(data, is_given=is_given),
    )
    timing.check_fine_tuning(options, pruning.hyperparameters, pruning.times, len(indices))
    return indices


def _other_validation_images(data: Dataset, *, is_given: bool) -> str:
    """Say how to get validation images on which the dense network makes errors in every class."""
    if data.validation_indices is not None:
        return "give more validation images"
    if is_given:
        return (
            "the given network was probably trained on them, so give val_images or a folder val of images that it was "
            "not trained on"
        )
    return "hold out more images (--validation-fraction)"


def _prune_while_training(
    plan: PrunePlan, context: Context, parent: LoadedRun, saved: Path | None, on_epoch: OnEpoch
) -> tuple[nn.Module, Fit]:
    """Train the parent's initial weights as the parent was trained, and prune them during this training.

    With a pruner that prunes nothing, return the parent's model, because the same training would give the same model.
    """
    if not plan.pruning.times:
        return copy.deepcopy(parent.model), Fit(0, math.nan, pruning_masks(plan, context, parent))
    model = copy.deepcopy(context.model).to(context.device)
    theta = {name: model.get_parameter(name).detach() for name in plan.pruning.prunable}
    ramp: Ramp | Exchange
    if plan.options.is_sparse_from_start:
        masks, ramp = selection.sparse_from_start(plan, context, theta)
    else:
        masks = selection.select(plan.pruning, context, model, theta, plan.kept_numbers[0])
        choose, regrows = partial(selection.select, plan.pruning, context), plan.pruning.regrow
        ramp = Ramp(plan.kept_numbers, choose, regrows, trains_pruned=regrows)
    # The stream is the parent's, so that batches come in the same order.
    setup = replace(training_setup(plan, context), masks=masks, callbacks=[MaskChanges(ramp)])
    return model, fit(model, setup, saved=saved, on_epoch=on_epoch)


def weights_left(plan: PrunePlan, parent: LoadedRun) -> Masks | None:
    """Return masks of the parent's remaining prunable weights, or None if nothing is pruned yet."""
    if not parent.masks:
        return None
    if foreign := sorted(parent.masks.keys() - plan.pruning.prunable.keys()):
        if plan.options.keep_layers:
            raise StudyError(
                f"run {parent.run_id} has pruned {foreign[0]}, which this option keeps: do not name that layer",
                option="keep_layers",
            )
        raise StudyError(
            f"run {parent.run_id} has pruned the output layer, {foreign[0]}, so this option must be set to true",
            option="prune_output_layer",
        )
    return {
        name: parent.masks.get(name, torch.ones_like(parent.model.get_parameter(name), dtype=torch.bool))
        for name in plan.pruning.prunable
    }


def _mp_overlap(plan: PrunePlan, parent: LoadedRun, masks: Masks) -> float:
    """Return the share of the kept weights that magnitude pruning would also keep, if it kept equally many."""
    own_masks = [masks[name] for name in plan.pruning.prunable]
    numbers = [int(mask.sum()) for mask in own_masks]
    scores = [magnitude(parent.model.get_parameter(name).detach()) for name in plan.pruning.prunable]
    remaining = weights_left(plan, parent)
    candidates = [remaining[name] for name in plan.pruning.prunable] if remaining else None
    kept_weights: int | list[int] = numbers if plan.pruning.scope == "layer" else sum(numbers)
    theirs = PRUNERS["mp"].masks(scores, kept_weights, candidates)
    return sum(int((own & their).sum()) for own, their in zip(own_masks, theirs, strict=True)) / sum(numbers)


def _warn_of_emptied_layers(plan: PrunePlan, masks: Masks) -> None:
    emptied = [name.removesuffix(".weight") for name in plan.pruning.prunable if not masks[name].any()]
    if emptied:
        log.warning(
            "%s: no weight of %s is left; --keep-layers exempts layers from pruning", plan.name, ", ".join(emptied)
        )


def _count(masks: Masks) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


def _realized_ratio(total: int, masks: Masks) -> float:
    """Return the dense network's number of parameters divided by the number of those that no mask prunes."""
    return total / (total - sum(int((~mask).sum()) for mask in masks.values()))
